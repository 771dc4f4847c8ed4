"""The interface between an SMTP port and a flow: a delivery is a transaction.

    transaction = await flow.begin(client, mail)        # MAIL: may this client send from this address
    await transaction.recipient(recipient)              # RCPT, each
    trace = await transaction.accept(data)              # the content, checked; returns only after the commit

Each step raises MailError with the reply for the peer, or lets a bug through (the port answers 451).
Nothing lasts before `accept` has committed; a transaction that is not wanted any more is just dropped.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from mssgw.core.envelope import Recipient, TlsFacts
from mssgw.core.errors import Deferred, Refused
from mssgw.protocol.mail_data import MailData
from mssgw.protocol.smtp import MailFrom
from mssgw.store.accounts import Account


@dataclass(frozen=True, slots=True)
class Client:
    """Who is at the other end, as far as it is known at MAIL."""

    address: str  # IP address
    helo: str
    keyword: str  # the protocol, for Received: SMTP, ESMTP, ESMTPS, ESMTPSA (RFC 3848)
    tls: TlsFacts | None = None
    certificate: bytes | None = None  # DER, as shown in the handshake; nothing about it is checked yet
    account: Account | None = None


class Transaction(Protocol):
    async def recipient(self, recipient: Recipient) -> None: ...

    async def accept(self, data: MailData) -> str:
        """Returns the trace after the commit. The caller closes the body. Raises Refused without a recipient."""


class Recipients:
    """Counts the recipients of a transaction: at least one, at most `limits.recipients`."""

    def __init__(self, most: int) -> None:
        self._most, self._taken = most, 0

    def require_room(self) -> None:
        """Raises Deferred 4.5.3. RFC 5321 4.5.3.1.10."""
        if self._taken >= self._most:
            raise Deferred("Too many recipients; send the rest in another transaction", code=452, enhanced="4.5.3")

    def took_one(self) -> None:
        self._taken += 1

    def require_any(self) -> None:
        """Raises Refused 5.5.1."""
        if not self._taken:
            raise no_recipients()


def no_recipients() -> Refused:
    return Refused("No valid recipients", code=554, enhanced="5.5.1")


Begin = Callable[[Client, MailFrom], Awaitable[Transaction]]
Authenticate = Callable[..., Awaitable[Account]]


def new_trace() -> str:
    """A new trace: the name of a message in its 250, Received, logs, audit rows and reports. 13 letters and digits."""
    return base64.b32encode(os.urandom(8)).decode("ascii").rstrip("=")
