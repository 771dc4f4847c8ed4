"""Mail to other operators: `Outbound` is all the rest of the program needs.

outbound.py  one attempt: route, then host after host
route.py     static routes, MX, addresses
pool.py      sessions kept open
client.py    one session over mutual TLS, one transaction
wire.py      replies; content.py: DATA
"""

from __future__ import annotations

import ssl
from collections.abc import Callable

from mssgw.core.clock import Clock
from mssgw.core.config import Config
from mssgw.relay.client import Outcome, RelaySession, Require, Target
from mssgw.relay.outbound import Outbound
from mssgw.relay.pool import Pool
from mssgw.relay.route import Router

__all__ = ["Outbound", "Outcome", "Pool", "RelaySession", "Require", "Router", "Target", "outbound"]


def outbound(config: Config, clock: Clock, context: Callable[[], ssl.SSLContext], require: Require) -> Outbound:
    """The way out that a configuration describes. `config.relay` must be there."""
    settings = config.relay
    assert settings is not None
    ourselves = {config.node.hostname, *(one.host for one in settings.listen if one.port == settings.port)}
    router = Router(config.route, clock, port=settings.port, ourselves=ourselves, name_servers=settings.dns)
    return Outbound(settings, router, Pool(settings, config.node.hostname, context, clock), require)
