"""The simulator's settings: a TOML file for the process, a value for tests."""

from __future__ import annotations

import tomllib
from datetime import date
from pathlib import Path
from typing import Any

import msgspec

from dmp_connector.errors import BadSettings
from dmp_connector.model.people import InsKind
from dmp_connector.texts import message


class Person(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A test patient and the state of the dossier; names as in demo.json."""

    ins: str
    name: str
    given: str
    birth_date: date
    sex: str
    oid: str = InsKind.NIR_TEST.value
    birth_place: str = ""
    used_name: str = ""
    state: str = "ACTIVE"  # ACTIVE, CLOSED, NO_DMP
    authorisation: str = "NON_EXISTE"  # of `authorised`: VALIDE, EXPIRE, INTERDIT, NON_EXISTE
    authorised: tuple[str, ...] = ()  # PS_IdNat or Struct_IdNat for whom the authorisation holds; empty: everybody
    mt: bool = False  # those in `authorised` are treating doctors
    opposition_bris_de_glace: bool = False
    opposition_acces_urgence: bool = False
    rattachement_ens: bool = False
    documents: int = 0  # how many documents there are at the start
    postal_code: str = ""
    city: str = ""


class SimulatorConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Paths are relative to the file. `client_anchors`: CA certificates (PEM) of TLS clients and of VIHF signers."""

    port: int
    certificate: Path
    key: Path
    client_anchors: Path
    host: str = "127.0.0.1"
    patients: tuple[Person, ...] = ()
    regulation_structures: tuple[str, ...] = ()  # Struct_IdNat that may use centre_15
    inactive_structures: tuple[str, ...] = ()
    revoked_serials: tuple[str, ...] = ()  # decimal
    homologations: tuple[str, ...] = ()  # accepted LPS_ID_HOMOLOGATION_DMP; empty: any
    vihf_seconds: int = 30
    skew_seconds: int = 5
    authorisation_days: int = 365
    legacy_dossier_management: bool = True
    sha1: bool = False
    state: Path | None = None  # file that keeps dossiers and documents across restarts; none: memory only
    idam: tuple[str, ...] = ()  # accepted INSi authorisation numbers; empty: any


def load(path: Path) -> SimulatorConfig:
    """Raises BadSettings naming the field."""
    try:
        table: dict[str, Any] = tomllib.loads(path.read_text("utf-8"))
        config = msgspec.convert(table, SimulatorConfig, dec_hook=_path)
    except (OSError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise BadSettings(message("at", place=path.name, what=str(error))) from error
    base = path.parent
    return msgspec.structs.replace(
        config,
        certificate=base / config.certificate,
        key=base / config.key,
        client_anchors=base / config.client_anchors,
        state=base / config.state if config.state else None,
    )


def _path(kind: type, value: object) -> object:
    if kind is Path and isinstance(value, str):
        return Path(value)
    raise NotImplementedError
