"""Header sections: where they end, their fields, their values. RFC 5322 2.2, RFC 2045 5.

Works on octets and never fails on garbage: a line that is no field is skipped, a structured value that
can't be read is None. Line ends are CRLF; a bare LF is taken for one, as old mailboxes have them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from mssgw.protocol.mime.windows import Windows
from mssgw.protocol.mime.words import decode_parameter, decode_words

Buffer = bytes | Windows

_HEADER_END = re.compile(rb"\n\r?\n")
_FIELD_END = re.compile(rb"\r?\n(?![ \t])")
_FOLD = re.compile(rb"\r?\n(?=[ \t])|[\r\n\x00]")
_TOKEN = rb"[^\x00-\x20()<>@,;:\\\"/\[\]?=\x7f-\xff]+"
_MEDIA = re.compile(rb"\s*(" + _TOKEN + rb")\s*/\s*(" + _TOKEN + rb")")
_PARAMETER = re.compile(rb";\s*(" + _TOKEN + rb")\s*=\s*(?:\"((?:[^\"\\]|\\.)*)\"?|([^\s;\"(][^;\r\n]*))?", re.DOTALL)
_COMMENT = re.compile(rb"\((?:[^()\\]|\\.)*\)", re.DOTALL)
_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)
_CONTINUED = re.compile(rb"([^*]+)\*(\d{1,4})(\*?)\Z")

MAX_PARAMETERS = 100  # of one structured field; more are ignored


def header_end(data: Buffer, start: int, end: int) -> int:
    """Offset of the first octet after the empty line that ends the header section at `start`; `end` without one."""
    first = data[start : min(end, start + 2)]
    if first[:1] == b"\n":
        return start + 1
    if first == b"\r\n":
        return start + 2
    if isinstance(data, bytes):
        found = _HEADER_END.search(data, start, end)
        return found.end() if found else end
    for size in (1 << 16, end - start):  # the first size is enough for nearly all header sections
        if found := _HEADER_END.search(data[start : min(end, start + size)]):
            return start + found.end()
    return end


class Fields:
    """The fields of one header section, split when first asked for."""

    __slots__ = ("_split", "raw")

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self._split: dict[bytes, list[bytes]] | None = None

    def _by_name(self) -> dict[bytes, list[bytes]]:
        if self._split is None:
            split: dict[bytes, list[bytes]] = {}
            self._split = split
            for line in _FIELD_END.split(self.raw):
                name, colon, value = line.partition(b":")
                if colon:
                    split.setdefault(name.rstrip(b" \t").lower(), []).append(value)
        return self._split

    def get(self, name: bytes) -> bytes | None:
        """The first field of that (lower-case) name: unfolded, blanks around it removed."""
        values = self._by_name().get(name)
        return unfold(values[0]) if values else None

    def all(self, name: bytes) -> list[bytes]:
        return [unfold(value) for value in self._by_name().get(name, ())]

    def repeated(self) -> list[bytes]:
        """The names that stand there more than once, lower case."""
        return [name for name, values in self._by_name().items() if len(values) > 1]

    @property
    def count(self) -> int:
        return sum(map(len, self._by_name().values()))


def raw_fields(section: bytes) -> list[tuple[bytes, bytes]]:
    """`(lower-case name, octets with folds and line end)` of every line group of a section, in order.

    What BODY[HEADER.FIELDS] is cut from: nothing is normalised. The empty line at the end is left out.
    """
    fields: list[tuple[bytes, bytes]] = []
    start = 0
    for stop in [found.end() for found in _FIELD_END.finditer(section)] + [len(section)]:
        raw = section[start:stop]
        if raw and raw not in (b"\r\n", b"\n"):
            fields.append((raw.partition(b":")[0].rstrip(b" \t").lower(), raw))
        start = stop
    return fields


def unfold(value: bytes) -> bytes:
    """RFC 5322 2.2.3; stray CR, LF and NUL are removed."""
    if b"\n" in value or b"\r" in value or b"\x00" in value:
        value = _FOLD.sub(b"", value)
    return value.strip(b" \t")


@dataclass(frozen=True, slots=True)
class Structured:
    """A value with parameters: Content-Type, Content-Disposition.

    `wire` are the parameters in order as they came, continuations (RFC 2231 3) joined, still percent-encoded under
    a name that ends in `*`; `params` are the same decoded, by lower-case name without `*`.
    """

    value: bytes  # lower case
    wire: tuple[tuple[bytes, bytes], ...]

    @property
    def params(self) -> dict[str, str]:
        decoded: dict[str, str] = {}
        for name, value in self.wire:
            key = name.lower().decode("ascii", "replace")
            if key.endswith("*"):
                decoded[key[:-1]] = decode_parameter(value)  # RFC 2231: the extended form wins
            else:
                decoded.setdefault(key, decode_words(value))  # RFC 2047 5 forbids words here; mailers write them
        return decoded

    def raw(self, name: bytes) -> bytes | None:
        return next((value for key, value in self.wire if key.lower() == name), None)


def media_type(value: bytes | None) -> Structured | None:
    """A Content-Type value; None when there is none or it has no type/subtype (RFC 2045 5.2: then it's text/plain)."""
    if value is None:
        return None
    if b"(" in value:
        value = _without_comments(value)
    found = _MEDIA.match(value)
    if not found:
        return None
    return Structured((found[1] + b"/" + found[2]).lower(), _parameters(value, found.end()))


def disposition(value: bytes | None) -> Structured | None:
    """A Content-Disposition value. RFC 2183."""
    if not value:
        return None
    if b"(" in value:
        value = _without_comments(value)
    kind = value.partition(b";")[0].strip().lower()
    return Structured(kind or b"attachment", _parameters(value, 0))


def _without_comments(value: bytes) -> bytes:
    """Comments are rare and may nest; those inside quotes are text."""
    pieces = re.split(rb'("(?:[^"\\]|\\.)*"?)', value)
    for index in range(0, len(pieces), 2):
        for _ in range(10):
            pieces[index], removed = _COMMENT.subn(b" ", pieces[index])
            if not removed:
                break
    return b"".join(pieces)


def _parameters(value: bytes, at: int) -> tuple[tuple[bytes, bytes], ...]:
    if b";" not in value:
        return ()
    found: list[tuple[bytes, bytes]] = []
    for match in _PARAMETER.finditer(value, at):
        name, quoted, plain = match.groups()
        text = (plain or b"").strip() if quoted is None else _ESCAPE.sub(rb"\1", quoted) if b"\\" in quoted else quoted
        found.append((name, text))
        if len(found) == MAX_PARAMETERS:
            break
    if any(b"*" in name for name, _ in found):
        found = _join_continuations(found)
    return tuple(found)


def _join_continuations(found: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """RFC 2231 3 and 4.1: `name*0`, `name*1*`, … become one `name`, or `name*` when a segment is encoded."""
    joined: list[tuple[bytes, bytes]] = []
    segments: dict[bytes, list[tuple[int, bool, bytes]]] = {}
    for name, text in found:
        piece = _CONTINUED.match(name)
        if not piece:
            joined.append((name, text))
            continue
        base = piece[1].lower()
        if base not in segments:
            joined.append((base, b""))
        segments.setdefault(base, []).append((int(piece[2]), bool(piece[3]), text))
    for index, (name, _) in enumerate(joined):
        if pieces := segments.get(name):
            joined[index] = _join(name, sorted(pieces))
    return joined


def _join(name: bytes, pieces: list[tuple[int, bool, bytes]]) -> tuple[bytes, bytes]:
    if not any(encoded for _, encoded, _ in pieces):
        return name, b"".join(text for _, _, text in pieces)
    parts = [text if encoded else text.replace(b"%", b"%25") for _, encoded, text in pieces]
    if not pieces[0][1]:
        parts.insert(0, b"''")
    return name + b"*", b"".join(parts)
