"""Single facts that outlive a restart, such as the date of the last whitelist seen. Values are JSON."""

from __future__ import annotations

from typing import Any

import msgspec
import sqlalchemy as sa

from mssgw.store import schema
from mssgw.store.engine import Reader, Transaction

_GET = sa.select(schema.fact.c.value).where(schema.fact.c.name == sa.bindparam("name"))
_PUT = {dialect: schema.upsert(dialect, schema.fact, "value", "at") for dialect in ("sqlite", "postgresql")}
_DROP = sa.delete(schema.fact).where(schema.fact.c.name == sa.bindparam("called"))


def get(rx: Reader, name: str) -> Any:
    """The value, or None."""
    found = rx.run(_GET, {"name": name}).scalar()
    return None if found is None else msgspec.json.decode(found)


def put(tx: Transaction, name: str, value: Any) -> None:
    tx.run(_PUT[tx.dialect], {"name": name, "value": msgspec.json.encode(value).decode(), "at": tx.now})


def drop(tx: Transaction, name: str) -> None:
    tx.run(_DROP, {"called": name})
