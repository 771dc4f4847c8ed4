"""Outbound: one attempt to bring one message to one domain, host after host.

A host that can't be reached, has no TLS, isn't trusted or hangs up before the message left costs only
itself: the next one is tried. A host's reply about the message or a recipient is the outcome of the
attempt. When no host gets that far, every recipient gets the reasons of all hosts.
"""

from __future__ import annotations

from mssgw.core.address import Domain
from mssgw.core.body import Body
from mssgw.core.config.relay import Relay
from mssgw.core.envelope import Envelope
from mssgw.core.errors import Deferred, MailError, PeerGone, Reply
from mssgw.relay.client import Outcome, Require, Target, explained
from mssgw.relay.pool import Pool
from mssgw.relay.route import Router


class Outbound:
    def __init__(self, settings: Relay, router: Router, pool: Pool, require: Require) -> None:
        self._settings, self._router, self._pool, self._require = settings, router, pool, require

    async def send(self, domain: Domain, envelope: Envelope, body: Body) -> tuple[Outcome, ...]:
        """One outcome for each recipient of the envelope, all of which are at `domain`. No fault of a peer raises."""
        try:
            targets = await self._router.targets(domain)
        except MailError as error:
            return tuple(Outcome(one, explained(error)) for one in envelope.recipients)
        failures: list[tuple[Target, MailError]] = []
        for target in targets[: self._settings.hosts_per_attempt]:
            try:
                return await self._try(target, domain, envelope, body)
            except (Deferred, PeerGone) as error:
                failures.append((target, error))
            except MailError as error:  # the domain is not in the list
                return tuple(Outcome(one, explained(error)) for one in envelope.recipients)
        return tuple(Outcome(one, _all_failed(failures)) for one in envelope.recipients)

    async def _try(self, target: Target, domain: Domain, envelope: Envelope, body: Body) -> tuple[Outcome, ...]:
        for _ in range(self._settings.connections_per_operator + 1):
            async with self._pool.session(target) as session:
                used_before = session.transactions > 0
                try:
                    return await session.send(domain, envelope, body, self._require)
                except PeerGone:
                    if not used_before:
                        raise
        raise Deferred("Every open session to this server was closed by it", enhanced="4.4.2")

    async def run(self) -> None:
        """Keep the pool tidy until cancelled."""
        await self._pool.run()


def _all_failed(failures: list[tuple[Target, MailError]]) -> Reply:
    if len(failures) == 1:
        target, error = failures[0]
        reply = explained(error)
        return Reply(reply.code, reply.enhanced, f"{target}: {reply.text}"[:500])
    reasons = "; ".join(f"{target}: {explained(error).text}" for target, error in failures)
    last = failures[-1][1].reply
    return Reply(last.code, last.enhanced, reasons[:500])
