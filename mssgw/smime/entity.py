"""MIME around CMS: find S/MIME in a message, wrap entities, keep them intact on the way (RFC 8551 3).

A message is header fields that belong to it and an entity, which is the Content-* fields and the body.
Wrapping moves the entity inside and leaves the message's own fields outside, Subject and X-MSS-* in clear
(MSSanté software sorts and displays mail by them). Structure comes from `protocol.mime`, by offsets.
"""

from __future__ import annotations

import binascii
import enum
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from mssgw.core.body import Body, BodyWriter
from mssgw.core.message import Field, Headers
from mssgw.protocol import mime
from mssgw.protocol.lines import count_crlf
from mssgw.protocol.mime import Part
from mssgw.protocol.mime.fields import header_end as end_of_header
from mssgw.smime.wire.rope import STEP, Range, Rope

MAX_LINE = 998  # octets without CRLF, RFC 5322 2.1.1

SIGNATURE_TYPES = frozenset(("application/pkcs7-signature", "application/x-pkcs7-signature"))
CMS_TYPES = frozenset(("application/pkcs7-mime", "application/x-pkcs7-mime"))
_WIDE = re.compile(rb"(?im)^content-transfer-encoding:[ \t]*(?:8bit|binary)")
_CMS_NAME = re.compile(r"\.p7[mz]\Z", re.IGNORECASE)
_OPAQUE_TYPES = frozenset(("application/octet-stream", "application/pkcs7-signature", "application/x-pkcs7-signature"))


class Kind(enum.Enum):
    PLAIN = "plain"
    CLEAR_SIGNED = "clear-signed"  # multipart/signed
    CMS = "cms"  # application/pkcs7-mime under whatever name


def kind_of(part: Part) -> Kind:
    """What this part is, by type, and by file name where the type is generic (RFC 8551 3.2.1)."""
    media = part.media
    if media == "multipart/signed":
        protocol = part.params.get("protocol", "").lower()
        signature = len(part.children) > 1 and is_signature(part.children[1])
        return Kind.CLEAR_SIGNED if protocol in SIGNATURE_TYPES or signature else Kind.PLAIN
    if media in CMS_TYPES:
        return Kind.CMS
    if media in _OPAQUE_TYPES and _CMS_NAME.search(part.filename or ""):
        return Kind.CMS
    return Kind.PLAIN


def is_signature(part: Part) -> bool:
    """Whether a part is a detached signature, by type, or by file name where a gateway made the type generic (RFC 8551 3.2.1, 3.9)."""
    if part.media in SIGNATURE_TYPES:
        return True
    return part.media == "application/octet-stream" and (part.filename or "").lower().endswith(".p7s")


@dataclass(frozen=True, slots=True)
class Armoured:
    """Where the CMS of a part stands, `start` to `end` in its body. `footer`: something stands after it, as lists add it."""

    start: int
    end: int
    base64: bool
    footer: bool = False


_TAIL = 16 * 1024  # octets that are looked through for what a list added
_PEM = re.compile(rb"\s*-----BEGIN [A-Z0-9 ]{1,32}-----[ \t]*\r?\n")
_PEM_END = re.compile(rb"^-----END ", re.MULTILINE)
_NO_DIGITS = re.compile(rb"^(?:[^\r\n]*[^A-Za-z0-9+/=\s]|[ \t]*\r?\n(?=\s*\S))", re.MULTILINE)  # or an empty line with more behind it
_FULL_LINE = re.compile(rb"^[A-Za-z0-9+/]{56,}={0,2}[ \t]*\r?$", re.MULTILINE)
_BASE64_CMS = re.compile(rb"\s*MI[A-Za-z0-9+/]{54,}[ \t]*\r?\n")


def armoured(body: Body, part: Part) -> Armoured:
    """The CMS in a part: without the lines of a PEM around it and without a footer; base64 also where nobody declared it."""
    start, end = part.body_start, part.body_end
    head = body.read(start, min(200, end - start))
    if pem := _PEM.match(head):
        tail = max(start + pem.end(), end - _TAIL)
        found = _PEM_END.search(body.read(tail, end - tail))
        return Armoured(start + pem.end(), tail + found.start() if found else end, True)
    if part.encoding != "base64":
        return Armoured(start, end, part.encoding in ("7bit", "8bit", "binary") and bool(_BASE64_CMS.match(head)))
    tail = max(start, end - _TAIL)
    octets = body.read(tail, end - tail)
    last = max((line.end() for line in _FULL_LINE.finditer(octets)), default=0)  # what stands before a full line belongs to it
    found = _NO_DIGITS.search(octets, last)
    return Armoured(start, tail + found.start(), True, True) if found else Armoured(start, end, True)


def is_structural(field: Field) -> bool:
    """Content-* and MIME-Version belong to the entity (RFC 2045 3, RFC 9788 1.4)."""
    return field.name.startswith("content-") or field.name == "mime-version"


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message about to be wrapped. `headers` stay outside; the entity is `structural` and `content`."""

    headers: Headers
    structural: Headers
    content: Rope

    def entity(self) -> Rope:
        return Rope(bytes(self.structural) + b"\r\n") + self.content


def outgoing(body: Body, limits: mime.MimeLimits = mime.DEFAULT_LIMITS) -> Outgoing:
    """Take a message apart for wrapping, with CRLF line ends and 7-bit content. Raises mime.TooComplex."""
    start = header_end(body)
    headers = Headers.parse(_crlf(body.read(0, start)))
    structural = Headers(tuple(field for field in headers if is_structural(field) and field.name != "mime-version"))
    own = headers.without(lambda field: is_structural(field) or not field.name)
    if survives(body, start):
        return Outgoing(own, structural, Rope(Range(body, start, body.size)))
    return _reencoded(body, own, limits)


def header_end(body: Body) -> int:
    """Offset of the first octet after the empty line. A message without one is all header."""
    step = 8 * 1024
    while True:
        head = body.read(0, step)
        found = end_of_header(head, 0, len(head))
        if found < len(head) or len(head) == body.size:
            return found
        step *= 4


def _crlf(data: bytes) -> bytes:
    return re.sub(rb"\r?\n", b"\r\n", data) if data.count(b"\n") != data.count(b"\r\n") else data


def survives(body: Body, start: int) -> bool:
    """Whether relays will not change it: 7-bit, CRLF only, lines of at most 998 octets (RFC 8551 3.1.3)."""
    tail = 0  # length of the line that is open
    for chunk in _lines(body, start):
        if not chunk.isascii() or b"\0" in chunk or count_crlf(chunk) is None:
            return False
        tail = _longest_open(chunk, tail)
        if tail < 0:
            return False
    return not _WIDE.search(body.read(0, start))


def _longest_open(chunk: bytes, tail: int) -> int:
    """Length of the line open at the end, or -1 when one is too long. Jumps from line end to line end, far apart."""
    at = -tail
    size = len(chunk)
    while size - at > MAX_LINE + 1:
        found = chunk.rfind(b"\n", max(at, 0), at + MAX_LINE + 2)
        if found < 0:
            return -1
        at = found + 1
    found = chunk.rfind(b"\n", max(at, 0))
    return size - at if found < 0 else size - found - 1


# --- making content 7-bit -----------------------------------------------------------------------------------------------


def _reencoded(body: Body, own: Headers, limits: mime.MimeLimits) -> Outgoing:
    """The same message with every leaf that would not survive in quoted-printable or base64."""
    clean = _with_crlf(body)
    root = mime.parse(clean, limits)
    writer = BodyWriter()
    structural = _write_part(clean, root, writer, top=True)
    made = writer.finish()
    return Outgoing(own, structural, Rope(Range(made, 0, made.size)))


def _with_crlf(body: Body) -> Body:
    """Bare LF and CR become CRLF; content that is declared binary was never line-oriented, and is rare enough."""
    if all(count_crlf(chunk) is not None for chunk in _lines(body)):
        return body
    writer = BodyWriter()
    for chunk in _lines(body):
        writer.write(re.sub(rb"\r\n|\r|\n", b"\r\n", chunk))
    return writer.finish()


def _lines(body: Body, start: int = 0) -> Iterator[bytes]:
    """Chunks from `start` on that never end between CR and LF."""
    held = b""
    for at in range(start, body.size, STEP):
        data = held + body.read(at, STEP)
        held = b"\r" if data.endswith(b"\r") else b""
        yield data[: len(data) - len(held)]
    if held:
        yield held


def _write_part(body: Body, part: Part, writer: BodyWriter, top: bool = False) -> Headers:
    """Write one part (its header too, unless `top`), encoding leaves where needed. Returns its structural fields."""
    fields = Headers.parse(body.read(part.header_start, part.body_start - part.header_start))
    structural = Headers(tuple(field for field in fields if is_structural(field) and field.name != "mime-version"))
    written = structural if top else fields
    encoding = None
    if part.children or part.message:
        written = written.without(["content-transfer-encoding"])
    elif part.encoding in ("7bit", "8bit", "binary") and not _plain(body, part):
        encoding = "quoted-printable" if part.type.value.startswith(b"text/") else "base64"
        written = written.without(["content-transfer-encoding"]).append(("Content-Transfer-Encoding", encoding))
    if not top:
        writer.write(bytes(written) + b"\r\n")
    if part.children:
        _write_children(body, part, writer)
    elif part.message:
        _write_part(body, part.message, writer)
    elif encoding:
        data = body.read(part.body_start, part.body_end - part.body_start)
        writer.write(_quoted_printable(data) if encoding == "quoted-printable" else _base64(data))
    else:
        for chunk in mime.raw_chunks(body, part.body_start, part.body_end, STEP):
            writer.write(chunk)
    return written


def _plain(body: Body, part: Part) -> bool:
    tail = 0
    for chunk in mime.raw_chunks(body, part.body_start, part.body_end, STEP):
        if not chunk.isascii() or b"\0" in chunk:
            return False
        tail = _longest_open(chunk, tail)
        if tail < 0:
            return False
    return True


def _write_children(body: Body, part: Part, writer: BodyWriter) -> None:
    boundary = part.type.raw(b"boundary") or part.params["boundary"].encode()
    for child in part.children:
        writer.write(b"\r\n--" + boundary + b"\r\n")
        _write_part(body, child, writer)
    writer.write(b"\r\n--" + boundary + b"--\r\n")


def _quoted_printable(data: bytes) -> bytes:
    """Text as quoted-printable that keeps its line ends and hides trailing blanks, "From " and dots."""
    lines = []
    for line in data.split(b"\r\n"):
        encoded = binascii.b2a_qp(line, quotetabs=False, istext=True, header=False)
        if encoded[:5] == b"From " or encoded[:1] == b".":
            encoded = b"=%02X" % encoded[0] + encoded[1:]
        lines.append(encoded.replace(b"=\n", b"=\r\n"))
    return b"\r\n".join(lines)


def _base64(data: bytes) -> bytes:
    from mssgw.smime.wire.armour import encode

    return encode(data).removesuffix(b"\r\n")


# --- wrapping -----------------------------------------------------------------------------------------------------------


def new_boundary() -> bytes:
    return b"=_smime_" + os.urandom(18).hex().encode()  # "=_" never stands in quoted-printable or base64 (RFC 2045 6.7)


def multipart_signed(entity: Rope, micalg: str, signature: bytes) -> tuple[Headers, Rope]:
    """(structural fields, content) of multipart/signed (RFC 1847 2.1, RFC 8551 3.5.3)."""
    boundary = new_boundary()
    kind = f'multipart/signed; protocol="application/pkcs7-signature";\r\n micalg={micalg}; boundary="{boundary.decode()}"'
    after = (
        b"\r\n--" + boundary + b"\r\n"
        b'Content-Type: application/pkcs7-signature; name="smime.p7s"\r\n'
        b"Content-Transfer-Encoding: base64\r\n"
        b'Content-Disposition: attachment; filename="smime.p7s"\r\n'
        b"Content-Description: S/MIME Cryptographic Signature\r\n\r\n" + signature + b"\r\n--" + boundary + b"--\r\n"
    )
    content = Rope(b"This is a cryptographically signed message in MIME format.\r\n\r\n--" + boundary + b"\r\n") + entity + Rope(after)
    return Headers(()).append(("Content-Type", kind)), content


@cache
def pkcs7_mime(smime_type: str, name: str = "smime.p7m") -> Headers:
    """Structural fields of application/pkcs7-mime (RFC 8551 3.2)."""
    return Headers(()).append(
        ("Content-Type", f'application/pkcs7-mime; smime-type={smime_type};\r\n name="{name}"'),
        ("Content-Transfer-Encoding", "base64"),
        ("Content-Disposition", f'attachment; filename="{name}"'),
        ("Content-Description", "S/MIME Encrypted Message" if "env" in smime_type else "S/MIME Signed Message"),
    )
