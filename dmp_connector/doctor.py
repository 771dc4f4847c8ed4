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
from dmp_connector.validate.kit import GENERIC, Kit


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at. `holds`: it is as it should be; `seen`: what was found; `needed`: without it the configured acts fail."""

    name: str
    holds: bool
    seen: str
    advice: str = ""
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
    yield Check("poste", True, f"{platform.system()} {platform.release()}, Python {platform.python_version()}", needed=False)
    found, readers = _readers(station)
    yield from readers
    yield from _components(station)
    if station.module or any(m.is_file() for m in KNOWN_MODULES):
        yield _card(station, now)
    yield _vitale(station, found)
    if station.certificate is not None:
        yield _certificate("certificat TLS", station.certificate, now)
    if station.anchors is not None:
        yield _certificate("autorités du DMP", station.anchors, now)
    yield _value_sets(station.value_sets)


def _readers(station: Station) -> tuple[Pair | None, list[Check]]:
    try:
        seen = slots()
        found = pair(seen, professional=station.card_reader, vitale=station.vitale_reader)
    except DmpError as error:
        advice = "Branchez un lecteur PC/SC et démarrez le service pcscd."
        return None, [Check("lecteurs", False, error.sentence("fr"), advice, needed=station.by_card)]
    kind = "un lecteur bi-fente" if found.bi_slot else f"{len({s.device for s in seen})} lecteur(s)"
    listed = ", ".join(f"{s.name}{' (carte présente)' if s.atr else ''}" for s in seen)
    return found, [Check("lecteurs", True, f"{kind} : {listed}", needed=False)]


def _components(station: Station) -> Iterator[Check]:
    module = station.module or next((m for m in KNOWN_MODULES if m.is_file()), None)
    present = module is not None and module.is_file()
    advice = "Installez la Cryptolib CPS, ou indiquez card_module."
    configured = station.by_card or station.module is not None
    yield Check("module PKCS#11", present, str(module or "aucun"), "" if present else advice, needed=configured)
    for name, spec, extra in (("python-pkcs11", "pkcs11", "hsm"), ("pyscard", "smartcard", "card"), ("saxonche", "saxonche", "validate")):
        there = find_spec(spec) is not None
        needed = station.by_card and extra != "validate"
        yield Check(name, there, "installé" if there else "absent", "" if there else f"pip install mssgw[{extra}]", needed=needed)
    program = shutil.which(station.stunnel)
    relay = station.by_card and station.certificate is None  # the card's own key makes the TLS connection
    yield Check("stunnel", program is not None, program or "absent", "" if program else "Installez le paquet stunnel4.", needed=relay)
    engine = next((e for e in ENGINES if e.is_file()), None)
    yield Check(
        "moteur OpenSSL pkcs11",
        engine is not None,
        str(engine or "absent"),
        "" if engine else "Installez libengine-pkcs11-openssl.",
        needed=relay,
    )
    yield _kit(station.kit)


def _value_sets(own: Path | None) -> Check:
    """Which tables, their dates, and which of their codes are unconfirmed."""
    try:
        tables = codes.load(own)
    except DmpError as error:
        return Check("jeux de valeurs", False, str(own or ""), error.sentence("fr"))
    sets = [s for s in (getattr(tables, f.name) for f in fields(tables)) if isinstance(s, codes.ValueSet)]
    oldest = min(sets, key=lambda s: s.date)
    doubt = ", ".join(f"{s.name} ({len(s.unconfirmed)} codes)" for s in sets if s.unconfirmed)
    advice = f"Codes repris d'un autre jeu, à confirmer : {doubt}. value_sets les remplace." if doubt else ""
    seen = f"{len(tables.versions)} tables, la plus ancienne {oldest.name} du {oldest.date}"
    return Check("jeux de valeurs", True, seen, advice, needed=False)


def _kit(folder: Path | None) -> Check:
    """The parts of the ANS kit, by name: what is not installed is not checked."""
    name = "kit de validation"
    if folder is None:
        return Check(name, False, "non installé", "Facultatif : validation_kit.", needed=False)
    try:
        kit = Kit(folder)
    except DmpError as error:
        return Check(name, False, str(folder), error.sentence("fr"))
    absent, models = kit.missing_for_all, kit.missing_models
    seen = f"{folder}, {len(GENERIC) + 1 - len(absent)} parties communes sur {len(GENERIC) + 1}, {len(models)} modèle(s) sans schématron"
    return Check(name, not absent, seen, f"Il manque : {', '.join((*absent, *models))}." if absent or models else "", needed=False)


def _card(station: Station, now: datetime) -> Check:
    module = station.module or next(m for m in KNOWN_MODULES if m.is_file())
    try:
        with Pkcs11CardReader(module, reader=station.card_reader) as reader:
            card = reader.see()
        card.require_valid(now)
    except DmpError as error:
        return Check("carte professionnelle", False, error.sentence("fr"), needed=station.by_card)
    tries = "inconnus" if card.tries_left is None else str(card.tries_left)
    who = card.practitioner()
    return Check(
        "carte professionnelle",
        card.tries_left != 0,
        f"{who.given} {who.family} ({who.id}), {'CPE' if card.is_staff_card else 'CPS'}, "
        f"valable jusqu'au {card.valid_until:%d/%m/%Y}, essais restants : {tries}",
        "Carte bloquée : déblocage par le code PUK." if card.tries_left == 0 else "",
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
        return Check("carte Vitale", False, "aucun lecteur", "Branchez un lecteur ou indiquez vitale_command.", needed=False)
    try:
        card = reader.read()
    except DmpError as error:
        return Check("carte Vitale", False, error.sentence("fr"), needed=False)
    if station.production and card.kind is not VitaleKind.REAL:
        return Check("carte Vitale", False, _KINDS[card.kind], "Refusée en production (EX_GEN-1430).")
    return Check("carte Vitale", True, f"{len(card.beneficiaries)} bénéficiaire(s), {_KINDS[card.kind]}", needed=False)


_KINDS = {VitaleKind.REAL: "carte réelle", VitaleKind.TEST: "carte de test", VitaleKind.DEMO: "carte de démonstration"}


def _certificate(name: str, path: Path, now: datetime) -> Check:
    try:
        loaded = x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError):
        return Check(name, False, f"{path.name} : illisible", "Indiquez un fichier PEM lisible.")
    first_end = min(c.not_valid_after_utc for c in loaded)
    if first_end <= now:
        return Check(name, False, f"expiré le {first_end:%d/%m/%Y}", "Renouvelez le certificat.")
    soon = "Renouvelez-le bientôt." if first_end - now < timedelta(days=30) else ""
    return Check(name, True, f"valable jusqu'au {first_end:%d/%m/%Y}", soon)


__all__ = ["Check", "Station", "examine"]
