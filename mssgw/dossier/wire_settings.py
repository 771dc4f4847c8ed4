"""What is sent to the DMP by which setting: every open point of the guide as it is in force, and who decided it."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from dmp_connector.model import AccessMode
from dmp_connector.proof.vihf import mode_label
from dmp_connector.settings import SERVICES
from mssgw.core.config.base import Settings
from mssgw.core.texts import Message, message
from mssgw.dossier.setup import NotSetUp, Setup


@dataclass(frozen=True, slots=True)
class WireSetting:
    """One open point of the guide. `name`: as in the configuration; `origin`: who decided its value."""

    name: str
    value: Message
    origin: Message


_DERIVED = {
    "dmp.protocol.processing_code": "dmp.origin-environment",
    "dmp.protocol.ins_oid": "dmp.origin-environment",
    "dmp.protocol.ins_oids": "dmp.origin-environment",
    "dmp.vihf.lps_id": "dmp.origin-system-oid",
    "dmp.vihf.lps_name": "dmp.origin-program",
    "dmp.vihf.lps_version": "dmp.origin-program",
    "dmp.vihf.algorithm": "dmp.origin-program",  # the samples have rsa-sha1
    "dmp.protocol.signature": "dmp.origin-program",
    "dmp.vihf.lifetime_seconds": "dmp.origin-air",
    "dmp.vihf.not_after_name": "dmp.origin-saml",
    "dmp.protocol.update_content_type": "dmp.origin-program",
    "dmp.protocol.ins_keys": "dmp.origin-program",
    "dmp.protocol.answer_zone": "dmp.origin-program",
    "dmp.protocol.documents_per_query": "dmp.origin-program",
    "dmp.vihf.name_in_direct_mode": "dmp.origin-program",
    "dmp.protocol.mask_and_hide_together": "dmp.origin-param-lps",
    "dmp.vihf.access_mode_names.bris_de_glace": "dmp.origin-nos",
    "dmp.vihf.access_mode_names.centre_15": "dmp.origin-nos",
    "dmp.homologation": "dmp.origin-nobody",
    **{f"dmp.protocol.service_urls.{name}": "dmp.origin-url" for name in SERVICES},
}


def _origin(name: str, given: frozenset[str]) -> Message:
    return message("dmp.origin-configuration") if name in given else message(_DERIVED.get(name, "dmp.origin-samples"))


def shown(value: object) -> Message:
    if isinstance(value, Message):
        return value
    if isinstance(value, bool):
        return message("dmp.setting-yes" if value else "dmp.setting-no")
    if isinstance(value, Mapping):
        value = ", ".join(f"{key} = {one}" for key, one in value.items())
    elif isinstance(value, tuple):
        value = ", ".join(map(str, value))
    return message("words", words=value) if value != "" else message("dmp.setting-none")


def _given(file: Path) -> frozenset[str]:
    """Names of what the configuration file itself says below [dmp]."""
    try:
        table = tomllib.loads(file.read_text("utf-8")).get("dmp", {})
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise NotSetUp(message("dmp.no-table", file=file)) from error
    return frozenset(_names_in("dmp", table))


def _names_in(prefix: str, table: dict[str, Any]) -> Iterator[str]:
    for key, value in table.items():
        yield f"{prefix}.{key}"
        if isinstance(value, dict):
            yield from _names_in(f"{prefix}.{key}", value)


def wire_settings(setup: Setup) -> tuple[WireSetting, ...]:
    """Those of [dmp.protocol] and [dmp.vihf], in their order. Raises NotSetUp, BadCode, BadSettings, OSError."""
    settings = setup.settings("" if setup.table.certificate else "unix:/", None)
    software, vihf = settings.software, settings.vihf
    in_force: dict[str, object] = {
        "dmp.protocol.processing_code": settings.processing_code,
        "dmp.protocol.ins_oid": settings.ins_oid,
        "dmp.protocol.ins_oids": settings.ins_oids,
        "dmp.vihf.lps_id": software.id,
        "dmp.vihf.lps_version": software.version,
        **{f"dmp.protocol.service_urls.{name}": settings.service_url(name) for name in SERVICES},
        **{f"dmp.vihf.access_mode_names.{mode.value}": mode_label(vihf, mode) for mode in AccessMode},
        "dmp.homologation": message("dmp.setting-secret" if software.homologation else "dmp.setting-absent"),
    }
    tables: list[tuple[str, Settings]] = [("dmp.protocol", setup.table.protocol), ("dmp.vihf", setup.table.vihf)]
    plain = {f"{name}.{key}": value for name, table in tables for key, value in msgspec.structs.asdict(table).items()}
    for expanded in ("dmp.protocol.service_urls", "dmp.vihf.access_mode_names"):
        del plain[expanded]
    given = _given(setup.file)
    return tuple(WireSetting(name, shown(value), _origin(name, given)) for name, value in (plain | in_force).items())
