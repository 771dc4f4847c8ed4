"""A node that speaks to the simulated DMP: its configuration as a file, and who acts from there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

RPPS = "899700367909"
STRUCTURE = "10B0073160"
DOCTOR, OTHER, SAMU, HOSPITAL, PSC = "jeanne@alpha.test", "paul@alpha.test", "samu@alpha.test", "hopital@alpha.test", "psc@alpha.test"
ACTORS = {
    DOCTOR: {"id": RPPS, "family": "MARTIN", "given": "JEANNE", "structure_id": STRUCTURE, "authentication": "card"},
    OTHER: {"id": "899700000017", "family": "PETIT", "given": "PAUL", "structure_id": "10B0000077", "authentication": "card"},
    SAMU: {
        "id": "899700000025",
        "family": "REGULATEUR",
        "given": "ANNE",
        "structure_id": "10B0000015",
        "authentication": "card",
        "sector": "SA01",
    },
    HOSPITAL: {"id": "899700000033", "family": "AUTOMATE", "given": "X", "structure_id": STRUCTURE, "authentication": "structure"},
    PSC: {"id": RPPS, "family": "MARTIN", "given": "JEANNE", "structure_id": STRUCTURE, "authentication": "psc"},
}
_NODE = """[node]
hostname = "mx.alpha.test"
data = "data"
[seal]
master_key = "file:master"
[trust]
anchors = "anchors"
[[domain]]
name = "alpha.test"
"""


def table(name: str, values: dict[str, Any]) -> str:
    """A table of TOML; a dictionary in it is a table of its own, one in that stands in its line."""
    own = "".join(f"{k} = {_toml(v)}\n" for k, v in values.items() if not isinstance(v, dict) or "." in name)
    inner = (table(f"{name}.{k}", v) for k, v in values.items() if isinstance(v, dict) and "." not in name)
    return f"[{name}]\n" + own + "".join(inner)


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(k)} = {json.dumps(v)}" for k, v in value.items()) + " }"
    return json.dumps(value)


def write_node(directory: Path, dmp: dict[str, Any], actors: dict[str, dict[str, Any]], signing: dict[str, str]) -> Path:
    """The file, with its master key beside it. `signing`: certificate and key of every actor but those whose `key` is ""."""
    text = _NODE + table("dmp", {k: v for k, v in dmp.items() if v is not None})
    for address, values in actors.items():
        actor = {k: v for k, v in values.items() if v != ""}
        whole = {"address": address, "structure_name": "HOPITAL TEST", "speciality": "SM26"} | actor
        text += table("[dmp_actor]", whole | ({} if values.get("key") == "" else signing))
    (directory / "master").write_bytes(b"m" * 32)
    path = directory / "mssgw.toml"
    path.write_text(text)
    return path
