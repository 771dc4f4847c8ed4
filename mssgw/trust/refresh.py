"""The list in force: fetched, verified, kept, and given up when it is too old.

A new list must pass, in order: signature and signer (whitelist.py) -> not dated in the future -> not older than the
one in force (rollback) -> not without more than `max_lost_percent` of its domains (it then waits, `mssgw trust
accept` puts it in force). A list that fails any of these changes nothing: the one in force stays, and a metric and
an audit row give the reason. The list in force is on disk, so a restart with the authority down changes nothing either;
it is then verified again, its signer judged at the time it was adopted, without revocation: a list in force is
replaced by a newer one, not withdrawn.

Age is the time since the source last confirmed the list (200 or 304), not since it was generated: the real list has
no end date. Beyond `warn_age_hours` an alarm, beyond `max_age_hours` nobody is trusted (Deferred: peers and our queue
keep the mail), unless an administrator decides otherwise (`mssgw trust override`), which is audited.

Files in the directory: list.xml, list.json (state), pending.xml, pending.json, accepted.json, override.json.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec

from mssgw.core.clock import Clock
from mssgw.core.config.trust import Trust as Settings
from mssgw.core.errors import Deferred, MailError
from mssgw.observe import TRUST_FETCHES, TRUST_LIST_AGE, TRUST_LIST_DOMAINS, Event, log
from mssgw.pki.judgement import Validate
from mssgw.pki.names import Match
from mssgw.trust import disk, space, whitelist
from mssgw.trust.decisions import Decision, Step, Tell, refused, tell
from mssgw.trust.faults import Fault, fault_of, refusal
from mssgw.trust.fetch import LONGEST_WAIT, Fetcher, FetchError
from mssgw.trust.space import TrustSpace
from mssgw.trust.whitelist import Unjudged, Whitelist

JITTER: Final = 0.1
AGAIN: Final = timedelta(seconds=30)  # seconds between two readings of a list on disk that can't be used


class State(msgspec.Struct, frozen=True):
    """list.json"""

    sha256: str
    adopted_at: datetime
    checked_at: datetime  # when the source last confirmed the list
    generated_at: datetime
    etag: str = ""
    modified: str = ""
    url: str = ""


class Pending(msgspec.Struct, frozen=True):
    """pending.json: a list that waits for an administrator."""

    sha256: str
    generated_at: datetime
    since: datetime
    lost: int
    total: int


class Word(msgspec.Struct, frozen=True):
    """accepted.json, override.json: an administrator's decision. `sha256` of a pending list, or `until` when age doesn't count."""

    who: str
    reason: str
    at: datetime
    sha256: str = ""
    until: datetime | None = None
    audited: bool = False


def accept(directory: Path, who: str, reason: str, at: datetime) -> Pending:
    """Record that an administrator accepts the pending list. Raises FileNotFoundError when none is pending."""
    pending = disk.read_json(directory / "pending.json", Pending)
    if pending is None:
        raise FileNotFoundError("no list waits for a word")
    disk.write_json(directory / "accepted.json", Word(who, reason, at, sha256=pending.sha256))
    return pending


def override(directory: Path, who: str, reason: str, at: datetime, hours: int) -> Word:
    """Record that an administrator ignores the age of the list for some hours; 0 takes it back."""
    word = Word(who, reason, at, until=at + timedelta(hours=hours))
    disk.write_json(directory / "override.json", word)
    return word


def last_good(directory: Path, match: Match = Match.STRICT) -> TrustSpace | None:
    """The list that was last in force, as it lies on disk; None when there was none. Its signature holds; age and signer are
    not judged again. Raises NotTrusted when it was changed since."""
    octets = disk.read(directory / "list.xml")
    if octets is None:
        return None
    found = whitelist.open_signed(octets, contacts=False)
    return space.build(found.entries, found.generated_at, found.sha256, match)


class ListKeeper:
    """The list in force in this worker. `load` follows the disk, `refresh` (one worker at a time) follows the source."""

    def __init__(self, settings: Settings, directory: Path, clock: Clock, fetcher: Fetcher, audit: Tell | None = None) -> None:
        self.settings = settings
        self.directory = directory
        self.whitelist: Whitelist | None = None
        self._space: TrustSpace | None = None
        self._state: State | None = None
        self._override: Word | None = None
        self._clock = clock
        self._fetcher = fetcher
        self._audit = audit
        self._stamps: dict[str, int] = {}
        self._due: datetime | None = None
        self._refused: str = ""  # sha256 of the last list that was refused: not verified again
        self._warned = False
        self._floor = datetime.min.replace(tzinfo=UTC)  # no list older than this is taken, even if the list with that date can't be read
        self._load_again = self._floor

    # -- for sessions ----------------------------------------------------------------------------------------------

    def space(self) -> TrustSpace:
        """The list in force. Raises Deferred when there is none, or none that may still be used."""
        if self._space is None or self._state is None:
            raise refusal(Fault.NO_LIST)
        now = self._clock.now()
        if now - self._state.checked_at > timedelta(hours=self.settings.max_age_hours) and not self._overridden(now):
            raise refusal(Fault.LIST_TOO_OLD, detail=f"last confirmed {self._state.checked_at:%Y-%m-%dT%H:%MZ}")
        return self._space

    @property
    def state(self) -> State | None:
        return self._state

    def _overridden(self, now: datetime) -> bool:
        return bool(self._override and self._override.until and now < self._override.until)

    # -- the disk --------------------------------------------------------------------------------------------------

    async def load(self, validate: Validate, validate_adopted: Validate) -> None:
        """Take over what is on disk, when it changed: by another worker, or before a restart.

        `validate_adopted` doesn't look at revocation: what was adopted stays in force, whatever came after.
        """
        if self._changed("override.json"):
            self._override = disk.read_json(self.directory / "override.json", Word)
        if self._clock.now() < self._load_again or not self._changed("list.json", "list.xml"):
            return
        state, octets = disk.read_json(self.directory / "list.json", State), disk.read(self.directory / "list.xml")
        if state is None or octets is None:
            return
        self._floor = max(self._floor, state.generated_at)
        if self.whitelist and self.whitelist.sha256 == state.sha256:
            self._state = state
            return
        try:
            unjudged = await self._open(octets)
            if unjudged.sha256 != state.sha256:  # a crash between the two files: list.xml is complete and newer
                state = State(unjudged.sha256, state.checked_at, state.checked_at, unjudged.generated_at, url=state.url)
                validate_adopted = validate
            found = whitelist.judge(unjudged, validate_adopted, self.settings.signer_common_names, state.adopted_at)
        except whitelist.Stopped:
            self._stamps.pop("list.json", None)
            return
        except (MailError, OSError) as error:
            self._stamps.pop("list.json", None)  # read it again, but not at once
            self._load_again = self._clock.now() + AGAIN
            self._tell_refused(error)
            return
        await self._put_in_force(found, state)

    def audit_override(self) -> None:
        """Report an override once. For the one worker that holds the lock."""
        word = self._override
        if word is None or word.audited or word.until is None:
            return
        self._override = msgspec.structs.replace(word, audited=True)
        disk.write_json(self.directory / "override.json", self._override)
        self._changed("override.json")
        log(Event.TRUST_OVERRIDE, "warning", who=word.who, reason=word.reason, until=f"{word.until:%Y-%m-%dT%H:%MZ}")
        said = f"age does not count until {word.until:%Y-%m-%dT%H:%MZ}" if word.until > word.at else "override taken back, age counts again"
        self._tell(Decision(Step.LIST, "override", Fault.LIST_TOO_OLD.value, operator=word.who, detail=f"{said}: {word.reason}"))

    def _changed(self, *names: str) -> bool:
        stamps = {name: disk.stamp(self.directory / name) for name in names}
        if all(self._stamps.get(name) == stamp for name, stamp in stamps.items()):
            return False
        self._stamps |= stamps
        return True

    async def _put_in_force(self, found: Whitelist, state: State) -> None:
        match = Match(self.settings.match)
        space = await asyncio.to_thread(TrustSpace.of, found, match)  # 10,000 entries: 60 ms, in slices short enough for the event loop
        self.whitelist, self._space, self._state = found, space, state
        TRUST_LIST_DOMAINS.set(len(space.domains))
        log(
            Event.TRUST_LIST_ADOPTED,
            generated_at=f"{found.generated_at:%Y-%m-%dT%H:%M:%SZ}",
            domains=len(space.domains),
            entries=space.entries,
            unreadable=len(space.unreadable),
            sha256=found.sha256,
            signer=found.signer.subject,
        )

    # -- the source ------------------------------------------------------------------------------------------------

    def due(self) -> bool:
        now = self._clock.now()
        far = now + 2 * self._period() + 2 * LONGEST_WAIT  # later ones were set while the clock was ahead
        return self._due is None or not now < self._due <= far or self._accepted() is not None

    def confirmed_elsewhere(self) -> None:
        """Note that another worker fetched: ours is due a period later."""
        if (
            self._state is None or self._state.checked_at > self._clock.now() + AGAIN
        ):  # noted while the clock was ahead: it confirms nothing
            return
        if self._due is None or self._due < self._state.checked_at + self._period():
            self._due = self._state.checked_at + self._period() * random.uniform(1, 1 + JITTER)  # noqa: S311

    async def refresh(self, validate: Validate, supply: Callable[[], Awaitable[None]]) -> None:
        """Fetch and adopt. `supply` brings revocation data about the signer, if that is what is missing."""
        if (accepted := self._accepted()) and (octets := disk.read(self.directory / "pending.xml")):
            await self._consider(octets, "", "", validate, supply, accepted)
            return
        state = self._state
        same_source = state is not None and state.url == self.settings.whitelist_url
        try:
            fetched = await self._fetcher.get(
                self.settings.whitelist_url,
                self.settings.list_octets,
                accept="application/xml, text/xml, */*",
                etag=state.etag if state and same_source else "",
                modified=state.modified if state and same_source else "",
            )
        except FetchError as error:
            self._failed(error)
            return
        if fetched.content is not None:
            await self._consider(fetched.content, fetched.etag, fetched.modified, validate, supply, None)
        elif state:
            self._confirm(state)

    def _failed(self, error: FetchError) -> None:
        if error.tried:
            TRUST_FETCHES.labels("list", "failed").inc()
            log(Event.TRUST_FETCH_FAILED, "warning", url=self.settings.whitelist_url, detail=str(error))
        self._due = self._fetcher.waits_until(self.settings.whitelist_url) or self._clock.now() + timedelta(seconds=30)

    def _confirm(self, state: State) -> None:
        """Note that the source has nothing newer (304)."""
        self._fetcher.succeeded(self.settings.whitelist_url)
        TRUST_FETCHES.labels("list", "unchanged").inc()
        self._save_state(msgspec.structs.replace(state, checked_at=self._clock.now()))

    async def _consider(
        self, octets: bytes, etag: str, modified: str, validate: Validate, supply: Callable[[], Awaitable[None]], accepted: Word | None
    ) -> None:
        """A list came in: adopt it, or report why not."""
        now = self._clock.now()
        try:
            unjudged = await self._open(octets)
            if self.whitelist and unjudged.sha256 == self.whitelist.sha256 and self._state:
                self._confirm(msgspec.structs.replace(self._state, etag=etag, modified=modified, url=self.settings.whitelist_url))
                return
            found = await self._judged(unjudged, validate, now, supply)
            self._require_newer(found, now)
            self._require_complete(found, accepted)
        except whitelist.Stopped:
            return
        except (MailError, OSError) as error:
            await self._refuse(octets, error, accepted)
            return
        self._fetcher.succeeded(self.settings.whitelist_url)
        state = State(found.sha256, now, now, found.generated_at, etag, modified, self.settings.whitelist_url)
        await asyncio.to_thread(disk.write, self.directory / "list.xml", octets)
        self._save_state(state)
        TRUST_FETCHES.labels("list", "adopted").inc()
        await self._put_in_force(found, state)
        self._changed("list.xml")
        for name in ("pending.xml", "pending.json", "accepted.json"):
            (self.directory / name).unlink(missing_ok=True)
        who = f" accepted by {accepted.who}: {accepted.reason}" if accepted else ""
        self._tell(
            Decision(
                Step.LIST,
                "override" if accepted else "adopted",
                "ok",
                operator=found.signer.subject,
                certificate=found.signer.fingerprint,
                detail=f"list of {found.generated_at:%Y-%m-%dT%H:%M:%SZ}{who}",
            )
        )

    def _open(self, octets: bytes) -> Awaitable[Unjudged]:
        return whitelist.open_apart(octets, stronger=self.settings.strong_signatures, limit=self.settings.list_octets)

    async def _judged(self, unjudged: Unjudged, validate: Validate, at: datetime, supply: Callable[[], Awaitable[None]]) -> Whitelist:
        names = self.settings.signer_common_names
        try:
            return whitelist.judge(unjudged, validate, names, at)
        except Deferred:
            await supply()
            return whitelist.judge(unjudged, validate, names, at)

    def _require_newer(self, found: Whitelist, now: datetime) -> None:
        whitelist.require_past(found.generated_at, now)
        if found.generated_at < self._floor:
            raise refusal(Fault.ROLLBACK, listed=f"{found.generated_at:%Y-%m-%dT%H:%M:%SZ}", force=f"{self._floor:%Y-%m-%dT%H:%M:%SZ}")

    def _require_complete(self, found: Whitelist, accepted: Word | None) -> None:
        """A list that loses too many domains at once counts as a mistake until an administrator accepts it."""
        if self._space is None or (accepted and accepted.sha256 == found.sha256):
            return
        kept = self._space.domains.keys() & {entry.domain for entry in found.entries}
        total, lost = len(self._space.domains), len(self._space.domains) - len(kept)
        if lost * 100 > total * self.settings.max_lost_percent:
            raise refusal(
                Fault.SHRUNK,
                listed=f"{found.generated_at:%Y-%m-%dT%H:%M:%SZ}",
                lost=lost,
                total=total,
                pending=msgspec.json.encode(Pending(found.sha256, found.generated_at, self._clock.now(), lost, total)).decode(),
            )

    def _accepted(self) -> Word | None:
        """Whether an administrator accepted exactly the list that is pending."""
        word = disk.read_json(self.directory / "accepted.json", Word)
        pending = disk.read_json(self.directory / "pending.json", Pending) if word else None
        return word if word and pending and word.sha256 == pending.sha256 else None

    async def _refuse(self, octets: bytes, error: MailError | OSError, accepted: Word | None) -> None:
        """Keep what is in force. Reported once for a list, not in every period."""
        TRUST_FETCHES.labels("list", "refused").inc()
        self._fetcher.failed(self.settings.whitelist_url, error.reply.text if isinstance(error, MailError) else str(error))
        self._due = self._fetcher.waits_until(self.settings.whitelist_url)
        if accepted:  # accepting does not make it right; the acceptance is used up
            (self.directory / "accepted.json").unlink(missing_ok=True)
        if isinstance(error, MailError) and fault_of(error) is Fault.SHRUNK:
            await asyncio.to_thread(disk.write, self.directory / "pending.xml", octets)
            disk.write(self.directory / "pending.json", str(error.fields["pending"]).encode())
        digest = hashlib.sha256(octets).hexdigest() + type(error).__name__
        if digest != self._refused or accepted:
            self._refused = digest
            self._tell_refused(error)

    def _tell_refused(self, error: MailError | OSError) -> None:
        self._tell(
            refused(Step.LIST, error) if isinstance(error, MailError) else Decision(Step.LIST, "refused", "other", detail=str(error))
        )

    def _save_state(self, state: State) -> None:
        disk.write_json(self.directory / "list.json", state)
        self._state, self._floor = state, max(self._floor, state.generated_at)
        self._changed("list.json")
        self._due = self._clock.now() + self._period() * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311

    def _period(self) -> timedelta:
        return timedelta(seconds=self.settings.refresh_seconds)

    # -- age -------------------------------------------------------------------------------------------------------

    def watch_age(self) -> None:
        if self._state is None:
            return
        age = self._clock.now() - self._state.checked_at
        TRUST_LIST_AGE.set(age.total_seconds())
        too_old = age > timedelta(hours=self.settings.warn_age_hours)
        if too_old and not self._warned:
            log(
                Event.TRUST_LIST_STALE,
                "error",
                checked_at=f"{self._state.checked_at:%Y-%m-%dT%H:%MZ}",
                trusted_until=f"{self._state.checked_at + timedelta(hours=self.settings.max_age_hours):%Y-%m-%dT%H:%MZ}",
            )
        self._warned = too_old

    def _tell(self, decision: Decision) -> None:
        tell(decision, self._audit)
