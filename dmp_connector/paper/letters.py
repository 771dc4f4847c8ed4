"""Letters to the patient, in French, as PDF/A-1: receipt of the creation of a DMP (EX_1.X-1320), and the like.

The information that the law requires for the patient stands here as text; names and dates are filled in. The boxes
show the two oppositions as they were recorded: ticked means that the patient opposes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from bilingual import local
from dmp_connector.model.dossier import Consent, ConsentMeans, Oppositions
from dmp_connector.model.people import Patient, Practitioner, Sex, Structure
from dmp_connector.paper.sheet import Sheet

_MEANS = {
    ConsentMeans.ORAL: "oralement",
    ConsentMeans.WRITTEN: "par écrit",
    ConsentMeans.ELECTRONIC: "par voie électronique",
    ConsentMeans.REPRESENTATIVE: "par la voix de votre représentant légal ou de votre personne de confiance",
}


@dataclass(frozen=True, slots=True)
class Letterhead:
    """Who writes: the professional and the structure, with the lines of its address."""

    practitioner: Practitioner
    structure: Structure
    address: tuple[str, ...] = ()


def letter(title: str, paragraphs: Sequence[str], *, at: datetime, author: str = "") -> bytes:
    """A plain letter as PDF/A-1b: a heading and paragraphs. For a level 1 CDA, a demonstration, a test."""
    sheet = Sheet(title, at=at, author=author)
    sheet.heading(title)
    for text in paragraphs:
        sheet.paragraph(text)
    return sheet.rendered()


def creation_letter(
    head: Letterhead, patient: Patient, consent: Consent, oppositions: Oppositions, address: Sequence[str], *, at: datetime
) -> bytes:
    """The receipt of creation: what was created, with whose agreement, what can be refused, and how."""
    sheet = _start("Confirmation de la création de votre dossier médical partagé (DMP)", head, patient, address, at)
    sheet.paragraph(
        f"Votre dossier médical partagé (DMP) a été créé le {local(consent.at):%d/%m/%Y} par {_signature(head)}, "
        f"après que vous avez été informé(e) de son usage et avez donné votre accord {_MEANS[consent.means]}."
    )
    sheet.paragraph("Identité inscrite dans votre DMP (identité nationale de santé) :")
    sheet.paragraph(
        f"Nom de naissance : {patient.birth_name}\nPrénoms : {patient.given_names}\n"
        f"{'Née' if patient.sex is Sex.F else 'Né'} le {patient.birth_date:%d/%m/%Y}"
    )
    _oppositions(sheet, oppositions)
    _rights(sheet)
    _close(sheet, head)
    return sheet.rendered()


def closing_letter(head: Letterhead, patient: Patient, address: Sequence[str], *, at: datetime) -> bytes:
    """The receipt of closing: what becomes of the data (R1111-36)."""
    sheet = _start("Confirmation de la fermeture de votre dossier médical partagé (DMP)", head, patient, address, at)
    sheet.paragraph(f"À votre demande, votre dossier médical partagé a été fermé le {local(at):%d/%m/%Y} par {_signature(head)}.")
    sheet.paragraph(
        "Vos données sont archivées pendant dix ans, puis supprimées. Vous pouvez demander leur suppression avant ce terme ; "
        "elle est faite dans un délai de trois mois. Vous pouvez à tout moment demander la réouverture de votre dossier."
    )
    _close(sheet, head)
    return sheet.rendered()


def _start(title: str, head: Letterhead, patient: Patient, address: Sequence[str], at: datetime) -> Sheet:
    sheet = Sheet(title, at=at, author=f"{head.practitioner.given} {head.practitioner.family}")
    sheet.paragraph("\n".join((_signature(head), head.structure.name, *head.address)))
    sheet.set_x(110)
    name = f"{patient.used_given or patient.first_given} {patient.used_name or patient.birth_name}"
    for line in (name, *address):
        sheet.set_x(110)
        sheet.cell(0, 5.2, line, new_x="LMARGIN", new_y="NEXT")
    sheet.ln(6)
    sheet.set_x(110)
    sheet.cell(0, 5.2, f"Le {local(at):%d/%m/%Y}", new_x="LMARGIN", new_y="NEXT")
    sheet.ln(6)
    sheet.heading(title)
    sheet.paragraph("Madame," if patient.sex is Sex.F else "Monsieur," if patient.sex is Sex.M else "Madame, Monsieur,")
    return sheet


def _oppositions(sheet: Sheet, oppositions: Oppositions) -> None:
    sheet.heading("Accès en situation d'urgence")
    sheet.paragraph("Vos choix, tels qu'ils ont été enregistrés (case cochée : vous vous opposez à cet accès) :")
    sheet.tick(
        bool(oppositions.bris_de_glace),
        "Je m'oppose à ce qu'un professionnel de santé consulte mon DMP sans mon accord lorsque je suis hors d'état "
        "d'exprimer ma volonté et que ma santé est exposée à un risque immédiat (mode « bris de glace »).",
    )
    sheet.tick(
        bool(oppositions.centre_15),
        "Je m'oppose à ce que le médecin régulateur du SAMU (centre 15) consulte mon DMP lorsqu'il reçoit un appel me concernant.",
    )
    sheet.ln(2)


def _rights(sheet: Sheet) -> None:
    sheet.heading("Vos droits")
    for text in (
        "Vous pouvez consulter votre DMP et la trace de tous les accès, et choisir les professionnels qui peuvent le lire : "
        "en ajouter, en retirer, ou bloquer l'accès de certains.",
        "Vous pouvez masquer un document aux professionnels. Son auteur et votre médecin traitant continuent de le voir.",
        "Vous pouvez modifier à tout moment les deux choix ci-dessus, et fermer votre dossier : "
        "les données sont alors archivées dix ans, puis supprimées.",
        "Les données sont traitées sous la responsabilité de la Caisse nationale de l'Assurance maladie ; vous disposez d'un droit d'accès "
        "et de rectification. Pour toute question : 3422.",
    ):
        sheet.item(text)


def _close(sheet: Sheet, head: Letterhead) -> None:
    sheet.paragraph("Veuillez agréer l'expression de nos salutations distinguées.")
    sheet.ln(6)
    sheet.set_x(110)
    sheet.cell(0, 5.2, _signature(head), new_x="LMARGIN", new_y="NEXT")


def _signature(head: Letterhead) -> str:
    title = "Dr " if head.practitioner.is_doctor else ""
    return f"{title}{head.practitioner.given} {head.practitioner.family}".strip()
