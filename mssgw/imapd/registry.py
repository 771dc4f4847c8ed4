"""A command of IMAP is declared once, above the function that handles it:

    @command("UNSELECT", no_arguments, State.SELECTED, brings=[Capability("UNSELECT")])
    async def unselect(session: ImapSession, _: None) -> Done:

name, grammar, the state it needs, what it brings to CAPABILITY. All else follows from that: `find` gives the command to
the connection, `capabilities` lists what is offered to a session, and a test compares both with docs/imap.md.

A grammar reads the arguments from a `Cursor`, from the space before the first of them, and returns one frozen value; it
does no I/O and knows no session. Raises BadSyntax, BadName, BadCharset.
"""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from mssgw.imapd.replies import Bad, Done
from mssgw.imapd.session import ImapSession
from mssgw.protocol.imap_lexer import BadSyntax, Cursor

A = TypeVar("A")
Handler = Callable[[ImapSession, A], Awaitable[Done]]
When = Callable[[ImapSession], bool]


class State(enum.Enum):
    """What a command needs. RFC 3501 3."""

    ANY = "any state"
    STRANGER = "not authenticated"
    AUTHENTICATED = "authenticated"  # the selected state too
    SELECTED = "selected"


@dataclass(frozen=True, slots=True)
class Capability:
    """A word of CAPABILITY. RFC 3501 6.1.1."""

    name: str
    value: Callable[[ImapSession], object] | None = None  # what follows its "="
    when: When | None = None  # whether it is offered; None: after login, or before it when the command is only allowed before login

    def word(self, session: ImapSession) -> str:
        return self.name if self.value is None else f"{self.name}={self.value(session)}"


@dataclass(frozen=True, slots=True)
class Streamed(Generic[A]):
    """The arguments of a command up to its literal, whose octets the handler reads from the wire itself."""

    arguments: A
    size: int  # octets of the literal
    synchronizing: bool  # the client waits for "+ ", RFC 7888


@dataclass(frozen=True, slots=True)
class Command:
    name: str  # upper case: "FETCH", "UID FETCH"
    grammar: Callable[[Cursor], Any]
    state: State
    handle: Handler[Any]
    brings: tuple[Capability, ...] = ()
    expunge: bool = True  # EXPUNGE may be sent at its end: not where it has sequence numbers, RFC 3501 7.4.1
    lazy: bool = False  # see ImapSession.push
    streamed: bool = False

    def parse(self, cursor: Cursor) -> Any:
        """Its arguments, up to the end of the line. Raises BadSyntax, BadName, BadCharset."""
        if self.streamed:  # with its literal it goes to `parse_streamed`
            raise BadSyntax(f"expected arguments and a literal after {self.name}")
        arguments = self.grammar(cursor)
        cursor.end()
        return arguments

    def parse_streamed(self, cursor: Cursor, literal: int) -> Any:
        """Its arguments, up to the literal that starts at octet `literal` of the line. Raises BadSyntax, BadName."""
        arguments = self.grammar(cursor)
        if cursor.at != literal:
            cursor.fail("a literal")
        return arguments

    def require_state(self, session: ImapSession) -> None:
        """Raises Bad."""
        if self.state is State.STRANGER and session.account is not None:
            raise Bad("already logged in")
        if self.state in (State.AUTHENTICATED, State.SELECTED) and session.account is None:
            raise Bad("log in first")
        if self.state is State.SELECTED and session.view is None:
            raise Bad("select a mailbox first")

    def offers(self, capability: Capability, session: ImapSession) -> bool:
        if capability.when is not None:
            return capability.when(session)
        return self.state is State.ANY or (session.account is None) == (self.state is State.STRANGER)


# -- declaring -------------------------------------------------------------------------------------------

_commands: dict[bytes, Command] = {}


def command(
    name: str,
    grammar: Callable[[Cursor], A],
    state: State,
    *,
    brings: Iterable[Capability] = (),
    expunge: bool = True,
    lazy: bool = False,
) -> Callable[[Handler[A]], Handler[A]]:
    """Declares the handler below it. Several declarations may share a handler."""

    def declare(handle: Handler[A]) -> Handler[A]:
        _add(Command(name, grammar, state, handle, tuple(brings), expunge, lazy))
        return handle

    return declare


def streamed_command(
    name: str, grammar: Callable[[Cursor], A], state: State, *, brings: Iterable[Capability] = ()
) -> Callable[[Handler[Streamed[A]]], Handler[Streamed[A]]]:
    """A command that ends with a literal too large for memory: its handler reads it."""

    def declare(handle: Handler[Streamed[A]]) -> Handler[Streamed[A]]:
        _add(Command(name, grammar, state, handle, tuple(brings), streamed=True))
        return handle

    return declare


def _add(one: Command) -> None:
    known = _commands.setdefault(one.name.encode("ascii"), one)
    if known is not one:
        raise ValueError(f"{one.name} is declared twice")


def no_arguments(cursor: Cursor) -> None:
    """The grammar of a command that is its name."""


# -- asking ----------------------------------------------------------------------------------------------


def find(cursor: Cursor) -> Command:
    """The command whose name comes next. Raises BadSyntax."""
    name = cursor.keyword()
    if name == b"UID":
        cursor.space()
        name += b" " + cursor.keyword()
    found = _commands.get(name)
    if found is None:
        raise BadSyntax("unknown command")
    return found


def find_streamed(cursor: Cursor) -> Command | None:
    """The streamed command whose name comes next, if it is one; the cursor stands behind the name then."""
    found = _commands.get(cursor.data[cursor.at :].partition(b" ")[0].upper())
    if found is None or not found.streamed:
        return None
    cursor.at += len(found.name)
    return found


def commands() -> list[Command]:
    """All that were declared, by name."""
    return sorted(_commands.values(), key=lambda one: one.name)


def always(session: ImapSession) -> bool:
    return True


def in_clear(session: ImapSession) -> bool:
    return session.account is None and not session.wire.tls


def under_tls(session: ImapSession) -> bool:
    """Before login, on a connection where a password may be sent."""
    return session.account is None and session.wire.tls


_OF_THE_CONNECTION = (  # and of no command
    Capability("IMAP4rev1"),
    Capability("LITERAL+", when=lambda session: session.account is not None),  # RFC 7888
    Capability("LITERAL-", when=lambda session: session.account is None),  # RFC 7888 5
)


def capabilities(session: ImapSession) -> str:
    """What is offered now, as CAPABILITY writes it. RFC 3501 6.1.1, 11.1."""
    offered = [one for one in _OF_THE_CONNECTION if one.when is None or one.when(session)]
    offered += [capability for one in commands() for capability in one.brings if one.offers(capability, session)]
    return " ".join(capability.word(session) for capability in offered)
