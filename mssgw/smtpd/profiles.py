"""The three SMTP ports as data: who may connect, with which proof, and which flow decides."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mssgw.core.config import Config
from mssgw.flow.transaction import Authenticate, Begin
from mssgw.smtpd.port import PortName, Profile
from mssgw.smtpd.server import Endpoint
from mssgw.trust.faults import Fault, refusal

Tls = Callable[[], ssl.SSLContext]


def relay(config: Config, begin: Begin, tls: Tls) -> list[Endpoint]:
    """Port 25, other operators. `tls` asks for a client certificate and lets the flow judge it."""
    if config.relay is None:
        return []
    profile = _profile(config, "relay", begin, tls, certificate_hint=refusal(Fault.NO_TLS).reply.text)
    return [Endpoint(profile, listen) for listen in config.relay.listen]


def submission(config: Config, begin: Begin, tls: Tls, login: Authenticate) -> list[Endpoint]:
    """Ports 587 (STARTTLS) and 465 (implicit TLS, RFC 8314), mail clients."""
    if config.submission is None:
        return []
    profile = _profile(config, "submission", begin, tls, login=login)
    return [
        *(Endpoint(profile, listen) for listen in config.submission.listen),
        *(Endpoint(profile, listen, implicit_tls=True) for listen in config.submission.listen_tls),
    ]


def hospital(config: Config, begin: Begin, tls: Tls) -> list[Endpoint]:
    """The hospital's own relay, allowed by network and, if asked for, by certificate."""
    if config.hospital is None:
        return []
    settings = config.hospital
    profile = _profile(
        config, "hospital", begin, tls, networks=settings.networks, tls_required=settings.require_tls or settings.require_certificate
    )
    return [Endpoint(profile, listen) for listen in settings.listen]


def _profile(config: Config, name: PortName, begin: Begin, tls: Tls, **more: Any) -> Profile:
    spool = Path(config.node.data) / "spool"
    spool.mkdir(mode=0o700, parents=True, exist_ok=True)
    return Profile(
        name=name,
        hostname=config.node.hostname,
        domain=config.domain[0].name,
        limits=config.limits,
        tls=tls,
        begin=begin,
        spool=spool,
        **more,
    )
