"""What this node knows of whose certificate it is (`smime.directories.binding`), beside the operator's files."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from mssgw.core.address import Address, Domain
from mssgw.pki.names import Name
from mssgw.smime.directories.binding import Binding, Bound, Directory
from mssgw.smime.keys.certificates import Certificate


def of_whitelist(runs: Callable[[Name, Domain], datetime | None]) -> Directory:
    """The seal of the organisation that the whitelist ties to the domain of an address (ADR 17).

    `runs` says when the list was made that names this structure as an operator of the domain, or None.
    """

    def binds(certificate: Certificate, address: Address) -> Bound | None:
        made = runs(certificate.subject, address.domain)
        return Bound(Binding.OPERATOR, "whitelist", made) if made else None

    return binds
