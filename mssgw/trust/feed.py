"""Feeds the ledger with CRLs and OCSP answers, in the background, never in a session.

A CRL's address is known from the settings, from IGC-Santé's own list, or from the certificates that were judged
(their signature held, so that outsiders can't make us fetch). LDAP addresses are ignored. A CRL is fetched again,
conditionally, every `crl_refresh_seconds`, and always before a tenth of its life is left; an OCSP answer at half of
its life, for certificates seen in the last day. CRLs are kept on disk and read back at a restart; one worker fetches,
all read. Failures wait by URL (fetch.py); a page of HTML is a failure, because it is no CRL.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec

from mssgw.core.clock import Clock
from mssgw.observe import TRUST_FETCHES, Event, log
from mssgw.pki.certificates import Certificate
from mssgw.trust import disk, igc_sante
from mssgw.trust.anchors import Anchor
from mssgw.trust.fetch import Fetcher, FetchError
from mssgw.trust.paths import Validator
from mssgw.trust.revocation import MAX_CRL_OCTETS, MAX_OCSP_OCTETS, Crl, Ledger, RevocationError, ocsp_request, read_answer, read_crl

MAX_SOURCES: Final = 200
SEEN: Final = timedelta(days=1)
AT_ONCE: Final = 4
ASK_AGAIN: Final = timedelta(minutes=10)


class Source(msgspec.Struct):
    """What is known of one CRL address. `next_update` 0: never read."""

    url: str
    etag: str = ""
    modified: str = ""
    fetched_at: float = 0.0
    life: float = 0.0
    next_update: float = 0.0


class Feed:
    def __init__(
        self,
        directory: Path,
        clock: Clock,
        fetcher: Fetcher,
        ledger: Ledger,
        *,
        urls: Iterable[str] = (),
        refresh_seconds: int = 14_400,
        ocsp: bool = True,
    ) -> None:
        self.directory = directory / "crl"
        self._clock = clock
        self._fetcher = fetcher
        self._ledger = ledger
        self._refresh = refresh_seconds
        self._ocsp = ocsp
        self._sources: dict[str, Source] = {}
        self._stamps: dict[str, int] = {}
        self._asked: dict[str, datetime] = {}
        self.answered = False  # an OCSP answer came since the last note (status.py)
        self.know(urls)

    def know(self, urls: Iterable[str]) -> None:
        for url in urls:
            if url.startswith(("http://", "https://")) and len(self._sources) < MAX_SOURCES:
                self._sources.setdefault(url, Source(url))

    def _path(self, url: str) -> Path:
        return self.directory / f"{hashlib.sha256(url.encode()).hexdigest()[:32]}.crl"

    # -- the disk --------------------------------------------------------------------------------------------------

    async def load(self, validator: Validator) -> None:
        """Read what another worker fetched, or what was there before a restart."""
        if self._stamps.get("sources") != (now := disk.stamp(self.directory / "sources.json")):
            self._stamps["sources"] = now
            for source in disk.read_json(self.directory / "sources.json", list[Source]) or ():
                self._sources[source.url] = source
        for url in tuple(self._sources):
            path = self._path(url)
            if (now := disk.stamp(path)) and now != self._stamps.get(url):
                self._stamps[url] = now
                if octets := disk.read(path):
                    await self._adopt(url, octets, validator)

    def save(self) -> None:
        disk.write(self.directory / "sources.json", msgspec.json.encode(list(self._sources.values())))
        self._stamps["sources"] = disk.stamp(self.directory / "sources.json")

    # -- CRLs ------------------------------------------------------------------------------------------------------

    async def refresh(self, validator: Validator) -> None:
        """Fetch every CRL that is due. For the one worker that holds the lock."""
        self.learn(validator)
        due = [source for source in self._sources.values() if self._due(source)]
        for at in range(0, len(due), AT_ONCE):
            await asyncio.gather(*(self._fetch(source, validator) for source in due[at : at + AT_ONCE]))
        if due:
            self.save()

    def learn(self, validator: Validator) -> None:
        """The addresses in the certificates that were judged."""
        for certificate, _, _ in tuple(validator.wanted.values()):
            self.know(certificate.crl_urls)

    def _due(self, source: Source) -> bool:
        now = self._clock.now().timestamp()
        if source.fetched_at > now + self._refresh:  # noted while the clock was ahead
            return True
        return now >= source.fetched_at + self._refresh or now >= source.next_update - source.life / 10

    async def _fetch(self, source: Source, validator: Validator) -> None:
        try:
            known = source.next_update > 0
            fetched = await self._fetcher.get(
                source.url, MAX_CRL_OCTETS, etag=source.etag if known else "", modified=source.modified if known else ""
            )
        except FetchError as error:
            if error.tried:
                self._failed("crl", source.url, str(error))
            return
        source.fetched_at = self._clock.now().timestamp()
        if fetched.content is None:
            TRUST_FETCHES.labels("crl", "unchanged").inc()
            self._fetcher.succeeded(source.url)
            if source.fetched_at >= source.next_update - source.life / 10:  # the old one again: wait longer, by the back-off
                self._fetcher.failed(source.url, "the old CRL again")
            return
        crl = await self._adopt(source.url, fetched.content, validator)
        if not isinstance(crl, Crl):
            self._fetcher.failed(source.url, crl)
            return
        self._fetcher.succeeded(source.url)
        source.etag, source.modified = fetched.etag, fetched.modified
        source.next_update = crl.next_update.timestamp()
        source.life = (crl.next_update - crl.this_update).total_seconds()
        if self._clock.now() > crl.next_update:
            self._fetcher.failed(source.url, f"a stale CRL: its next update was due {crl.next_update:%Y-%m-%dT%H:%MZ}")
        await asyncio.to_thread(disk.write, self._path(source.url), fetched.content)
        self._stamps[source.url] = disk.stamp(self._path(source.url))

    async def _adopt(self, url: str, octets: bytes, validator: Validator) -> Crl | str:
        """Verify under each authority of that name; the problem when it is of none, or goes back."""
        problem = "no authority here has this name"
        for anchor in validator.anchors.every:
            try:
                crl = await asyncio.to_thread(read_crl, octets, anchor)
            except RevocationError as error:
                if str(error) != "issued by another authority":
                    problem = str(error)
                if problem.startswith("not a CRL"):
                    break
                continue
            try:
                if self._ledger.add_crl(crl):
                    TRUST_FETCHES.labels("crl", "adopted").inc()
                    stale = self._clock.now() > crl.next_update
                    log(
                        Event.TRUST_CRL_ADOPTED,
                        "warning" if stale else "info",
                        stale=stale or None,
                        authority=anchor.certificate.label,
                        number=crl.number,
                        revoked=len(crl.revoked),
                        next_update=f"{crl.next_update:%Y-%m-%dT%H:%MZ}",
                    )
                return crl
            except RevocationError as error:
                problem = str(error)
        self._failed("crl", url, problem, Event.TRUST_CRL_REFUSED)
        return problem

    def _failed(self, what: str, url: str, problem: str, event: Event = Event.TRUST_FETCH_FAILED) -> None:
        TRUST_FETCHES.labels(what, "failed").inc()
        log(event, "warning", url=url, detail=problem)

    # -- OCSP ------------------------------------------------------------------------------------------------------

    async def ask(self, validator: Validator) -> None:
        """Ask about every certificate seen lately whose answer is missing or past half of its life. Each worker asks about its own."""
        if not self._ocsp:
            return
        now = self._clock.now()
        due = [
            (certificate, issuer)
            for certificate, issuer, seen in tuple(validator.wanted.values())
            if certificate.ocsp_urls and now - seen < SEEN and self._answer_due(certificate, issuer, now)
        ]
        for at in range(0, len(due), AT_ONCE):
            await asyncio.gather(*(self._ask(certificate, issuer) for certificate, issuer in due[at : at + AT_ONCE]))

    def _answer_due(self, certificate: Certificate, issuer: Anchor, now: datetime) -> bool:
        asked = self._asked.get(certificate.fingerprint)
        if asked and now - asked < ASK_AGAIN:
            return False
        held = self._ledger.answer_of(issuer.fingerprint, certificate.serial)
        return held is None or now >= held.this_update + (held.next_update - held.this_update) / 2

    async def _ask(self, certificate: Certificate, issuer: Anchor) -> None:
        if len(self._asked) > 10_000:
            self._asked.clear()
        self._asked[certificate.fingerprint] = self._clock.now()
        for url in certificate.ocsp_urls[:2]:
            try:
                octets = await self._fetcher.post(url, ocsp_request(certificate, issuer), "application/ocsp-request", MAX_OCSP_OCTETS)
                self._ledger.add_answer(await asyncio.to_thread(read_answer, octets, certificate, issuer, self._clock.now()))
            except FetchError as error:
                if error.tried:
                    self._failed("ocsp", url, str(error))
            except RevocationError as error:
                if str(error).startswith(
                    "not an OCSP response"
                ):  # a page of HTML: the host is throttling; nothing is known about the certificate
                    self._fetcher.failed(url, str(error))
                self._failed("ocsp", url, str(error))
            else:
                self._fetcher.succeeded(url)
                self.answered = True
                TRUST_FETCHES.labels("ocsp", "adopted").inc()
                return


def known_urls(pki: str) -> tuple[str, ...]:
    return igc_sante.CRL_URLS if pki == "igc-sante" else ()
