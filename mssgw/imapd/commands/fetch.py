"""FETCH and UID FETCH. RFC 3501 6.4.5.

Three ways, by what is asked: flags and UIDs come from the view alone; sizes, dates, ENVELOPE and BODYSTRUCTURE from
rows, whose octets go out as they are; sections from the bodies, large ones in pieces. Whatever is large waits for the
client (`drain`), so a slow reader costs one chunk.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from mssgw.core.body import Body
from mssgw.core.errors import NoRoom
from mssgw.imapd.registry import State, command
from mssgw.imapd.replies import Code, Done, No
from mssgw.imapd.session import ImapSession
from mssgw.imapd.view import View
from mssgw.protocol import imap_responses as encode
from mssgw.protocol import mime
from mssgw.protocol.imap_fetch import Item, Section, parse_items
from mssgw.protocol.imap_lexer import Cursor, Ranges
from mssgw.protocol.mime import MimeLimits, Part
from mssgw.store.mailboxes import FlagOp, MessageRow, Want

_LINES = 4000  # responses of flags between two drains
_ROWS = 1000
_BODIES = 64
_WHOLE = 256 * 1024  # a section up to this goes out in one piece
_PIECE = 256 * 1024
_UNLIMITED = MimeLimits(10_000, 1_000_000, 1_000_000, 1 << 40)  # a stored message was within the limits at its delivery


@dataclass(frozen=True, slots=True)
class Fetch:
    messages: Ranges
    items: tuple[Item, ...]
    uid: bool


def _fetch(cursor: Cursor, *, uid: bool) -> Fetch:
    cursor.space()
    messages = cursor.ranges()
    cursor.space()
    return Fetch(messages, parse_items(cursor), uid)


@command("FETCH", partial(_fetch, uid=False), State.SELECTED, expunge=False)
@command("UID FETCH", partial(_fetch, uid=True), State.SELECTED)
async def fetch(session: ImapSession, given: Fetch) -> Done:
    view = session.selected
    wanted = view.indices(given.messages, uid=given.uid)
    items = given.items
    if given.uid and "UID" not in items:
        items = ("UID", *items)
    missing = False
    if set(items) <= {"UID", "FLAGS"}:
        await _fetch_flags(session, view, wanted, items)
    elif any(isinstance(item, Section) for item in items):
        missing = await _fetch_bodies(session, view, wanted, items)
    else:
        missing = await _fetch_rows(session, view, wanted, items)
    if missing and not given.uid:
        raise No("Some of the messages no longer exist", Code.EXPUNGEISSUED)  # RFC 2180 4.1.3
    return Done("UID FETCH completed" if given.uid else "FETCH completed")


async def _fetch_flags(session: ImapSession, view: View, wanted: Sequence[int], items: Sequence[Item]) -> None:
    uids, flags_of, shown = view.uids, encode.flags, view.shown_flags
    for start in range(0, len(wanted), _LINES):
        chunk = wanted[start : start + _LINES]
        if "FLAGS" not in items:
            lines = [b"* %d FETCH (UID %d)\r\n" % (at + 1, uids[at]) for at in chunk]
        elif "UID" in items:
            lines = [b"* %d FETCH (UID %d FLAGS %s)\r\n" % (at + 1, uids[at], flags_of(shown(at))) for at in chunk]
        else:
            lines = [b"* %d FETCH (FLAGS %s)\r\n" % (at + 1, flags_of(shown(at))) for at in chunk]
        session.wire.write(b"".join(lines))
        await _breathe(session)


async def _breathe(session: ImapSession) -> None:
    """Wait until the client has taken what is written, and let other connections run."""
    await session.wire.drain()
    await asyncio.sleep(0)


async def _fetch_rows(session: ImapSession, view: View, wanted: Sequence[int], items: Sequence[Item]) -> bool:
    """True when messages were gone."""
    want = _want(items)
    found = 0
    async for chunk, rows in _rows(session, view, wanted, want, _ROWS):
        found += len(rows)
        session.wire.write(
            b"".join(
                [
                    b"* %d FETCH (%s)\r\n" % (at + 1, b" ".join([_plain(view, at, row, str(item)) for item in items]))
                    for at, row in zip(chunk, rows, strict=True)
                ]
            )
        )
        await _breathe(session)
    return found < len(wanted)


def _want(items: Iterable[Item]) -> Want:
    want = Want.NONE
    for item in items:
        want |= {"ENVELOPE": Want.ENVELOPE, "BODYSTRUCTURE": Want.BODYSTRUCTURE, "BODY": Want.BODY}.get(str(item), Want.NONE)
    return want


async def _rows(
    session: ImapSession, view: View, wanted: Sequence[int], want: Want, size: int
) -> AsyncIterator[tuple[list[int], list[MessageRow]]]:
    """(positions, rows) in step; messages that are gone are left out of both."""
    for start in range(0, len(wanted), size):
        chunk = wanted[start : start + size]
        by_uid = {row.uid: row for row in await session.mailboxes.rows(view.mailbox.id, [view.uids[at] for at in chunk], want)}
        there = [at for at in chunk if view.uids[at] in by_uid]
        yield there, [by_uid[view.uids[at]] for at in there]


def _plain(view: View, at: int, row: MessageRow, item: str) -> bytes:
    match item:
        case "UID":
            return b"UID %d" % row.uid
        case "FLAGS":
            return b"FLAGS " + encode.flags(view.shown_flags(at))
        case "RFC822.SIZE":
            return b"RFC822.SIZE %d" % row.size
        case "INTERNALDATE":
            return b"INTERNALDATE " + encode.internal_date(row.internal_date)
        case "ENVELOPE":
            return b"ENVELOPE " + row.envelope
        case "BODYSTRUCTURE":
            return b"BODYSTRUCTURE " + row.bodystructure
        case _:
            return b"BODY " + row.body


async def _fetch_bodies(session: ImapSession, view: View, wanted: Sequence[int], items: Sequence[Item]) -> bool:
    """True when messages were gone."""
    sections = [item for item in items if isinstance(item, Section)]
    sees = not view.read_only and not all(section.peek for section in sections)
    want = _want(items)
    found = start = 0
    while start < len(wanted):
        chunk = wanted[start : start + _BODIES]
        at_of = {view.uids[at]: at for at in chunk}
        batch = await session.mailboxes.rows_and_bodies(view.mailbox.id, list(at_of), want)
        try:
            newly_seen = await _set_seen(session, view, [at_of[row.uid] for row, _ in batch]) if sees else set()
            for row, body in batch:
                at = at_of[row.uid]
                await _Message(session, view, at, row, body).write(items, told_flags=at in newly_seen)
        finally:
            for _, body in batch:
                body.close()
        found += len(batch)
        full = len(batch) == len(chunk) or not batch
        start += len(chunk) if full else wanted.index(at_of[batch[-1][0].uid], start) + 1 - start  # the rest didn't fit, or is gone
        await _breathe(session)
    return found < len(wanted)


async def _set_seen(session: ImapSession, view: View, chunk: Sequence[int]) -> set[int]:
    """BODY[...] without PEEK sets \\Seen; the new flags of the returned positions must be sent. Without room for flags, none are set."""
    unseen = [at for at in chunk if "\\Seen" not in view.flags[at]]
    if unseen:
        try:
            stored = await session.mailboxes.store_flags(view.mailbox, [view.uids[at] for at in unseen], FlagOp.ADD, {"\\Seen"})
        except NoRoom:
            return set()
        view.stored(stored.changed)
    return set(unseen)


class _Message:
    """One FETCH response with sections."""

    def __init__(self, session: ImapSession, view: View, at: int, row: MessageRow, body: Body) -> None:
        self._session, self._view, self._at, self._row, self._body = session, view, at, row, body
        self._root: Part | None = None

    async def write(self, items: Sequence[Item], *, told_flags: bool) -> None:
        wire = self._session.wire
        pending = [b"* %d FETCH (" % (self._at + 1)]
        if told_flags and "FLAGS" not in items:  # \\Seen was set by this very command
            pending.append(b"FLAGS " + encode.flags(self._view.shown_flags(self._at)) + b" ")
        for number, item in enumerate(items):
            if number:
                pending.append(b" ")
            if isinstance(item, Section):
                large = await self._section(item, pending)
                if large is not None:
                    wire.write(b"".join(pending))
                    pending = []
                    await self._stream(*large)
            else:
                pending.append(_plain(self._view, self._at, self._row, item))
        pending.append(b")\r\n")
        wire.write(b"".join(pending))
        await wire.drain()

    async def _section(self, section: Section, pending: list[bytes]) -> tuple[int, int] | None:
        """Add the section to `pending`; what is too large for that is returned, and only announced there."""
        found = await self._locate(section)
        pending.append(section.label)
        if found is None:
            pending.append(b" NIL")
            return None
        if isinstance(found, bytes):
            start, end = encode.cut(0, len(found), section.partial)
            pending.append(b" " + encode.literal(found[start:end]))
            return None
        start, end = encode.cut(found.start, found.end, section.partial)
        if end - start > _WHOLE:
            pending.append(b" {%d}\r\n" % (end - start))
            return start, end
        pending.append(b" " + encode.literal(self._body.read(start, end - start)))
        return None

    async def _locate(self, section: Section) -> encode.Span | bytes | None:
        header = self._row.header_size
        if not section.path:  # no need to take the message apart
            match section.text:
                case "":
                    return encode.Span(0, self._row.size)
                case "HEADER":
                    return encode.Span(0, header)
                case "TEXT":
                    return encode.Span(header, self._row.size)
                case _:
                    return encode.header_fields(self._body.read(0, header), section.names, without=section.text.endswith(".NOT"))
        if self._root is None:
            if self._body.in_memory:
                self._root = mime.parse(self._body, _UNLIMITED)
            else:
                self._root = await asyncio.to_thread(mime.parse, self._body, _UNLIMITED)
        return encode.locate(self._root, section, self._row.size)

    async def _stream(self, start: int, end: int) -> None:
        for at in range(start, end, _PIECE):
            self._session.wire.write(self._body.read(at, min(_PIECE, end - at)))
            await self._session.wire.drain()
