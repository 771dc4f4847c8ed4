"""CAPABILITY, STARTTLS, AUTHENTICATE, LOGIN, LOGOUT, ID, ENABLE, NOOP. RFC 3501 6.1, 6.2; RFC 4959, 2971, 5161."""

from __future__ import annotations

import asyncio
from binascii import b2a_base64
from dataclasses import dataclass

from mssgw.core.errors import MailError, NotAllowed, Refused
from mssgw.imapd.registry import Capability, State, always, capabilities, command, in_clear, no_arguments, under_tls
from mssgw.imapd.replies import After, Bad, Bye, Code, Done, No
from mssgw.imapd.session import LOGIN_SECONDS, MAX_LINE_STRANGER, MAX_LOGIN_FAILURES, ImapSession
from mssgw.protocol import sasl
from mssgw.protocol.imap_lexer import BadSyntax, Cursor
from mssgw.protocol.mime import string


@command("CAPABILITY", no_arguments, State.ANY)
async def capability(session: ImapSession, _: None) -> Done:
    session.wire.write(f"* CAPABILITY {capabilities(session)}\r\n".encode("ascii"))
    return Done("CAPABILITY completed")


@command("NOOP", no_arguments, State.ANY)
async def noop(session: ImapSession, _: None) -> Done:
    if session.account is not None:
        await session.push(expunge=True, force=True)
    return Done("NOOP completed")


@command("LOGOUT", no_arguments, State.ANY)
async def logout(session: ImapSession, _: None) -> Done:
    session.untagged("BYE", "mssgw closes the connection")
    return Done("LOGOUT completed", after=After.LEAVE)


@command("STARTTLS", no_arguments, State.STRANGER, brings=[Capability("STARTTLS", when=in_clear)])
async def starttls(session: ImapSession, _: None) -> Done:
    if session.wire.tls:
        raise Bad("TLS is already active")
    return Done("Begin TLS negotiation now", after=After.START_TLS)


@dataclass(frozen=True, slots=True)
class Login:
    user: bytes
    password: bytes


def _login(cursor: Cursor) -> Login:
    cursor.space()
    user = cursor.astring()
    cursor.space()
    return Login(user, cursor.astring())


@command("LOGIN", _login, State.STRANGER, brings=[Capability("LOGINDISABLED", when=in_clear)])
async def login(session: ImapSession, given: Login) -> Done:
    _require_tls(session)
    try:
        username, password = given.user.decode("utf-8"), given.password.decode("utf-8")
    except UnicodeDecodeError:
        raise No("User name and password are UTF-8", Code.AUTHENTICATIONFAILED) from None
    return await _log_in(session, username, password)


@dataclass(frozen=True, slots=True)
class Authenticate:
    mechanism: str
    initial: bytes | None  # RFC 4959: still base64; "=" is an empty one


def _authenticate(cursor: Cursor) -> Authenticate:
    cursor.space()
    mechanism = cursor.keyword().decode("ascii")
    initial = None
    if not cursor.at_end():
        cursor.space()
        initial = cursor.data[cursor.at :]
        cursor.at = len(cursor.data)
    return Authenticate(mechanism, initial)


_MECHANISMS = [Capability(f"AUTH={name}", when=under_tls) for name in sasl.MECHANISMS]


@command("AUTHENTICATE", _authenticate, State.STRANGER, brings=[Capability("SASL-IR", when=always), *_MECHANISMS])
async def authenticate(session: ImapSession, given: Authenticate) -> Done:
    _require_tls(session)
    try:
        exchange = sasl.start(given.mechanism)
    except Refused:
        raise No("Unsupported authentication mechanism; use PLAIN or LOGIN", Code.CANNOT) from None
    try:
        step = exchange.step(None)
        if given.initial is not None:  # RFC 4959: the answer to an empty challenge
            step = exchange.step(sasl.decode64(given.initial))
        while isinstance(step, bytes):
            step = exchange.step(sasl.decode64(await _answer(session, step)))
    except Refused as error:
        raise _failed(session, Bad(error.reply.text)) from None
    return await _log_in(session, step.username, step.password)


async def _answer(session: ImapSession, challenge: bytes) -> bytes:
    """Send a challenge, wait for the client's line. Raises Bad when it cancels with `*`."""
    session.wire.write(b"+ " + b2a_base64(challenge, newline=False) + b"\r\n")
    async with asyncio.timeout(LOGIN_SECONDS):
        answer = await session.wire.line(MAX_LINE_STRANGER)
    if answer == b"*":
        raise Bad("AUTHENTICATE cancelled")
    return answer


def _require_tls(session: ImapSession) -> None:
    if not session.wire.tls:  # LOGINDISABLED, RFC 3501 11.1
        raise No("Use STARTTLS first", Code.PRIVACYREQUIRED)


async def _log_in(session: ImapSession, username: str, password: str) -> Done:
    try:
        account = await session.service.login(username, password, peer=session.wire.peer, protocol="imap")
    except NotAllowed as error:
        raise _failed(session, No(error.reply.text, Code.AUTHENTICATIONFAILED)) from None
    except MailError as error:
        if error.temporary:
            raise No(error.reply.text, Code.UNAVAILABLE) from None
        raise _failed(session, No(error.reply.text, Code.AUTHENTICATIONFAILED)) from None
    session.logged_in(account)
    return Done("Logged in", Code.CAPABILITY.of(capabilities(session)))


def _failed(session: ImapSession, answer: No | Bad) -> No | Bad | Bye:
    """Too many guesses end the connection; how many an IP address may make in all is decided by the login."""
    session.login_failures += 1
    if session.login_failures >= MAX_LOGIN_FAILURES:
        return Bye("Too many failed logins")
    return answer


@dataclass(frozen=True, slots=True)
class Id:  # RFC 2971
    fields: tuple[tuple[bytes, bytes | None], ...]


def _id(cursor: Cursor) -> Id:
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


@command("ID", _id, State.ANY, brings=[Capability("ID")])
async def identify(session: ImapSession, _: Id) -> Done:
    """RFC 2971. The client's answer is not used; ours helps its support."""
    fields = (b"name", b"mssgw", b"vendor", b"mssgw", b"support-url", b"https://esante.gouv.fr/produits-services/mssante")
    session.wire.write(b"* ID (" + b" ".join(map(string, fields)) + b")\r\n")
    return Done("ID completed")


@dataclass(frozen=True, slots=True)
class Enable:  # RFC 5161
    capabilities: tuple[str, ...]


def _enable(cursor: Cursor) -> Enable:
    names: list[str] = []
    while not names or not cursor.at_end():
        cursor.space()
        names.append(cursor.keyword().decode("ascii"))
    return Enable(tuple(names))


@command("ENABLE", _enable, State.AUTHENTICATED, brings=[Capability("ENABLE", when=always)])
async def enable(session: ImapSession, _: Enable) -> Done:
    """RFC 5161: names we don't know, or that need no enabling, are ignored."""
    session.wire.write(b"* ENABLED\r\n")
    return Done("ENABLE completed")
