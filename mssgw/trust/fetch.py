"""HTTP for the background: bounded, with a back-off for throttled sources, one request per URL at a time.

The official hosts answer 403 or an HTML page after some requests (docs/reference/mssante.md 2.1), so each URL has its own back-off,
30 s doubling to 30 min with jitter, and what came is the caller's to check: a page is not DER. `get` is conditional
when it knows the last ETag or date. No redirect to another scheme, no body over its cap, no wait over its time.
"""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

import httpx2
import msgspec

from mssgw.core.clock import Clock

FIRST_WAIT: Final = timedelta(seconds=30)
LONGEST_WAIT: Final = timedelta(minutes=30)
MOST_URLS: Final = 10_000
SECONDS: Final = 60.0  # for one whole answer


class FetchError(Exception):
    """Not fetched; the text has the reason. `tried` is False when the URL was still in its back-off."""

    def __init__(self, text: str, *, tried: bool = True) -> None:
        super().__init__(text)
        self.tried = tried


@dataclass(frozen=True, slots=True)
class Fetched:
    """`content` is None when nothing changed (304)."""

    content: bytes | None
    etag: str = ""
    modified: str = ""


class Failure(msgspec.Struct, frozen=True):
    """An address that fails: since how many tries, why, and when it is tried again."""

    url: str
    failures: int
    problem: str
    at: datetime
    next_try: datetime


@dataclass
class Fetcher:
    clock: Clock
    tls: ssl.SSLContext | None = None  # for https; None verifies against the system's authorities
    proxy: str = ""
    seconds: float = SECONDS
    news: dict[str, Failure | None] = field(default_factory=dict)  # by URL, since the last note (status.py); None: works again
    _waits: dict[str, Failure] = field(default_factory=dict)
    _busy: set[str] = field(default_factory=set)

    async def get(self, url: str, limit: int, *, etag: str = "", modified: str = "", accept: str = "*/*") -> Fetched:
        """Fetch, conditionally. Raises FetchError."""
        headers = {"Accept": accept} | ({"If-None-Match": etag} if etag else {}) | ({"If-Modified-Since": modified} if modified else {})
        return await self._once(url, "GET", headers, None, limit)

    async def post(self, url: str, content: bytes, kind: str, limit: int) -> bytes:
        """Ask an OCSP responder (RFC 6960 A.1). Raises FetchError."""
        fetched = await self._once(url, "POST", {"Content-Type": kind, "Accept": "application/ocsp-response"}, content, limit)
        return fetched.content or b""

    def failed(self, url: str, problem: str) -> None:
        """Report that the content was unusable: the same back-off as for no answer."""
        failures = self._waits[url].failures + 1 if url in self._waits else 1
        wait = min(FIRST_WAIT * 2 ** min(failures - 1, 10), LONGEST_WAIT)
        now = self.clock.now()
        self._waits[url] = self.news[url] = Failure(url, failures, problem[:300], now, now + wait * random.uniform(0.9, 1.1))  # noqa: S311
        self._bound(self._waits)
        self._bound(self.news)

    def _bound(self, known: dict[str, Any]) -> None:
        if len(known) > MOST_URLS:
            del known[next(iter(known))]

    def succeeded(self, url: str) -> None:
        """Also when it failed in another process only, or before a restart: that is noted on disk."""
        self._waits.pop(url, None)
        self.news[url] = None
        self._bound(self.news)

    def waits_until(self, url: str) -> datetime | None:
        """When a URL in its back-off may be tried again."""
        wait = self._waits.get(url)
        return wait.next_try if wait and wait.at <= self.clock.now() else None  # else noted while the clock was ahead

    async def _once(self, url: str, method: str, headers: Mapping[str, str], content: bytes | None, limit: int) -> Fetched:
        if (until := self.waits_until(url)) and self.clock.now() < until:
            raise FetchError(f"failed {self._waits[url].failures} times, next try at {until:%H:%M:%SZ}", tried=False)
        if method == "GET" and url in self._busy:
            raise FetchError("being fetched already", tried=False)
        self._busy.add(url)
        try:
            return await self._request(url, method, headers, content, limit)
        except FetchError as error:
            self.failed(url, str(error))
            raise
        finally:
            self._busy.discard(url)

    async def _request(self, url: str, method: str, headers: Mapping[str, str], content: bytes | None, limit: int) -> Fetched:
        try:
            async with (
                asyncio.timeout(self.seconds),
                httpx2.AsyncClient(verify=self.tls or True, proxy=self.proxy or None, trust_env=False, timeout=20.0) as client,
                client.stream(method, url, headers=dict(headers), content=content) as response,
            ):
                if response.status_code == 304 and ("If-None-Match" in headers or "If-Modified-Since" in headers):
                    return Fetched(None, headers.get("If-None-Match", ""), headers.get("If-Modified-Since", ""))
                if response.status_code != 200:
                    raise FetchError(f"status {response.status_code}")
                octets = bytearray()
                async for piece in response.aiter_bytes(65_536):
                    octets += piece
                    if len(octets) > limit:
                        raise FetchError(f"more than {limit} octets")
                if not octets:
                    raise FetchError("an empty answer")
                return Fetched(bytes(octets), response.headers.get("etag", ""), response.headers.get("last-modified", ""))
        except TimeoutError as error:
            raise FetchError(f"no answer within {self.seconds:g} s") from error
        except (httpx2.HTTPError, httpx2.InvalidURL, ssl.SSLError, OSError, ValueError) as error:
            raise FetchError(f"{type(error).__name__}: {error}"[:300]) from error
