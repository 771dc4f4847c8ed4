"""SMTP on the wire: commands to values, content to octets. No I/O.

Commands (RFC 5321 4.1.1, 3461, 6531, 1870, 6152, 3030): `parse_mail`, `parse_rcpt`, `parse_bdat`,
`parse_helo` return values or raise `Refused` with the reply to send. The case of ENVID and ORCPT is
kept, the null reverse-path is None, a source route is read and dropped (RFC 5321 appendix C).

Content: `DataReader` finds CRLF.CRLF in chunks of any size and undoes dot stuffing; `BdatReader`
counts octets. Both hand lines to the same judge: a CR or LF that is not CRLF, a NUL, a line or a
message that is too long is remembered in `failure`, nothing more is written, and reading goes on to
the end of the content so that the dialogue stays in step. Only CRLF.CRLF ends DATA, so nothing that
another server takes for the end can smuggle a command past us (RFC 5321 4.1.1.4, 2.3.8).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from mssgw.core.address import Address, AddressError, Domain
from mssgw.core.envelope import DEFAULT_NOTIFY, DsnOptions, Notify, Recipient, Ret
from mssgw.core.errors import Refused
from mssgw.protocol.lines import count_crlf

COMMAND_OCTETS: Final = 512  # RFC 5321 4.5.3.1.4, CRLF included
LONGER_COMMANDS: Final = {
    "MAIL": 512 + 26 + 17 + 10 + 10 + 108 + 500,  # SIZE, BODY, SMTPUTF8, RET, ENVID, AUTH: RFC 1870, 6152, 6531, 3461, 4954
    "RCPT": 512 + 28 + 509,  # NOTIFY, ORCPT: RFC 3461 4
    "AUTH": 12288,  # RFC 4954 4
}
LONGEST_COMMAND: Final = max(LONGER_COMMANDS.values())
ENVID_OCTETS: Final = 100  # RFC 3461 4.4
ORCPT_OCTETS: Final = 500  # RFC 3461 4.2

_PATH = r'[ \t]*<((?:"(?:[^"\\]|\\.)*"|[^">])*)>(?:[ \t]+(.*?))?[ \t]*\Z'
_MAIL = re.compile("FROM:" + _PATH, re.IGNORECASE)
_RCPT = re.compile("TO:" + _PATH, re.IGNORECASE)
_ROUTE = re.compile(r"@[^:\s]+:")
_PARAMETER = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([\x21-\x3c\x3e-\x7e\u0080-\U0010ffff]+))?\Z")  # RFC 5321 4.1.2, 6531 3.3
_XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})*\Z")  # RFC 3461 4
_HEX = re.compile(r"\+([0-9A-F]{2})")
_UNICODE = re.compile(r"\\x\{([0-9A-F]{2,6})\}")  # RFC 6533 3
_HELO = re.compile(r"[A-Za-z0-9._:\[\]-]{1,255}\Z")
_DOT = re.compile(rb"\n\.")
_ADDRESS_TYPE = re.compile(r"[A-Za-z0-9-]{1,40}\Z")


@dataclass(frozen=True, slots=True)
class MailFrom:
    """MAIL. `size` is what the client says it will send, octets."""

    sender: Address | None
    size: int | None = None
    body_8bit: bool = False
    utf8: bool = False
    dsn: DsnOptions = field(default_factory=DsnOptions)


@dataclass(frozen=True, slots=True)
class Bdat:
    size: int  # octets
    last: bool


def parse_helo(argument: str) -> str:
    """The name a client gives itself: safe to print in Received and logs, otherwise not judged (RFC 5321 4.1.4)."""
    if not _HELO.match(argument):
        raise Refused("Say your host name or address literal after HELO or EHLO", code=501, enhanced="5.5.4")
    return argument


def parse_mail(argument: str) -> MailFrom:
    """`FROM:<path> parameters` (RFC 5321 4.1.1.2)."""
    found = _MAIL.match(argument)
    if not found:
        raise Refused("Syntax: MAIL FROM:<address> [parameters]", code=501, enhanced="5.5.4")
    given = _parameters(found[2]) if found[2] else {}
    utf8 = _flag(given, "SMTPUTF8")
    mail = MailFrom(
        sender=_address(found[1], utf8, "5.1.7") if found[1] else None,
        size=_size(given.pop("SIZE")) if "SIZE" in given else None,
        body_8bit=_body(given.pop("BODY")) if "BODY" in given else False,
        utf8=utf8,
        dsn=DsnOptions(ret=_ret(given.pop("RET", None)), envid=_envid(given.pop("ENVID", None))) if given else DsnOptions(),
    )
    if "AUTH" in given:  # RFC 4954 5: who first submitted it; we say it ourselves, so it is read and dropped
        decode_xtext(given.pop("AUTH") or "")
    _no_more(given)
    return mail


def parse_rcpt(argument: str, postmaster: Domain, *, utf8: bool = False) -> Recipient:
    """`TO:<path> parameters` (RFC 5321 4.1.1.3). `<postmaster>` alone is the one at the given domain."""
    found = _RCPT.match(argument)
    if not found or not found[1]:
        raise Refused("Syntax: RCPT TO:<address> [parameters]", code=501, enhanced="5.5.4")
    path = f"postmaster@{postmaster}" if found[1].lower() == "postmaster" else found[1]
    address = _address(path, utf8, "5.1.3")
    if not found[2]:
        return Recipient(address)
    given = _parameters(found[2])
    notify_given = "NOTIFY" in given
    recipient = Recipient(
        address,
        notify=_notify(given.pop("NOTIFY")) if notify_given else DEFAULT_NOTIFY,
        original=_orcpt(given.pop("ORCPT")) if "ORCPT" in given else None,
        notify_given=notify_given,
    )
    _no_more(given)
    return recipient


def parse_bdat(argument: str) -> Bdat:
    """`size [LAST]` (RFC 3030 2)."""
    found = re.fullmatch(r"(\d{1,20})(?:[ \t]+(LAST))?", argument, re.IGNORECASE)
    if not found:
        raise Refused("Syntax: BDAT size [LAST]", code=501, enhanced="5.5.4")
    return Bdat(int(found[1]), found[2] is not None)


def decode_xtext(text: str) -> str:
    """RFC 3461 4. Raises Refused."""
    if not _XTEXT.match(text):
        raise Refused("That parameter is not xtext (RFC 3461 section 4)", code=501, enhanced="5.5.4")
    return _HEX.sub(lambda code: chr(int(code[1], 16)), text) if "+" in text else text


def encode_xtext(text: str) -> str:
    """RFC 3461 4; octets above 126, controls, '+' and '=' as +HH."""
    return "".join(chr(octet) if 33 <= octet <= 126 and octet not in b"+=" else f"+{octet:02X}" for octet in text.encode())


def _parameters(text: str) -> dict[str, str | None]:
    given: dict[str, str | None] = {}
    for word in text.split():
        found = _PARAMETER.match(word)
        if not found:
            raise Refused("Malformed parameter", code=501, enhanced="5.5.4")
        if (name := found[1].upper()) in given:
            raise Refused(f"Parameter {name[:20]} is given twice", code=501, enhanced="5.5.4")
        given[name] = found[2]
    return given


def _no_more(given: dict[str, str | None]) -> None:
    if given:
        raise Refused(f"Parameter {next(iter(given))[:20]} is not known here", code=555, enhanced="5.5.4")  # RFC 5321 4.1.1.11


def _flag(given: dict[str, str | None], name: str) -> bool:
    if name not in given:
        return False
    if given.pop(name) is not None:
        raise Refused(f"{name} takes no value", code=501, enhanced="5.5.4")
    return True


def _address(path: str, utf8: bool, enhanced: str) -> Address:
    if path.startswith("@") and (route := _ROUTE.match(path)):
        path = path[route.end() :]
    if not utf8 and not path.isascii():
        raise Refused("Say SMTPUTF8 in MAIL FROM to use this address", code=553, enhanced="5.6.7")  # RFC 6531 3.5
    try:
        return Address.parse(path)
    except AddressError as error:
        sentence = str(error).encode("ascii", "replace").decode()
        raise Refused(f"Not an address: {sentence}", code=501, enhanced=enhanced) from error


def _size(value: str | None) -> int:
    if not value or len(value) > 20 or not (value.isascii() and value.isdecimal()):
        raise Refused("Syntax: SIZE=octets", code=501, enhanced="5.5.4")
    return int(value)


def _body(value: str | None) -> bool:
    if not value or (kind := value.upper()) not in ("7BIT", "8BITMIME"):
        raise Refused("BODY is 7BIT or 8BITMIME here", code=501, enhanced="5.5.4")
    return kind == "8BITMIME"


def _ret(value: str | None) -> Ret | None:
    if value is None:
        return None
    if value.upper() not in Ret.__members__:
        raise Refused("RET is FULL or HDRS", code=501, enhanced="5.5.4")
    return Ret(value.upper())


def _envid(value: str | None) -> str | None:
    if value is None:
        return None
    if len(value) > ENVID_OCTETS:
        raise Refused(f"ENVID is longer than {ENVID_OCTETS}", code=501, enhanced="5.5.4")
    return _printable(decode_xtext(value), "ENVID")


def _notify(value: str | None) -> frozenset[Notify]:
    words = (value or "").upper().split(",")
    if any(word not in Notify.__members__ for word in words) or ("NEVER" in words and len(words) > 1):
        raise Refused("NOTIFY is NEVER, or a list of SUCCESS, FAILURE and DELAY", code=501, enhanced="5.5.4")
    return frozenset(Notify(word) for word in words)


def _orcpt(value: str | None) -> str:
    kind, semicolon, text = (value or "").partition(";")
    if not semicolon or not text or not _ADDRESS_TYPE.match(kind) or len(value or "") > ORCPT_OCTETS:
        raise Refused("Syntax: ORCPT=type;xtext", code=501, enhanced="5.5.4")
    if kind.lower() == "utf-8":  # RFC 6533 3: \x{HEX} or plain UTF-8
        decoded = _UNICODE.sub(lambda code: chr(int(code[1], 16)) if int(code[1], 16) < 0x110000 else "\ufffd", text)
    else:
        decoded = decode_xtext(text)
    return f"{kind};{_printable(decoded, 'ORCPT')}"


def _printable(text: str, name: str) -> str:
    """Decoded values end up in reports and logs: a line end hidden in xtext would start a new field there."""
    if not text.isprintable():
        raise Refused(f"{name} hides control characters", code=501, enhanced="5.5.4")
    return text


class _Content:
    """Judges what is written: line ends, NUL, longest line, size. Cuts may fall anywhere."""

    __slots__ = ("_cr", "_line", "_max_line", "_max_size", "_write", "failure", "size")

    def __init__(self, write: Callable[[bytes], object], max_size: int, max_line: int) -> None:
        self._write, self._max_size, self._max_line = write, max_size, max_line
        self._cr, self._line = False, 0
        self.size = 0  # octets received, kept or not
        self.failure: Refused | None = None

    def put(self, octets: bytes) -> None:
        self.size += len(octets)
        if self.failure:
            return
        if self._cr:
            octets = b"\r" + octets
        self._cr = octets.endswith(b"\r")
        if self._cr:  # may be half of a CRLF
            octets = octets[:-1]
        try:
            self._judge(octets)
        except Refused as failure:
            self.failure = failure
        else:
            self._write(octets)

    def _judge(self, octets: bytes) -> None:
        if self.size > self._max_size:
            raise Refused(f"Message is larger than {self._max_size} octets", code=552, enhanced="5.3.4")  # RFC 1870 6.3
        ends = count_crlf(octets)
        if ends is None:
            raise bare_line_end()
        if b"\0" in octets:
            raise Refused("Message holds a NUL octet; encode binary content in base64", code=550, enhanced="5.6.0")
        if self._line + len(octets) > self._max_line:
            self._measure_lines(octets)
        self._line = len(octets) - octets.rfind(b"\n") - 1 if ends else self._line + len(octets)

    def _measure_lines(self, octets: bytes) -> None:
        """One look per longest line, not one per line."""
        start, room = 0, self._max_line - self._line
        while len(octets) - start > room:
            end = octets.rfind(b"\n", start, start + room)
            if end < 0:
                raise Refused(f"Message has a line longer than {self._max_line} octets", code=550, enhanced="5.6.0")
            start, room = end + 1, self._max_line

    def finish(self) -> None:
        """A content that stops inside a line (BDAT can) is ended with CRLF, as a later DATA would."""
        if self._cr and not self.failure:
            self.failure = bare_line_end()
        if self._line and not self.failure:
            self._write(b"\r\n")


def bare_line_end() -> Refused:
    return Refused("Message has a CR or LF that is not CRLF; lines must end with CRLF", code=550, enhanced="5.6.0")


class DataReader:
    """The content after DATA: feed chunks until the octets behind the end mark come back.

    `_tail` always starts with the CRLF before an unfinished line (at first the one that ended the
    command), so each piece that is handed on holds its line starts whole.
    """

    __slots__ = ("_content", "_first", "_max_line", "_tail")

    def __init__(self, write: Callable[[bytes], object], max_size: int, max_line: int) -> None:
        self._content = _Content(write, max_size, max_line)
        self._max_line = max_line
        self._tail, self._first = b"\r\n", True

    @property
    def failure(self) -> Refused | None:
        return self._content.failure

    @property
    def size(self) -> int:
        return self._content.size

    def feed(self, octets: bytes) -> bytes | None:
        """None: more is needed. Otherwise the content is complete and these octets follow it."""
        buffer = self._tail + octets
        dot = _DOT.search(buffer)  # one look for both its meanings: most chunks hold neither
        end = buffer.find(b"\r\n.\r\n", max(0, dot.start() - 1)) if dot else -1
        if end >= 0:
            self._hand_on(buffer[: end + 2], dotted=True)
            return buffer[end + 5 :]
        if self._content.failure:
            cut = max(0, len(buffer) - 4)  # enough to see an end mark that is not complete yet
        else:
            cut = buffer.rfind(b"\r\n")
            if len(buffer) - cut > self._max_line + 8:  # too long, whatever comes: let the judge see it
                cut = len(buffer) - 4
        if cut:
            self._hand_on(buffer[:cut], dotted=dot is not None)
            self._tail = buffer[cut:]
        else:
            self._tail = buffer
        return None

    def _hand_on(self, piece: bytes, *, dotted: bool) -> None:
        if dotted:
            piece = piece.replace(b"\r\n.", b"\r\n")  # RFC 5321 4.5.2
        if self._first:
            piece, self._first = piece[2:], False
        self._content.put(piece)


class BdatReader:
    """The content of one or more BDAT commands (RFC 3030): counted octets, no dots, the same line rules.

    BINARYMIME is not offered, so the content is made of CRLF lines and can be relayed with DATA.
    """

    __slots__ = ("_content",)

    def __init__(self, write: Callable[[bytes], object], max_size: int, max_line: int) -> None:
        self._content = _Content(write, max_size, max_line)

    @property
    def failure(self) -> Refused | None:
        return self._content.failure

    @property
    def size(self) -> int:
        return self._content.size

    def feed(self, octets: bytes) -> None:
        self._content.put(octets)

    def finish(self) -> None:
        self._content.finish()
