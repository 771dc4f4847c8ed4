"""MTOM: a SOAP envelope and its binary parts as multipart/related (XOP 1.0, RFC 2387). Pure.

Writing is always binary parts. Reading takes what real peers send: parts in any order, `start` missing,
base64 parts, quoted boundaries; everything is bounded.
"""

from __future__ import annotations

import binascii
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from email.message import Message
from urllib.parse import unquote

import pybase64
from lxml import etree

from dmp_connector.errors import BadAnswer
from dmp_connector.texts import message

XOP = "http://www.w3.org/2004/08/xop/include"
_INCLUDE = f"{{{XOP}}}Include"
_HEAD_LIMIT = 16 * 1024


@dataclass(frozen=True, slots=True)
class Part:
    """One binary part: Content-ID without angle brackets, media type, bytes."""

    cid: str
    media_type: str
    content: bytes


def include(cid: str) -> etree._Element:
    """The element that stands for a part inside the envelope."""
    return etree.Element(_INCLUDE, {"href": f"cid:{cid}"}, nsmap={"xop": XOP})


def encode(envelope: bytes, parts: Sequence[Part], action: str) -> tuple[str, bytes]:
    """(Content-Type, body). The envelope is part <0.1>; the action stands where SOAP 1.2 wants it."""
    boundary = f"MIMEBoundary_{secrets.token_hex(16)}"
    root_type = f'application/xop+xml; charset=UTF-8; type="application/soap+xml"; action="{action}"'
    pieces = [_head(boundary, root_type, "0.1"), envelope]
    for part in parts:
        pieces += [b"\r\n", _head(boundary, part.media_type, part.cid), part.content]
    pieces.append(f"\r\n--{boundary}--\r\n".encode())
    content_type = (
        f'multipart/related; boundary="{boundary}"; type="application/xop+xml"; start="<0.1>"; '
        f'start-info="application/soap+xml"; action="{action}"'
    )
    return content_type, b"".join(pieces)


def _head(boundary: str, media_type: str, cid: str) -> bytes:
    return (f"--{boundary}\r\nContent-Type: {media_type}\r\nContent-Transfer-Encoding: binary\r\nContent-ID: <{cid}>\r\n\r\n").encode()


def is_multipart(content_type: str) -> bool:
    """Is this content type multipart/related?"""
    return content_type.partition(";")[0].strip().lower() == "multipart/related"


def decode(content_type: str, body: bytes, *, max_parts: int = 200) -> tuple[bytes, dict[str, Part]]:
    """(envelope, parts by Content-ID). Raises BadAnswer on anything that is not a complete multipart."""
    parameters = _parameters(content_type)
    boundary = parameters.get("boundary", "")
    if not 1 <= len(boundary) <= 200:
        raise BadAnswer(message("mtom.multipart-answer-without-boundary"))
    parts = _split(body, boundary.encode("latin-1"), max_parts)
    start = parameters.get("start", "").strip().strip("<>")
    by_cid: dict[str, Part] = {}
    for part in parts:
        if part.cid and part.cid in by_cid:
            raise BadAnswer(message("mtom.two-parts-content-id", cid=repr(part.cid[:80])))
        by_cid[part.cid] = part
    root = by_cid.get(start) if start else parts[0]
    if root is None:
        raise BadAnswer(message("mtom.start-part-missing"))
    return root.content, {cid: part for cid, part in by_cid.items() if part is not root}


def _parameters(content_type: str) -> dict[str, str]:
    message = Message()
    message["Content-Type"] = re.sub(r"[\r\n]+", " ", content_type)
    return {name.lower(): str(value) for name, value in message.get_params(failobj=[])[1:]}


def _split(body: bytes, boundary: bytes, max_parts: int) -> list[Part]:
    delimiter = b"--" + boundary
    at = 0 if body.startswith(delimiter) else body.find(b"\r\n" + delimiter) + 2
    if at == 1:  # find returned -1
        raise BadAnswer(message("mtom.boundary-does-not-occur-multipart"))
    parts: list[Part] = []
    while True:
        at += len(delimiter)
        if body.startswith(b"--", at):
            break
        line_end = body.find(b"\n", at, at + 200)
        if line_end < 0 or body[at:line_end].strip():
            raise BadAnswer(message("mtom.boundary-line-malformed"))
        end = _next_delimiter(body, delimiter, line_end)
        parts.append(_part(body, line_end + 1, end[0]))
        if len(parts) > max_parts:
            raise BadAnswer(message("mtom.more-than-parts", max_parts=max_parts))
        at = end[1]
    if not parts:
        raise BadAnswer(message("mtom.empty-multipart"))
    return parts


def _next_delimiter(body: bytes, delimiter: bytes, at: int) -> tuple[int, int]:
    """(end of content, start of delimiter); the line break before a delimiter belongs to it (RFC 2046 5.1.1)."""
    found = body.find(b"\n" + delimiter, at)
    if found < 0:
        raise BadAnswer(message("mtom.multipart-ends-before-last-boundary"))
    return (found - 1 if body[found - 1 : found] == b"\r" else found), found + 1


def _part(body: bytes, start: int, end: int) -> Part:
    window = body[start : min(end, start + _HEAD_LIMIT)]
    cut = re.search(rb"\r?\n\r?\n", window) if not window.startswith((b"\r\n", b"\n")) else None
    if cut is None:
        raise BadAnswer(message("mtom.part-without-header"))
    headers = _headers(window[: cut.start()])
    content = body[start + cut.end() : end]
    encoding = headers.get("content-transfer-encoding", "binary").lower()
    if encoding == "base64":
        content = _from_base64(content)
    elif encoding not in ("binary", "8bit", "7bit"):
        raise BadAnswer(message("mtom.transfer-encoding-not-used-mtom", encoding=repr(encoding[:40])))
    return Part(headers.get("content-id", "").strip("<>"), headers.get("content-type", "application/octet-stream"), content)


def _headers(head: bytes) -> dict[str, str]:
    unfolded = re.sub(rb"\r?\n[ \t]+", b" ", head).decode("latin-1")
    pairs = (line.partition(":") for line in unfolded.splitlines())
    return {name.strip().lower(): value.strip() for name, colon, value in pairs if colon}


def _from_base64(text: bytes) -> bytes:
    try:
        return pybase64.b64decode(b"".join(text.split()), validate=True)
    except binascii.Error as error:
        raise BadAnswer(message("mtom.base64-part-cannot-decoded")) from error


def content_of(element: etree._Element, parts: dict[str, Part]) -> tuple[bytes, str | None]:
    """(bytes, media type of the part): the binary value of an element, by xop:Include or inline base64."""
    child = element.find(_INCLUDE)
    if child is None:
        return _from_base64((element.text or "").encode("ascii", "replace")), None
    href = child.get("href", "")
    part = parts.get(unquote(href[4:])) if href.startswith("cid:") else None
    if part is None:
        raise BadAnswer(message("mtom.part-missing", href=repr(href[:80])))
    return part.content, part.media_type
