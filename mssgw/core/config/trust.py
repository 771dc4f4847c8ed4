"""[trust]."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

from mssgw.core.config.base import Settings


class Trust(Settings, frozen=True):
    anchors: Annotated[Path, Meta(description="Directory of the authorities' certificates (PEM or DER): self-signed ones are roots, the others intermediates.")]
    whitelist_url: Annotated[str, Meta(description="Where the signed list of domains is published, https: or http:.")] = "https://espacedeconfiance.mssante.fr/listeblanchemssante.xml"
    signer_common_names: Annotated[tuple[str, ...], Meta(description="Subject CN of the certificates that may sign the list.")] = ("alb.mssante.fr",)
    refresh_seconds: Annotated[int, Meta(description="How often the list is fetched.", ge=10)] = 3600
    warn_age_hours: Annotated[int, Meta(description="Age of the last successful check at which an alarm is raised.", ge=1)] = 24
    max_age_hours: Annotated[int, Meta(description="Age at which nothing is trusted any more.", ge=1)] = 168
    match: Annotated[Literal["strict", "lenient"], Meta(description="strict compares the whole subject; lenient only CN and OU.")] = "strict"
    revocation: Annotated[Literal["hard", "soft", "none"], Meta(description="hard refuses when no fresh revocation data is there; soft accepts and warns.")] = "hard"
