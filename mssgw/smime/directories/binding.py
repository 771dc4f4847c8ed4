"""Who owns a certificate without a mail address: one interface to every source that may know (docs/reference/crypto.md 1.2).

A card names a person by their national identifier, a seal names an organisation; neither names a mailbox.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from mssgw.core.address import Address
from mssgw.smime.keys.certificates import Certificate


class Binding(enum.StrEnum):
    CERTIFICATE = "certificate"
    DIRECTORY = "directory"
    OPERATOR = "operator"  # the seal of the organisation that runs the author's domain: nobody signed in person
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Bound:
    """What ties a certificate to an address, by which source, and as of when (None: as of now)."""

    binding: Binding
    source: str  # "certificate", "files", "accounts", "whitelist"
    as_of: datetime | None = None


Directory = Callable[[Certificate, Address], Bound | None]
"""Whether the holder of a trusted certificate that does not name this address owns it all the same; None when no source knows it.

Cards carry no address, and an organisation's seal covers a whole domain: only a directory binds them."""


def no_directory(_certificate: Certificate, _address: Address) -> Bound | None:
    return None


def ask_all(*directories: Directory) -> Directory:
    """The strongest answer of several directories; of two equal ones the first."""

    def strongest(certificate: Certificate, address: Address) -> Bound | None:
        found = [bound for directory in directories if (bound := directory(certificate, address))]
        return min(found, key=lambda bound: STRENGTH.index(bound.binding), default=None)

    return strongest


STRENGTH = (Binding.CERTIFICATE, Binding.DIRECTORY, Binding.OPERATOR, Binding.NONE)  # what vouches most stands first

OWN, UNBOUND = Bound(Binding.CERTIFICATE, "certificate"), Bound(Binding.NONE, "")
