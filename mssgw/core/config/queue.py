"""[queue]."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from mssgw.core.config.base import Settings


class Queue(Settings, frozen=True):
    retry_seconds: Annotated[
        tuple[int, ...],
        Meta(description="Waits after the first, second, … failed attempt; the last one repeats (RFC 5321 4.5.4.1).", min_length=1),
    ] = (60, 300, 900, 1800, 3600)
    give_up_hours: Annotated[int, Meta(description="Age at which mail is returned to its sender.", ge=1)] = 120
    delay_notice_hours: Annotated[int, Meta(description="Age at which the sender gets a report that mail is late; 0 never.", ge=0)] = 4
    lease_seconds: Annotated[
        int, Meta(description="How long a worker owns what it claimed; a dead worker's mail goes on after that.", ge=10)
    ] = 60
    concurrency: Annotated[int, Meta(description="Deliveries at a time in one worker.", ge=1)] = 20
    bounce_body_octets: Annotated[int, Meta(description="A larger message is returned with its header only (RFC 3461 6.2).", ge=0)] = 50_000
    keep_days: Annotated[int, Meta(description="How long the trace of finished mail is kept.", ge=1)] = 365
