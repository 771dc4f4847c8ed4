"""Statements made ready for the driver, once for each dialect: those that every message needs are not built anew each time.

SQLAlchemy writes the SQL and knows the types; what it does for each execution (events, result objects, caches) takes more
time than SQLite takes for the row. `ready` returns None for the few statements whose text depends on their values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import sqlalchemy as sa

Processor = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Ready:
    sql: str
    fixed: Mapping[str, Any]  # values that stand in the statement itself
    processors: tuple[tuple[str, Processor], ...]
    order: tuple[str, ...] | None  # of the values, where the driver counts them

    def values(self, given: Mapping[str, Any]) -> Any:
        """The parameters for the driver. Raises KeyError for a value that is missing."""
        values = {**self.fixed, **given}
        for name, process in self.processors:
            values[name] = process(values[name])
        return values if self.order is None else [values[name] for name in self.order]


@lru_cache(maxsize=1024)
def ready(statement: sa.Executable, dialect: sa.Dialect, names: tuple[str, ...]) -> Ready | None:
    """`names` are those of the values that will be given: an INSERT names these columns."""
    compiled: Any = statement.compile(dialect=dialect, column_keys=list(names))  # type: ignore[attr-defined]
    if compiled.post_compile_params or compiled.literal_execute_params or getattr(compiled, "insert_prefetch", ()):
        return None
    processors = {name: bind.type.dialect_impl(dialect).bind_processor(dialect) for bind, name in compiled.bind_names.items()}
    return Ready(
        compiled.string,
        {name: bind.effective_value for bind, name in compiled.bind_names.items() if not bind.required},
        tuple((name, process) for name, process in processors.items() if process is not None),
        tuple(compiled.positiontup) if compiled.positional else None,
    )
