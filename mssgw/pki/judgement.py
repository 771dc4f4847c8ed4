"""The interface between the area that judges certificates and those that use them.

`trust` judges certificates and `smime` uses them, and neighbours don't import each other: the composition root gives
`smime` a `Validate`. A judgement is evidence or an exception, never a boolean.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime


class Purpose(enum.StrEnum):
    """What a certificate is to be used for: decides key usage, extended key usage and class."""

    RELAY_CLIENT = "relay-client"  # an operator that connects to us (clientAuth)
    RELAY_SERVER = "relay-server"  # an operator we connect to (serverAuth)
    MAIL_SIGN = "mail-sign"  # S/MIME signer (digitalSignature or nonRepudiation; emailProtection)
    MAIL_ENCRYPT = "mail-encrypt"  # S/MIME recipient (keyEncipherment or keyAgreement)
    LIST_SIGN = "list-sign"  # signer of the whitelist


@dataclass(frozen=True, slots=True)
class Evidence:
    """Why a certificate was accepted. Kept in audit rows and in verdicts."""

    subject: str  # RFC 4514
    fingerprint: str  # SHA-256 of the certificate, hex
    issuer: str
    root: str  # fingerprint of the anchor
    at: datetime  # the time the path was judged for
    purpose: Purpose
    revocation: str  # "ocsp", "crl 42 of 2026-11-22T07:00Z", "soft: no fresh data", "none"


Validate = Callable[[bytes, Purpose, datetime], Evidence]
"""(certificate DER, purpose, time) -> Evidence. Raises NotTrusted, or Deferred when revocation data is too old."""
