"""The proprietary services: authorisations (TD0.3, TD1.6), my dossiers (TD0.4), the patient's web account (TD1.5). Pure.

Names and shapes are those of the types in the services' WSDL (docs/dmp-protocol.md): every answer has one `output` with rows, `status`
and `context`. They are read by local name, so that a namespace of another version does no harm. The patient is in the VIHF, never in
the message.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from itertools import zip_longest
from typing import Any

from lxml import etree

from bilingual.localtime import zone_named
from dmp_connector.errors import BadAnswer, BadIns, refusal
from dmp_connector.model.code import Code
from dmp_connector.model.dossier import Authorisation, AuthorisationStatus, DossierSummary
from dmp_connector.model.people import AUTHOR_SPECIALTIES, INS_OIDS, Ins
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


@dataclass(frozen=True, slots=True)
class DateForms:
    """How dates come in answers: the forms (strptime), and the zone of those that name none."""

    forms: tuple[str, ...] = ("%Y%m%d%H%M%S", "%Y%m%d")
    zone: str = "UTC"


DATES = DateForms()


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


def require_ok(root: etree._Element) -> str:
    """The context of an accepted act, "" without. Raise the error of any status other than DMPOk (its case varies between sources)."""
    output = _output(root)
    status, context = _one(output, "status"), _one(output, "context")
    if not status:
        raise BadAnswer(message("habilitations.answer-without-status"))
    if status.lower() != OK.lower():
        raise refusal(status, context)
    return context


def read_authorisations(root: etree._Element, dates: DateForms = DATES) -> tuple[Authorisation, ...]:
    """TD1.6."""
    require_ok(root)
    return tuple(_authorisation(row, dates) for row in _rows(root, "listOfAuthorizationByPatient"))


def _authorisation(row: etree._Element, dates: DateForms) -> Authorisation:
    codes, labels = _all(row, "codeSpeciality"), _all(row, "libSpeciality")
    mode = _one(row, "mode") or ListMode.ACTIVE.value
    return Authorisation(
        id=_one(row, "nationalId"),
        id_type=_one(row, "nationalIdType"),
        name=" ".join(filter(None, (_one(row, "firstName"), _one(row, "lastName")))),
        specialities=tuple(Code(code, AUTHOR_SPECIALTIES, label) for code, label in zip_longest(codes, labels[: len(codes)], fillvalue="")),
        status=AuthorisationStatus.FORBIDDEN if mode == ListMode.FORBIDDEN else AuthorisationStatus.VALID,
        since=_moment(_one(row, "startOfAuthorization"), dates),
        last_action=_moment(_one(row, "lastActionDate"), dates),
        treating_doctor=TREATING_DOCTOR in _all(row, "specificRight"),
        mode=mode,
    )


def read_patient_list(root: etree._Element, *, oids: Collection[str] = INS_OIDS, dates: DateForms = DATES) -> tuple[DossierSummary, ...]:
    """TD0.4. `oids`: those that count as an INS."""
    require_ok(root)
    return tuple(_summary(row, oids, dates) for row in _rows(root, "patientlistData"))


def _summary(row: etree._Element, oids: Collection[str], dates: DateForms) -> DossierSummary:
    return DossierSummary(
        ins=_ins(row, oids),
        family=_one(row, "lastName"),
        birth_name=_one(row, "patronymicalName"),
        given=_one(row, "firstName"),
        birth_date=_day(_one(row, "dateOfBirth"), dates),
        treating_doctor=bool(_truth(row, "MT")),
        last_access=_moment(_one(row, "lastAccessDate"), dates),
        last_update=_moment(_one(row, "lastUpdateDate"), dates),
        last_document=_moment(_one(row, "lastAddDate"), dates),
        message=bool(_truth(row, "message")),
    )


def _ins(row: etree._Element, oids: Collection[str]) -> Ins | None:
    """None for a patient of whom the DMP names no INS: one of before it only, or of another environment."""
    named = [(_one(i, "nationalId"), _one(i, "nationalIdType")) for i in row if _local(i) == "patientIdentifier"]
    if not any(oid in oids for _, oid in named):
        return None
    try:
        return Ins.among(named, oids=oids)
    except BadIns as error:
        raise BadAnswer(message("habilitations.row-patient-list-no-readable")) from error


def read_access(root: etree._Element) -> PatientAccess:
    """TD1.5a and d."""
    require_ok(root)
    output = _output(root)
    return PatientAccess(_one(output, "login"), _one(output, "password"))


def _local(element: etree._Element) -> str:
    return etree.QName(element).localname if isinstance(element.tag, str) else ""


def _output(root: etree._Element) -> etree._Element:
    found = next((child for child in root if _local(child) == "output"), None)
    if found is None:
        raise BadAnswer(message("habilitations.answer-without-status"))
    return found


def _rows(root: etree._Element, local: str) -> Iterator[etree._Element]:
    return (row for row in _output(root) if _local(row) == local)


def _all(element: etree._Element, local: str) -> list[str]:
    """The text of every child of that local name."""
    return [(child.text or "").strip() for child in element if _local(child) == local]


def _one(element: etree._Element, local: str) -> str:
    """The text of the first child of that local name, "" without."""
    return next(iter(_all(element, local)), "")


def _truth(element: etree._Element, local: str) -> bool | None:
    """An xs:boolean."""
    return {"true": True, "1": True, "false": False, "0": False}.get(_one(element, local).lower())


def _moment(text: str, dates: DateForms) -> datetime | None:
    """A moment, aware; None without."""
    for form in dates.forms if text else ():
        try:
            moment = datetime.strptime(text, form)
        except ValueError:
            continue
        if 1800 <= moment.year <= 2200:
            return (moment if moment.tzinfo else moment.replace(tzinfo=zone_named(dates.zone))).astimezone(UTC)
    if text:
        raise BadAnswer(message("habilitations.date-answer-cannot-read"))
    return None


def _day(text: str, dates: DateForms) -> date | None:
    """A birth date; None without, or when day or month are unknown (00)."""
    if len(text) == 8 and "00" in (text[4:6], text[6:8]) and text.isdigit():
        return None
    moment = _moment(text, replace(dates, zone="UTC"))
    return moment.date() if moment else None
