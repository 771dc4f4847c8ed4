"""The tree of parts of a message, by offsets into its octets. RFC 2045, 2046.

`parse` reads header sections and looks for boundaries; it never copies a body, and a body in a file is read through
a window, so memory doesn't grow with the message. Garbage makes a plain text part, never an error; only what is over
the limits is refused, with TooComplex, before any work is spent on the rest (docs/reference/crypto.md 9.21).

An outer boundary always ends an inner part (RFC 2046 5.1.2), and the line end before a boundary belongs to it (5.1.1).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from mssgw.core.body import Body
from mssgw.core.config.node import Limits
from mssgw.core.errors import Refused, Reply
from mssgw.protocol.mime.fields import Buffer, Fields, Structured, disposition, header_end, media_type
from mssgw.protocol.mime.windows import Windows

_PLAIN = Structured(b"text/plain", ((b"charset", b"us-ascii"),))  # RFC 2045 5.2
_DIGEST = Structured(b"message/rfc822", ())  # RFC 2046 5.1.5
_MAX_BOUNDARY = 2000  # RFC 2046 5.1.1 says 70
_STEP = 1 << 20


class TooComplex(Refused):
    """Over a limit of MIME structure or header size."""

    default = Reply(554, "5.6.0", "Message structure is too complex")


@dataclass(frozen=True, slots=True)
class MimeLimits:
    depth: int = 50
    parts: int = 2000
    header_fields: int = 2000
    header_octets: int = 262_144  # of one section; four times as much in all sections

    @classmethod
    def of(cls, limits: Limits) -> MimeLimits:
        return cls(limits.mime_depth, limits.mime_parts, limits.header_fields, limits.header_octets)

    def with_room(self) -> MimeLimits:
        """Slightly lower limits: a message within them stays within these when trace fields, a signature or a report are added."""
        fields = max(self.header_fields - 100, self.header_fields // 2)
        return MimeLimits(self.depth - 4, self.parts - 16, fields, self.header_octets - 16 * 1024)


DEFAULT_LIMITS = MimeLimits()


@dataclass(slots=True)
class Part:
    """One entity. Header octets are [header_start, body_start), the empty line included; content is [body_start, body_end)."""

    header_start: int
    body_start: int
    body_end: int
    fields: Fields
    type: Structured  # never None: what isn't readable is text/plain
    typed: bool  # whether there was a readable Content-Type
    lines: int = 0  # line ends in the content; of text and message parts only
    children: list[Part] = field(default_factory=list)  # of a multipart
    message: Part | None = None  # the embedded message of message/rfc822

    @property
    def media(self) -> str:
        """`type/subtype`, lower case."""
        return self.type.value.decode("ascii")

    @property
    def is_multipart(self) -> bool:
        return self.type.value.startswith(b"multipart/")

    @property
    def params(self) -> dict[str, str]:
        return self.type.params

    @property
    def encoding(self) -> str:
        """Content-Transfer-Encoding, lower case; 7bit when absent (RFC 2045 6.1)."""
        value = self.fields.get(b"content-transfer-encoding") or b"7bit"
        return value.partition(b"(")[0].strip(b" \t;\"'").lower().decode("ascii", "replace")

    @property
    def disposition(self) -> Structured | None:
        return disposition(self.fields.get(b"content-disposition"))

    @property
    def filename(self) -> str | None:
        """From Content-Disposition, else from Content-Type's name (RFC 2183 2.3)."""
        shown = self.disposition
        return (shown.params.get("filename") if shown else None) or self.params.get("name")

    @property
    def size(self) -> int:
        return self.body_end - self.body_start

    def walk(self) -> Iterator[Part]:
        """This part and all below it, in order; embedded messages too."""
        yield self
        for child in self.children:
            yield from child.walk()
        if self.message:
            yield from self.message.walk()


def parse(body: Body | bytes, limits: MimeLimits = DEFAULT_LIMITS) -> Part:
    """The message's tree. Raises TooComplex."""
    data: Buffer = body if isinstance(body, bytes) else body.read() if body.in_memory else Windows(body)
    return _Parser(data, limits).entity(0, len(data), _PLAIN, 0)


_AFTER = frozenset(b" \t\r\n")  # what may stand behind a boundary, beside the "--" of the last


class _Parser:
    def __init__(self, data: Buffer, limits: MimeLimits) -> None:
        self.data, self.limits = data, limits
        self.parts = self.header_octets = 0

    def entity(self, start: int, end: int, default: Structured, depth: int) -> Part:
        limits = self.limits
        self.parts += 1
        if self.parts > limits.parts:
            raise TooComplex(f"More than {limits.parts} MIME parts")
        if depth > limits.depth:
            raise TooComplex(f"MIME parts nested deeper than {limits.depth} levels")
        body_start = header_end(self.data, start, min(end, start + limits.header_octets + 1))
        self.header_octets += body_start - start
        if body_start - start > limits.header_octets or self.header_octets > 4 * limits.header_octets:
            raise TooComplex(f"Header section larger than {limits.header_octets} octets")
        raw = self.data[start:body_start]
        fields = Fields(raw)
        if raw.count(b"\n") > limits.header_fields and fields.count > limits.header_fields:
            raise TooComplex(f"More than {limits.header_fields} header fields")
        kind = media_type(fields.get(b"content-type"))
        part = Part(start, body_start, end, fields, kind or default, kind is not None)
        self._contents(part, depth)
        return part

    def _contents(self, part: Part, depth: int) -> None:
        value = part.type.value
        if value.startswith(b"multipart/"):
            boundary = part.type.raw(b"boundary") or part.params.get("boundary", "").encode()  # RFC 2231 encodes even this
            if boundary and len(boundary) <= _MAX_BOUNDARY and b"\n" not in boundary:
                default = _DIGEST if value == b"multipart/digest" else _PLAIN
                # Counted before the recursion, not after: Python's own stack is limited.
                part.children = [self.entity(start, end, default, depth + 1) for start, end in self._between(part, boundary.rstrip(b" \t"))]
                return
            part.type = _PLAIN  # a multipart without a usable boundary
        if value == b"message/rfc822":
            part.message = self.entity(part.body_start, part.body_end, _PLAIN, depth + 1)
            part.lines = self._count_lines(part)
        elif value.startswith(b"text/") or part.type is _PLAIN:
            part.lines = self._count_lines(part)

    def _between(self, part: Part, boundary: bytes) -> Iterator[tuple[int, int]]:
        """Offsets of the entities between the delimiter lines of a multipart."""
        data, end = self.data, part.body_end
        needle = b"\n--" + boundary
        start = -1  # of the entity that is open
        at = max(part.body_start - 1, 0)
        if part.body_start == 0 and data[: len(needle) - 1] == needle[1:]:
            at = -1
        while True:
            found = -1 if at == -1 else data.find(needle, at, end)
            if found == -1 and at != -1:
                break
            after = found + len(needle)
            if (follows := data[after : after + 2]) and follows[0] not in _AFTER and follows != b"--":
                at = after  # seen at once: a stranger can write millions of these
                continue
            tail = data[after : min(end, after + 200)]
            closing = tail.startswith(b"--")
            stop = after + 2 if closing else after
            padding = tail[2 if closing else 0 :]
            line = padding.split(b"\n", 1)[0]
            if line.strip(b" \t\r"):  # a longer boundary that begins like ours
                at = after
                continue
            if start != -1:
                yield start, max(start, found - (1 if data[found - 1 : found] == b"\r" else 0))
            if closing:
                return
            at = min(stop + len(line), end)
            start = min(at + 1, end)
        if start != -1:
            yield start, end

    def _count_lines(self, part: Part) -> int:
        data = self.data
        if isinstance(data, bytes):
            return data.count(b"\n", part.body_start, part.body_end)
        return sum(data[at : min(at + _STEP, part.body_end)].count(b"\n") for at in range(part.body_start, part.body_end, _STEP))
