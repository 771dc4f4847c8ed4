"""What mail programs read differently in one message: the structures in which two of them would show two contents.

A signature covers octets, but people read what their program makes of them. `ambiguity` names the first thing in a
message that well-known readers (Python's email, mutt, Thunderbird, Outlook, libetpan) take apart differently: fields or
parameters given twice, a line that is no field, comments and odd quoting in a media type, delimiters that are nearly
delimiters, a transfer encoding with content outside its alphabet. It is stricter than the RFCs on purpose: programs that
sign write none of this (RFC 5322 3.6, RFC 2045 5.1 and 6.8, RFC 2046 5.1.1), so it is damage or an attempt to deceive.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator

import pybase64

from mssgw.core.body import Body
from mssgw.protocol.mime.ambiguous_texts import CHARSET, in_text
from mssgw.protocol.mime.fields import Buffer, Fields, disposition, raw_fields, unfold
from mssgw.protocol.mime.part import Part
from mssgw.protocol.mime.windows import Windows
from mssgw.protocol.mime.words import decode_words, is_known_charset

_TOKEN = rb"[!#$%&'*+\-.0-9A-Z^_`a-z{|}~]+"
_FIRST_LINE = re.compile(rb"(?:[0-9A-Za-z][\w-]*:|\r?\n|\Z)")
_NO_FIELD = re.compile(rb"\n(?![0-9A-Za-z][\w-]*:|[ \t]|\r?\n|\Z)")  # RFC 5322 3.6.8 allows more in a name than programs write
_LONE_CR = re.compile(rb"\r(?!\n)")
_CONTROLS = bytes((*range(9), 11, 12, *range(14, 32), 127))  # of a header; a CR alone is looked for in all lines
_BLANK_FOLD = re.compile(rb"\n[ \t]+\r?\n")
_MEDIA = re.compile(rb"(" + _TOKEN + rb"/" + _TOKEN + rb")[ \t]*(?:;|\Z)")
_PARAMETER = re.compile(rb";?[ \t]*(" + _TOKEN + rb")=(" + _TOKEN + rb'|"(?:[^"\\]|\\.)*")[ \t]*(?=;|\Z)')
_DISPOSITION = re.compile(rb"(" + _TOKEN + rb")[ \t]*(?:;|\Z)")
_BOUNDARY = re.compile(rb"[0-9A-Za-z'()+_,./:=?-]{1,70}\Z")  # RFC 2046 5.1.1, without blanks
_NOT_QUOTED = re.compile(rb"=(?![0-9A-Fa-f]{2}|\r?\n)")
_ENCODINGS = frozenset((b"7bit", b"8bit", b"binary", b"quoted-printable", b"base64"))
_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_IDENTITY = frozenset((b"7bit", b"8bit", b"binary"))

_ONCE_IN_PART = frozenset(
    (b"content-type", b"content-transfer-encoding", b"content-disposition", b"content-id", b"content-description", b"mime-version")
)
_ONCE_IN_MESSAGE = frozenset(  # RFC 5322 3.6
    (b"date", b"from", b"sender", b"reply-to", b"to", b"cc", b"bcc", b"message-id", b"in-reply-to", b"references", b"subject")
)
ONCE_IN_MESSAGE = frozenset(name.decode("ascii") for name in _ONCE_IN_MESSAGE)
_ONCE = _ONCE_IN_PART | _ONCE_IN_MESSAGE
_STRICT = frozenset((b"boundary", b"charset", b"protocol", b"micalg", b"smime-type", b"hp", b"forwarded", b"start"))  # no RFC 2231 forms
_MESSAGES = frozenset(  # of the others the content is not in this message, or only some readers open them
    (b"message/rfc822", b"message/delivery-status", b"message/disposition-notification", b"message/feedback-report")
)

# Possessive throughout: whatever a stranger writes is read in one way and in time that grows with its length.
_ATOM = rb"[!#$%&'*+\-/0-9=?A-Z^_`a-z{|}~.\x80-\xff]++"
_BOX = rb"(?:[^<>\"(),:;@\\\[\]]|\"(?:[^\"\\]|\\.)*+\")*+<" + _ATOM + rb"@" + _ATOM + rb">|" + _ATOM + rb"@" + _ATOM
_AUTHOR = rb"[ \t]*+(?:" + _BOX + rb")(?:[ \t]*+\([^()\\]*+\))?+"
_AUTHORS = re.compile(_AUTHOR + rb"(?:[ \t]*+," + _AUTHOR + rb")*+[ \t]*+\Z")
_CONTROL_DECODED = re.compile("[\x00-\x08\n-\x1f\x7f\x85\u2028\u2029]")
_DIRECTION = re.compile("[\u202a-\u202e\u2066-\u2069]")  # what follows is shown from right to left, by some
_WORD_CHARSET = re.compile(rb"=\?([^?*\s]{1,60})(?:\*[^?\s]*)?\?[bBqQ]\?")
_TNEF = frozenset(("application/ms-tnef", "application/vnd.ms-tnef"))
_TNEF_NAME = re.compile(r"win(?:mail)?\.dat\Z", re.IGNORECASE)
_SIGNATURE_NAME = re.compile(r"[\w.-]{1,32}\Z", re.ASCII)

_MULTIPARTS = 64  # more are not looked through
_STEP = 1 << 20
_WIDEST = 1000  # digits of a line of base64
_LONGEST = 100  # octets of a delimiter line with what makes it none


def ambiguity(body: Body | bytes, root: Part) -> str:
    """The first thing in the message `root` that readers take apart differently, for a log; "" when there is none.

    `root` is what `mime.parse` made of `body`. Regular base64 is read once, every other octet two or three times.
    """
    data: Buffer = body if isinstance(body, bytes) else body.read() if body.in_memory else Windows(body)
    return next(_in_message(data, root), "")


def _in_message(data: Buffer, root: Part) -> Iterator[str]:
    parts = list(root.walk())
    regular = {id(part) for part in parts if _is_regular_base64(data, part)}
    yield from _in_octets(data, root, [part for part in parts if id(part) in regular or _is_binary(part)])
    messages = {id(root), *(id(part.message) for part in parts if part.message)}
    for part in parts:
        media = part.media
        yield from _in_header(part.fields.raw, part.fields, id(part) in messages)
        yield from _in_type(part)
        if id(part) not in regular:
            yield from _in_encoding(data, part)
        if part is root:
            yield from _in_authors(part.fields)
        if media == "multipart/signed":
            yield from _beside_signature(part)
        if media == "multipart/related":
            yield from _in_related(part)
        if media in _TNEF or (media.startswith("application/") and _TNEF_NAME.match(part.filename or "")):
            yield "a TNEF, which Outlook shows instead of the message around it"
        if media.startswith("text/"):
            yield from in_text(data[part.body_start : part.body_end], part)
        if id(part) in messages:
            yield from _in_names(data, part)
    yield from _in_delimiters(data, root, [part for part in parts if id(part) in regular])


def _is_binary(part: Part) -> bool:
    """A file sent as it is: it has no lines."""
    return part.encoding == "binary" and not part.media.startswith(("text/", "multipart/", "message/"))


def _is_regular_base64(data: Buffer, part: Part) -> bool:
    """Whether the content is base64 as programs write it: lines of one length that end in CRLF, padding at its end, nothing else.

    It answers every other question about these octets: no NUL, no lone CR, no hyphen. What is large in a message is base64, and this
    looks at it once.
    """
    if part.encoding != "base64" or part.is_multipart or part.message:
        return False
    start, end = part.body_start, part.body_end
    for _ in range(2):
        end -= 2 * (end - start >= 2 and data[end - 2 : end] == b"\r\n")
    width = data[start : min(end, start + _WIDEST + 2)].find(b"\r\n")
    width = end - start if width < 0 else width
    if not 0 < width <= _WIDEST or width % 4:
        return False
    step = (width + 2) * (_STEP // (width + 2))
    return all(_are_regular_lines(data[at : min(at + step, end)], width, last=at + step >= end) for at in range(start, end, step))


def _are_regular_lines(lines: bytes, width: int, *, last: bool) -> bool:
    """Whether these are whole lines of `width` digits; the last of the content may be shorter, padded, and without its line end."""
    ends = len(range(width, len(lines), width + 2))
    if lines[width :: width + 2] != b"\r" * ends or lines[width + 1 :: width + 2] != b"\n" * ends:
        return False
    digits = bytearray(lines)
    del digits[width + 1 :: width + 2]
    del digits[width :: width + 1]
    if not last and digits.endswith(b"="):
        return False
    try:
        pybase64.b64decode(digits, validate=True)
    except ValueError:
        return False
    return True


def _pieces(root: Part, left_out: list[Part]) -> Iterator[tuple[int, int]]:
    """Where the octets of the message stand without the content of these parts."""
    start = root.header_start
    for part in left_out:
        yield start, part.body_start
        start = part.body_end
    yield start, root.body_end


def _in_octets(data: Buffer, root: Part, left_out: list[Part]) -> Iterator[str]:
    """What ends a line for some and not for others, and what ends a text for some."""
    for start, end in _pieces(root, left_out):
        yield from _in_lines(data, start, end)


def _in_lines(data: Buffer, start: int, end: int) -> Iterator[str]:
    for at in range(start, end, _STEP):
        chunk = data[at : min(at + _STEP + 1, end)]  # one octet more: a CR at the end of a step may have its LF
        if b"\0" in chunk:
            yield "a NUL octet"
        if (lone := _LONE_CR.search(chunk)) and (lone.start() < _STEP or at + _STEP + 1 >= end):
            yield "a CR without its LF"


def _in_header(section: bytes, fields: Fields, is_message: bool) -> Iterator[str]:
    if not section.endswith((b"\n\r\n", b"\n\n")) and section not in (b"\r\n", b"\n"):
        yield "a header without its empty line"
    if section[:1] in (b" ", b"\t") or _BLANK_FOLD.search(section):
        yield "a line of a header that is blank and no end"
    if len(section.translate(None, _CONTROLS)) != len(section):
        yield "a control character in a header"
    if not _FIRST_LINE.match(section) or _NO_FIELD.search(section):
        yield "a line of a header that is no field"
    if b"=?" in section:
        for _, raw in raw_fields(section):
            if _CONTROL_DECODED.search(decode_words(unfold(raw))):
                yield "a control character in an encoded word"
    for name in fields.repeated():
        if name in (_ONCE if is_message else _ONCE_IN_PART):
            yield f"{name.decode('ascii')} twice"


def _in_authors(fields: Fields) -> Iterator[str]:
    """From and Sender in the forms that programs write: a name and <an address>, without routes, groups or blanks in the address."""
    for name in (b"from", b"sender"):
        for value in fields.all(name):
            if value and not _AUTHORS.match(value):
                yield f"an address in {name.decode('ascii').title()} that readers take apart differently"
            if any(not is_known_charset(one.decode("ascii", "replace")) for one in _WORD_CHARSET.findall(value)):
                yield f"a name in {name.decode('ascii').title()} in a character set that not every reader knows"
            if _DIRECTION.search(decode_words(value)):
                yield f"a name in {name.decode('ascii').title()} that changes the direction of writing"
    for value in fields.all(b"mime-version"):
        if value.partition(b"(")[0].strip() not in (b"1.0", b""):
            yield "another version of MIME, which some don't read as MIME"


def _beside_signature(part: Part) -> Iterator[str]:
    """What is not signed and shown all the same: names of the signature's file, and addresses that the links inside start from."""
    for name in (b"content-base", b"content-location"):
        if part.fields.get(name) is not None:
            yield f"{name.decode('ascii')} outside the signature"
    for child in part.children[1:]:
        if not child.media.startswith("application/"):
            yield "a signature that is shown, as it is not called one"
        shown = disposition(child.fields.get(b"content-disposition"))
        names = (child.params.get("name"), shown.params.get("filename") if shown else None)
        if any(name and not _SIGNATURE_NAME.match(name) for name in names):
            yield "a signature with an odd file name"


def _in_related(part: Part) -> Iterator[str]:
    """RFC 2387 3.2: the part that is shown is the first one, unless `start` names another, which not every reader obeys."""
    start = part.type.raw(b"start")
    first = part.children[0].fields.get(b"content-id") if part.children else None
    if start is not None and _identifier(start) != _identifier(first or b""):
        yield "a multipart/related that starts with another part than its first"


def _in_names(data: Buffer, message: Part) -> Iterator[str]:
    """Two contents under one Content-ID: a picture is the one for some readers, and the other for the rest (RFC 2392)."""
    named: dict[bytes, Part] = {}
    for part in _own_parts(message):
        value = part.fields.get(b"content-id")
        other = named.setdefault(_identifier(value), part) if value else part
        if other is not part and data[other.body_start : other.body_end] != data[part.body_start : part.body_end]:
            yield "two contents under one Content-ID"


def _own_parts(part: Part) -> Iterator[Part]:
    """This part and those below it, but not those of a message inside."""
    yield part
    for child in part.children:
        yield from _own_parts(child)


def _identifier(value: bytes) -> bytes:
    return value.strip(b" \t<>")


def _in_type(part: Part) -> Iterator[str]:
    shown = part.fields.get(b"content-disposition")
    if shown is not None and not _DISPOSITION.match(shown):
        yield "a Content-Disposition that is none"
    value = part.fields.get(b"content-type")
    if value is None:
        return
    found = _MEDIA.match(value)
    if not found:
        yield "a Content-Type that is none"
        return
    kind = found[1].lower()
    if kind.startswith(b"message/") and kind not in _MESSAGES:
        yield f"{kind.decode('ascii')}"
    structural = kind.startswith((b"multipart/", b"message/", b"text/"))
    given: dict[bytes, bytes] = {}
    at = found.end()
    while at < len(value) and value[at:].strip(b" \t;"):
        parameter = _PARAMETER.match(value, at)
        if not parameter:
            if structural:
                yield "parameters of a Content-Type that can be read in several ways"
            break
        name, text = parameter[1].lower(), parameter[2].strip(b'"')
        base = name.partition(b"*")[0]
        if given.setdefault(name, text) != text:
            yield "a parameter of a Content-Type twice"
        if base in _STRICT and (name != base or b"\\" in text):
            yield f"an odd form of the parameter {base.decode('ascii')}"
        if name == b"charset" and kind.startswith(b"text/") and not CHARSET.match(text.lower()):
            yield "a character set that readers decode differently"
        at = parameter.end()
    if kind.startswith(b"multipart/") and not _BOUNDARY.match(part.type.raw(b"boundary") or b""):
        yield "a boundary that not every reader takes"


def _in_encoding(data: Buffer, part: Part) -> Iterator[str]:
    value = part.fields.get(b"content-transfer-encoding")
    if value is None:
        return
    encoding = value.lower()
    if encoding not in _ENCODINGS:
        yield "a transfer encoding that is none"
    elif encoding not in _IDENTITY and part.media.startswith(("multipart/", "message/")):
        yield "a transfer encoding around parts"
    elif encoding == b"base64":
        yield from _in_base64(data, part)
    elif encoding == b"quoted-printable" and any(_NOT_QUOTED.search(chunk) for chunk in _lines(data, part)):
        yield "quoted-printable with something else in it"


def _in_base64(data: Buffer, part: Part) -> Iterator[str]:
    """Digits, then at most two signs of padding, then nothing; blanks and line ends count for nothing (RFC 2045 6.8)."""
    digits = padding = 0
    for at in range(part.body_start, part.body_end, _STEP):
        plain = data[at : min(at + _STEP, part.body_end)].translate(None, b" \t\r\n")
        core = plain.rstrip(b"=")
        if (core and padding) or core.translate(None, _ALPHABET):
            padding = 3
            break
        digits += len(core)
        padding += len(plain) - len(core)
    if padding > 2 or (digits + padding) % 4:
        yield "base64 with something else in it"


def _lines(data: Buffer, part: Part) -> Iterator[bytes]:
    """The content in pieces that end after a line end, or with the content."""
    held = b""
    for at in range(part.body_start, part.body_end, _STEP):
        chunk = held + data[at : min(at + _STEP, part.body_end)]
        cut = chunk.rfind(b"\n") + 1 or len(chunk)
        held = chunk[cut:]
        yield chunk[:cut]
    if held:
        yield held


def _in_delimiters(data: Buffer, root: Part, left_out: list[Part]) -> Iterator[str]:
    """Every line that begins as a delimiter of a multipart here must be one, to the letter, and where it is expected."""
    parts = [part for part in root.walk() if part.is_multipart]
    if not parts:
        return
    boundaries = [part.type.raw(b"boundary") or b"" for part in parts]
    if len(parts) > _MULTIPARTS:
        yield "more multiparts than programs write"
        return
    if any(other.startswith(one) for at, one in enumerate(boundaries) for other in boundaries[:at] + boundaries[at + 1 :]):
        yield "a boundary that begins another one"
        return
    found: Counter[bytes] = Counter()
    expected = {one + end for one in boundaries for end in (b"", b"--")}
    for line in _delimiters(data, _pieces(root, left_out), boundaries):
        if line not in expected:
            yield "a line that is nearly a delimiter"
            return
        found[line] += 1
    for part, boundary in zip(parts, boundaries, strict=True):
        if found.pop(boundary, 0) != len(part.children) or found.pop(boundary + b"--", 0) != 1 or not part.children:
            yield "delimiters that do not enclose the parts"
            return
    for part in parts:
        for start, end in ((part.body_start, part.children[0].header_start), (part.children[-1].body_end, part.body_end)):
            if _is_dashed_twice(data, start, end):
                yield "a line like a delimiter where no part is"


def _delimiters(data: Buffer, pieces: Iterable[tuple[int, int]], boundaries: list[bytes]) -> Iterator[bytes]:
    """The lines that begin with two hyphens and one of these boundaries, without those hyphens and the line end."""
    for start, end in pieces:
        for at in range(max(start - 1, 0), end, _STEP):
            # What begins in this step may end in the next one.
            chunk = data[at : min(at + _STEP + _LONGEST, end)]
            for boundary in boundaries:
                found = chunk.find(b"\n--" + boundary)
                while 0 <= found < _STEP:
                    line = chunk[found + 3 : found + 3 + len(boundary) + 9]
                    yield line.partition(b"\n")[0].partition(b"\r")[0]
                    found = chunk.find(b"\n--" + boundary, found + 3)


def _is_dashed_twice(data: Buffer, start: int, end: int) -> bool:
    """Whether a second line there begins with two hyphens: one is the delimiter before the first part, or after the last."""
    first = data.find(b"\n--", max(start - 1, 0), end)
    return first != -1 and data.find(b"\n--", first + 1, end) != -1
