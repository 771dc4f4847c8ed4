"""[clients], [submission], [imap]: the ports for mail clients."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from msgspec import Meta

from mssgw.core.config.base import Listen, Secret, Settings


class Clients(Settings, frozen=True):
    certificate: Annotated[Path, Meta(description="PEM: the server's certificate, then its chain.")]
    key: Annotated[Secret, Meta(description="PEM: its private key.")]
    login_failures: Annotated[
        int,
        Meta(
            description="Failed logins at one account within 5 minutes before it has to wait; ten times as many from one address at any accounts. Counted by each worker.",
            ge=1,
        ),
    ] = 20
    password_cache_seconds: Annotated[
        int, Meta(description="How long a verified password is remembered (as a keyed hash); 0 verifies each time.", ge=0)
    ] = 300


class Submission(Settings, frozen=True):
    listen: Annotated[tuple[Listen, ...], Meta(description="Addresses with STARTTLS, usually port 587.")] = ()
    listen_tls: Annotated[tuple[Listen, ...], Meta(description="Addresses with TLS from the first octet, usually port 465.")] = ()
    save_sent: Annotated[
        bool,
        Meta(
            description="Put a copy of what is submitted into the sender's Sent folder. Off: mail clients do it themselves and would have it twice."
        ),
    ] = False


class Imap(Settings, frozen=True):
    listen: Annotated[tuple[Listen, ...], Meta(description="Addresses with STARTTLS, usually port 143.")] = ()
    listen_tls: Annotated[tuple[Listen, ...], Meta(description="Addresses with TLS from the first octet, usually port 993.")] = ()
    idle_seconds: Annotated[
        int, Meta(description="Silence after which a logged-in client is dropped (RFC 3501 5.4: at least 30 minutes).", ge=1800)
    ] = 1860
    append_limit: Annotated[int, Meta(description="Largest message a client may append, octets; 0 is the limit of [limits].", ge=0)] = 0
