"""[smime]."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

from mssgw.core.config.base import Secret, Settings


class Smime(Settings, frozen=True):
    recipients: Annotated[
        Path | None,
        Meta(
            description="Directory of recipients' certificates (PEM), one or more per file: for the addresses in them, or for the address or the domain that is the file's name."
        ),
    ] = None
    identities: Annotated[
        Path | None, Meta(description="Directory of persons' certificates and keys (NAME.pem with NAME.key) that may open incoming mail.")
    ] = None
    cipher: Annotated[
        Literal["auto", "aes256-gcm", "aes256-cbc"],
        Meta(description="Content encryption; auto takes the best that every recipient can read."),
    ] = "auto"
    harvest: Annotated[bool, Meta(description="Learn recipients' certificates from valid signed mail.")] = True
    pss: Annotated[bool, Meta(description="Sign with RSASSA-PSS instead of PKCS#1 v1.5; older mail programs can't read it.")] = False
    opaque: Annotated[
        bool, Meta(description="Sign as one opaque part instead of multipart/signed: survives any relay, and can be read only with S/MIME.")
    ] = False
    header_protection: Annotated[bool, Meta(description="Repeat the header under the signature (RFC 9788); outside it stays in clear.")] = (
        True
    )
    legacy: Annotated[bool, Meta(description="Also read 3DES and RC2.")] = False
    experimental: Annotated[bool, Meta(description="ML-KEM recipients and ML-DSA signatures (RFC 9629, 9882, 9936).")] = False
    key_passphrase: Annotated[
        Secret | None, Meta(description="Passphrase of the domains' key files when they are encrypted (PKCS#8, PKCS#12).")
    ] = None
    pkcs11_module: Annotated[
        Path | None,
        Meta(
            description="The PKCS#11 library of the token that holds keys given as pkcs11:token=LABEL;object=NAME or ;id=HEX, perhaps ;serial=NUMBER."
        ),
    ] = None
    pkcs11_pin: Annotated[
        Secret | None, Meta(description="The PIN of that token. It is tried once; after a wrong one, not again before it changes.")
    ] = None
