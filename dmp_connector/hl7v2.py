"""What a hospital sends in HL7 v2: the patient's decisions (PAM ZFA), the outcome of a document (ZAM, ACK), where it may go. Pure.

ER7 as real senders write it: any line end, any delimiters of MSH-2, Latin-1 or UTF-8 by MSH-18, missing fields.
Reads only; volets "Transmission de documents CDA en HL7 v2" 2.1 and PAM-FR 2.11. Nothing calls it yet: it waits for the HL7 v2 part, which
brings the transport (MLLP) and the acts that follow from a message.
"""

from __future__ import annotations

import base64
import binascii
import enum
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from dmp_connector import texts
from dmp_connector.errors import BadDocument, BadInput, BadIns
from dmp_connector.model.documents import Dtm, Visibility
from dmp_connector.model.people import Ins, InsKind, LocalId, Patient, Sex

_MAX_BYTES = 80 * 1024 * 1024
_INS_OIDS = frozenset(kind.value for kind in InsKind)


@dataclass(frozen=True, slots=True)
class Segment:
    """One line. Fields count from 1 as in the standard; a missing one is empty."""

    name: str
    fields: tuple[str, ...]
    delimiters: str  # component, repetition, escape, subcomponent

    def __getitem__(self, number: int) -> str:
        return self.fields[number - 1] if number <= len(self.fields) else ""

    def repetitions(self, number: int) -> list[str]:
        """The repetitions of a field, none when it is empty."""
        return self[number].split(self.delimiters[1]) if self[number] else []

    def component(self, number: int, part: int) -> str:
        """A component of a field, both counted from 1; "" when it is not there."""
        return self.part(self[number], part)

    def part(self, text: str, part: int) -> str:
        """A component of a repetition, escapes resolved."""
        parts = text.split(self.delimiters[0])
        return self._plain(parts[part - 1]) if part <= len(parts) else ""

    def subcomponent(self, text: str, number: int) -> str:
        """A subcomponent of a component's text, counted from 1; "" when it is not there."""
        parts = text.split(self.delimiters[3])
        return parts[number - 1] if number <= len(parts) else ""

    def _plain(self, text: str) -> str:
        escape = re.escape(self.delimiters[2])
        codes = {"F": "|", "S": self.delimiters[0], "T": self.delimiters[3], "R": self.delimiters[1], "E": self.delimiters[2]}
        return re.sub(rf"{escape}([FSTRE]){escape}", lambda found: codes[found[1]], text)


@dataclass(frozen=True, slots=True)
class Message:
    """A message as its segments; the first one is MSH."""

    segments: tuple[Segment, ...]

    @property
    def kind(self) -> str:
        """MSH-9: `ZAM^Z01^ZAM_Z01`."""
        return self.segments[0][9]

    @property
    def control_id(self) -> str:
        """MSH-10."""
        return self.segments[0][10]

    def first(self, name: str) -> Segment | None:
        """The first segment of this name, None without."""
        return next((s for s in self.segments if s.name == name), None)

    def all(self, name: str) -> Iterator[Segment]:
        """Every segment of this name, in order."""
        return (s for s in self.segments if s.name == name)


def parse(data: bytes) -> Message:
    """Raises BadInput when it is not HL7 v2 or too large."""
    if len(data) > _MAX_BYTES:
        raise BadInput(texts.message("hl7v2.bytes-hl7-v2-where-allowed", size=len(data), max_bytes=_MAX_BYTES))
    data = data.removeprefix(b"\xef\xbb\xbf").lstrip(b"\x0b\r\n ")
    if not data.startswith(b"MSH") or len(data) < 9:
        raise BadInput(texts.message("hl7v2.not-hl7-v2-message-does"))
    separator, delimiters = chr(data[3]), data[4:8].decode("latin-1")
    if len({separator, *delimiters}) != 5 or any(c.isalnum() or c.isspace() for c in separator + delimiters):
        raise BadInput(texts.message("hl7v2.delimiters-msh-not-five-different"))
    head = data.splitlines()[0].split(data[3:4])
    charset = head[17] if len(head) > 17 else b""
    text = data.decode("latin-1" if b"8859" in charset else "utf-8", "replace")
    segments = []
    for line in re.split(r"[\r\n\x1c]+", text):
        name, *fields = line.split(separator)
        if re.fullmatch(r"[A-Z][A-Z0-9]{2}", name):
            segments.append(Segment(name, (separator, *fields) if name == "MSH" else tuple(fields), delimiters))
    return Message(tuple(segments))


def patient(message: Message) -> Patient:
    """PID: the INS of PID-3, birth name and given names (PID-5 type L), birth place (PID-11 type BDL)."""
    pid = message.first("PID")
    if pid is None:
        raise BadInput(texts.message("hl7v2.no-pid-segment"))
    ins, local = None, None
    for text in pid.repetitions(3):
        value, authority = pid.part(text, 1), text.split(pid.delimiters[0])[3] if text.count(pid.delimiters[0]) > 2 else ""
        oid = pid.subcomponent(authority, 2)
        if oid in _INS_OIDS:
            ins = _ins(value, oid)
        elif pid.part(text, 5) == "PI":
            local = LocalId(value, oid)
    if ins is None:
        raise BadInput(texts.message("hl7v2.pid-3-holds-no-ins"))
    names = pid.repetitions(5)
    birth = next((n for n in names if pid.part(n, 7) == "L"), names[0] if names else "")
    used = next((pid.part(n, 1) for n in names if pid.part(n, 7) == "D"), None)
    place = next((pid.part(a, 9) for a in pid.repetitions(11) if pid.part(a, 7) == "BDL"), None)
    sex = pid[8]
    return Patient(
        ins=ins,
        birth_name=pid.part(birth, 1),
        given_names=pid.part(birth, 3) or pid.part(birth, 2),
        birth_date=_day(pid[7]),
        sex=Sex(sex) if sex in ("M", "F") else Sex.UNKNOWN,
        birth_place=place or None,
        used_name=used,
        local_id=local,
    )


class FeedingWill(enum.StrEnum):
    """ZFA-9: opposition to feeding the DMP."""

    NOT_OPPOSED = "INO"
    OPPOSED = "IO"
    NOT_ASKED = "NA"


class ConsultationWill(enum.StrEnum):
    """ZFA-11: consent to consultation."""

    CONSENTS = "IC"
    REFUSES = "INC"
    NOT_ASKED = "NA"


@dataclass(frozen=True, slots=True)
class Will:
    """Feeding and consulting are two decisions (docs/reference/dmp.md 7.1, 7.3), each with its own date."""

    feeding: FeedingWill
    feeding_at: Dtm | None
    consultation: ConsultationWill
    consultation_at: Dtm | None
    active: bool  # ZFA-1: the dossier exists and is active


def will(message: Message) -> Will | None:
    """ZFA of a PAM message; None when it is empty. Raises BadInput on an unknown code."""
    zfa = message.first("ZFA")
    if zfa is None:
        return None
    try:
        feeding, consultation = FeedingWill(zfa[9] or "NA"), ConsultationWill(zfa[11] or "NA")
    except ValueError as error:
        raise BadInput(texts.message("hl7v2.zfa", error=str(error))) from error
    return Will(feeding, _time(zfa[10]), consultation, _time(zfa[12]), zfa[1] == "ACTIF")


@dataclass(frozen=True, slots=True)
class Feedback:
    """ZAM or ACK: the outcome of the message `of`. `errors`: (code, text, table) as sent, DMP codes among them."""

    kind: str  # ACK_RECEPTION_DMP, ACK_RECEPTION_MSS, ACK_LECTURE_MSS, ACK
    of: str
    accepted: bool
    errors: tuple[tuple[str, str, str], ...] = ()
    recipient: str = ""  # MSSanté address


def feedback(message: Message) -> Feedback:
    """Raises BadInput when the message is neither ZAM nor ACK."""
    errors = tuple((e.component(5, 1), e.component(5, 2), e.component(5, 3)) for e in message.all("ERR"))
    family = message.kind.partition("^")[0]
    if family == "ACK" and (msa := message.first("MSA")):
        return Feedback("ACK", msa[2], msa[1] in ("AA", "CA"), errors)
    if family != "ZAM":
        raise BadInput(texts.message("hl7v2.neither-acknowledgement-nor-business-feedback", kind=message.kind))
    seen = [(obx.component(3, 1), obx) for obx in message.all("OBX")]
    told = next(((code, obx) for code, obx in seen if code.startswith("ACK_")), None)
    if told is None:
        raise BadInput(texts.message("hl7v2.zam-message-without-ack-observation"))
    recipient = next((obx.component(5, 4) or obx.component(5, 3) for code, obx in seen if code.endswith("_MSS") and "@" in obx[5]), "")
    code, obx = told
    return Feedback(code, obx[4], obx.component(5, 1) == "Y", errors, recipient)


@dataclass(frozen=True, slots=True)
class Transmission:
    """A document with where it may go: MDM or ORU with its MetaDMPMSS observations."""

    document: bytes
    visibility: frozenset[Visibility]
    secret: bool
    change_confidentiality: bool
    to_dmp: bool
    to_professionals: bool
    to_patient: bool


_VISIBILITY = {
    "MASQUE_PS": Visibility.MASKED,
    "INVISIBLE_PATIENT": Visibility.HIDDEN_FROM_PATIENT,
    "INVISIBLE_REP_LEGAUX": Visibility.HIDDEN_FROM_REPRESENTATIVES,  # spelled otherwise in XDS (docs/reference/dmp.md 3.4)
    "INVISIBLE_REPRENSANTS_LEGAUX": Visibility.HIDDEN_FROM_REPRESENTATIVES,  # seen in the field
}


def transmission(message: Message) -> Transmission:
    """Raises BadInput without document, BadDocument when it cannot be decoded."""
    flags = {obx.component(3, 1): obx.component(5, 1) == "Y" for obx in message.all("OBX") if obx[2] in ("CWE", "CE")}
    embedded = next((obx for obx in message.all("OBX") if obx[2] == "ED" and not obx.component(3, 1).startswith("CORPSMAIL")), None)
    if embedded is None:
        raise BadInput(texts.message("hl7v2.no-obx-holds-document"))
    raw = embedded[5]
    content = raw.rpartition(embedded.delimiters[0])[2] if embedded.delimiters[0] in raw else raw
    try:
        document = base64.b64decode("".join(content.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadDocument(texts.message("hl7v2.document-hl7-v2-message-not")) from error
    return Transmission(
        document=document,
        visibility=frozenset(v for code, v in _VISIBILITY.items() if flags.get(code)),
        secret=flags.get("CONNEXION_SECRETE", False),
        change_confidentiality=flags.get("MODIF_CONF_CODE", False) or flags.get("MODIF_CONFIDENTIALITYCODE", False),
        to_dmp=flags.get("DESTDMP", False),
        to_professionals=flags.get("DESTMSSANTEPS", False),
        to_patient=flags.get("DESTMSSANTEPAT", False),
    )


def _ins(value: str, oid: str) -> Ins:
    try:
        return Ins.received(value, oid)
    except BadIns as error:
        raise BadInput(texts.message("hl7v2.pid-3", error=error.detail)) from error


def _day(text: str) -> date:
    try:
        return date(int(text[:4]), int(text[4:6]), int(text[6:8]))
    except ValueError as error:
        raise BadInput(texts.message("hl7v2.pid-7-not-date")) from error


def _time(text: str) -> Dtm | None:
    try:
        return Dtm.parse(text) if text else None
    except BadDocument as error:
        raise BadInput(error.detail) from error
