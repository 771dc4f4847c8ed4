"""[[domain]] and [[route]]."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

from mssgw.core.address import Domain, parse_domain
from mssgw.core.config.base import Secret, Settings
from mssgw.core.errors import Mistake

Policy = Literal["always", "when-possible", "never"]


class DomainSettings(Settings, frozen=True):
    name: Annotated[Domain, Meta(description="The domain, as it stands in the whitelist.")]
    certificate: Annotated[Path | None, Meta(description="PEM: the organisation's signing certificate, then its chain.")] = None
    key: Annotated[Secret | None, Meta(description="PEM: its private key; also used to decrypt what was encrypted for it.")] = None
    sign: Annotated[Policy, Meta(description="Sign outgoing mail: always, when-possible or never.")] = "when-possible"
    encrypt: Annotated[Policy, Meta(description="Encrypt outgoing mail: always, when-possible or never.")] = "when-possible"
    tls_certificate: Annotated[
        Path | None,
        Meta(description="PEM: what mail clients see that ask for a DNS name in it (SNI), then its chain; others see that of [clients]."),
    ] = None
    tls_key: Annotated[Secret | None, Meta(description="PEM: its private key.")] = None
    personal_keys: Annotated[
        Literal["session", "any"],
        Meta(
            description="Who signs with a person's own key: only the person's logged-in session; or any mail in the person's name, from the hospital port too."
        ),
    ] = "session"
    personal_key_expired: Annotated[
        Literal["seal", "wait"],
        Meta(
            description="When the author's own certificate has ended, or their key is there and can't be used: seal with the domain's key (named in the log and the audit), or let the mail wait (451)."
        ),
    ] = "seal"
    show_signature: Annotated[
        Literal["keyword", "banner", "none"],
        Meta(
            description="How readers see what a signature is worth: IMAP keywords ($Signed, $SignedBySeal, $SignatureDoubtful); a short part on top as well; nothing."
        ),
    ] = "keyword"
    catch_all: Annotated[str, Meta(description="Mailbox for unknown recipients; empty refuses them.")] = ""

    def __post_init__(self) -> None:
        check_domain(self.name)
        if (self.certificate is None) != (self.key is None):
            raise Mistake("config.together", one="certificate", other="key")
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise Mistake("config.together", one="tls_certificate", other="tls_key")
        if self.sign == "always" and self.key is None:
            raise Mistake("config.sign-always")


class Route(Settings, frozen=True):
    domain: Annotated[Domain, Meta(description="The recipients' domain.")]
    host: Annotated[str, Meta(description="Host name or address of its server.", min_length=1)]
    port: Annotated[int, Meta(description="Port of its server.", ge=1, le=65535)] = 25

    def __post_init__(self) -> None:
        check_domain(self.domain)


def check_domain(text: str) -> None:
    """Raises Mistake unless it is a domain as the DNS and the list write it."""
    if (known := parse_domain(text)) != text:
        raise Mistake("config.write-as", known=known)
