"""The node's configuration as the connector's values: settings, rules, actor, structure, workstation; the connector's store."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from dmp_connector import codes
from dmp_connector.card.pkcs11 import KNOWN_MODULES
from dmp_connector.doctor import Station
from dmp_connector.dossier.desk import DeskRules
from dmp_connector.errors import DmpError
from dmp_connector.model import Actor, AuthenticationMode, Code, KeyPolicy, Practitioner, Structure
from dmp_connector.settings import Actions, DmpSettings, Limits, Software, VihfSettings
from dmp_connector.signer import Algorithm
from dmp_connector.store import DmpStore, StoreKeys, tables
from mssgw import __version__
from mssgw.core.config import Config, Secret
from mssgw.core.config.base import sqlite_file
from mssgw.core.config.dmp import Dmp as DmpTable
from mssgw.core.config.dmp import DmpActor
from mssgw.core.errors import ConfigError
from mssgw.core.texts import Message, message

_LABEL = b"mssgw dmp store"  # HKDF info: no other key of the node comes out of this
_G15, _SPECIALITY, _SECTOR = "1.2.250.1.71.1.2.7", "1.2.250.1.71.4.2.5", "1.2.250.1.71.4.2.4"
_ALGORITHMS = {"rsa-sha256": Algorithm.RSA_SHA256, "rsa-sha1": Algorithm.RSA_SHA1}
_KINDS = {"card": AuthenticationMode.DIRECT, "psc": AuthenticationMode.AIR, "structure": AuthenticationMode.INDIRECT}


STORE_TABLES = tuple(tables.meta.tables)


class NotSetUp(DmpError):
    """The configuration lacks what is asked for. `message`: the sentence."""

    def __init__(self, said: Message) -> None:
        super().__init__(said)

    @property
    def message(self) -> Message:
        return self.detail or super().message


@dataclass(frozen=True, slots=True)
class Setup:
    """The [dmp] table of a configuration, and who acts. `file`: where it was read, for sentences and relative paths."""

    config: Config
    file: Path
    table: DmpTable

    @classmethod
    def of(cls, config: Config, file: Path) -> Setup:
        """Raises NotSetUp without a [dmp] table."""
        if config.dmp is None:
            raise NotSetUp(message("dmp.no-table", file=file))
        return cls(config, file, config.dmp)

    def actor(self, address: str) -> DmpActor:
        """Whose address this is, in any case. Raises NotSetUp."""
        found = next((a for a in self.config.dmp_actor if a.address.casefold() == address.casefold()), None)
        if found is None:
            raise NotSetUp(message("dmp.no-actor", file=self.file, address=address))
        return found

    def actors(self, address: str = "") -> tuple[DmpActor, ...]:
        """This one, or all of them. Raises NotSetUp."""
        return (self.actor(address),) if address else self.config.dmp_actor

    @property
    def module(self) -> Path:
        """The PKCS#11 module of the cards: the configured one, or the first known place where there is one."""
        return self.table.card_module or next((m for m in KNOWN_MODULES if m.is_file()), KNOWN_MODULES[0])

    def settings(self, relay: str, trace: Path | None) -> DmpSettings:
        """Reads the homologation number. `relay`: address of the card's TLS relay, "" without. Raises OSError."""
        table = self.table
        return DmpSettings(
            url=table.url,
            anchors=table.anchors,
            certificate=None if relay else table.certificate,
            key=None if relay or table.key is None else table.key.path,
            relay=relay,
            system_oid=table.system_oid,
            **self._protocol(),
            software=self._software(table.homologation.read().decode().strip() if table.homologation else ""),
            vihf=self._vihf(),
            legacy_dossier_management=table.legacy_dossier_management,
            production=table.production,
            limits=Limits(document_bytes=2 * table.max_pdf_octets, documents_per_query=table.protocol.documents_per_query),
            trace=trace,
            trace_in_production=table.trace_in_production,
        )

    def _software(self, homologation: str) -> Software:
        vihf = self.table.vihf
        return Software(vihf.lps_name, vihf.lps_version or __version__, vihf.lps_id or self.table.system_oid, homologation)

    def _vihf(self) -> VihfSettings:
        fields = msgspec.structs.asdict(self.table.vihf)
        own = {name: value for name, value in fields.items() if not name.startswith("lps_")}
        return VihfSettings(**own | {"algorithm": _ALGORITHMS[self.table.vihf.algorithm]})

    def _protocol(self) -> dict[str, Any]:
        fields = msgspec.structs.asdict(self.table.protocol)
        code = fields.pop("update_content_type")
        del fields["documents_per_query"]
        return fields | {
            "actions": Actions(fields.pop("action_td0_2"), fields.pop("action_td0_5"), fields["actions"]),
            "xades_algorithm": _ALGORITHMS[fields.pop("signature")],
            "xades_canonical": fields.pop("signature_canonical"),
            "processing_code": "" if fields["processing_code"] == "auto" else fields["processing_code"],
            "ins_keys": {oid: KeyPolicy(policy) for oid, policy in fields["ins_keys"].items()},
            "update_content_type": codes.load(self.table.value_sets).content_type.require(code),
        }

    @property
    def rules(self) -> DeskRules:
        table = self.table
        return DeskRules(
            consultation=timedelta(minutes=table.consultation_minutes),
            emergency=timedelta(minutes=table.emergency_minutes),
            consent=timedelta(days=table.consent_days),
            regulation_structures=frozenset(table.regulation_structures),
            production=table.production,
            same_deposit=timedelta(days=table.same_deposit_days),
            letter_address=table.letter_address,
        )

    def station(self, address: str = "") -> Station:
        """The workstation as this actor, or all of them, need it. Raises NotSetUp."""
        table, actors = self.table, self.actors(address)
        return Station(
            table.card_module,
            table.card_reader,
            table.vitale_reader,
            table.vitale_command,
            table.certificate,
            table.anchors,
            table.validation_kit,
            production=table.production,
            by_card=any(a.key is None for a in actors),
            value_sets=table.value_sets,
        )

    def open_store(self) -> DmpStore:
        return open_store(self.config, self.file)


def actor_of(who: DmpActor, now: datetime, tables: codes.CodeTables) -> Actor:
    """The person of the configuration, authenticated `now`. Raises BadCode for an unknown profession."""
    known = tables.subject_role
    speciality = (known.find(who.speciality) or Code(who.speciality, _SPECIALITY)) if who.speciality else None
    profession = known.find(who.profession, _G15) or known.require(who.profession)  # a secretary, an automaton: A00
    practitioner = Practitioner(who.id, who.family, who.given, profession, speciality)
    sector = tables.facility.find(who.sector) or Code(who.sector, _SECTOR)
    structure = Structure(who.structure_id, who.structure_name, sector)
    return Actor(practitioner, structure, _KINDS[who.authentication], now, staff_card=who.staff_card, evidence=who.address)


def open_store(config: Config, file: Path) -> DmpStore:
    """The connector's own store, sealed under a key that comes from the node's master key. Blocks.

    Raises NotSetUp without [dmp] table or master key, ConfigError when it lies elsewhere, DmpError when it does not open.
    """
    if config.dmp is None:
        raise NotSetUp(message("dmp.no-table", file=file))
    former = (_store_key(config.seal.former_key, file),) if config.seal.former_key else ()
    keys = StoreKeys(_store_key(config.seal.master_key, file), former)
    return DmpStore.open(_address(config.dmp, config.node.data, file), keys)


def _store_key(reference: Secret, file: Path) -> bytes:
    try:
        master = reference.read()
    except OSError as error:
        raise NotSetUp(message("dmp.no-master-key", file=file, secret=reference, why=error.strerror or error)) from error
    if len(master) < 32:
        raise NotSetUp(message("dmp.short-master-key", file=file, secret=reference, found=len(master)))
    return HKDF(SHA256(), 32, None, _LABEL).derive(master)


def _address(table: DmpTable, data: Path, config: Path) -> str:
    file = sqlite_file(table.store, data)
    if file is None:
        return table.store
    if moved := table.misplaced(data, config.parent.absolute()):
        raise ConfigError([("dmp.store", moved)])
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return f"sqlite:{file}"
