"""SMTP's commands as values. No I/O. What follows DATA and BDAT is in `mail_data`.

Commands (RFC 5321 4.1.1, 3461, 6531, 1870, 6152, 3030): `parse_mail`, `parse_rcpt`, `parse_bdat`,
`parse_helo` return values or raise `Refused` with the reply to send. The case of ENVID and ORCPT is
kept, the null reverse-path is None, a source route is read and dropped (RFC 5321 appendix C).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from mssgw.core.address import Address, AddressError, Domain
from mssgw.core.envelope import DEFAULT_NOTIFY, DsnOptions, Notify, Recipient, Ret
from mssgw.core.errors import Refused

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
_ADDRESS_TYPE = re.compile(r"[A-Za-z0-9-]{1,40}\Z")


@dataclass(frozen=True, slots=True)
class MailFrom:
    """MAIL. `size` is the SIZE that the client announces, in octets."""

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
    if "AUTH" in given:  # RFC 4954 5: who first submitted it; read and dropped, because we record that ourselves
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
