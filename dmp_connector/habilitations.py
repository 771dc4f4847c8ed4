"""The proprietary services: authorisations (TD0.3, TD1.6), my dossiers (TD0.4), the patient's web account (TD1.5). Pure.

Their WSDL is not public; element names are those of the editors' kits (docs/reference/dmp.md 1.4). Answers are read by local
name, so that a namespace we do not know does no harm. The patient is in the VIHF, never in the message.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

from lxml import etree

from dmp_connector.errors import BadAnswer, BadIns, refusal
from dmp_connector.model.code import Code
from dmp_connector.model.dossier import Authorisation, AuthorisationStatus, DossierSummary
from dmp_connector.model.people import Ins, InsKind
from dmp_connector.texts import message

RIGHTS = "urn:si-dmp-habilitations"
PATIENTS = "urn:si-dmp-patients"
SET_AUTHORISATION = f"{RIGHTS}:HabilitationsEndPoint:setAuthorization"
LIST_AUTHORISATIONS = f"{RIGHTS}:HabilitationsEndPoint:listAuthorizationByPatient"
PATIENT_LIST = f"{PATIENTS}:PatientSpecificEndPoint:patientList"
CREATE_ACCESS = f"{PATIENTS}:PatientSpecificEndPoint:createPatientAccess"
UPDATE_OTP = f"{PATIENTS}:PatientSpecificEndPoint:patientOTPUpdate"
UNBLOCK_ACCESS = f"{PATIENTS}:PatientSpecificEndPoint:updatePatientAccess"
OK = "DMPOk"
TREATING_DOCTOR = "MEDECIN_TRAITANT"


class ListBy(enum.StrEnum):
    """TD0.4 dateType. (LASTAUTORIZATION is spelled so.)"""

    LAST_AUTHORISATION = "LASTAUTORIZATION"
    LAST_DOCUMENT = "LASTDOC"


class ListMode(enum.StrEnum):
    """TD1.6 mode."""

    ACTIVE = "ACTIVE"
    FORBIDDEN = "INTERDITE"
    ALL = "TOUTE"


class OtpChannel(enum.StrEnum):
    """How a one-time code reaches the patient."""

    EMAIL = "EMAIL"
    SMS = "SMS"


@dataclass(frozen=True, slots=True)
class PatientAccess:
    """TD1.5: the web account of a patient. The secrets go into one document for the patient and nowhere else."""

    login: str
    password: str = field(default="", repr=False)


def set_authorisation(*, remove: bool, treating_doctor: bool) -> etree._Element:
    """Request of TD0.3: add or remove the caller's authorisation, or only the role of treating doctor."""
    children = [("action", "SUPPRESSION" if remove else "AJOUT")]
    return _request(RIGHTS, "setAuthorization", *children, *([("role", TREATING_DOCTOR)] if treating_doctor else []))


def list_authorisations(mode: ListMode) -> etree._Element:
    """Request of TD1.6: the authorised professionals, the blocked ones, or both."""
    return _request(RIGHTS, "listAuthorizationByPatient", ("mode", mode.value))


def patient_list(since: date, by: ListBy, date_format: str, owner: str = "") -> etree._Element:
    """Request of TD0.4. `since`: first day, written in `date_format` (strftime); `owner`: whose list, "" for the caller's."""
    children = [("startDate", since.strftime(date_format)), ("dateType", by.value)]
    return _request(PATIENTS, "patientList", *children, *([("psOwnerId", owner)] if owner else []))


def create_access(channel: OtpChannel, address: str) -> etree._Element:
    """Request of TD1.5a: a web account. `address`: an e-mail address or a telephone number, by the channel."""
    return _request(PATIENTS, "createPatientAccess", ("otpChannelType", channel.value), ("otpChannelValue", address))


def update_otp(channel: OtpChannel, address: str, *, change: bool) -> etree._Element:
    """Request of TD1.5b: another channel for the one-time code, added or changed."""
    action = "MODIFICATION" if change else "AJOUT"
    return _request(PATIENTS, "patientOTPUpdate", ("otpChannelType", channel.value), ("otpChannelValue", address), ("action", action))


def unblock_access() -> etree._Element:
    """Request of TD1.5c: unblock the web account."""
    return _request(PATIENTS, "updatePatientAccess")


def _request(namespace: str, local: str, /, *children: tuple[str, str]) -> etree._Element:
    default: Any = {None: namespace}
    root = etree.Element(f"{{{namespace}}}{local}", nsmap=default)
    for name, content in children:
        etree.SubElement(root, f"{{{namespace}}}{name}").text = content
    return root


def require_ok(root: etree._Element) -> None:
    """Raise the error of any status other than DMPOk (its case varies between sources)."""
    status = _one(root, "status")
    if not status:
        raise BadAnswer(message("habilitations.answer-without-status"))
    if status.lower() != OK.lower():
        raise refusal(status, _one(root, "context"))


def read_authorisations(root: etree._Element) -> tuple[Authorisation, ...]:
    """TD1.6."""
    require_ok(root)
    found = []
    for row in _rows(root, "nationalId"):
        speciality = _one(row, "specialty") or _one(row, "speciality")
        mode = _one(row, "mode") or ListMode.ACTIVE.value
        found.append(
            Authorisation(
                id=_one(row, "nationalId"),
                name=" ".join(filter(None, (_one(row, "firstName"), _one(row, "lastName")))),
                speciality=Code(speciality, "", speciality) if speciality else None,
                status=AuthorisationStatus.FORBIDDEN if mode.startswith("INTERDIT") else AuthorisationStatus.VALID,
                since=_moment(_one(row, "startDate")),
                until=_moment(_one(row, "endDate")),
                treating_doctor=_one(row, "specificRight") == TREATING_DOCTOR,
                mode=mode,
            )
        )
    return tuple(found)


def read_patient_list(root: etree._Element) -> tuple[DossierSummary, ...]:
    """TD0.4."""
    require_ok(root)
    found = []
    for row in _rows(root, "nationalId"):
        kind = _one(row, "nationalIdType")
        try:
            ins = Ins.received(_one(row, "nationalId"), kind if re.fullmatch(r"[0-9.]+", kind) else InsKind.NIR)
        except BadIns as error:
            raise BadAnswer(message("habilitations.row-patient-list-no-readable")) from error
        birth = _moment(_one(row, "dateOfBirth"))
        found.append(
            DossierSummary(
                ins=ins,
                family=_one(row, "lastName"),
                given=_one(row, "firstName"),
                birth_date=birth.date() if birth else None,
                treating_doctor=_one(row, "specificRight") == TREATING_DOCTOR or _one(row, "medecinTraitant").lower() == "true",
                last_access=_moment(_one(row, "lastAccessDate")),
                last_update=_moment(_one(row, "lastUpdateDate")),
                last_document=_moment(_one(row, "lastAddDate")),
                message=_one(row, "message"),
            )
        )
    return tuple(found)


def read_access(root: etree._Element) -> PatientAccess:
    """TD1.5a and d."""
    require_ok(root)
    return PatientAccess(_one(root, "login"), _one(root, "password"))


def _local(element: etree._Element) -> str:
    return etree.QName(element).localname if isinstance(element.tag, str) else ""


def _one(element: etree._Element, local: str) -> str:
    """Text of the first descendant of that local name."""
    return next(((e.text or "").strip() for e in element.iter() if _local(e) == local), "")


def _rows(root: etree._Element, key: str) -> Iterator[etree._Element]:
    """Every element that has a child of that local name."""
    return (e for e in root.iter() if any(_local(child) == key for child in e))


_DATE_FORMS = ("%d%m%Y", "%d/%m/%Y", "%Y%m%d%H%M%S", "%Y%m%d")


def _moment(text: str) -> datetime | None:
    """Dates come in UTC, in one of four forms or ISO 8601, depending on the source."""
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text) if "-" in text else None
    except ValueError:
        moment = None
    for form in () if moment else _DATE_FORMS:
        try:
            moment = datetime.strptime(text, form)
        except ValueError:
            continue
        if 1800 <= moment.year <= 2200:
            break
        moment = None
    if moment is None:
        raise BadAnswer(message("habilitations.date-answer-cannot-read"))
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
