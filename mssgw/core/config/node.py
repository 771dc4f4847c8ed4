"""[node], [seal], [limits], [web], [metrics]."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

from bilingual.localtime import DEFAULT, zone_named
from mssgw.core.address import AddressError, parse_domain
from mssgw.core.config.base import Listen, Mistakes, Secret, Settings, check_store
from mssgw.core.errors import Mistake
from mssgw.core.texts import message


class Node(Settings, frozen=True):
    hostname: Annotated[str, Meta(description="The name in banners, EHLO, Received and Message-ID.", min_length=1, max_length=255)]
    data: Annotated[Path, Meta(description="Directory of the store, large bodies, spool and last good lists. Mode 0700.")]
    store: Annotated[str, Meta(description="Where mail is kept: sqlite:PATH below `data`, or postgresql://… (extra `postgres`).")] = (
        "sqlite:store.db"
    )
    workers: Annotated[int, Meta(description="Equal worker processes. One core each; 1 is the way to debug.", ge=1, le=64)] = 1
    log_level: Annotated[Literal["debug", "info", "warning", "error"], Meta(description="From which level events are logged.")] = "info"
    log_format: Annotated[Literal["json", "text"], Meta(description="One JSON object a line, or text for a terminal.")] = "json"
    language: Annotated[Literal["fr", "en"], Meta(description="Language of what people read: bounces, banners, pages.")] = "fr"
    timezone: Annotated[str, Meta(description="Zone of the times that people read, such as Europe/Paris; logs and JSON stay in UTC.")] = (
        DEFAULT
    )
    postmaster: Annotated[str, Meta(description="Address that takes mail for postmaster; empty: the first account with role admin.")] = ""

    def __post_init__(self) -> None:
        try:
            check_store(self.store)
        except Mistake as error:
            raise Mistakes([("store", error.message)]) from error
        try:
            zone_named(self.timezone)
        except ValueError as error:
            raise Mistakes([("timezone", message("config.timezone", name=repr(self.timezone)))]) from error
        try:
            known = parse_domain(self.hostname)
        except AddressError as error:
            raise Mistake("config.hostname", name=repr(self.hostname), why=error.message) from error
        if known != self.hostname.lower():
            raise Mistake("config.hostname-plain", known=known)


class Seal(Settings, frozen=True):
    master_key: Annotated[
        Secret,
        Meta(description="32 random octets, as file:PATH or credential:NAME. `mssgw seal new-key` makes one. Losing it loses the mail."),
    ]
    former_key: Annotated[
        Secret | None, Meta(description="The master key before this one, while `mssgw seal rotate` is under way; none otherwise.")
    ] = None


class Limits(Settings, frozen=True):
    message_size: Annotated[int, Meta(description="Largest message in octets, announced as SIZE.", ge=65536)] = 36_700_160
    recipients: Annotated[int, Meta(description="Recipients in one transaction; more get 452 (RFC 5321 4.5.3.1.10).", ge=100)] = 1000
    connections: Annotated[int, Meta(description="Open SMTP connections at one port of a worker; more get 421.", ge=10)] = 2000
    connections_per_peer: Annotated[int, Meta(description="Open connections from one address to one worker.", ge=1)] = 200
    header_octets: Annotated[int, Meta(description="Largest header section.", ge=65536)] = 262_144
    header_fields: Annotated[int, Meta(description="Most header fields.", ge=100)] = 2000
    mime_depth: Annotated[int, Meta(description="Deepest nesting of MIME parts.", ge=10)] = 50
    mime_parts: Annotated[int, Meta(description="Most MIME parts.", ge=100)] = 2000
    line_octets: Annotated[
        int, Meta(description="Longest line of a message, CRLF included. RFC 5321 says 1000; real mail has longer.", ge=1000)
    ] = 65_536
    idle_seconds: Annotated[int, Meta(description="SMTP: silence after which a peer is dropped (RFC 5321 4.5.3.2.7).", ge=1)] = 300
    data_seconds: Annotated[int, Meta(description="SMTP: longest time for one message's content.", ge=10)] = 3600
    quota: Annotated[int, Meta(description="Octets an account may keep; 0 is no limit.", ge=0)] = 0
    free_disk: Annotated[int, Meta(description="Free octets below which mail is deferred with 452.", ge=0)] = 67_108_864


class Web(Settings, frozen=True):
    listen: Annotated[tuple[Listen, ...], Meta(description="Addresses, HTTPS with the certificate of [clients].")] = ()


class Metrics(Settings, frozen=True):
    listen: Annotated[tuple[Listen, ...], Meta(description="Addresses, plain HTTP: /metrics, /health/live, /health/ready.")] = ()

    def __post_init__(self) -> None:
        if seen := [one for one in self.listen if not one.is_loopback]:
            raise Mistakes([("listen", message("config.metrics-outside", listen=one)) for one in seen])
