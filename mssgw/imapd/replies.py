"""How a command ends: Done, or one of the exceptions; and the response code of each MailError. RFC 3501 7.1, RFC 5530."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from mssgw.core.errors import Deferred, MailError, NotAllowed, NotFound, Refused
from mssgw.flow.mailboxes import AlreadyExists, HasChildren, UseTaken, Vanished
from mssgw.protocol.mime import TooComplex
from mssgw.store.mailboxes import OverQuota


class Code(enum.StrEnum):
    """Every response code that we send; docs/imap.md lists when. RFC 3501 7.1, RFC 4315, 5530, 6154."""

    ALREADYEXISTS = "ALREADYEXISTS"
    APPENDUID = "APPENDUID"
    AUTHENTICATIONFAILED = "AUTHENTICATIONFAILED"
    BADCHARSET = "BADCHARSET"
    CANNOT = "CANNOT"
    CAPABILITY = "CAPABILITY"
    COPYUID = "COPYUID"
    EXPUNGEISSUED = "EXPUNGEISSUED"
    HASCHILDREN = "HASCHILDREN"
    LIMIT = "LIMIT"
    NONEXISTENT = "NONEXISTENT"
    NOPERM = "NOPERM"
    OVERQUOTA = "OVERQUOTA"
    PERMANENTFLAGS = "PERMANENTFLAGS"
    PRIVACYREQUIRED = "PRIVACYREQUIRED"
    READ_ONLY = "READ-ONLY"
    READ_WRITE = "READ-WRITE"
    SERVERBUG = "SERVERBUG"
    TOOBIG = "TOOBIG"
    TRYCREATE = "TRYCREATE"
    UIDNEXT = "UIDNEXT"
    UIDVALIDITY = "UIDVALIDITY"
    UNAVAILABLE = "UNAVAILABLE"
    UNSEEN = "UNSEEN"
    USEATTR = "USEATTR"

    def of(self, *values: object) -> Coded:
        """With what follows it."""
        return Coded(self, " ".join(map(str, values)))


@dataclass(frozen=True, slots=True)
class Coded:
    """A response code and its values."""

    code: Code
    values: str

    def __str__(self) -> str:
        return f"{self.code} {self.values}"


class After(enum.Enum):
    """What the connection does once the tagged OK is on its way."""

    GO_ON = enum.auto()
    LEAVE = enum.auto()  # LOGOUT
    START_TLS = enum.auto()


@dataclass(frozen=True, slots=True)
class Done:
    """Tagged OK."""

    text: str
    code: Code | Coded | None = None
    after: After = After.GO_ON


class No(Exception):
    """Tagged NO."""

    def __init__(self, text: str, code: Code | Coded | None = None) -> None:
        super().__init__(text)
        self.text, self.code = text, code


class Bad(Exception):
    """Tagged BAD: not allowed by the protocol, here and now."""


class Bye(Exception):
    """The server ends the connection."""

    def __init__(self, text: str, code: Code | Coded | None = None) -> None:
        super().__init__(text)
        self.text, self.code = text, code


_CODES: tuple[tuple[type[MailError], Code], ...] = (  # the first that fits
    (AlreadyExists, Code.ALREADYEXISTS),
    (UseTaken, Code.USEATTR),
    (HasChildren, Code.HASCHILDREN),
    (Vanished, Code.EXPUNGEISSUED),
    (OverQuota, Code.OVERQUOTA),
    (TooComplex, Code.LIMIT),
    (NotFound, Code.NONEXISTENT),
    (NotAllowed, Code.NOPERM),
    (Refused, Code.CANNOT),
    (Deferred, Code.UNAVAILABLE),
)


def no_of(error: MailError) -> No:
    code = next((code for kind, code in _CODES if isinstance(error, kind)), Code.UNAVAILABLE if error.temporary else Code.CANNOT)
    return No(error.reply.text, code)


def line(tag: str, condition: str, text: str, code: Code | Coded | None = None) -> bytes:
    """A status response, tagged or not. The text is ours and ASCII; other characters are replaced."""
    said = f"[{code}] {text}" if code else text
    return f"{tag} {condition} {said}\r\n".encode("ascii", "replace")
