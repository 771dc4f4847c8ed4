"""The commands of a mail client, one frozen value each, and `parse_command`. RFC 3501 6 and the extensions named at each.

SEARCH keys are in `imap_search`, FETCH items in `imap_fetch`. APPEND is parsed in pieces by the connection, because its
messages are streamed: `parse_append`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from mssgw.protocol.imap_fetch import Item, parse_items
from mssgw.protocol.imap_lexer import BadSyntax, Cursor, Ranges
from mssgw.protocol.imap_search import Search, parse_search


@dataclass(frozen=True, slots=True)
class Simple:
    """A command without arguments."""

    verb: str  # CAPABILITY NOOP LOGOUT STARTTLS CHECK CLOSE UNSELECT EXPUNGE IDLE NAMESPACE


@dataclass(frozen=True, slots=True)
class Authenticate:
    mechanism: str
    initial: bytes | None  # RFC 4959: still base64; "=" is an empty one


@dataclass(frozen=True, slots=True)
class Login:
    user: bytes
    password: bytes


@dataclass(frozen=True, slots=True)
class Select:
    mailbox: str
    read_only: bool


@dataclass(frozen=True, slots=True)
class Create:
    mailbox: str
    hierarchy_only: bool  # the name ended in "/": a declaration of intent, RFC 3501 6.3.3
    special_use: str | None = None  # RFC 6154 3


@dataclass(frozen=True, slots=True)
class Delete:
    mailbox: str


@dataclass(frozen=True, slots=True)
class Rename:
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Subscribe:
    mailbox: str
    on: bool


@dataclass(frozen=True, slots=True)
class List:
    reference: str
    patterns: tuple[str, ...]
    lsub: bool = False
    extended: bool = False  # RFC 5258 syntax was used
    select: frozenset[str] = frozenset()  # SUBSCRIBED REMOTE RECURSIVEMATCH SPECIAL-USE
    returned: frozenset[str] = frozenset()  # SUBSCRIBED CHILDREN SPECIAL-USE
    status: tuple[str, ...] = ()  # RFC 5819


@dataclass(frozen=True, slots=True)
class Status:
    mailbox: str
    items: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Append:
    mailbox: str
    flags: frozenset[str]
    internal_date: datetime | None


@dataclass(frozen=True, slots=True)
class Fetch:
    messages: Ranges
    items: tuple[Item, ...]
    uid: bool


@dataclass(frozen=True, slots=True)
class Store:
    messages: Ranges
    operation: str  # "+", "-" or "=": add, remove, replace
    flags: frozenset[str]
    silent: bool
    uid: bool


@dataclass(frozen=True, slots=True)
class Copy:
    messages: Ranges
    mailbox: str
    uid: bool
    move: bool  # RFC 6851


@dataclass(frozen=True, slots=True)
class UidExpunge:  # RFC 4315 2.1
    messages: Ranges


@dataclass(frozen=True, slots=True)
class Enable:  # RFC 5161
    capabilities: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Id:  # RFC 2971
    fields: tuple[tuple[bytes, bytes | None], ...]


Command = (
    Simple
    | Authenticate
    | Login
    | Select
    | Create
    | Delete
    | Rename
    | Subscribe
    | List
    | Status
    | Fetch
    | Store
    | Copy
    | UidExpunge
    | Enable
    | Id
    | Search
)

TAG = re.compile(rb'([^\x00-\x20(){%*"\\+\x7f-\xff]{1,100}) ')
STATUS_ITEMS = frozenset({"MESSAGES", "RECENT", "UIDNEXT", "UIDVALIDITY", "UNSEEN", "SIZE", "APPENDLIMIT"})


def split_tag(line: bytes) -> tuple[str, Cursor]:
    """The tag, and a cursor before the verb. Raises BadSyntax when there is no tag to answer to."""
    found = TAG.match(line)
    if not found:
        raise BadSyntax("expected a tag, a space and a command")
    return found[1].decode("ascii"), Cursor(line, found.end())


def parse_command(cursor: Cursor) -> Command:
    """The command after the tag. Raises BadSyntax or BadName."""
    verb = cursor.keyword()
    if verb == b"UID":
        cursor.space()
        verb += b" " + cursor.keyword()
    parse = _VERBS.get(verb)
    if verb == b"APPEND":  # with its message it goes to `parse_append`
        raise BadSyntax("expected a mailbox and a literal after APPEND")
    if parse is None:
        raise BadSyntax("unknown command")
    command = parse(cursor)
    cursor.end()
    return command


def parse_append(cursor: Cursor) -> Append:
    """`APPEND` up to the literal, whose `{` comes next; for the messages after the first (RFC 3502) `mailbox` is kept
    by the caller and the cursor stands at the space before flags or date. Raises BadSyntax, BadName."""
    cursor.space()
    mailbox = cursor.mailbox()
    flags, internal_date = parse_append_options(cursor)
    return Append(mailbox, flags, internal_date)


def parse_append_options(cursor: Cursor) -> tuple[frozenset[str], datetime | None]:
    cursor.space()
    flags: frozenset[str] = frozenset()
    if cursor.peek(b"("):
        flags = cursor.flags()
        cursor.space()
    internal_date = None
    if cursor.peek(b'"'):
        internal_date = cursor.date_time()
        cursor.space()
    return flags, internal_date


def _simple(verb: str) -> Callable[[Cursor], Command]:
    command = Simple(verb)
    return lambda _: command


def _authenticate(cursor: Cursor) -> Command:
    cursor.space()
    mechanism = cursor.keyword().decode("ascii")
    initial = None
    if not cursor.at_end():
        cursor.space()
        initial = cursor.data[cursor.at :]
        cursor.at = len(cursor.data)
    return Authenticate(mechanism, initial)


def _login(cursor: Cursor) -> Command:
    cursor.space()
    user = cursor.astring()
    cursor.space()
    return Login(user, cursor.astring())


def _select(read_only: bool) -> Callable[[Cursor], Command]:
    def parse(cursor: Cursor) -> Command:
        cursor.space()
        return Select(cursor.mailbox(), read_only)

    return parse


def _create(cursor: Cursor) -> Command:
    cursor.space()
    start = cursor.at
    mailbox = cursor.mailbox()
    hierarchy_only = cursor.data[start : cursor.at].rstrip(b'"').endswith(b"/")
    use = None
    if cursor.skip(b" (USE ("):  # RFC 6154 3, exactly so in its grammar
        use = cursor.flag()
        cursor.expect(b"))")
    return Create(mailbox, hierarchy_only, use)


def _delete(cursor: Cursor) -> Command:
    cursor.space()
    return Delete(cursor.mailbox())


def _rename(cursor: Cursor) -> Command:
    cursor.space()
    old = cursor.mailbox()
    cursor.space()
    return Rename(old, cursor.mailbox())


def _subscribe(on: bool) -> Callable[[Cursor], Command]:
    def parse(cursor: Cursor) -> Command:
        cursor.space()
        return Subscribe(cursor.mailbox(), on)

    return parse


def _lsub(cursor: Cursor) -> Command:
    cursor.space()
    reference = cursor.mailbox_reference()
    cursor.space()
    return List(reference, (cursor.list_mailbox(),), lsub=True)


def _list(cursor: Cursor) -> Command:
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


def _status(cursor: Cursor) -> Command:
    cursor.space()
    mailbox = cursor.mailbox()
    cursor.space()
    return Status(mailbox, _status_items(cursor))


def _status_items(cursor: Cursor) -> tuple[str, ...]:
    items = tuple(word.decode("ascii") for word in cursor.parenthesised(cursor.keyword, empty=False))
    if unknown := set(items) - STATUS_ITEMS:
        raise BadSyntax(f"unknown status item {min(unknown)[:50]}")
    return items


def _fetch(uid: bool) -> Callable[[Cursor], Command]:
    def parse(cursor: Cursor) -> Command:
        cursor.space()
        messages = cursor.ranges()
        cursor.space()
        return Fetch(messages, parse_items(cursor), uid)

    return parse


def _store(uid: bool) -> Callable[[Cursor], Command]:
    def parse(cursor: Cursor) -> Command:
        cursor.space()
        messages = cursor.ranges()
        cursor.space()
        operation = "+" if cursor.skip(b"+") else "-" if cursor.skip(b"-") else "="
        cursor.expect(b"FLAGS")
        silent = cursor.skip(b".SILENT")
        cursor.space()
        if cursor.peek(b"("):
            flags = cursor.flags()
        else:
            given = [cursor.flag()]
            while cursor.skip(b" "):
                given.append(cursor.flag())
            flags = frozenset(given)
        return Store(messages, operation, flags, silent, uid)

    return parse


def _copy(uid: bool, move: bool) -> Callable[[Cursor], Command]:
    def parse(cursor: Cursor) -> Command:
        cursor.space()
        messages = cursor.ranges()
        cursor.space()
        return Copy(messages, cursor.mailbox(), uid, move)

    return parse


def _uid_expunge(cursor: Cursor) -> Command:
    cursor.space()
    return UidExpunge(cursor.ranges())


def _search(uid: bool) -> Callable[[Cursor], Command]:
    return lambda cursor: parse_search(cursor, uid)


def _enable(cursor: Cursor) -> Command:
    names: list[str] = []
    while not names or not cursor.at_end():
        cursor.space()
        names.append(cursor.keyword().decode("ascii"))
    return Enable(tuple(names))


def _id(cursor: Cursor) -> Command:
    cursor.space()
    if cursor.skip(b"NIL"):
        return Id(())

    def pair() -> tuple[bytes, bytes | None]:
        name = cursor.string()
        cursor.space()
        return name, cursor.nstring()

    fields = cursor.parenthesised(pair)
    if len(fields) > 30 or any(len(name) > 30 or len(value or b"") > 1024 for name, value in fields):
        raise BadSyntax("too much in ID")  # RFC 2971 3.3
    return Id(tuple(fields))


_VERBS: dict[bytes, Callable[[Cursor], Command]] = {
    verb.encode(): _simple(verb)
    for verb in ("CAPABILITY", "NOOP", "LOGOUT", "STARTTLS", "CHECK", "CLOSE", "UNSELECT", "EXPUNGE", "IDLE", "NAMESPACE")
}
_VERBS |= {
    b"AUTHENTICATE": _authenticate,
    b"LOGIN": _login,
    b"SELECT": _select(False),
    b"EXAMINE": _select(True),
    b"CREATE": _create,
    b"DELETE": _delete,
    b"RENAME": _rename,
    b"SUBSCRIBE": _subscribe(True),
    b"UNSUBSCRIBE": _subscribe(False),
    b"LIST": _list,
    b"LSUB": _lsub,
    b"STATUS": _status,
    b"FETCH": _fetch(False),
    b"UID FETCH": _fetch(True),
    b"STORE": _store(False),
    b"UID STORE": _store(True),
    b"COPY": _copy(False, False),
    b"UID COPY": _copy(True, False),
    b"MOVE": _copy(False, True),
    b"UID MOVE": _copy(True, True),
    b"UID EXPUNGE": _uid_expunge,
    b"SEARCH": _search(False),
    b"UID SEARCH": _search(True),
    b"ENABLE": _enable,
    b"ID": _id,
}
