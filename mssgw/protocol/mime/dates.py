"""The Date field. RFC 5322 3.3 and 4.3, and what is sent for it."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

_MONTHS = {name: number for number, name in enumerate(b"jan feb mar apr may jun jul aug sep oct nov dec".split(), 1)}
_DATE = re.compile(
    rb"(?:[a-z]+\.?\s*,?\s*)?(\d{1,2})[\s\-]+([a-z]{3})[a-z]*\.?[\s\-]+(\d{2,4})"
    rb"(?:[\s,]+(\d{1,2})[:.](\d{2})(?:[:.](\d{2}))?)?(?:\s*([+\-]\d{4}|[a-z]{1,5}))?",
    re.IGNORECASE,
)
_COMMENT = re.compile(rb"\([^()]*\)")
_ZONES = {
    b"ut": 0,
    b"gmt": 0,
    b"utc": 0,
    b"z": 0,
    b"est": -5,
    b"edt": -4,
    b"cst": -6,
    b"cdt": -5,
    b"mst": -7,
    b"mdt": -6,
    b"pst": -8,
    b"pdt": -7,
}


def parse_date(value: bytes) -> datetime | None:
    """The moment a Date field names; naive when it has no zone or an unknown one, None when it can't be read."""
    found = _DATE.match(_COMMENT.sub(b" ", value).strip() if b"(" in value else value)
    if not found:
        return None
    day, month, year, hour, minute, second, zone = found.groups()
    number = _MONTHS.get(month.lower())
    if number is None:
        return None
    full_year = int(year)
    if len(year) == 2:  # RFC 5322 4.3
        full_year += 2000 if full_year < 50 else 1900
    elif len(year) == 3:
        full_year += 1900
    try:
        return datetime(full_year, number, int(day), int(hour or 0), int(minute or 0), min(int(second or 0), 59), tzinfo=_zone(zone))
    except ValueError:
        return None


def _zone(zone: bytes | None) -> timezone | None:
    if zone is None or zone == b"-0000":
        return None
    if zone[:1] in b"+-":
        minutes = int(zone[1:3]) * 60 + int(zone[3:5])
        return timezone(timedelta(minutes=-minutes if zone[:1] == b"-" else minutes)) if minutes < 1440 else None
    hours = _ZONES.get(zone.lower())
    return None if hours is None else timezone(timedelta(hours=hours)) if hours else UTC
