"""Envelope, Recipient, DsnOptions, Origin: what SMTP knows about a message, and where it came from."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import NewType

from mssgw.core.address import Address

AccountId = NewType("AccountId", int)
OperatorId = NewType("OperatorId", str)  # the certificate subject as the whitelist prints it


class Notify(enum.StrEnum):  # RFC 3461 4.1
    NEVER = "NEVER"
    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"
    DELAY = "DELAY"


class Ret(enum.StrEnum):  # RFC 3461 4.3
    FULL = "FULL"
    HDRS = "HDRS"


DEFAULT_NOTIFY = frozenset({Notify.FAILURE, Notify.DELAY})  # RFC 3461 4.1: what no NOTIFY means


@dataclass(frozen=True, slots=True)
class Recipient:
    address: Address
    notify: frozenset[Notify] = DEFAULT_NOTIFY
    original: str | None = None  # ORCPT as given, "rfc822;..." decoded from xtext
    notify_given: bool = False  # whether NOTIFY was given, so that it is relayed only then


@dataclass(frozen=True, slots=True)
class DsnOptions:
    ret: Ret | None = None
    envid: str | None = None  # case kept, decoded from xtext


class OriginKind(enum.StrEnum):
    SUBMISSION = "submission"  # a mail client with a password
    RELAY = "relay"  # another operator with a certificate
    HOSPITAL = "hospital"  # the hospital's own relay
    LOCAL = "local"  # made here: bounces, reports


@dataclass(frozen=True, slots=True)
class TlsFacts:
    version: str  # "TLSv1.3"
    cipher: str
    fingerprint: str | None  # SHA-256 of the peer's certificate, hex, when it showed one


@dataclass(frozen=True, slots=True)
class Origin:
    """The evidence, kept with the message for ever."""

    kind: OriginKind
    peer: str | None = None  # IP address, text
    helo: str | None = None
    tls: TlsFacts | None = None
    account: AccountId | None = None
    operator: OperatorId | None = None


@dataclass(frozen=True, slots=True)
class Envelope:
    sender: Address | None  # None is the null reverse-path, RFC 5321 4.5.5
    recipients: tuple[Recipient, ...]
    origin: Origin
    dsn: DsnOptions = field(default_factory=DsnOptions)
    utf8: bool = False  # SMTPUTF8, RFC 6531
    body_8bit: bool = False  # BODY=8BITMIME, RFC 6152
