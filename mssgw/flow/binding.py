"""What this node knows of whose certificate it is (`smime.directories.binding`), beside the operator's files."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from mssgw.core.address import Address, Domain
from mssgw.core.errors import MailError
from mssgw.pki.names import Name
from mssgw.smime.directories.binding import Binding, Bound, Directory
from mssgw.smime.errors import SmimeError
from mssgw.smime.keys.certificates import Certificate
from mssgw.store import Store, accounts


def of_whitelist(runs: Callable[[Name, Domain], datetime | None]) -> Directory:
    """The seal of the organisation that the whitelist ties to the domain of an address (ADR 17).

    `runs` says when the list was made that names this structure as an operator of the domain, or None.
    """

    def binds(certificate: Certificate, address: Address) -> Bound | None:
        made = runs(certificate.subject, address.domain)
        return Bound(Binding.OPERATOR, "whitelist", made) if made else None

    return binds


def of_accounts(store: Store) -> Directory:
    """The card of the person whose account has that address: its CN is their national identifier (docs/reference/crypto.md 1.2).

    Asked in a thread of cryptography, for certificates without an address alone: one quick look-up, which may wait.
    """

    def binds(certificate: Certificate, address: Address) -> Bound | None:
        if national_id(certificate) is None:
            return None
        try:
            owner = store.read_now(lambda rx: accounts.by_address(rx, address))
        except MailError:
            return None  # nobody says so now
        return Bound(Binding.DIRECTORY, "accounts") if owner and is_of(certificate, owner.rpps) else None

    return binds


def national_id(certificate: Certificate) -> str | None:
    """The national identifier that a card names its holder by; None of a certificate that names a mailbox, or no person."""
    try:
        name = None if certificate.addresses else certificate.subject.first("CN")
    except (SmimeError, ValueError):
        return None
    return name if name and name.isascii() and name.isdigit() and 8 <= len(name) <= 14 else None


def is_of(certificate: Certificate, rpps: str | None) -> bool:
    """Whether a card is that of the person with this national number, written alone or behind its kind (PS_IdNat: 8 RPPS, 0 ADELI)."""
    number = national_id(certificate)
    return bool(rpps) and number is not None and number in (rpps, f"8{rpps}", f"0{rpps}")
