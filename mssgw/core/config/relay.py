"""[relay], [hospital]: SMTP with other servers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from msgspec import Meta

from mssgw.core.config.base import Listen, Network, Secret, Settings


class Relay(Settings, frozen=True):
    certificate: Annotated[Path, Meta(description="PEM: the operator's certificate of IGC-Santé (server and client), then its chain.")]
    key: Annotated[Secret, Meta(description="PEM: its private key.")]
    listen: Annotated[tuple[Listen, ...], Meta(description="Addresses with STARTTLS, usually port 25.")] = ()
    port: Annotated[int, Meta(description="Port at other operators, when a route doesn't say.", ge=1, le=65535)] = 25
    dns: Annotated[tuple[str, ...], Meta(description="Name servers for MX look-ups; empty takes the system's.")] = ()
    connect_seconds: Annotated[int, Meta(description="Longest wait for a connection and its greeting (RFC 5321 4.5.3.2.1).", ge=1)] = 60
    command_seconds: Annotated[int, Meta(description="Longest wait for a reply to a command.", ge=1)] = 300
    data_seconds: Annotated[int, Meta(description="Longest wait for the reply to a message (RFC 5321 4.5.3.2.6).", ge=1)] = 600
    connections_per_operator: Annotated[int, Meta(description="Open connections to one operator from one worker.", ge=1)] = 4


class Hospital(Settings, frozen=True):
    listen: Annotated[tuple[Listen, ...], Meta(description="Addresses with STARTTLS.")] = ()
    networks: Annotated[tuple[Network, ...], Meta(description="Networks whose hosts may hand over mail.")] = ()
    require_certificate: Annotated[bool, Meta(description="Ask for a client certificate as well.")] = False
    client_ca: Annotated[Path | None, Meta(description="PEM: the authorities of those client certificates.")] = None
    client_fingerprints: Annotated[tuple[str, ...], Meta(description="SHA-256 of the certificates allowed, hex; empty allows all that the authorities signed.")] = ()
