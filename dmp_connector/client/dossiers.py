"""TD0.2 to TD1.6: existence of the dossier, authorisations; create, reopen, change, close (legacy)."""

from __future__ import annotations

from datetime import date, datetime

from lxml import etree

from dmp_connector import habilitations as own
from dmp_connector.client.caller import Caller, ins_of, payload_of
from dmp_connector.errors import AccessDenied, BadAnswer, BadInput, LegacyDisabled, ManagedByMes, NotAllowed
from dmp_connector.hl7v3 import read, write
from dmp_connector.hl7v3.names import Reason
from dmp_connector.model.code import Code
from dmp_connector.model.dossier import AdministrativeData, Authorisation, Candidate, Dossier, DossierSummary, IdentityQuery
from dmp_connector.model.people import AccessMode, Ins, Patient
from dmp_connector.proof.vihf import Call
from dmp_connector.texts import message

_ADD = "urn:hl7-org:v3:PRPA_IN201311UV02"
_REVISE = "urn:hl7-org:v3:PRPA_IN201314UV02"


class Dossiers(Caller):
    """TD0 and TD1 (HL7 v3 messages about patients, and the web services of authorisations), on what every call has in common."""

    async def td02_existence(self, call: Call) -> Dossier:
        """TD0.2 - test d'existence du DMP et vérification de l'autorisation. No DMP is a state, not an error."""
        ins = ins_of("TD0.2", call)
        payload = write.demographics_query(ins, Reason.EXISTENCE, self._frame())
        answer = await self._ask("TD0.2", "patients", self.settings.actions.td0_2, call, payload)
        return read.read_dossier(payload_of("TD0.2", answer), ins, self.settings.ins_oids)

    async def td03_authorise(self, call: Call, *, remove: bool = False, treating_doctor: bool = False) -> str:
        """TD0.3 - mise à jour de l'autorisation: declare or remove oneself; with `treating_doctor`, the MT role.

        Only after an explicit action of the user (EX_0.3-1010): the caller is responsible for that. Returns the server's remark
        (`context`: the authorisation was there already), "" without.
        """
        ins_of("TD0.3", call)
        payload = own.set_authorisation(remove=remove, treating_doctor=treating_doctor)
        answer = await self._ask("TD0.3", "habilitations", own.SET_AUTHORISATION, call, payload, idempotent=False)
        return own.require_ok(payload_of("TD0.3", answer))

    async def td04_list(self, call: Call, since: date, by: own.ListBy = own.ListBy.LAST_AUTHORISATION) -> tuple[DossierSummary, ...]:
        """TD0.4 - liste des DMP autorisés, for the professional or the structure."""
        payload = own.patient_list(since, by, self.settings.start_date_format)
        answer = await self._ask("TD0.4", "patientsSpecific", own.PATIENT_LIST, call, payload)
        return own.read_patient_list(payload_of("TD0.4", answer), oids=self.settings.ins_oids, dates=self._dates)

    async def td05_search(self, call: Call, query: IdentityQuery) -> tuple[Candidate, ...]:
        """TD0.5 - recherche sans INS dans le DMP d'un patient. Regulation (centre_15) only."""
        if call.mode is not AccessMode.CENTRE_15:
            raise NotAllowed(message("client.td0-5-exists-medical-regulation"))
        if not query.family.strip():
            raise BadInput(message("client.td0-5-needs-family-name"))
        payload = write.candidates_query(query, self._frame())
        answer = await self._ask("TD0.5", "patientsPDQ", self.settings.actions.td0_5, call, payload)
        return read.read_candidates(payload_of("TD0.5", answer), self.settings.ins_oids)

    async def td11_create(self, call: Call, data: AdministrativeData, *, consent_at: datetime, vitale: Patient | None = None) -> Ins:
        """TD1.1 - création du DMP (legacy). Returns the INS in the server's answer. Raises DossierExists, ManagedByMes."""
        payload = write.add_request(data, call.actor, self._frame(), consent_at=consent_at, vitale=vitale)
        self._same_patient("TD1.1", call, data)
        return await self._manage("TD1.1", _ADD, call, payload)

    async def td12_reactivate(self, call: Call, data: AdministrativeData, *, consent_at: datetime) -> None:
        """TD1.2 - réactivation d'un DMP fermé (legacy). Raises DossierExists when it is active."""
        payload = write.reactivate_request(data, call.actor, self._frame(), consent_at=consent_at)
        self._same_patient("TD1.2", call, data)
        await self._manage("TD1.2", _REVISE, call, payload)

    async def td13a_read(self, call: Call) -> AdministrativeData:
        """TD1.3a - consultation des données administratives. Raises NoDossier."""
        ins = ins_of("TD1.3a", call)
        payload = write.demographics_query(ins, Reason.READ, self._frame())
        answer = await self._ask("TD1.3a", "patients", self.settings.actions.td0_2, call, payload)
        return read.read_administrative(payload_of("TD1.3a", answer), ins, self.settings.ins_oids)

    async def td13b_modify(self, call: Call, data: AdministrativeData) -> None:
        """TD1.3b - modification des données administratives. Raises ManagedByMes for a dossier of Mon espace santé."""
        self._same_patient("TD1.3b", call, data)
        payload = write.modify_request(data, call.actor, self._frame())
        await self._revise("TD1.3b", _REVISE, call, payload)

    async def td14_close(self, call: Call, data: AdministrativeData, explanation: str, reason: Code = write.CLOSING_REQUESTED) -> None:
        """TD1.4 - fermeture du DMP (legacy; only where it is not attached to Mon espace santé)."""
        self._same_patient("TD1.4", call, data)
        payload = write.close_request(data, call.actor, self._frame(), reason=reason, explanation=explanation)
        await self._manage("TD1.4", _REVISE, call, payload)

    async def td15a_create_access(self, call: Call, channel: own.OtpChannel, address: str) -> own.PatientAccess:
        """TD1.5a - création de l'accès web du patient (legacy, removed 06/2024)."""
        return await self._access("TD1.5a", own.CREATE_ACCESS, call, own.create_access(channel, address))

    async def td15b_update_otp(self, call: Call, channel: own.OtpChannel, address: str, *, change: bool) -> None:
        """TD1.5b - canal du mot de passe à usage unique (legacy)."""
        await self._access("TD1.5b", own.UPDATE_OTP, call, own.update_otp(channel, address, change=change))

    async def td15d_unblock(self, call: Call) -> own.PatientAccess:
        """TD1.5d - déblocage de l'accès du patient (legacy)."""
        return await self._access("TD1.5d", own.UNBLOCK_ACCESS, call, own.unblock_access())

    async def td16_professionals(self, call: Call, which: own.ListMode = own.ListMode.ALL) -> tuple[Authorisation, ...]:
        """TD1.6 - liste des professionnels autorisés ou bloqués."""
        ins_of("TD1.6", call)
        payload = own.list_authorisations(which)
        answer = await self._ask("TD1.6", "habilitations", own.LIST_AUTHORISATIONS, call, payload)
        return own.read_authorisations(payload_of("TD1.6", answer), self._dates)

    async def _access(self, td: str, action: str, call: Call, payload: etree._Element) -> own.PatientAccess:
        self._require_legacy()
        ins_of(td, call)
        answer = await self._ask(td, "patientsSpecific", action, call, payload, idempotent=False)
        return own.read_access(payload_of(td, answer))

    async def _manage(self, td: str, action: str, call: Call, payload: etree._Element) -> Ins:
        self._require_legacy()
        return await self._revise(td, action, call, payload)

    async def _revise(self, td: str, action: str, call: Call, payload: etree._Element) -> Ins:
        """A denied right means here that the dossier is managed by Mon espace santé (docs/reference/dmp.md 1.5)."""
        ins = ins_of(td, call)
        try:
            answer = await self._ask(td, "patients", action, call, payload, idempotent=False)
            repeated = read.read_acceptance(payload_of(td, answer), self.settings.ins_oids) or ins
        except AccessDenied as denied:
            raise ManagedByMes(denied.code, denied.text, context=denied.context) from denied
        if not repeated.same_as(ins):
            raise BadAnswer(message("hl7v3.answer-about-another-patient"))
        return repeated

    @property
    def _dates(self) -> own.DateForms:
        return own.DateForms(self.settings.answer_dates, self.settings.answer_zone)

    def _require_legacy(self) -> None:
        if not self.settings.legacy_dossier_management:
            raise LegacyDisabled(log="legacy_dossier_management is off")

    @staticmethod
    def _same_patient(td: str, call: Call, data: AdministrativeData) -> None:
        if data.patient.ins != ins_of(td, call):
            raise BadInput(message("client.data-about-another-patient-than", td=td))
