"""Contents of parts: transfer encodings undone, texts for search. RFC 2045 6.

Everything streams: a 30 MB attachment passes in chunks. Broken base64 and quoted-printable give what can be read.
"""

from __future__ import annotations

import binascii
import os
import re
from collections.abc import Iterable, Iterator

from mssgw.core.body import CHUNK, Body, BodyWriter
from mssgw.protocol.mime.part import Part
from mssgw.protocol.mime.words import NOT_BASE64, Charset, decode_base64_run

_NEITHER = NOT_BASE64.replace(b"=", b"")
_PADDING = re.compile(rb"=+")


def raw_chunks(body: Body, start: int, end: int, size: int = CHUNK) -> Iterator[bytes]:
    for at in range(start, end, size):
        yield body.read(at, min(size, end - at))


def decoded_chunks(body: Body, part: Part, limit: int | None = None) -> Iterator[bytes]:
    """The part's content without its transfer encoding; of its first `limit` encoded octets when that is given.

    Unknown encodings are left as they are (RFC 2045 6.4).
    """
    end = part.body_end if limit is None else min(part.body_end, part.body_start + limit)
    chunks = raw_chunks(body, part.body_start, end)
    match part.encoding:
        case "base64":
            return decode_base64(chunks)
        case "quoted-printable":
            return decode_quoted_printable(chunks)
        case _:
            return chunks


def decode(body: Body, part: Part, spool_dir: str | os.PathLike[str] | None = None) -> Body:
    """The part's content as a Body of its own, in a file when it is large."""
    writer = BodyWriter(spool_dir)
    try:
        for chunk in decoded_chunks(body, part):
            writer.write(chunk)
        return writer.finish()
    except BaseException:
        writer.abort()
        raise


def decode_base64(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Foreign characters are skipped (RFC 2045 6.8); padding ends a run, and another run may follow."""
    carry = b""
    for chunk in chunks:
        carry += chunk.translate(None, _NEITHER)
        if b"=" in carry:
            *runs, carry = _PADDING.split(carry)
            for run in runs:
                yield decode_base64_run(run)
        cut = len(carry) & ~3
        yield decode_base64_run(carry[:cut])
        carry = carry[cut:]
    yield decode_base64_run(carry)


def decode_quoted_printable(chunks: Iterable[bytes]) -> Iterator[bytes]:
    carry = b""
    for chunk in chunks:
        carry += chunk
        cut = carry.rfind(b"\n") + 1
        if not cut and len(carry) > CHUNK:  # no line end for long: cut where no escape is open
            escape = carry.rfind(b"=", len(carry) - 3)
            cut = escape if escape != -1 else len(carry)
        if cut:
            yield binascii.a2b_qp(carry[:cut])
            carry = carry[cut:]
    yield binascii.a2b_qp(carry)


def text_of(body: Body, part: Part, limit: int = 1 << 20) -> str:
    """The text of one text/* part, decoded, at most about `limit` octets of it; tags of HTML removed."""
    data = bytearray()
    for chunk in decoded_chunks(body, part, 4 * limit):
        data += chunk
        if len(data) >= limit:
            break
    text = Charset.decode(bytes(data[:limit]), part.params.get("charset", "us-ascii"))
    return without_tags(text) if part.type.value == b"text/html" and "<" in text else text


def texts(body: Body, root: Part, limit: int = 1 << 20) -> Iterator[str]:
    """The texts of all text parts of a message, in order, embedded messages included: what search looks at."""
    for part in root.walk():
        if part.message is None and not part.is_multipart and part.type.value.startswith(b"text/"):
            yield text_of(body, part, limit)


def without_tags(text: str) -> str:
    """HTML's text: tags, comments, styles and scripts become a blank; linear, whatever stands in it."""
    kept: list[str] = []
    lower, at = text.lower(), 0
    while (tag := text.find("<", at)) != -1:
        kept.append(text[at:tag])
        if lower.startswith("<!--", tag):
            ending = "-->"
        elif lower.startswith(("<style", "<script"), tag):
            ending = "</style" if lower.startswith("<style", tag) else "</script"
        else:
            ending = ">"
        stop = lower.find(ending, tag)
        if stop == -1:
            if ending == ">":
                kept.append(text[tag:])
            return " ".join(kept)
        at = stop + (0 if ending.startswith("</") else len(ending))
    kept.append(text[at:])
    return " ".join(kept)
