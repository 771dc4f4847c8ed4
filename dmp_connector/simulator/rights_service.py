"""The proprietary services: TD0.3, TD1.6 (habilitations), TD0.4, TD1.5 (patientsSpecific)."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

from lxml import etree

from dmp_connector.errors import Refused, refusal
from dmp_connector.habilitations import OK, PATIENTS, RIGHTS, TREATING_DOCTOR
from dmp_connector.model.code import Code
from dmp_connector.model.documents import PS_AUTHORITY, STRUCTURE_AUTHORITY
from dmp_connector.model.dossier import AuthorisationStatus
from dmp_connector.model.people import AccessMode, InsKind
from dmp_connector.simulator.gate import Visitor
from dmp_connector.simulator.rights import Column, Reach, Right, deny, reach
from dmp_connector.simulator.world import Grant, Record, World, old_identifier


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
        holder, context = visitor.imputed_to, ""
        if remove and treating:
            record.everybody_treats = False
            if holder in record.grants:
                record.grants[holder].treating_doctor = False
        elif remove:
            record.grants.pop(holder, None)
            record.everybody = None
        else:
            kept = record.treats(holder, now)
            if holder in record.grants and record.grants[holder].status(now) is AuthorisationStatus.VALID and kept >= treating:
                context = "Autorisation déjà présente aucune action effectuée"
            until = now + timedelta(days=self._days)
            record.grants[holder] = Grant(visitor.name, visitor.speciality, now, until, treating or kept)
        return _answer(RIGHTS, "setAuthorizationResponse", OK, context)

    def list_authorisations(self, payload: etree._Element, visitor: Visitor) -> etree._Element:
        """TD1.6."""
        record = require_active(self._world, visitor)
        now = self._world.now()
        if reach(Right.PROFESSIONALS, visitor.column(record, now)) is Reach.NONE:
            raise deny(Right.PROFESSIONALS)
        mode = _child(payload, "mode")
        rows: list[etree._Element] = []
        for holder, grant in record.grants.items() if mode in ("ACTIVE", "TOUTE") else ():
            if grant.status(now) is AuthorisationStatus.VALID:
                last = _stamp(grant.last_access) if grant.last_access else ""
                acted = {"startOfAuthorization": _stamp(grant.since), "lastActionDate": last}
                rows.append(_authorised(holder, grant.name, grant.speciality, "ACTIVE", treats=grant.treating_doctor, **acted))
        if mode in ("ACTIVE", "TOUTE") and visitor.id not in record.grants and record.everybody is AuthorisationStatus.VALID:
            # Where TD0.2 answers VALIDE to whoever asks, the list names the one who asks.
            rows.append(_authorised(visitor.id, visitor.name, visitor.speciality, "ACTIVE", treats=record.everybody_treats))
        for holder, name in record.blocked.items() if mode in ("INTERDITE", "TOUTE") else ():
            rows.append(_authorised(holder, name, None, "INTERDITE"))
        return _answer(RIGHTS, "listAuthorizationByPatientResponse", OK, "", *rows)

    def patient_list(self, payload: etree._Element, visitor: Visitor) -> etree._Element:
        """TD0.4: dossiers whose authorisation or last document is not older than the date asked."""
        now = self._world.now()
        regulation = visitor.mode is AccessMode.CENTRE_15
        if reach(Right.LIST, visitor.column(None, now), regulation=regulation) is Reach.NONE:
            raise deny(Right.LIST)
        try:
            since = datetime.strptime(_child(payload, "startDate"), "%Y%m%d%H%M%S").replace(tzinfo=UTC)
        except ValueError as error:
            raise refusal("SIMBadDate", "startDate : AAAAMMJJhhmmss attendu") from error
        by_document = _child(payload, "dateType") == "LASTDOC"
        if by_document and visitor.column(None, now) is Column.STRUCTURE:
            raise deny(Right.LIST, "par date d'autorisation seulement")
        rows: list[etree._Element] = []
        for record in self._world.records.values():
            if not record.exists or record.authorisation(visitor.id, visitor.structure, now=now) is not AuthorisationStatus.VALID:
                continue
            grant = record.grants.get(visitor.id) or record.grants.get(visitor.structure)
            last = max((s.current.submitted.at for s in record.documents.current() if s.current.submitted), default=None)
            date = last if by_document else grant.since if grant else now
            if date is None or date < since:
                continue
            rows.append(self._listed(record, visitor, grant, last))
        return _answer(PATIENTS, "patientListResponse", OK, "", *rows)

    def _listed(self, record: Record, visitor: Visitor, grant: Grant | None, last: datetime | None) -> etree._Element:
        """A row of TD0.4: both identifiers of the patient, the older one first, as the DMP sends them."""
        traits = record.data.patient
        row = etree.Element(f"{{{PATIENTS}}}patientlistData")
        for oid, number in ((InsKind.INS_C.value, old_identifier(traits.ins)), (traits.ins.oid, traits.ins.value)):
            _fill(_below(row, PATIENTS, "patientIdentifier"), PATIENTS, nationalId=number, nationalIdType=oid)
        _fill(row, PATIENTS, lastName=traits.used_name or traits.birth_name)
        if traits.used_name:
            _fill(row, PATIENTS, patronymicalName=traits.birth_name)
        _fill(row, PATIENTS, firstName=traits.first_given, dateOfBirth=f"{traits.birth_date:%Y%m%d}")
        _fill(row, PATIENTS, MT=str(record.treats(visitor.id, self._world.now())).lower(), message="false")
        if grant and grant.last_access:
            _fill(row, PATIENTS, lastAccessDate=_stamp(grant.last_access))
        if last:
            _fill(row, PATIENTS, lastUpdateDate=_stamp(last), lastAddDate=_stamp(last))
        return row

    def create_access(self, payload: etree._Element, visitor: Visitor) -> etree._Element:
        """TD1.5a (legacy)."""
        record = self._managed(visitor)
        if record.access is not None:
            return _answer(PATIENTS, "createPatientAccessResponse", "DMPPatientAccessAlreadyExists")
        channel = _child(payload, "otpChannelType")
        record.access = {"login": f"patient{secrets.randbelow(10**8):08d}", channel: _child(payload, "otpChannelValue")}
        return _secrets("createPatientAccessResponse", record.access["login"])

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
        return _secrets("updatePatientAccessResponse", record.access["login"])

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


def _answer(namespace: str, local: str, status: str, context: str = "", *rows: etree._Element) -> etree._Element:
    """One `output`: rows, then `status` and `context`, in the order of the WSDL's types."""
    default: Any = {None: namespace}
    root = etree.Element(f"{{{namespace}}}{local}", nsmap=default)
    output = _below(root, namespace, "output")
    output.extend(rows)
    _fill(output, namespace, status=status, context=context)
    return root


def _authorised(holder: str, name: str, speciality: Code | None, mode: str, *, treats: bool = False, **dates: str) -> etree._Element:
    """A row of TD1.6. `dates`: startOfAuthorization, lastActionDate, "" for none."""
    row = etree.Element(f"{{{RIGHTS}}}listOfAuthorizationByPatient")
    issuer = STRUCTURE_AUTHORITY if holder.startswith(("1", "4")) else PS_AUTHORITY
    first, _, last = name.partition(" ")
    _fill(row, RIGHTS, nationalId=holder, nationalIdType=issuer, firstName=first, lastName=last or first)
    if speciality:
        _fill(row, RIGHTS, codeSpeciality=f"G15_10/{speciality.code}", libSpeciality=f"Médecin - {speciality.label}")
    _fill(row, RIGHTS, **{field: moment for field, moment in dates.items() if moment}, mode=mode)
    if treats:
        _fill(row, RIGHTS, specificRight=TREATING_DOCTOR)
    return row


def _secrets(local: str, login: str) -> etree._Element:
    """TD1.5: what the patient is given, before the status."""
    root = _answer(PATIENTS, local, OK)
    for place, (name, text) in enumerate((("login", login), ("password", secrets.token_urlsafe(9)))):
        element = etree.Element(f"{{{PATIENTS}}}{name}")
        element.text = text
        root[0].insert(place, element)
    return root


def _below(parent: etree._Element, namespace: str, local: str) -> etree._Element:
    return etree.SubElement(parent, f"{{{namespace}}}{local}")


def _fill(element: etree._Element, namespace: str, /, **fields: str) -> None:
    for name, content in fields.items():
        etree.SubElement(element, f"{{{namespace}}}{name}").text = content


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y%m%d%H%M%S")
