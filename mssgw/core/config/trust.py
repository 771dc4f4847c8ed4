"""[trust]."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

from mssgw.core.config.base import Settings
from mssgw.core.errors import Mistake

Revocation = Literal["hard", "soft", "none"]

LIST_SIGNERS = ("alb.mssante.fr",)  # of the production list

_FINGERPRINT = re.compile(r"[0-9a-f]{64}\Z")


class Trust(Settings, frozen=True):
    anchors: Annotated[
        Path,
        Meta(description="Directory of the authorities' certificates (PEM or DER): self-signed ones are roots, the others intermediates."),
    ]
    pki: Annotated[
        Literal["igc-sante", "igc-sante-test", "private"],
        Meta(
            description="Which authorities may stand in that directory: igc-sante accepts the nine of the production IGC-Santé, by fingerprint; igc-sante-test those of anchor_fingerprints, named TEST; private any but the production ones."
        ),
    ] = "igc-sante"
    anchor_fingerprints: Annotated[
        tuple[str, ...],
        Meta(
            description="SHA-256 (hex) of further authorities to accept: new ones of IGC-Santé, those of its test PKI, or a private PKI's; with pki = private and an empty list all of the directory."
        ),
    ] = ()
    whitelist_url: Annotated[
        str, Meta(description="Where the signed list of domains is published, https: or http:.", pattern="^https?://")
    ] = "https://espacedeconfiance.mssante.fr/listeblanchemssante.xml"
    proxy: Annotated[str, Meta(description="HTTP proxy for the list, CRLs and OCSP, as http://host:port; empty for none.")] = ""
    signer_common_names: Annotated[
        tuple[str, ...], Meta(description="Subject CN of the certificates that may sign the list.", min_length=1)
    ] = LIST_SIGNERS
    strong_signatures: Annotated[
        bool, Meta(description="Accept stronger algorithms than those the list uses today (RSA-SHA256): RSA with SHA-384 or 512, ECDSA.")
    ] = True
    list_octets: Annotated[int, Meta(description="Largest list accepted.", ge=1_048_576)] = 33_554_432
    refresh_seconds: Annotated[int, Meta(description="How often the list is fetched.", ge=1)] = 3600
    crl_refresh_seconds: Annotated[
        int, Meta(description="How often a CRL is asked for (conditionally); it is always asked for before it runs out.", ge=1)
    ] = 14_400
    crl_urls: Annotated[
        tuple[str, ...], Meta(description="CRLs to hold ready before a certificate names them; those of IGC-Santé are known.")
    ] = ()
    ocsp: Annotated[bool, Meta(description="Ask OCSP responders too, in the background, about every certificate seen.")] = True
    warn_age_hours: Annotated[int, Meta(description="Age of the last successful check of the list at which an alarm is raised.", ge=1)] = 24
    max_age_hours: Annotated[int, Meta(description="Age at which nothing is trusted any more.", ge=1)] = 168
    max_lost_percent: Annotated[
        int, Meta(description="A new list that loses more of its domains than this waits for `mssgw trust accept`.", ge=0, le=100)
    ] = 20
    match: Annotated[Literal["strict", "lenient"], Meta(description="strict compares the whole subject; lenient only CN and OU.")] = (
        "strict"
    )
    revocation: Annotated[
        Revocation,
        Meta(
            description="Peers' certificates: hard refuses when no fresh revocation data is there, soft accepts and warns, none doesn't look."
        ),
    ] = "hard"
    revocation_mail: Annotated[Revocation | None, Meta(description="The same for S/MIME certificates; as revocation when not set.")] = None
    revocation_list: Annotated[Revocation | None, Meta(description="The same for the signer of the list; as revocation when not set.")] = (
        None
    )
    grace_hours: Annotated[int, Meta(description="How long past its end revocation data still counts for peers and the list.", ge=0)] = 4
    grace_hours_mail: Annotated[int, Meta(description="The same for S/MIME certificates.", ge=0)] = 24
    tls13_only: Annotated[bool, Meta(description="Operators: refuse TLS 1.2 on port 25 and on outgoing relay.")] = False
    cbc_suites: Annotated[bool, Meta(description="Offer the two CBC suites of the national list to mail clients (ECO.1.1.3).")] = True
    expiry_days: Annotated[
        tuple[int, ...], Meta(description="Days before the end of one of our certificates at which an alarm is raised.")
    ] = (60, 30, 7)

    def __post_init__(self) -> None:
        for fingerprint in self.anchor_fingerprints:
            if not _FINGERPRINT.match(fingerprint):
                raise Mistake("config.fingerprint")
        if self.warn_age_hours > self.max_age_hours:
            raise Mistake("config.warn-late")
        if self.pki == "igc-sante-test" and not self.anchor_fingerprints:
            raise Mistake("config.test-fingerprints")
