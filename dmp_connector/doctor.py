"""Checks whether this workstation is ready: service, readers, modules, card, Vitale, relay, validation. Changes nothing, asks no PIN.

Each check is a line: what, whether it holds, what was seen, and what to do when it does not. `needed` marks
a check without which the DMP cannot be used.
"""

from __future__ import annotations

import platform
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from importlib.util import find_spec
from pathlib import Path

from cryptography import x509

from dmp_connector import codes
from dmp_connector.card.pkcs11 import KNOWN_MODULES, Pkcs11CardReader
from dmp_connector.card.readers import Pair, pair, slots
from dmp_connector.card.tls_relay import ENGINES
from dmp_connector.card.vitale import ExternalVitaleReader, PcscVitaleReader, VitaleKind, VitaleReader
from dmp_connector.errors import DmpError
from dmp_connector.texts import Message, message
from dmp_connector.validate.kit import GENERIC, Kit


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at. `holds`: it is as it should be; `seen`: what was found; `needed`: without it the configured acts fail."""

    name: Message
    holds: bool
    seen: Message
    advice: Message | None = None
    needed: bool = True

    @property
    def mark(self) -> str:
        """For people: holds, missing, or missing and not needed."""
        return "✔" if self.holds else "✘" if self.needed else "–"


@dataclass(frozen=True, slots=True)
class Station:
    """What to look at; None or "" where nothing is configured."""

    module: Path | None = None
    card_reader: str = ""
    vitale_reader: str = ""
    vitale_command: tuple[str, ...] = ()
    certificate: Path | None = None
    anchors: Path | None = None
    kit: Path | None = None
    production: bool = False
    by_card: bool = False  # somebody acts with a card in a reader of this workstation
    stunnel: str = "stunnel4"
    value_sets: Path | None = None


def examine(station: Station, now: datetime) -> tuple[Check, ...]:
    """Every check, in the order in which one depends on another."""
    return tuple(_checks(station, now))


def _checks(station: Station, now: datetime) -> Iterator[Check]:
    yield Check(
        message("doctor.workstation"),
        True,
        message("words", words=f"{platform.system()} {platform.release()}, Python {platform.python_version()}"),
        needed=False,
    )
    found, readers = _readers(station)
    yield from readers
    yield from _components(station)
    if station.module or any(m.is_file() for m in KNOWN_MODULES):
        yield _card(station, now)
    yield _vitale(station, found)
    if station.certificate is not None:
        yield _certificate(message("doctor.certificate"), station.certificate, now)
    if station.anchors is not None:
        yield _certificate(message("doctor.authorities"), station.anchors, now)
    yield _value_sets(station.value_sets)


def _readers(station: Station) -> tuple[Pair | None, list[Check]]:
    try:
        seen = slots()
        found = pair(seen, professional=station.card_reader, vitale=station.vitale_reader)
    except DmpError as error:
        advice = message("doctor.connect-reader")
        return None, [Check(message("doctor.readers"), False, error.message, advice, needed=station.by_card)]
    kind = message("doctor.two-slots") if found.bi_slot else message("doctor.readers-seen", count=len({s.device for s in seen}))
    listed = tuple(message("doctor.slot-with-card", name=s.name) if s.atr else message("words", words=s.name) for s in seen)
    return found, [Check(message("doctor.readers"), True, message("at", place=kind, what=listed), needed=False)]


def _components(station: Station) -> Iterator[Check]:
    module = station.module or next((m for m in KNOWN_MODULES if m.is_file()), None)
    present = module is not None and module.is_file()
    advice = message("doctor.install-module")
    configured = station.by_card or station.module is not None
    yield Check(message("doctor.module"), present, _seen(module), None if present else advice, needed=configured)
    for name, spec in (("python-pkcs11", "pkcs11"), ("pyscard", "smartcard"), ("saxonche", "saxonche"), ("weasyprint", "weasyprint")):
        there = find_spec(spec) is not None
        needed = station.by_card and name in {"python-pkcs11", "pyscard"}
        get = None if there else message("doctor.install-package", name=name)
        yield Check(message("words", words=name), there, message("doctor.installed" if there else "doctor.absent"), get, needed=needed)
    program = shutil.which(station.stunnel)
    relay = station.by_card and station.certificate is None  # the card's own key makes the TLS connection
    install = None if program else message("doctor.install-stunnel")
    yield Check(message("words", words="stunnel"), program is not None, _seen(program), install, needed=relay)
    engine = next((e for e in ENGINES if e.is_file()), None)
    yield Check(
        message("doctor.engine"),
        engine is not None,
        _seen(engine),
        None if engine else message("doctor.install-engine"),
        needed=relay,
    )
    yield _kit(station.kit)


def _seen(found: Path | str | None) -> Message:
    return message("words", words=found) if found else message("doctor.absent")


def _value_sets(own: Path | None) -> Check:
    """Which tables, their dates, and which of their codes are unconfirmed."""
    try:
        tables = codes.load(own)
    except DmpError as error:
        return Check(message("doctor.value-sets"), False, message("words", words=own or ""), error.message)
    sets = [s for s in (getattr(tables, f.name) for f in fields(tables)) if isinstance(s, codes.ValueSet)]
    oldest = min(sets, key=lambda s: s.date)
    doubt = ", ".join(f"{s.name} ({len(s.unconfirmed)} codes)" for s in sets if s.unconfirmed)
    advice = message("doctor.unconfirmed-codes", sets=doubt) if doubt else None
    seen = message("doctor.value-sets-seen", count=len(tables.versions), oldest=oldest.name, date=oldest.date)
    return Check(message("doctor.value-sets"), True, seen, advice, needed=False)


def _kit(folder: Path | None) -> Check:
    """The parts of the ANS kit, by name: what is not installed is not checked."""
    name = message("doctor.kit")
    if folder is None:
        return Check(name, False, message("doctor.not-installed"), message("doctor.kit-optional"), needed=False)
    try:
        kit = Kit(folder)
    except DmpError as error:
        return Check(name, False, message("words", words=folder), error.message)
    absent, models = kit.missing_for_all, kit.missing_models
    parts = len(GENERIC) + 1
    seen = message("doctor.kit-seen", folder=folder, there=parts - len(absent), parts=parts, count=len(models))
    advice = message("doctor.kit-lacks", names=(*absent, *models)) if absent or models else None
    return Check(name, not absent, seen, advice, needed=False)


def _card(station: Station, now: datetime) -> Check:
    module = station.module or next(m for m in KNOWN_MODULES if m.is_file())
    try:
        with Pkcs11CardReader(module, reader=station.card_reader) as reader:
            card = reader.see()
        card.require_valid(now)
    except DmpError as error:
        return Check(message("doctor.card"), False, error.message, needed=station.by_card)
    tries = message("doctor.unknown") if card.tries_left is None else card.tries_left
    who = card.practitioner()
    return Check(
        message("doctor.card"),
        card.tries_left != 0,
        message(
            "doctor.card-seen",
            who=f"{who.given} {who.family} ({who.id})",
            kind="CPE" if card.is_staff_card else "CPS",
            until=card.valid_until.date(),
            tries=tries,
        ),
        message("doctor.card-locked") if card.tries_left == 0 else None,
        needed=station.by_card,
    )


def _vitale(station: Station, found: Pair | None) -> Check:
    reader: VitaleReader | None = None
    if station.vitale_command:
        reader = ExternalVitaleReader(station.vitale_command)
    elif found is not None and (found.vitale or found.professional):
        slot = found.vitale or found.professional
        reader = PcscVitaleReader(slot) if slot is not None else None
    if reader is None:
        return Check(message("doctor.vitale"), False, message("doctor.no-reader"), message("doctor.vitale-reader"), needed=False)
    try:
        card = reader.read()
    except DmpError as error:
        return Check(message("doctor.vitale"), False, error.message, needed=False)
    if station.production and card.kind is not VitaleKind.REAL:
        return Check(
            message("doctor.vitale"), False, message(f"doctor.vitale-{card.kind.name.lower()}"), message("doctor.refused-in-production")
        )
    seen = message("doctor.vitale-seen", count=len(card.beneficiaries), kind=message(f"doctor.vitale-{card.kind.name.lower()}"))
    return Check(message("doctor.vitale"), True, seen, needed=False)


def _certificate(name: Message, path: Path, now: datetime) -> Check:
    try:
        loaded = x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError):
        return Check(name, False, message("doctor.unreadable", name=path.name), message("doctor.readable-pem"))
    first_end = min(c.not_valid_after_utc for c in loaded)
    if first_end <= now:
        return Check(name, False, message("doctor.expired", end=first_end.date()), message("doctor.renew"))
    soon = message("doctor.renew-soon") if first_end - now < timedelta(days=30) else None
    return Check(name, True, message("doctor.valid-until", end=first_end.date()), soon)


__all__ = ["Check", "Station", "examine"]
