"""Documents that exist at the start: invented letters as small level 1 texts, spread over two years.

Every second one is by another professional; the third of each dossier is masked, the fourth hidden from the patient.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from dmp_connector.model.code import Code
from dmp_connector.model.documents import Author, DocumentEntry, Dtm, Institution, Person, SubmissionSet, Visibility
from dmp_connector.simulator.config import Person as TestPerson
from dmp_connector.simulator.world import Record

_LETTERS = (
    ("Compte rendu de consultation", Code("11488-4", "2.16.840.1.113883.6.1", "Compte rendu de consultation"), "10", "Compte rendu"),
    ("Compte rendu d'examens biologiques", Code("11502-2", "2.16.840.1.113883.6.1", "CR d'examens biologiques"), "10", "Compte rendu"),
    ("Lettre de liaison", Code("34112-3", "2.16.840.1.113883.6.1", "Lettre de liaison"), "10", "Compte rendu"),
    ("Synthèse médicale", Code("SYNTH", "1.2.250.1.213.1.1.4.12", "Synthèse"), "11", "Synthèse"),
    ("Prescription de médicaments", Code("57833-6", "2.16.840.1.113883.6.1", "Prescription de médicaments"), "42", "Prescription"),
)
_HOSPITAL = Institution("CENTRE HOSPITALIER DEMO", "10B0179999")
_OTHERS = (Person("899700000017", "LEROY", "CLAIRE"), Person("899700000025", "MOREAU", "DENIS"))


def seed_documents(record: Record, person: TestPerson, repository: str, now: datetime) -> None:
    """Put `person.documents` documents into the record."""
    for number in range(person.documents):
        title, type_, class_code, class_label = _LETTERS[number % len(_LETTERS)]
        moment = Dtm.of(now - timedelta(days=30 + 120 * number))
        author = Author(_OTHERS[number % 2], _HOSPITAL)
        unique_id = f"1.2.250.1.213.4.1.1.9.{int(person.ins[:13].replace('A', '0').replace('B', '0'))}.{number + 1}"
        content = _letter(title, unique_id, record, moment)
        entry = DocumentEntry(
            unique_id=unique_id,
            patient=record.data.patient.ins,
            title=title,
            type=type_,
            class_code=Code(class_code, "1.2.250.1.213.1.1.4.1", class_label),
            format=Code("urn:asipSante:modelesHorsProfils:2011", "1.2.250.1.213.1.1.4.3", "Document hors profil"),
            created=moment,
            authors=(author,),
            facility=Code("SA01", "1.2.250.1.71.4.2.4", "Etablissement public de santé"),
            practice=Code("AMBULATOIRE", "1.2.250.1.213.1.1.4.9", "Ambulatoire"),
            service_start=moment,
            legal_authenticator=author.person,
            source_patient_id=record.data.patient.ins.cx,
            source_patient_info=(f"PID-5|{record.data.patient.birth_name}^{record.data.patient.first_given}^^^^^L",),
        ).describing(content)
        if number == 2:
            entry = entry.with_visibility(frozenset({Visibility.MASKED}))
        if number == 3:
            entry = entry.with_visibility(frozenset({Visibility.HIDDEN_FROM_PATIENT}))
        submission = SubmissionSet(
            f"{unique_id}.0",
            "1.2.250.1.213.4.1.1.9",
            record.data.patient.ins,
            Code("07", "1.2.250.1.213.2.2", "Consultation"),
            author,
            moment,
        )
        set_uuid = record.documents.add_set(submission)
        record.documents.add(entry, content, set_uuid, structure=_HOSPITAL.id, repository=repository, now=moment.at)


def _letter(title: str, unique_id: str, record: Record, moment: Dtm) -> bytes:
    """A small CDA with the patient's traits, whose body is text: enough to be retrieved, shown, hashed and sent."""
    patient = record.data.patient
    place = f"<birthplace><place><addr><county>{patient.birth_place}</county></addr></place></birthplace>" if patient.birth_place else ""
    return (
        '<?xml version="1.0" encoding="UTF-8"?><ClinicalDocument xmlns="urn:hl7-org:v3"><realmCode code="FR"/>'
        '<typeId root="2.16.840.1.113883.1.3" extension="POCD_HD000040"/><templateId root="2.16.840.1.113883.2.8.2.1"/>'
        f'<templateId root="1.2.250.1.213.1.1.1.1"/><id root="{unique_id}"/><title>{title}</title>'
        f'<effectiveTime value="{moment}+0000"/><languageCode code="fr-FR"/><recordTarget><patientRole>'
        f'<id extension="{patient.ins.value}" root="{patient.ins.oid}"/><patient><name><family qualifier="BR">{patient.birth_name}</family>'
        f'<given>{patient.given_names}</given><given qualifier="BR">{patient.first_given}</given></name>'
        f'<administrativeGenderCode code="{patient.sex.value}" codeSystem="2.16.840.1.113883.5.1"/>'
        f'<birthTime value="{patient.birth_date:%Y%m%d}"/>{place}</patient></patientRole></recordTarget>'
        f"<component><structuredBody><component><section><title>{title}</title><text><paragraph>Document de démonstration : "
        "personne et soins inventés.</paragraph></text></section></component></structuredBody></component></ClinicalDocument>"
    ).encode()
