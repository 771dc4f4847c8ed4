"""The state of a node's background on disk, for `mssgw trust show`: addresses that fail, OCSP answers.

Each worker writes its own changes while it holds the lock (disk.py): fetch.json (an address that works again is removed)
and ocsp.json (the newest answers). CRLs are read from their own files. Nothing is decided by these files.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec

from mssgw.trust import disk
from mssgw.trust.anchors import Anchors
from mssgw.trust.feed import Feed
from mssgw.trust.fetch import Failure, Fetcher
from mssgw.trust.revocation import Crl, Ledger, RevocationError, read_crl

MOST_FAILURES: Final = 200
MOST_ANSWERS: Final = 200
FORGOTTEN: Final = timedelta(days=2)  # an address that is not used any more; one that fails is tried every half hour


class Held(msgspec.Struct, frozen=True):
    """One OCSP answer in a worker's memory."""

    issuer: str  # SHA-256 of the authority
    serial: str  # hex
    this_update: datetime
    next_update: datetime
    revoked: bool


def note(directory: Path, fetcher: Fetcher, feed: Feed, ledger: Ledger) -> None:
    """Write what is new since this worker's last note. For the one worker that holds the lock."""
    if fetcher.news:
        before = failures(directory)
        known = {one.url: one for one in before}
        for url, news in fetcher.news.items():
            if news:
                known[url] = news
            else:
                known.pop(url, None)
        fetcher.news.clear()
        now = fetcher.clock.now()  # what is later was noted while the clock was ahead
        kept = sorted((one for one in known.values() if now - FORGOTTEN < one.at <= now), key=lambda one: one.at, reverse=True)
        if before != tuple(kept := kept[:MOST_FAILURES]):
            disk.write(directory / "fetch.json", msgspec.json.encode(kept))
    if feed.answered:
        feed.answered = False
        held = [
            Held(one.issuer, f"{one.serial:x}", one.this_update, one.next_update, one.revoked_at is not None)
            for one in ledger.answers(MOST_ANSWERS)
        ]
        disk.write(directory / "ocsp.json", msgspec.json.encode(held))


def failures(directory: Path) -> tuple[Failure, ...]:
    """The addresses that fail, the latest first."""
    return tuple(disk.read_json(directory / "fetch.json", list[Failure]) or ())


def answers(directory: Path) -> tuple[Held, ...]:
    return tuple(disk.read_json(directory / "ocsp.json", list[Held]) or ())


def crls(directory: Path, anchors: Anchors) -> tuple[tuple[str, Crl], ...]:
    """(authority, CRL) on disk, verified; the newest of each authority and scope."""
    newest: dict[object, tuple[str, Crl]] = {}
    for octets in _files(directory / "crl"):
        for anchor in anchors.every:
            try:
                crl = read_crl(octets, anchor)
            except RevocationError:
                continue
            held = newest.get((crl.issuer, crl.scope))
            if held is None or crl.number >= held[1].number:
                newest[crl.issuer, crl.scope] = anchor.certificate.label, crl
    return tuple(sorted(newest.values(), key=lambda one: one[0]))


def _files(directory: Path) -> Iterable[bytes]:
    for path in sorted(directory.glob("*.crl")):
        if octets := disk.read(path):
            yield octets
