"""The proprietary services: TD0.3, TD1.6 (habilitations), TD0.4, TD1.5 (patientsSpecific)."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

from lxml import etree

from dmp_connector.errors import Refused, refusal
from dmp_connector.habilitations import OK, PATIENTS, RIGHTS, TREATING_DOCTOR
from dmp_connector.model.dossier import AuthorisationStatus
from dmp_connector.model.people import AccessMode
from dmp_connector.simulator.gate import Visitor
from dmp_connector.simulator.rights import Column, Reach, Right, deny, reach
from dmp_connector.simulator.world import Grant, Record, World


class RightsService:
    """TD0.3, TD0.4, TD1.5 and TD1.6 as the simulated DMP answers them. `authorisation_days`: how long one lasts."""

    def __init__(self, world: World, *, legacy: bool, authorisation_days: int) -> None:
        self._world, self._legacy, self._days = world, legacy, authorisation_days

    def set_authorisation(self, payload: etree._Element, visitor: Visitor) -> etree._Element:
        """TD0.3: for oneself, or for the structure of a staff card. A blocked professional cannot unblock himself."""
        record = require_active(self._world, visitor)
        now = self._world.now()
        remove, treating = _child(payload, "action") == "SUPPRESSION", _child(payload, "role") == TREATING_DOCTOR
        right = (Right.WITHDRAW_TREATING if treating else Right.WITHDRAW) if remove else Right.AUTHORISE
        if reach(right, visitor.column(record, now)) is Reach.NONE:
            raise deny(right)
        if record.authorisation(visitor.id, visitor.structure, now=now) is AuthorisationStatus.FORBIDDEN:
            raise deny(right, "professionnel bloqué par le patient")
        if treating and not remove and not visitor.is_doctor:
            raise deny(right, "le rôle de médecin traitant est réservé aux médecins")
        holder = visitor.imputed_to
        if remove and treating:
            record.everybody_treats = False
            if holder in record.grants:
                record.grants[holder].treating_doctor = False
        elif remove:
            record.grants.pop(holder, None)
            record.everybody = None
        else:
            kept = record.treats(holder, now)
            until = now + timedelta(days=self._days)
            record.grants[holder] = Grant(visitor.name, visitor.speciality, now, until, treating or kept)
        return _answer(RIGHTS, "setAuthorizationResponse", OK)

    def list_authorisations(self, payload: etree._Element, visitor: Visitor) -> etree._Element:
        """TD1.6."""
        record = require_active(self._world, visitor)
        now = self._world.now()
        if reach(Right.PROFESSIONALS, visitor.column(record, now)) is Reach.NONE:
            raise deny(Right.PROFESSIONALS)
        mode = _child(payload, "mode")
        root = _answer(RIGHTS, "listAuthorizationByPatientResponse", OK)
        for holder, grant in record.grants.items() if mode in ("ACTIVE", "TOUTE") else ():
            if grant.status(now) is AuthorisationStatus.VALID:
                row = _row(root, RIGHTS, "listOfAuthorizationByPatient", nationalId=holder, **_name(grant.name), mode="ACTIVE")
                _fill(row, RIGHTS, startDate=_stamp(grant.since), endDate=_stamp(grant.until))
                if grant.speciality:
                    _fill(row, RIGHTS, specialty=grant.speciality.code)
                if grant.treating_doctor:
                    _fill(row, RIGHTS, specificRight=TREATING_DOCTOR)
        if mode in ("ACTIVE", "TOUTE") and visitor.id not in record.grants and record.everybody is AuthorisationStatus.VALID:
            # Where TD0.2 answers VALIDE to whoever asks, the list names the one who asks.
            row = _row(root, RIGHTS, "listOfAuthorizationByPatient", nationalId=visitor.id, **_name(visitor.name), mode="ACTIVE")
            if record.everybody_treats:
                _fill(row, RIGHTS, specificRight=TREATING_DOCTOR)
        for holder, name in record.blocked.items() if mode in ("INTERDITE", "TOUTE") else ():
            _row(root, RIGHTS, "listOfAuthorizationByPatient", nationalId=holder, **_name(name), mode="INTERDITE")
        return root

    def patient_list(self, payload: etree._Element, visitor: Visitor) -> etree._Element:
        """TD0.4: dossiers whose authorisation or last document is not older than the date asked."""
        now = self._world.now()
        regulation = visitor.mode is AccessMode.CENTRE_15
        if reach(Right.LIST, visitor.column(None, now), regulation=regulation) is Reach.NONE:
            raise deny(Right.LIST)
        try:
            since = datetime.strptime(_child(payload, "startDate"), "%d%m%Y").replace(tzinfo=UTC)
        except ValueError as error:
            raise refusal("SIMBadDate", "startDate : JJMMAAAA attendu") from error
        by_document = _child(payload, "dateType") == "LASTDOC"
        if by_document and visitor.column(None, now) is Column.STRUCTURE:
            raise deny(Right.LIST, "par date d'autorisation seulement")
        root = _answer(PATIENTS, "patientListResponse", OK)
        for record in self._world.records.values():
            if not record.exists or record.authorisation(visitor.id, visitor.structure, now=now) is not AuthorisationStatus.VALID:
                continue
            grant = record.grants.get(visitor.id) or record.grants.get(visitor.structure)
            last = max((s.current.submitted.at for s in record.documents.current() if s.current.submitted), default=None)
            date = last if by_document else grant.since if grant else now
            if date is None or date < since:
                continue
            traits = record.data.patient
            row = _row(
                root, PATIENTS, "patientlistData", nationalId=traits.ins.value, nationalIdType=traits.ins.oid,
                firstName=traits.first_given, lastName=traits.birth_name, dateOfBirth=f"{traits.birth_date:%d%m%Y}",
            )  # fmt: skip
            if record.treats(visitor.id, now):
                _fill(row, PATIENTS, specificRight=TREATING_DOCTOR)
            if grant and grant.last_access:
                _fill(row, PATIENTS, lastAccessDate=_stamp(grant.last_access))
            if last:
                _fill(row, PATIENTS, lastAddDate=_stamp(last))
        return root

    def create_access(self, payload: etree._Element, visitor: Visitor) -> etree._Element:
        """TD1.5a (legacy)."""
        record = self._managed(visitor)
        if record.access is not None:
            return _answer(PATIENTS, "createPatientAccessResponse", "DMPPatientAccessAlreadyExists")
        channel = _child(payload, "otpChannelType")
        record.access = {"login": f"patient{secrets.randbelow(10**8):08d}", channel: _child(payload, "otpChannelValue")}
        root = _answer(PATIENTS, "createPatientAccessResponse", OK)
        _fill(root, PATIENTS, login=record.access["login"], password=secrets.token_urlsafe(9))
        return root

    def update_otp(self, payload: etree._Element, visitor: Visitor) -> etree._Element:
        """TD1.5b (legacy)."""
        record = self._managed(visitor)
        channel, change = _child(payload, "otpChannelType"), _child(payload, "action") == "MODIFICATION"
        if record.access is None:
            return _answer(PATIENTS, "patientOTPUpdateResponse", "SIMPatientAccessMissing")
        if channel in record.access and not change:
            return _answer(PATIENTS, "patientOTPUpdateResponse", "DMPPatientAccessOTPAlreadyExists")
        record.access[channel] = _child(payload, "otpChannelValue")
        return _answer(PATIENTS, "patientOTPUpdateResponse", OK)

    def unblock(self, payload: etree._Element, visitor: Visitor) -> etree._Element:
        """TD1.5d (legacy)."""
        record = self._managed(visitor)
        if record.access is None:
            return _answer(PATIENTS, "updatePatientAccessResponse", "SIMPatientAccessMissing")
        root = _answer(PATIENTS, "updatePatientAccessResponse", OK)
        _fill(root, PATIENTS, login=record.access["login"], password=secrets.token_urlsafe(9))
        return root

    def _managed(self, visitor: Visitor) -> Record:
        record = require_active(self._world, visitor)
        if not self._legacy or record.attached_to_mes:
            raise deny(Right.MANAGE, "le dossier relève de Mon espace santé")
        return record


def require_active(world: World, visitor: Visitor) -> Record:
    """The active dossier of the VIHF's patient. Raises NoDossier or DossierClosed."""
    record = world.find(visitor.ins) if visitor.ins else None
    if record is None or not record.exists:
        raise refusal("NF", "Pas de DMP pour cet INS")
    if record.closure:
        raise refusal("DMPClosed", "Le DMP est fermé")
    return record


def refused(action_namespace: str, local: str, error: Refused) -> etree._Element:
    """A refusal in the form of these services: status and context."""
    return _answer(action_namespace, local, error.code, error.text)


def _child(payload: etree._Element, local: str) -> str:
    return next(((e.text or "").strip() for e in payload if etree.QName(e).localname == local), "")


def _answer(namespace: str, local: str, status: str, context: str = "") -> etree._Element:
    default: Any = {None: namespace}
    root = etree.Element(f"{{{namespace}}}{local}", nsmap=default)
    _fill(root, namespace, status=status, **({"context": context} if context else {}))
    return root


def _row(root: etree._Element, namespace: str, local: str, /, **fields: str) -> etree._Element:
    row = etree.SubElement(root, f"{{{namespace}}}{local}")
    _fill(row, namespace, **fields)
    return row


def _fill(element: etree._Element, namespace: str, /, **fields: str) -> None:
    for name, content in fields.items():
        etree.SubElement(element, f"{{{namespace}}}{name}").text = content


def _name(full: str) -> dict[str, str]:
    first, _, last = full.partition(" ")
    return {"firstName": first, "lastName": last or first}


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y%m%d%H%M%S")
