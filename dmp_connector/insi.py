"""INSi: the qualified identity of a person, by Vitale card or by traits (docs/reference/dmp.md 8.2). Messages here; the call in `Insi`.

urn:ServiceIdentiteCertifiee:1.0.0, SOAP 1.2 with the headers ContexteBAM 01_02 and ContexteLPS 01_00; the
answer is one schema for both ways. An INS from INSi is accepted even when its key is wrong.
"""

from __future__ import annotations

import asyncio
import enum
import uuid
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from xml.sax.saxutils import escape

from lxml import etree

from dmp_connector.errors import BadAnswer, BadInput, BadIns, refusal
from dmp_connector.model.people import INS_OIDS, Ins, InsKind, Patient, Sex, register_name
from dmp_connector.proof import practitioner
from dmp_connector.settings import Limits
from dmp_connector.signer import Signer
from dmp_connector.texts import message
from dmp_connector.wire import soap
from dmp_connector.wire.transport import Exchange

SERVICE = "urn:ServiceIdentiteCertifiee:1.0.0:"
BY_VITALE = f"{SERVICE}rechercherInsAvecCarteVitale"
BY_TRAITS = f"{SERVICE}rechercherInsAvecTraitsIdentite"
WITH_CARD = "http://www.cnamts.fr/INSiRecVit"
WITHOUT_CARD = "http://www.cnamts.fr/INSiRecSans"
RESULT = "http://www.cnamts.fr/INSiResultat"
_CARD_ASSERTION_LIFE = timedelta(minutes=20)  # docs/reference/dmp.md 8.2


class Outcome(enum.StrEnum):
    """CR/CodeCR."""

    FOUND = "00"
    NONE = "01"
    SEVERAL = "02"


@dataclass(frozen=True, slots=True)
class InsiAnswer:
    """`patient`: the active INS with qualified traits, only when FOUND. `history`: older INS of the person."""

    outcome: Outcome
    label: str
    patient: Patient | None = None
    history: tuple[Ins, ...] = ()

    def require_found(self) -> Patient:
        """Raise BadInput unless exactly one person answered."""
        if self.patient is None:
            several = self.outcome is Outcome.SEVERAL
            raise BadInput(message("insi.several-persons" if several else "insi.nobody"))
        return self.patient


@dataclass(frozen=True, slots=True, repr=False)
class VitaleIdentity:
    """The content of the card, unmodified. `number`: the holder's NIR with key; `own_number`: the beneficiary's, if on the card.

    `assertion`: the signed statement of the reading software, refused when older than 20 minutes.
    """

    holder: str
    birth_date: str  # YYYYMMDD, may be a lunar date
    birth_rank: int = 1
    birth_name: str = ""
    own_number: str = ""
    assertion: bytes = b""
    read_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class InsiSettings:
    """`authorisation`: IDAM number of the product. `emitter`: national id of the professional or structure. `ins_oids`: those of an INS."""

    url: str
    authorisation: str = field(repr=False)
    emitter: str
    software: str = "mssgw"
    version: str = "1"
    instance: str = field(default_factory=lambda: str(uuid.uuid4()))
    limits: Limits = field(default_factory=Limits)
    anchors: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    ins_oids: tuple[str, ...] = INS_OIDS


class Insi:
    """The teleservice over one `Exchange` (mutual TLS). One method per operation.

    Who asks is proved by the certificate of the TLS connection (the structure's), or by a SAML assertion that the professional's card
    signs for each call: `holder` and `signer`.
    """

    def __init__(
        self,
        settings: InsiSettings,
        exchange: Exchange,
        *,
        now: Callable[[], datetime] | None = None,
        holder: practitioner.CardHolder | None = None,
        signer: Signer | None = None,
    ) -> None:
        self._settings, self._exchange = settings, exchange
        self._holder, self._signer = holder, signer
        self._now = now or (lambda: datetime.now(UTC))

    async def by_traits(self, family: str, given: str, sex: Sex, birth_date: date, birth_place: str | None = None) -> InsiAnswer:
        """rechercherInsAvecTraitsIdentite. Raises Refused (siram/desir codes as sent), Unavailable, BadAnswer."""
        body = traits_request(family, given, sex, birth_date, birth_place)
        return await self._call(BY_TRAITS, body)

    async def by_vitale(self, card: VitaleIdentity) -> InsiAnswer:
        """rechercherInsAvecCarteVitale. Raises BadInput when the card was read more than 20 minutes ago."""
        if card.read_at and self._now() - card.read_at > _CARD_ASSERTION_LIFE:
            raise BadInput(message("insi.vitale-card-read-more-than"))
        return await self._call(BY_VITALE, vitale_request(card), context=_coverage(card), assertion=card.assertion)

    async def _call(self, action: str, body: etree._Element, *, context: str = "<bam:COUVERTURE/>", assertion: bytes = b"") -> InsiAnswer:
        headers = context_headers(self._settings, self._now(), context)
        own = b""
        if self._holder is not None and self._signer is not None:
            own = await asyncio.to_thread(practitioner.assertion, self._holder, self._signer, self._now())
        envelope = soap.compose(body, action=action, to=self._settings.url, headers=headers, assertion=own + assertion)
        name = f"INSi-{action.rpartition(':')[2]}"
        answer = await self._exchange.post(name, self._settings.url, soap.content_type(action), envelope)
        return read_answer(answer.media_type, answer.body, self._settings.limits, self._settings.ins_oids)


def traits_request(family: str, given: str, sex: Sex, birth_date: date, birth_place: str | None) -> etree._Element:
    """One given name; names in capitals without accents, with their hyphens and apostrophes, as INSi wants them."""
    if sex is Sex.UNKNOWN:
        raise BadInput(message("insi.insi-traits-needs-sex"))
    root = etree.Element(f"{{{WITHOUT_CARD}}}RECSANSVITALE", nsmap={"ins": WITHOUT_CARD})
    children = [
        ("NomNaissance", register_name(family)),
        ("Prenom", register_name(given)),
        ("Sexe", sex.value),
        ("DateNaissance", birth_date.isoformat()),
    ]
    for name, content in [*children, *([("LieuNaissance", birth_place)] if birth_place else [])]:
        etree.SubElement(root, f"{{{WITHOUT_CARD}}}{name}").text = content
    return root


def vitale_request(card: VitaleIdentity) -> etree._Element:
    """Request of INSi by card: the numbers of holder and beneficiary, each with its key when it has one."""
    root = etree.Element(f"{{{WITH_CARD}}}RECVITALE", nsmap={"ins": WITH_CARD})
    for holder, number in (("MatriculeIndividu", card.own_number), ("MatriculeOD", card.holder)):
        if number:
            element = etree.SubElement(root, f"{{{WITH_CARD}}}{holder}")
            etree.SubElement(element, f"{{{WITH_CARD}}}NumIdentifiant").text = number[:13]
            if len(number) == 15:
                etree.SubElement(element, f"{{{WITH_CARD}}}Cle").text = number[13:]
    for name, content in (("NomNaissance", card.birth_name), ("DateNaissance", card.birth_date), ("RangNaissance", str(card.birth_rank))):
        if content:
            etree.SubElement(root, f"{{{WITH_CARD}}}{name}").text = content
    return root


def _coverage(card: VitaleIdentity) -> str:
    own = f"<bam:Nir><bam:Num>{escape(card.own_number)}</bam:Num></bam:Nir>" if card.own_number else ""
    return (
        f"<bam:COUVERTURE><bam:ASSURE><bam:Id><bam:Num>{escape(card.holder)}</bam:Num></bam:Id></bam:ASSURE>"
        f"<bam:BENEFICIAIRE>{own}<bam:DateNai>{escape(card.birth_date)}</bam:DateNai><bam:Rang>{card.birth_rank}</bam:Rang>"
        "</bam:BENEFICIAIRE></bam:COUVERTURE>"
    )


def context_headers(settings: InsiSettings, now: datetime, coverage: str) -> bytes:
    """ContexteBAM and ContexteLPS as header blocks."""
    stamp = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{now.microsecond // 1000:03d}Z"
    emitter = escape(settings.emitter)
    return (
        f'<bam:ContexteBAM xmlns:bam="urn:siram:bam:ctxbam" Version="01_02"><bam:Id>{uuid.uuid4()}</bam:Id><bam:Temps>{stamp}</bam:Temps>'
        f"<bam:Emetteur>{emitter}</bam:Emetteur>{coverage}</bam:ContexteBAM>"
        f'<lps:ContexteLPS xmlns:lps="urn:siram:lps:ctxlps" Nature="CTXLPS" Version="01_00"><lps:Id>{uuid.uuid4()}</lps:Id>'
        f"<lps:Temps>{stamp}</lps:Temps><lps:Emetteur>{emitter}</lps:Emetteur><lps:LPS>"
        f'<lps:IDAM R="4">{escape(settings.authorisation)}</lps:IDAM><lps:Version>{escape(settings.version)}</lps:Version>'
        f"<lps:Instance>{escape(settings.instance)}</lps:Instance><lps:Nom>urn:lps:{escape(settings.software)}:{escape(settings.version)}</lps:Nom>"
        "</lps:LPS></lps:ContexteLPS>"
    ).encode()


def read_answer(media_type: str, body: bytes, limits: Limits | None = None, ins_oids: Collection[str] = INS_OIDS) -> InsiAnswer:
    """Raises the service's fault with its desir code, or BadAnswer: also for an INS under an OID that is not among `ins_oids`."""
    envelope = soap.read(media_type, body, limits or Limits())
    if fault := soap.read_fault(envelope.payload):
        raise refusal(fault.detail_code or (fault.subcodes[-1] if fault.subcodes else fault.code), fault.text, context=fault.detail)
    root = envelope.payload
    if root is None or etree.QName(root).localname != "RESULTAT":
        raise BadAnswer(message("insi.not-insi-answer"))
    code = _text(root, "CR/CodeCR")
    try:
        outcome = Outcome(code)
    except ValueError as error:
        raise refusal(f"INSi-{code}", _text(root, "CR/LibelleCR")) from error
    person = root.find(_path("INDIVIDU"))
    if outcome is not Outcome.FOUND or person is None:
        return InsiAnswer(outcome, _text(root, "CR/LibelleCR"))
    history = tuple(_ins(old) for old in person.findall(_path("INSHISTO")))
    return InsiAnswer(outcome, _text(root, "CR/LibelleCR"), _person(person, ins_oids), history)


def _person(person: etree._Element, ins_oids: Collection[str]) -> Patient:
    active = person.find(_path("INSACTIF"))
    if active is None:
        raise BadAnswer(message("insi.insi-answer-without-active-ins"))
    ins = _ins(active)
    if ins.oid not in ins_oids:
        raise BadAnswer(message("insi.ins-of-another-environment", oid=repr(ins.oid[:40])))
    sex = _text(person, "TIQ/Sexe")
    try:
        birth = date.fromisoformat(_text(person, "TIQ/DateNaissance"))
    except ValueError as error:
        raise BadAnswer(message("insi.birth-date-insi-answer-cannot")) from error
    return Patient(
        ins=ins,
        birth_name=_text(person, "TIQ/NomNaissance"),
        given_names=_text(person, "TIQ/ListePrenom") or _text(person, "TIQ/Prenom"),
        birth_date=birth,
        sex=Sex(sex) if sex in ("M", "F") else Sex.UNKNOWN,
        birth_place=_text(person, "TIQ/LieuNaissance") or None,
    )


def _ins(element: etree._Element) -> Ins:
    value = _text(element, "IdIndividu/NumIdentifiant") + _text(element, "IdIndividu/Cle")
    try:
        return Ins.received(value, _text(element, "OID") or InsKind.NIR)
    except BadIns as error:
        raise BadAnswer(message("insi.ins-insi-answer-cannot-read")) from error


def _path(path: str) -> str:
    return "/".join(f"{{{RESULT}}}{step}" for step in path.split("/"))


def _text(element: etree._Element, path: str) -> str:
    return (element.findtext(_path(path)) or "").strip()
