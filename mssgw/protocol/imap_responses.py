"""Encoders of the server's responses: flags, LIST, STATUS, SEARCH, FETCH pieces, sections of messages. RFC 3501 7."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import lru_cache

from mssgw.protocol.imap_fetch import Section
from mssgw.protocol.imap_lexer import encode_name, format_set
from mssgw.protocol.mime import Part, raw_fields, string

_MONTHS = ("", "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@lru_cache(maxsize=8192)
def flags(given: frozenset[str]) -> bytes:
    """`(\\Seen $Forwarded)`."""
    return b"(" + " ".join(sorted(given)).encode("ascii", "replace") + b")"


def internal_date(moment: datetime) -> bytes:
    return b'"%2d-%s-%04d %02d:%02d:%02d +0000"' % (
        moment.day,
        _MONTHS[moment.month].encode(),
        moment.year,
        moment.hour,
        moment.minute,
        moment.second,
    )


def mailbox(name: str) -> bytes:
    """A mailbox name as a quoted string or literal."""
    return string(encode_name(name))


def listed(verb: bytes, attributes: Iterable[str], name: str, extra: bytes = b"") -> bytes:
    return b'* %s (%s) "/" %s%s\r\n' % (verb, " ".join(attributes).encode("ascii"), mailbox(name), extra)


def status(name: str, values: Iterable[tuple[str, int]]) -> bytes:
    return b"* STATUS %s (%s)\r\n" % (mailbox(name), " ".join(f"{item} {value}" for item, value in values).encode("ascii"))


def search(numbers: Sequence[int]) -> bytes:
    return b"* SEARCH" + b"".join([b" %d" % number for number in numbers]) + b"\r\n"


def esearch(tag: str, uid: bool, numbers: Sequence[int], returned: frozenset[str]) -> bytes:
    """RFC 4731. `numbers` ascend."""
    pieces = [b"* ESEARCH (TAG %s)" % string(tag.encode("ascii"))]
    if uid:
        pieces.append(b"UID")
    if numbers and "MIN" in returned:
        pieces.append(b"MIN %d" % numbers[0])
    if numbers and "MAX" in returned:
        pieces.append(b"MAX %d" % numbers[-1])
    if numbers and "ALL" in returned:
        pieces.append(b"ALL " + format_set(numbers))
    if "COUNT" in returned:
        pieces.append(b"COUNT %d" % len(numbers))
    return b" ".join(pieces) + b"\r\n"


def uid_pairs(pairs: Sequence[tuple[int, int]]) -> tuple[str, str]:
    """The two sets of COPYUID, in the same order. RFC 4315 3."""
    old, new = format_set(pair[0] for pair in pairs), format_set(pair[1] for pair in pairs)
    return old.decode("ascii"), new.decode("ascii")


# -- sections --------------------------------------------------------------------------------------------


class Span:
    """Octets of the message, to be read from its body."""

    __slots__ = ("end", "start")

    def __init__(self, start: int, end: int) -> None:
        self.start, self.end = start, end


def locate(root: Part, section: Section, size: int) -> Span | bytes | None:
    """Where a section stands, or its octets when they are put together (HEADER.FIELDS); None when there is none.

    RFC 3501 6.4.5: part numbers; HEADER, HEADER.FIELDS and TEXT need a message, MIME needs a part.
    """
    if not section.path and not section.text:
        return Span(0, size)
    part = _part(root, section.path)
    if part is None:
        return None
    if section.text == "MIME":
        return Span(part.header_start, part.body_start)
    if not section.text:
        return Span(part.body_start, part.body_end)
    message = part.message if section.path else root
    if message is None:
        return None
    if section.text == "HEADER":
        return Span(message.header_start, message.body_start)
    if section.text == "TEXT":
        return Span(message.body_start, message.body_end)
    return header_fields(message.fields.raw, section.names, without=section.text.endswith(".NOT"))


def _part(root: Part, path: Sequence[int]) -> Part | None:
    """RFC 3501 6.4.5: every message has part 1; the parts of an embedded message follow its number."""
    part, is_message = root, True
    for number in path:
        if not is_message and part.message is not None:
            part, is_message = part.message, True
        if part.is_multipart:
            if number > len(part.children):
                return None
            part, is_message = part.children[number - 1], False
        elif is_message and number == 1:
            is_message = False
        else:
            return None
    return part


def header_fields(section: bytes, names: Iterable[bytes], *, without: bool) -> bytes:
    """The named fields (or all others) as they stand, with the empty line."""
    wanted = {name.lower() for name in names}
    kept = b"".join([raw for name, raw in raw_fields(section) if (name in wanted) != without])
    return kept + (b"\r\n" if kept.endswith(b"\n") or not kept else b"\r\n\r\n")


def literal(data: bytes) -> bytes:
    return b"{%d}\r\n%s" % (len(data), data)


def cut(start: int, end: int, partial: tuple[int, int] | None) -> tuple[int, int]:
    """The octets [start, end) cut to `<offset.length>`: what is beyond the end is empty."""
    if partial is None:
        return start, end
    first = min(start + partial[0], end)
    return first, min(first + partial[1], end)
