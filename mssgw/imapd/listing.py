"""LIST, LSUB, STATUS, NAMESPACE, and the folders themselves: CREATE, DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE.

RFC 3501 6.3.3-6.3.10; RFC 2342, 3348, 5258, 5819, 6154, 8438.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable

from mssgw.core.errors import NotFound
from mssgw.flow.mailboxes import SHARED, Listed
from mssgw.imapd.replies import Done, No
from mssgw.imapd.session import Session
from mssgw.protocol import imap_responses as encode
from mssgw.protocol.imap_commands import Create, Delete, List, Rename, Simple, Status, Subscribe
from mssgw.store.mailboxes import Mailbox, SpecialUse

_WILD = re.compile(r"([*%]+)")


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


async def list_(session: Session, command: List) -> Done:
    verb = "LSUB" if command.lsub else "LIST"
    if command.patterns == ("",) and not command.extended:  # RFC 3501 6.3.8: the separator, and the root of the reference
        root = command.reference.partition("/")[0] + "/" if "/" in command.reference else ""
        session.wire.write(encode.listed(verb.encode(), ("\\Noselect",), root))
        return Done(f"{verb} completed")
    listed, subscribed = await session.mailboxes.list_all()
    patterns = [Pattern(command.reference, pattern) for pattern in command.patterns if pattern]
    if command.lsub:
        session.wire.write(b"".join(_lsub(patterns, subscribed)))
        return Done("LSUB completed")
    await _write_list(session, command, patterns, listed, subscribed)
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


async def _write_list(session: Session, command: List, patterns: list[Pattern], listed: list[Listed], subscribed: set[str]) -> None:
    names = {one.name for one in listed}
    parents = {name.rpartition("/")[0] for name in names}
    candidates = list(listed)
    if "SUBSCRIBED" in command.select:
        candidates += [Listed(name, None) for name in sorted(subscribed - names)]  # RFC 5258 3.1: also those that are gone
    shown: list[tuple[Listed, list[str], bytes]] = []
    for one in candidates:
        if not any(pattern.matches(one.name) for pattern in patterns):
            continue
        if "SPECIAL-USE" in command.select and not (one.mailbox and one.mailbox.special_use):
            continue
        extra = b""
        if "SUBSCRIBED" in command.select and one.name not in subscribed:
            if "RECURSIVEMATCH" not in command.select or not any(name.startswith(one.name + "/") for name in subscribed):
                continue
            extra = b' ("CHILDINFO" ("SUBSCRIBED"))'  # RFC 5258 3.5
        shown.append((one, _attributes(command, one, names, parents, subscribed), extra))
    recent = await session.mailboxes.statuses([one.mailbox for one, _, _ in shown if one.mailbox]) if "RECENT" in command.status else {}
    for one, attributes, extra in shown:
        session.wire.write(encode.listed(b"LIST", attributes, one.name, extra))
        if command.status and one.mailbox:
            session.wire.write(encode.status(one.name, _status_values(session, command.status, one.mailbox, recent.get(one.mailbox.id, 0))))
    await session.wire.drain()


def _attributes(command: List, one: Listed, names: set[str], parents: set[str], subscribed: set[str]) -> list[str]:
    attributes: list[str] = []
    if one.mailbox is None:
        attributes += ["\\NonExistent", "\\Noselect"] if command.extended else ["\\Noselect"]
    if "SUBSCRIBED" in command.select | command.returned and one.name in subscribed:
        attributes.append("\\Subscribed")
    attributes.append("\\HasChildren" if one.name in parents else "\\HasNoChildren")  # RFC 3348
    if one.mailbox and one.mailbox.special_use and not one.name.startswith(SHARED + "/"):
        attributes.append(one.mailbox.special_use)  # RFC 6154 2: in every LIST
    return attributes


async def status(session: Session, command: Status) -> Done:
    box, recent = await session.mailboxes.status(command.mailbox)
    session.wire.write(encode.status(command.mailbox, _status_values(session, command.items, box, recent)))
    return Done("STATUS completed")


def _status_values(session: Session, items: Iterable[str], box: Mailbox, recent: int) -> list[tuple[str, int]]:
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


async def namespace(session: Session, _: Simple) -> Done:
    """RFC 2342: personal, other users', shared."""
    session.wire.write(b'* NAMESPACE (("" "/")) NIL ((' + encode.mailbox(SHARED + "/") + b' "/"))\r\n')
    return Done("NAMESPACE completed")


async def create(session: Session, command: Create) -> Done:
    use = None
    if command.special_use is not None:
        try:
            use = SpecialUse(command.special_use)
        except ValueError:
            raise No("No such special use", "USEATTR") from None  # RFC 6154 3
    await session.mailboxes.create(command.mailbox, use)
    return Done("CREATE completed")


async def delete(session: Session, command: Delete) -> Done:
    """RFC 3501 6.3.4. A session that has the mailbox open leaves it first, so that its owner isn't thrown out."""
    if session.view is not None:
        with contextlib.suppress(NotFound):  # `delete` says what it is instead
            if (await session.mailboxes.find(command.mailbox)).id == session.view.mailbox.id:
                session.select(None)
    await session.mailboxes.delete(command.mailbox)
    return Done("DELETE completed")


async def rename(session: Session, command: Rename) -> Done:
    await session.mailboxes.rename(command.old, command.new)
    return Done("RENAME completed")


async def subscribe(session: Session, command: Subscribe) -> Done:
    if command.on and command.mailbox.split("/")[0] == SHARED:
        try:
            await session.mailboxes.find(command.mailbox)
        except NotFound:
            raise No("No such mailbox", "NONEXISTENT") from None
    await session.mailboxes.subscribe(command.mailbox, command.on)
    return Done("SUBSCRIBE completed" if command.on else "UNSUBSCRIBE completed")
