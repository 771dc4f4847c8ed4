"""[smime]."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

from mssgw.core.config.base import Settings


class Smime(Settings, frozen=True):
    recipients: Annotated[Path | None, Meta(description="Directory of recipients' certificates (PEM), one or more per file: for the addresses in them, or for the address or the domain that is the file's name.")] = None
    identities: Annotated[Path | None, Meta(description="Directory of persons' certificates and keys (NAME.pem with NAME.key) that may open incoming mail.")] = None
    cipher: Annotated[Literal["auto", "aes256-gcm", "aes256-cbc"], Meta(description="Content encryption; auto takes the best that every recipient can read.")] = "auto"
    harvest: Annotated[bool, Meta(description="Learn recipients' certificates from valid signed mail.")] = True
