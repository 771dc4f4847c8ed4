"""How a command ends: Done, or one of the exceptions; and what each MailError is called in IMAP. RFC 3501 7.1, RFC 5530."""

from __future__ import annotations

from dataclasses import dataclass

from mssgw.core.errors import Deferred, MailError, NotAllowed, NotFound, Refused
from mssgw.flow.mailboxes import AlreadyExists, HasChildren, UseTaken, Vanished
from mssgw.protocol.mime import TooComplex
from mssgw.store.mailboxes import OverQuota


@dataclass(frozen=True, slots=True)
class Done:
    """Tagged OK."""

    text: str
    code: str = ""


class No(Exception):
    """Tagged NO."""

    def __init__(self, text: str, code: str = "") -> None:
        super().__init__(text)
        self.text, self.code = text, code


class Bad(Exception):
    """Tagged BAD: not allowed by the protocol, here and now."""


class Bye(Exception):
    """The server ends the connection."""

    def __init__(self, text: str, code: str = "") -> None:
        super().__init__(text)
        self.text, self.code = text, code


_CODES: tuple[tuple[type[MailError], str], ...] = (  # the first that fits
    (AlreadyExists, "ALREADYEXISTS"),
    (UseTaken, "USEATTR"),
    (HasChildren, "HASCHILDREN"),
    (Vanished, "EXPUNGEISSUED"),
    (OverQuota, "OVERQUOTA"),
    (TooComplex, "LIMIT"),
    (NotFound, "NONEXISTENT"),
    (NotAllowed, "NOPERM"),
    (Refused, "CANNOT"),
    (Deferred, "UNAVAILABLE"),
)


def no_of(error: MailError) -> No:
    code = next((code for kind, code in _CODES if isinstance(error, kind)), "UNAVAILABLE" if error.temporary else "CANNOT")
    return No(error.reply.text, code)


def line(tag: str, condition: str, text: str, code: str = "") -> bytes:
    """A status response, tagged or not. The text is ours and ASCII; anything else is made harmless."""
    said = f"[{code}] {text}" if code else text
    return f"{tag} {condition} {said}\r\n".encode("ascii", "replace")
