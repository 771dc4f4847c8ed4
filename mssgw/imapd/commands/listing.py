"""LIST, LSUB, STATUS, NAMESPACE. RFC 3501 6.3.8-6.3.10; RFC 2342, 3348, 5258, 5819, 6154, 7889, 8438."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from mssgw.flow.mailboxes import SHARED, Listed
from mssgw.imapd.registry import Capability, State, command, no_arguments
from mssgw.imapd.replies import Done
from mssgw.imapd.session import ImapSession
from mssgw.protocol import imap_responses as encode
from mssgw.protocol.imap_lexer import BadSyntax, Cursor
from mssgw.store.mailboxes import Mailbox

_WILD = re.compile(r"([*%]+)")
STATUS_ITEMS = frozenset({"MESSAGES", "RECENT", "UIDNEXT", "UIDVALIDITY", "UNSEEN", "SIZE", "APPENDLIMIT"})


@dataclass(frozen=True, slots=True)
class List:
    reference: str
    patterns: tuple[str, ...]
    lsub: bool = False
    extended: bool = False  # RFC 5258 syntax was used
    select: frozenset[str] = frozenset()  # SUBSCRIBED REMOTE RECURSIVEMATCH SPECIAL-USE
    returned: frozenset[str] = frozenset()  # SUBSCRIBED CHILDREN SPECIAL-USE
    status: tuple[str, ...] = ()  # RFC 5819


def _lsub_grammar(cursor: Cursor) -> List:
    cursor.space()
    reference = cursor.mailbox_reference()
    cursor.space()
    return List(reference, (cursor.list_mailbox(),), lsub=True)


def _list(cursor: Cursor) -> List:
    """RFC 3501 6.3.8, RFC 5258 6, RFC 5819."""
    cursor.space()
    select: frozenset[str] = frozenset()
    extended = cursor.peek(b"(")
    if extended:
        select = frozenset(_words(cursor))
        cursor.space()
    reference = cursor.mailbox_reference()
    cursor.space()
    if cursor.peek(b"("):
        extended = True
        patterns = tuple(cursor.parenthesised(cursor.list_mailbox, empty=False))
    else:
        patterns = (cursor.list_mailbox(),)
    returned: set[str] = set()
    status: tuple[str, ...] = ()
    if cursor.skip(b" RETURN "):
        extended = True
        status = _returned(cursor, returned)
    _known(select, {"SUBSCRIBED", "REMOTE", "RECURSIVEMATCH", "SPECIAL-USE"})
    _known(returned, {"SUBSCRIBED", "CHILDREN", "SPECIAL-USE"})
    if "RECURSIVEMATCH" in select and not select & {"SUBSCRIBED", "SPECIAL-USE"}:
        raise BadSyntax("RECURSIVEMATCH needs another selection option")  # RFC 5258 3
    return List(reference, patterns, False, extended, select, frozenset(returned), status)


def _returned(cursor: Cursor, returned: set[str]) -> tuple[str, ...]:
    """Fills `returned`; the items of STATUS are the result."""
    status: tuple[str, ...] = ()
    cursor.expect(b"(")
    while not cursor.skip(b")"):
        if returned or status:
            cursor.space()
        word = cursor.keyword().decode("ascii")
        if word == "STATUS":
            cursor.space()
            status = _status_items(cursor)
        else:
            returned.add(word)
    return status


def _words(cursor: Cursor) -> list[str]:
    return [word.decode("ascii") for word in cursor.parenthesised(cursor.keyword)]


def _known(given: set[str] | frozenset[str], known: set[str]) -> None:
    if unknown := given - known:
        raise BadSyntax(f"unknown option {min(unknown)[:50]}")


class Pattern:
    """A mailbox pattern of LIST; matching is linear in the name for each wildcard, whatever the pattern."""

    def __init__(self, reference: str, pattern: str) -> None:
        text = reference + pattern
        if text[:6].upper() == "INBOX/":
            text = "INBOX" + text[5:]
        self._steps = [step for step in _WILD.split(text) if step]
        self._upper = [step.upper() for step in self._steps]

    def matches(self, name: str) -> bool:
        return self._match(self._steps, name) or (name == "INBOX" and self._match(self._upper, name))  # RFC 3501 5.1

    @staticmethod
    def _match(steps: list[str], name: str) -> bool:
        reached = {0}
        for step in steps:
            if "*" in step and not step.strip("*%"):
                reached = set(range(min(reached), len(name) + 1))
            elif "%" in step and not step.strip("%"):
                reached = _within_level(reached, name)
            else:
                reached = {at + len(step) for at in reached if name.startswith(step, at)}
            if not reached:
                return False
        return len(name) in reached


def _within_level(starts: set[int], name: str) -> set[int]:
    reached: set[int] = set()
    for at in starts:
        if at not in reached:
            end = name.find("/", at)
            reached.update(range(at, (len(name) if end == -1 else end) + 1))
        else:
            reached.add(at)
    return reached


_BROUGHT = ("CHILDREN", "SPECIAL-USE", "LIST-EXTENDED", "LIST-STATUS")


@command("LIST", _list, State.AUTHENTICATED, brings=map(Capability, _BROUGHT))
@command("LSUB", _lsub_grammar, State.AUTHENTICATED)
async def list_(session: ImapSession, given: List) -> Done:
    verb = "LSUB" if given.lsub else "LIST"
    if given.patterns == ("",) and not given.extended:  # RFC 3501 6.3.8: the separator, and the root of the reference
        root = given.reference.partition("/")[0] + "/" if "/" in given.reference else ""
        session.wire.write(encode.listed(verb.encode(), ("\\Noselect",), root))
        return Done(f"{verb} completed")
    listed, subscribed = await session.mailboxes.list_all()
    patterns = [Pattern(given.reference, pattern) for pattern in given.patterns if pattern]
    if given.lsub:
        session.wire.write(b"".join(_lsub(patterns, subscribed)))
        return Done("LSUB completed")
    await _write_list(session, given, patterns, listed, subscribed)
    return Done("LIST completed")


def _lsub(patterns: list[Pattern], subscribed: set[str]) -> Iterable[bytes]:
    """RFC 3501 6.3.9: a level that only holds subscribed names is \\Noselect, and shown when `%` stops at it.

    A subscribed name is shown whether or not its mailbox still exists.
    """
    shown = {name: True for name in subscribed if any(pattern.matches(name) for pattern in patterns)}
    for name in subscribed:
        levels = name.split("/")
        for depth in range(1, len(levels)):
            level = "/".join(levels[:depth])
            if level not in subscribed and name not in shown and any(pattern.matches(level) for pattern in patterns):
                shown.setdefault(level, False)
    for name in sorted(shown):
        yield encode.listed(b"LSUB", () if shown[name] else ("\\Noselect",), name)


async def _write_list(session: ImapSession, given: List, patterns: list[Pattern], listed: list[Listed], subscribed: set[str]) -> None:
    names = {one.name for one in listed}
    parents = {name.rpartition("/")[0] for name in names}
    candidates = list(listed)
    if "SUBSCRIBED" in given.select:
        candidates += [Listed(name, None) for name in sorted(subscribed - names)]  # RFC 5258 3.1: also those that are gone
    shown: list[tuple[Listed, list[str], bytes]] = []
    for one in candidates:
        if not any(pattern.matches(one.name) for pattern in patterns):
            continue
        if "SPECIAL-USE" in given.select and not (one.mailbox and one.mailbox.special_use):
            continue
        extra = b""
        if "SUBSCRIBED" in given.select and one.name not in subscribed:
            if "RECURSIVEMATCH" not in given.select or not any(name.startswith(one.name + "/") for name in subscribed):
                continue
            extra = b' ("CHILDINFO" ("SUBSCRIBED"))'  # RFC 5258 3.5
        shown.append((one, _attributes(given, one, names, parents, subscribed), extra))
    recent = await session.mailboxes.statuses([one.mailbox for one, _, _ in shown if one.mailbox]) if "RECENT" in given.status else {}
    for one, attributes, extra in shown:
        session.wire.write(encode.listed(b"LIST", attributes, one.name, extra))
        if given.status and one.mailbox:
            session.wire.write(encode.status(one.name, _status_values(session, given.status, one.mailbox, recent.get(one.mailbox.id, 0))))
    await session.wire.drain()


def _attributes(given: List, one: Listed, names: set[str], parents: set[str], subscribed: set[str]) -> list[str]:
    attributes: list[str] = []
    if one.mailbox is None:
        attributes += ["\\NonExistent", "\\Noselect"] if given.extended else ["\\Noselect"]
    if "SUBSCRIBED" in given.select | given.returned and one.name in subscribed:
        attributes.append("\\Subscribed")
    attributes.append("\\HasChildren" if one.name in parents else "\\HasNoChildren")  # RFC 3348
    if one.mailbox and one.mailbox.special_use and not one.name.startswith(SHARED + "/"):
        attributes.append(one.mailbox.special_use)  # RFC 6154 2: in every LIST
    return attributes


@dataclass(frozen=True, slots=True)
class Status:
    mailbox: str
    items: tuple[str, ...]


def _status(cursor: Cursor) -> Status:
    cursor.space()
    mailbox = cursor.mailbox()
    cursor.space()
    return Status(mailbox, _status_items(cursor))


def _status_items(cursor: Cursor) -> tuple[str, ...]:
    items = tuple(word.decode("ascii") for word in cursor.parenthesised(cursor.keyword, empty=False))
    if unknown := set(items) - STATUS_ITEMS:
        raise BadSyntax(f"unknown status item {min(unknown)[:50]}")
    return items


@command("STATUS", _status, State.AUTHENTICATED, brings=[Capability("STATUS=SIZE")])
async def status(session: ImapSession, given: Status) -> Done:
    box, recent = await session.mailboxes.status(given.mailbox)
    session.wire.write(encode.status(given.mailbox, _status_values(session, given.items, box, recent)))
    return Done("STATUS completed")


def _status_values(session: ImapSession, items: Iterable[str], box: Mailbox, recent: int) -> list[tuple[str, int]]:
    values = {
        "MESSAGES": box.messages,
        "RECENT": recent,
        "UIDNEXT": box.uidnext,
        "UIDVALIDITY": box.uidvalidity,
        "UNSEEN": box.unseen,
        "SIZE": box.size,
        "APPENDLIMIT": session.service.append_limit,
    }
    return [(item, values[item]) for item in items]


@command("NAMESPACE", no_arguments, State.AUTHENTICATED, brings=[Capability("NAMESPACE")])
async def namespace(session: ImapSession, _: None) -> Done:
    """RFC 2342: personal, other users', shared."""
    session.wire.write(b'* NAMESPACE (("" "/")) NIL ((' + encode.mailbox(SHARED + "/") + b' "/"))\r\n')
    return Done("NAMESPACE completed")
