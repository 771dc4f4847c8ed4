"""[exchange]: documents of the DMP in mail (docs/reference/mssante.md 3.2, 5, 6)."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from mssgw.core.address import Domain
from mssgw.core.config.base import Settings


class Exchange(Settings, frozen=True):
    nil: Annotated[
        str,
        Meta(
            description="X-MSS-NIL (ECO.2.4.3): the reference of the product that writes mail here, as DEV935997; empty: the field is left out.",
            pattern=r"^[\x21-\x7e]{0,100}$",
        ),
    ] = ""
    citizens: Annotated[Domain, Meta(description="Domain of Mon espace santé, where patients have their mailboxes.")] = Domain(
        "patient.mssante.fr"
    )
    citizens_octets: Annotated[
        int, Meta(description="Largest message to a patient: Mon espace santé returns what is larger than 25 MB.", ge=1_000_000)
    ] = 25_000_000
