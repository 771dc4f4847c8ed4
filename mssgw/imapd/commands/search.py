"""SEARCH and UID SEARCH. RFC 3501 6.4.4, RFC 4731.

Each key narrows a list of positions. Keys that need only the view come first, then those that need rows, then those
that need bodies, so that bodies are opened for as few messages as possible; texts are compared in a thread.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from datetime import date
from functools import partial

from mssgw.core.body import Body
from mssgw.imapd.registry import Capability, State, command
from mssgw.imapd.replies import Done
from mssgw.imapd.session import ImapSession
from mssgw.imapd.view import View
from mssgw.protocol import imap_responses as encode
from mssgw.protocol import imap_search as key
from mssgw.protocol import mime
from mssgw.protocol.imap_envelope import read_envelope
from mssgw.protocol.imap_search import Key, Search, parse_search
from mssgw.protocol.mime import MimeLimits
from mssgw.store.mailboxes import MessageRow, Want

_ROWS = 2000
_BODIES = 200
_UNLIMITED = MimeLimits(10_000, 1_000_000, 1_000_000, 1 << 40)
_IN_ENVELOPE = {
    b"subject": "subject",
    b"from": "from",
    b"to": "to",
    b"cc": "cc",
    b"bcc": "bcc",
    b"message-id": "message-id",
    b"in-reply-to": "in-reply-to",
}

_MARKS = re.compile(r'[\s"\\@<>,(){}]+')  # what stands otherwise in the octets of ENVELOPE, or not at all

Positions = Sequence[int]


@command("SEARCH", partial(parse_search, uid=False), State.SELECTED, expunge=False, brings=[Capability("ESEARCH")])
@command("UID SEARCH", partial(parse_search, uid=True), State.SELECTED)
async def search(session: ImapSession, given: Search) -> Done:
    view = session.selected
    found = sorted(await _Evaluation(session, view).match(given.key, range(view.count)))
    numbers = [view.uids[at] for at in found] if given.uid else [at + 1 for at in found]
    if given.returned is None:
        session.wire.write(encode.search(numbers))
    else:
        session.wire.write(encode.esearch(session.tag, given.uid, numbers, given.returned))
    return Done("UID SEARCH completed" if given.uid else "SEARCH completed")


def _cost(one: Key) -> int:
    match one:
        case key.And(keys):
            return max(map(_cost, keys))
        case key.Or(left, right):
            return max(_cost(left), _cost(right))
        case key.Not(inner):
            return _cost(inner)
        case key.Arrived() | key.Size():
            return 1
        case key.Sent() | key.InEnvelope():
            return 2
        case key.InHeader():
            return 3
        case key.InText():
            return 4
    return 0


class _Evaluation:
    def __init__(self, session: ImapSession, view: View) -> None:
        self._session, self._view = session, view

    async def match(self, one: Key, among: Positions) -> list[int]:
        """The positions of `among` that match, in order."""
        view = self._view
        match one:
            case key.All():
                return list(among)
            case key.And(keys):
                for inner in sorted(keys, key=_cost):
                    among = await self.match(inner, among)
                return list(among)
            case key.Or(left, right):
                cheap, dear = sorted((left, right), key=_cost)
                first = set(await self.match(cheap, among))
                second = await self.match(dear, [at for at in among if at not in first])
                return sorted(first.union(second))
            case key.Not(inner):
                hit = set(await self.match(inner, among))
                return [at for at in among if at not in hit]
            case key.HasFlag(flag, wanted):
                return self._flagged(flag, wanted, among)
            case key.Messages(ranges, uid):
                named = set(view.indices(ranges, uid=uid, lenient=True))
                return [at for at in among if at in named]
            case key.InHeader() | key.InText():
                return await self._in_bodies(one, among)
        test, want = _row_test(one)
        return await self._in_rows(test, want, among)

    async def _in_rows(self, test: Callable[[MessageRow], bool], want: Want, among: Positions) -> list[int]:
        view = self._view
        found: list[int] = []
        for start in range(0, len(among), _ROWS):
            at_of = {view.uids[at]: at for at in among[start : start + _ROWS]}
            rows = await self._session.mailboxes.rows(view.mailbox.id, list(at_of), want)
            hits = await asyncio.to_thread(_matching, rows, test)
            found += [at_of[uid] for uid in hits]
        return found

    def _flagged(self, flag: str, wanted: bool, among: Positions) -> list[int]:
        view = self._view
        if flag == "\\Recent":
            return [at for at in among if (view.uids[at] >= view.recent_from) == wanted]
        if not flag.startswith("\\"):
            flag = view.keywords.get(flag.lower(), flag)
        flags = view.flags
        return [at for at in among if (flag in flags[at]) == wanted]

    async def _in_bodies(self, one: key.InHeader | key.InText, among: Positions) -> list[int]:
        if isinstance(one, key.InHeader) and one.name in _IN_ENVELOPE and one.text:
            return await self.match(key.InEnvelope(_IN_ENVELOPE[one.name], one.text), among)
        test = _header_test(one) if isinstance(one, key.InHeader) else _text_test(one)
        view = self._view
        uids = [view.uids[at] for at in among]
        found: list[int] = []
        start = 0
        while start < len(uids):
            chunk = uids[start : start + _BODIES]
            batch = await self._session.mailboxes.rows_and_bodies(view.mailbox.id, chunk)
            try:
                hits = await asyncio.to_thread(_matching_bodies, batch, test)
            finally:
                for _, body in batch:
                    body.close()
            found += [at for uid in hits if (at := view.position(uid)) is not None]
            complete = len(batch) == len(chunk) or not batch
            start += len(chunk) if complete else chunk.index(batch[-1][0].uid) + 1
        return found


def _matching(rows: list[MessageRow], test: Callable[[MessageRow], bool]) -> list[int]:
    """UIDs. In a thread."""
    return [row.uid for row in rows if test(row)]


def _matching_bodies(batch: list[tuple[MessageRow, Body]], test: Callable[[Body, MessageRow], bool]) -> list[int]:
    """UIDs. In a thread."""
    return [row.uid for row, body in batch if test(body, row)]


def _row_test(one: Key) -> tuple[Callable[[MessageRow], bool], Want]:
    match one:
        case key.Arrived(when, day):
            return lambda row: _on_day(row.internal_date.date(), when, day), Want.NONE
        case key.Size(larger, octets):
            return lambda row: row.size > octets if larger else row.size < octets, Want.NONE
        case key.Sent(when, day):
            return lambda row: (sent := read_envelope(row.envelope).sent) is not None and _on_day(sent.date(), when, day), Want.ENVELOPE
        case key.InEnvelope(field, text):
            return _envelope_test(field, text.casefold()), Want.ENVELOPE
    raise AssertionError(one)


def _envelope_test(field: str, needle: str) -> Callable[[MessageRow], bool]:
    words = [word for word in _MARKS.split(needle) if word]

    def test(row: MessageRow) -> bool:
        if row.envelope.isascii():  # cheaper than taking every envelope apart
            whole = mime.decode_words(row.envelope).casefold()
            if not all(word in whole for word in words):
                return False
        return needle in read_envelope(row.envelope).text(field).casefold()

    return test


def _on_day(day: date, when: str, wanted: date) -> bool:
    if when == "<":
        return day < wanted
    return day >= wanted if when == ">=" else day == wanted


def _header_test(one: key.InHeader) -> Callable[[Body, MessageRow], bool]:
    needle = one.text.casefold()

    def test(body: Body, row: MessageRow) -> bool:
        values = mime.Fields(body.read(0, row.header_size)).all(one.name)
        return any(needle in mime.decode_words(value).casefold() for value in values)

    return test


def _text_test(one: key.InText) -> Callable[[Body, MessageRow], bool]:
    needle = one.text.casefold()

    def test(body: Body, row: MessageRow) -> bool:
        if one.header_too and needle in mime.decode_words(mime.unfold(body.read(0, row.header_size))).casefold():
            return True
        root = mime.parse(body, _UNLIMITED)
        return any(needle in text.casefold() for text in mime.texts(body, root))

    return test
