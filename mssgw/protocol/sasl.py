"""SASL on the server's side (RFC 4422): PLAIN (RFC 4616) and LOGIN, the same for SMTP and IMAP.

    exchange = sasl.start("PLAIN")
    step = exchange.step(initial_response_or_None)
    while isinstance(step, bytes):      # a challenge to send (base64 is the caller's)
        step = exchange.step(response)
    step.username, step.password        # Credentials as the client sent them; nothing is verified here

Malformed input raises Refused with a 501 reply. `decode64` reads a line of the client; cancelling
with `*` is the caller's.
"""

from __future__ import annotations

import binascii
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Final

from mssgw.core.errors import Refused

MAX_FIELD: Final = 1024  # octets of a user name or a password


@dataclass(frozen=True, slots=True)
class Credentials:
    username: str
    password: str

    def __repr__(self) -> str:
        return f"Credentials({self.username!r}, …)"


class Exchange:
    """One authentication in progress."""

    __slots__ = ("_first", "_steps")

    def __init__(self, steps: Generator[bytes, bytes, Credentials]) -> None:
        self._steps, self._first = steps, next(steps)

    def step(self, response: bytes | None) -> bytes | Credentials:
        """Feed the client's decoded response; None only at first. Returns a challenge to send, or the Credentials."""
        if response is None:
            return self._first
        try:
            return self._steps.send(response)
        except StopIteration as done:
            credentials: Credentials = done.value
            return credentials


def start(mechanism: str) -> Exchange:
    """Begin. Raises Refused 504 for a mechanism that is not in `MECHANISMS`."""
    steps = MECHANISMS.get(mechanism.upper())
    if steps is None:
        raise Refused(f"Authenticate with {' or '.join(MECHANISMS)}", code=504, enhanced="5.5.4")
    return Exchange(steps())


def _plain() -> Generator[bytes, bytes, Credentials]:
    response = yield b""
    fields = response.split(b"\0")
    if len(fields) != 3:
        raise Refused("PLAIN takes identity NUL user NUL password", code=501, enhanced="5.5.2")
    identity, username, password = (_text(octets) for octets in fields)
    if identity and identity != username:  # RFC 4616 2: acting for someone else
        raise Refused("Log in as yourself; leave the authorization identity empty", code=535, enhanced="5.7.8")
    return _credentials(username, password)


def _login() -> Generator[bytes, bytes, Credentials]:
    username = _text((yield b"Username:"))
    password = _text((yield b"Password:"))
    return _credentials(username, password)


MECHANISMS: Final[dict[str, Callable[[], Generator[bytes, bytes, Credentials]]]] = {"PLAIN": _plain, "LOGIN": _login}


def _text(octets: bytes) -> str:
    if len(octets) > MAX_FIELD or b"\0" in octets:
        raise Refused("User name or password is too long or holds NUL", code=501, enhanced="5.5.2")
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Refused("User name and password are UTF-8", code=501, enhanced="5.5.2") from error


def _credentials(username: str, password: str) -> Credentials:
    if not username or not password:
        raise Refused("User name or password is empty", code=501, enhanced="5.5.2")
    return Credentials(username, password)


def decode64(line: bytes) -> bytes:
    """A base64 line of the client; `=` alone is the empty response (RFC 4954 4). Raises Refused."""
    if line == b"=":
        return b""
    try:
        return binascii.a2b_base64(line, strict_mode=True)
    except binascii.Error as error:
        raise Refused("Not base64", code=501, enhanced="5.5.2") from error
