"""A candidate certificate of a recipient: what every source of certificates returns."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from mssgw.core.address import Address
from mssgw.smime.errors import DirectoryUnavailable


@dataclass(frozen=True, slots=True)
class Candidate:
    """A certificate that may be a recipient's. `capabilities` come from their last valid mail."""

    certificate: bytes  # DER
    source: str  # "file", "mail", "ldap": for the log and the audit
    capabilities: bytes | None = None
    seen_at: datetime | None = None
    unknown: DirectoryUnavailable | None = None  # instead of a certificate: this source could not answer


Lookup = Callable[[Address], Awaitable[Sequence[Candidate]]]
"""The certificates known for an address, best first. Raises Deferred when the source can't answer now."""


async def no_lookup(_address: Address) -> Sequence[Candidate]:
    return ()
