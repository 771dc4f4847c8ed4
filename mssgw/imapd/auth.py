"""CAPABILITY, STARTTLS, AUTHENTICATE, LOGIN, LOGOUT, ID, ENABLE, NOOP. RFC 3501 6.1, 6.2; RFC 4959, 2971, 5161."""

from __future__ import annotations

import asyncio
from binascii import b2a_base64

from mssgw.core.errors import MailError, NotAllowed, Refused
from mssgw.imapd.replies import Bad, Bye, Done, No
from mssgw.imapd.session import LOGIN_SECONDS, MAX_LINE_STRANGER, MAX_LOGIN_FAILURES, Session
from mssgw.protocol import sasl
from mssgw.protocol.imap_commands import Authenticate, Enable, Id, Login, Simple
from mssgw.protocol.mime import string


async def capability(session: Session, _: Simple) -> Done:
    session.wire.write(f"* CAPABILITY {session.capabilities}\r\n".encode("ascii"))
    return Done("CAPABILITY completed")


async def noop(session: Session, _: Simple) -> Done:
    if session.account is not None:
        await session.push(expunge=True, force=True)
    return Done("NOOP completed")


async def logout(session: Session, _: Simple) -> Done:
    session.untagged("BYE", "mssgw closes the connection")
    return Done("LOGOUT completed")


async def starttls(session: Session, _: Simple) -> Done:
    """The handshake follows the tagged OK: see `connection`."""
    if session.wire.tls:
        raise Bad("TLS is already active")
    return Done("Begin TLS negotiation now")


async def login(session: Session, command: Login) -> Done:
    _require_tls(session)
    try:
        username, password = command.user.decode("utf-8"), command.password.decode("utf-8")
    except UnicodeDecodeError:
        raise No("User name and password are UTF-8", "AUTHENTICATIONFAILED") from None
    return await _log_in(session, username, password)


async def authenticate(session: Session, command: Authenticate) -> Done:
    _require_tls(session)
    try:
        exchange = sasl.start(command.mechanism)
    except Refused:
        raise No("Unsupported authentication mechanism; use PLAIN or LOGIN", "CANNOT") from None
    try:
        step = exchange.step(None)
        if command.initial is not None:  # RFC 4959: the answer to an empty challenge
            step = exchange.step(sasl.decode64(command.initial))
        while isinstance(step, bytes):
            step = exchange.step(sasl.decode64(await _answer(session, step)))
    except Refused as error:
        raise _failed(session, Bad(error.reply.text)) from None
    return await _log_in(session, step.username, step.password)


async def _answer(session: Session, challenge: bytes) -> bytes:
    """Send a challenge, wait for the client's line. Raises Bad when it cancels with `*`."""
    session.wire.write(b"+ " + b2a_base64(challenge, newline=False) + b"\r\n")
    async with asyncio.timeout(LOGIN_SECONDS):
        answer = await session.wire.line(MAX_LINE_STRANGER)
    if answer == b"*":
        raise Bad("AUTHENTICATE cancelled")
    return answer


def _require_tls(session: Session) -> None:
    if not session.wire.tls:  # LOGINDISABLED, RFC 3501 11.1
        raise No("Use STARTTLS first", "PRIVACYREQUIRED")


async def _log_in(session: Session, username: str, password: str) -> Done:
    try:
        account = await session.service.login(username, password, peer=session.wire.peer, protocol="imap")
    except NotAllowed as error:
        raise _failed(session, No(error.reply.text, "AUTHENTICATIONFAILED")) from None
    except MailError as error:
        if error.temporary:
            raise No(error.reply.text, "UNAVAILABLE") from None
        raise _failed(session, No(error.reply.text, "AUTHENTICATIONFAILED")) from None
    session.logged_in(account)
    return Done("Logged in", f"CAPABILITY {session.capabilities}")


def _failed(session: Session, answer: No | Bad) -> No | Bad | Bye:
    """Too many guesses end the connection; how many an address may make in all is the login's business."""
    session.login_failures += 1
    if session.login_failures >= MAX_LOGIN_FAILURES:
        return Bye("Too many failed logins")
    return answer


async def identify(session: Session, command: Id) -> Done:
    """RFC 2971. What the client says is of no use to us; what we say helps their support."""
    fields = (b"name", b"mssgw", b"vendor", b"mssgw", b"support-url", b"https://esante.gouv.fr/produits-services/mssante")
    session.wire.write(b"* ID (" + b" ".join(map(string, fields)) + b")\r\n")
    return Done("ID completed")


async def enable(session: Session, command: Enable) -> Done:
    """RFC 5161: names we don't know, or that need no enabling, are ignored."""
    session.wire.write(b"* ENABLED\r\n")
    return Done("ENABLE completed")
