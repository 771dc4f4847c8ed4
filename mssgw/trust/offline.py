"""Judging without a node, for the command line: from a directory of authorities and a file.

Every CA certificate of the directory is trusted for this call. Revocation data is fetched when the mode asks for it,
with a short time-out: without data `soft` accepts with a remark, `hard` refuses.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from mssgw.core.clock import Clock, SystemClock
from mssgw.core.errors import Deferred
from mssgw.pki.judgement import Evidence, Purpose
from mssgw.pki.names import Match
from mssgw.trust import anchors
from mssgw.trust import whitelist as lists
from mssgw.trust.feed import Feed
from mssgw.trust.fetch import Fetcher
from mssgw.trust.paths import Rules, Validator
from mssgw.trust.revocation import Ledger, Mode, Rule
from mssgw.trust.space import TrustSpace
from mssgw.trust.whitelist import Whitelist

SECONDS = 5.0  # for one address
SOFT_EVIDENCE = "soft: no fresh data"


@dataclass
class Court:
    """Judges certificates and lists under the authorities of a directory."""

    validator: Validator
    mode: Mode
    clock: Clock

    @classmethod
    def of(cls, directory: Path, mode: Mode = "soft", clock: Clock | None = None) -> Court:
        """Raises ConfigError when there is no root in the directory."""
        clock = clock or SystemClock()
        rule = Rule(mode, timedelta(hours=4))
        return cls(Validator(anchors.load(directory), Ledger(clock), clock, Rules(rule, rule, rule)), mode, clock)

    async def judge(self, encoded: bytes, purpose: Purpose, at: datetime | None = None) -> Evidence:
        """Raises NotTrusted or Deferred."""
        at = at or self.clock.now()
        try:
            evidence = self.validator(encoded, purpose, at)
            if evidence.revocation != SOFT_EVIDENCE:
                return evidence
        except Deferred:
            if self.mode == "none":
                raise
        await self._fetch()
        return self.validator(encoded, purpose, at)

    async def whitelist(self, octets: bytes, at: datetime | None, signers: tuple[str, ...]) -> Whitelist:
        """Verify a signed list as of `at`, None is now. `signers`: the CNs that may sign, at least one."""
        unjudged = lists.open_signed(octets)
        at = at or self.clock.now()
        lists.require_past(unjudged.generated_at, at)
        await self.judge(unjudged.signer, Purpose.LIST_SIGN, at)
        return lists.judge(unjudged, self.validator, signers, at)

    async def space(self, octets: bytes, at: datetime | None, signers: tuple[str, ...], match: Match = Match.STRICT) -> TrustSpace:
        return TrustSpace.of(await self.whitelist(octets, at, signers), match)

    async def _fetch(self) -> None:
        with tempfile.TemporaryDirectory(prefix="mssgw-crl-") as name:
            feed = Feed(Path(name), self.clock, Fetcher(self.clock, seconds=SECONDS), self.validator.ledger)
            await feed.ask(self.validator)
            await feed.refresh(self.validator)
