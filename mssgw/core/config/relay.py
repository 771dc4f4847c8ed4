"""[relay], [hospital]: SMTP with other servers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from msgspec import Meta

from mssgw.core.config.base import Listen, Mistakes, Network, Secret, Settings
from mssgw.core.texts import message


class Relay(Settings, frozen=True):
    certificate: Annotated[Path, Meta(description="PEM: the operator's certificate of IGC-Santé (server and client), then its chain.")]
    key: Annotated[Secret, Meta(description="PEM: its private key.")]
    listen: Annotated[tuple[Listen, ...], Meta(description="Addresses with STARTTLS, usually port 25.")] = ()
    port: Annotated[int, Meta(description="Port at other operators, when a route has none.", ge=1, le=65535)] = 25
    dns: Annotated[tuple[str, ...], Meta(description="Name servers for MX look-ups; empty takes the system's.")] = ()
    connect_seconds: Annotated[int, Meta(description="Longest wait for a connection and its greeting (RFC 5321 4.5.3.2.1).", ge=1)] = 60
    command_seconds: Annotated[int, Meta(description="Longest wait for a reply to a command.", ge=1)] = 300
    block_seconds: Annotated[
        int, Meta(description="Longest wait for the peer to take a piece of a message (RFC 5321 4.5.3.2.5).", ge=1)
    ] = 180
    data_seconds: Annotated[int, Meta(description="Longest wait for the reply to a message (RFC 5321 4.5.3.2.6).", ge=1)] = 600
    connections_per_operator: Annotated[int, Meta(description="Open connections to one server from one worker.", ge=1)] = 4
    messages_per_connection: Annotated[int, Meta(description="Messages after which a connection is closed and made anew.", ge=1)] = 1000
    idle_seconds: Annotated[
        int, Meta(description="How long an unused connection is kept for the next message; 0 closes at once.", ge=0)
    ] = 20
    hosts_per_attempt: Annotated[
        int, Meta(description="Addresses of a domain tried in one attempt (RFC 5321 5.1: at least two).", ge=2)
    ] = 5
    down_seconds: Annotated[
        int, Meta(description="How long a server that could not be reached is not tried again; 0 always tries.", ge=0)
    ] = 10


class Hospital(Settings, frozen=True):
    listen: Annotated[tuple[Listen, ...], Meta(description="Addresses with STARTTLS.")] = ()
    networks: Annotated[tuple[Network, ...], Meta(description="Networks whose hosts may hand over mail.")] = ()
    require_tls: Annotated[
        bool, Meta(description="Refuse mail before STARTTLS. Only a network that is yours alone is a reason to switch it off.")
    ] = True
    require_certificate: Annotated[bool, Meta(description="Ask for a client certificate as well.")] = False
    client_ca: Annotated[Path | None, Meta(description="PEM: the authorities of those client certificates.")] = None
    client_fingerprints: Annotated[
        tuple[str, ...], Meta(description="SHA-256 of the certificates allowed, hex; empty allows all that the authorities signed.")
    ] = ()

    def __post_init__(self) -> None:
        if wide := [network for network in self.networks if network.is_everybody]:
            raise Mistakes([("networks", message("config.everybody", network=one)) for one in wide])
        if self.require_certificate and self.client_ca is None:
            raise Mistakes([("client_ca", message("config.client-ca-required"))])
