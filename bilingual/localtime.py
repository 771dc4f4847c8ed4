"""Moments as people of the house read them: in its time zone, Europe/Paris unless a setting says another.

The zone is the process's (`use`, from `[node] timezone`). Documents for programs, logs and protocol fields stay in UTC.
"""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from bilingual.language import Language

DEFAULT = "Europe/Paris"


class _Process:
    zone: ZoneInfo | None = None


def zone_named(name: str) -> ZoneInfo:
    """A zone of the IANA database: the system's, or that of the package tzdata. Raises ValueError: there is none of that name."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"{name!r} is no time zone; expected a name such as Europe/Paris or Indian/Reunion") from error


def use(name: str) -> None:
    """From here on people read the time of this zone. Raises ValueError."""
    _Process.zone = zone_named(name)


def local(at: datetime) -> datetime:
    """The same moment in the zone of the house. `at` is aware."""
    if at.tzinfo is None:
        raise ValueError("a moment without a zone is no moment")
    if _Process.zone is None:
        use(DEFAULT)
    return at.astimezone(_Process.zone)


def moment(at: datetime, language: Language = "fr") -> str:
    """`25/10/2026 02:30 (UTC+2)`, in English `2026-10-25 02:30 (UTC+2)`: one hour a year comes twice."""
    here = local(at)
    return f"{here:%d/%m/%Y %H:%M}{_zone(here)}" if language == "fr" else f"{here:%Y-%m-%d %H:%M}{_zone(here)}"


def _zone(here: datetime) -> str:
    offset = here.utcoffset()
    minutes = int(offset.total_seconds()) // 60 if offset else 0
    sign, (hours, rest) = "-" if minutes < 0 else "+", divmod(abs(minutes), 60)
    return f" (UTC{sign}{hours}" + (f":{rest:02d})" if rest else ")") if minutes else " (UTC)"
