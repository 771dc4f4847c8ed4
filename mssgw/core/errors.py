"""The exception tree. An error has two faces.

    MailError               carries a Reply for the peer (generic) and fields for the log (full)
    ├─ Deferred      4xx    not now: store busy, CRL too old, key missing
    ├─ Refused       5xx    never: size, syntax, content
    │  ├─ NotTrusted        certificate or domain not in the trust space
    │  ├─ NotAllowed        policy: this account, this sender, this folder
    │  └─ NotFound          no such mailbox, folder or account
    └─ PeerGone             the connection ended; there is nobody to answer
    ConfigError             every mistake of a configuration at once, each with its path
    Mistake                 one value that can't be, before it is known where it stands

Anything else is a bug: ``451 4.3.0`` or ``NO [SERVERBUG]``, logged with its stack, and mail stays
queued. Unknown means temporary (`reply_of`). `smtpd` prints `MailError.reply`; `imapd` maps the same
classes to RFC 5530 codes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from mssgw.core import texts
from mssgw.core.texts import Message

_NO_LETTER: Final = re.compile("[^a-z]+")


@dataclass(frozen=True, slots=True)
class Reply:
    """What the peer sees. RFC 5321 4.2 code, RFC 3463 enhanced code, one generic sentence of ASCII."""

    code: int
    enhanced: str
    text: str

    @property
    def temporary(self) -> bool:
        return self.code < 500

    def __str__(self) -> str:
        return f"{self.code} {self.enhanced} {self.text}"


class MailError(Exception):
    """Base of the errors about a message.

    `reply` is for the peer. `message` is for our own people, in their languages: what the reply says, unless they may know more.
    `detail` and `fields` are for the log and the audit only: they may name
    certificates and settings, never content, passwords or patient data.
    """

    default: Reply = Reply(451, "4.3.0", "Local error, try again later")

    def __init__(
        self,
        text: str | None = None,
        *,
        code: int | None = None,
        enhanced: str | None = None,
        detail: str = "",
        message: Message | None = None,
        **fields: object,
    ) -> None:
        base = self.default
        self.reply: Final = Reply(code or base.code, enhanced or base.enhanced, text or base.text)
        self._message: Final = message
        self.detail: Final = detail
        self.fields: Final = fields
        super().__init__(f"{self.reply}" + (f" ({detail})" if detail else ""))

    @property
    def message(self) -> Message:
        if self._message is not None:
            return self._message
        said = self.reply.text
        return texts.either(f"reply.{_NO_LETTER.sub('-', said.lower()).strip('-')}", said)

    @property
    def temporary(self) -> bool:
        return self.reply.temporary


class Deferred(MailError):
    """Not now. The peer or the queue keeps the message and tries again."""

    default = Reply(451, "4.3.0", "Temporary failure, try again later")


class NoRoom(Deferred):
    """The disk is full, or below what `limits.free_disk` keeps free. The code is of RFC 5321 4.2.3, 4.3.1 (system full) of RFC 3463."""

    default = Reply(452, "4.3.1", "Insufficient system storage, try again later")


class Refused(MailError):
    """Never, as it stands."""

    default = Reply(550, "5.0.0", "Refused")


class NotTrusted(Refused):
    """A certificate or a domain is not in the trust space."""

    default = Reply(550, "5.7.1", "Not in the MSSante trust space")


class NotAllowed(Refused):
    """Policy: this account may not do this."""

    default = Reply(550, "5.7.1", "Not allowed")


class NotFound(Refused):
    """No such mailbox, folder or account."""

    default = Reply(550, "5.1.1", "No such mailbox")


class PeerGone(MailError):
    """The connection ended; there is nobody to answer."""


class Mistake(ValueError):
    """A value that can't be: the sentence `key` of the catalogue. The parsers of values raise it; who knows the place adds it."""

    def __init__(self, key: str, /, **values: object) -> None:
        self.message: Final = texts.message(key, **values)
        super().__init__(str(self.message))


Problem = tuple[str, Message]
"""Where in the configuration ("" for all of it), and what is wrong there or what to know."""


class ConfigError(Exception):
    """A configuration that can't be used. `problems` are all that is wrong; `str()` is the English, for the log."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems: Final = problems
        super().__init__("\n".join(str(located(*one)) for one in problems))


def located(where: str, what: Message) -> Message:
    """A problem with its place in front."""
    return texts.message("at", place=where, what=what) if where else what


def reply_of(error: BaseException) -> Reply:
    """The reply for any exception. Unknown means temporary: a bug delays mail, it doesn't lose it."""
    return error.reply if isinstance(error, MailError) else MailError.default
