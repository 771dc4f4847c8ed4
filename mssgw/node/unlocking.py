"""Unlocking persons' tokens: a PIN goes from the person to each worker, once, and stays in the node's memory alone.

Each worker listens on a socket of the owner of `node.data` (data/run/unlock-PID.sock, nobody else may enter the directory) and
logs in to the token with what it gets; the session lives in its token's process until the card is pulled or the node stops.
Cards count wrong PINs, so none is tried in vain: a worker with a session is not logged in again, a PIN that one worker's login
refused is not tried by the next, and one that is not the PIN of the sessions that there are is not tried at all. A worker that is
started later logs in with what the parent's memory holds (`pins`).

    one line of JSON in     {"token": "pkcs11:token=…;object=…", "pin": "…"}        pin null: only whether there is a session
    one line of JSON out    {"session": true, "refused": "", "lock": null}      or why not, and the `Lock` of the token
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import os
import socket
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from mssgw.core.config.smime import Smime
from mssgw.core.errors import ConfigError
from mssgw.core.texts import Message, message
from mssgw.core.tokens import TokenReference
from mssgw.node.pins import Pins
from mssgw.smime.errors import KeyUnavailable, Lock, TokenLocked
from mssgw.smime.keys.tokens import Token, TokenPlace
from mssgw.smime.places import place_of, token_at

MAX_LINE: Final = 8192
PATIENCE: Final = 30.0  # seconds, more than a token has to start
_TOLD: Final = (Lock.ABSENT, Lock.PIN, Lock.LAST_TRY, Lock.BLOCKED)  # in a sentence of their own
_CREDENTIALS: Final = struct.Struct("3i")  # pid, uid, gid


class _Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    token: str
    pin: str | None


class _Answered(msgspec.Struct, frozen=True):
    session: bool
    refused: str = ""  # why it could not be unlocked, for the administrator; "" when nobody asked or it is
    lock: Lock | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of a token in a running node: in how many of its workers there is a session, and why not in the others."""

    workers: int
    unlocked: int
    refused: str = ""
    lock: Lock | None = None

    def said(self, token: str) -> Message:
        """To be said when it is not unlocked everywhere."""
        if self.unlocked:
            return message("identity.half-unlocked", token=token, unlocked=self.unlocked, workers=self.workers)
        return message(f"identity.not-unlocked.{self.lock if self.lock in _TOLD else 'other'}", token=token)


class Unlocking:
    """The worker's side."""

    def __init__(self, data: Path, settings: Callable[[], Smime], pins: Pins) -> None:
        self._directory, self._settings, self._pins = data / "run", settings, pins
        self._name = f"unlock-{os.getpid()}.sock"
        self._server: asyncio.Server | None = None

    async def restore(self) -> None:
        """The sessions of the worker whose place this one takes. What takes longer than a card does goes on beside the rest."""
        waiting = [asyncio.ensure_future(asyncio.to_thread(self._again, place, pin)) for place, pin in self._pins.known()]
        if waiting:
            await asyncio.wait(waiting, timeout=PATIENCE)

    def _again(self, place: TokenPlace, pin: str) -> None:
        with self._pins.trying():
            if self._pins.of(place) != pin:
                return  # another worker found meanwhile that it is over
            try:
                token_at(place).unlock(pin, self._pins.sessions(place))
            except KeyUnavailable:  # logged; the owner is told when their mail waits
                self._pins.forget(place)

    async def start(self) -> None:
        """Raises OSError."""
        self._directory.mkdir(mode=0o700, exist_ok=True)
        with _entered(self._directory) as place:
            (place / self._name).unlink(missing_ok=True)
            listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            listening.bind(str(place / self._name))
            (place / self._name).chmod(0o600)
        self._server = await asyncio.start_unix_server(self._serve, sock=listening, limit=MAX_LINE)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        (self._directory / self._name).unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                answer = await self._answer(await reader.readline(), writer)
                writer.write(msgspec.json.encode(answer) + b"\n")
                await writer.drain()
        except (OSError, ValueError, TimeoutError):
            return  # whoever asked is gone, or wrote no line
        finally:
            writer.close()

    async def _answer(self, line: bytes, writer: asyncio.StreamWriter) -> _Answered:
        peer = writer.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        if _CREDENTIALS.unpack(peer)[1] not in (0, os.geteuid()):
            return _Answered(session=False, refused="not allowed")
        try:
            asked = msgspec.json.decode(line, type=_Asked)
            place = place_of(TokenReference.parse(asked.token), self._settings())
            return await asyncio.to_thread(self._now, place, asked.pin)
        except msgspec.MsgspecError:
            return _Answered(session=False, refused="unreadable")
        except (ConfigError, ValueError) as error:
            return _Answered(session=False, refused=str(error))

    def _now(self, place: TokenPlace, pin: str | None) -> _Answered:
        token = token_at(place)
        if pin is None:
            return _Answered(session=_has_session(token))
        with self._pins.trying():
            if _has_session(token):
                return _Answered(session=True)
            if (known := self._pins.of(place)) is not None and not hmac.compare_digest(known.encode(), pin.encode()):
                return _Answered(session=False, refused="not the PIN that its other sessions were opened with; it was not tried")
            if known is None:
                self._pins.forget(place)  # that a PIN was refused: this is another try
            try:
                token.unlock(pin, self._pins.sessions(place))
            except KeyUnavailable as error:
                return _Answered(
                    session=False,
                    refused=error.detail or error.reply.text,
                    lock=error.lock if isinstance(error, TokenLocked) else None,
                )
            self._pins.keep(place, pin)
            return _Answered(session=True)


def _has_session(token: Token) -> bool:
    try:
        token.require_session()
    except KeyUnavailable:
        return False
    return True


def sessions(data: Path, reference: str) -> Outcome:
    """Where a token is unlocked now. No PIN is tried."""
    answers = [answer for place in _workers(data) if (answer := _asked(place, _Asked(reference, None)))]
    return Outcome(len(answers), sum(one.session for one in answers), next((one.refused for one in answers if one.refused), ""))


def unlock(data: Path, reference: str, pin: str) -> Outcome:
    """Unlock a token in every worker of the running node. The first refusal ends it, unless another worker's login took the PIN before."""
    workers = unlocked = 0
    why = _Answered(session=False)
    for place in _workers(data):
        answer = _asked(place, _Asked(reference, pin if unlocked or not why.refused else None))
        if answer is None:
            continue
        workers, unlocked = workers + 1, unlocked + answer.session
        why = why if why.refused else answer
    return Outcome(workers, unlocked, why.refused, why.lock)


def _workers(data: Path) -> Iterator[Path]:
    directory = data / "run"
    if directory.is_dir():
        with _entered(directory) as place:
            yield from sorted(place.glob("unlock-*.sock"))


def _asked(path: Path, asked: _Asked) -> _Answered | None:
    """None when nobody listens there any more."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(PATIENCE)
        try:
            client.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
            return None
        try:
            client.sendall(msgspec.json.encode(asked) + b"\n")
            with client.makefile("rb") as answer:
                return msgspec.json.decode(answer.readline(MAX_LINE), type=_Answered)
        except (OSError, msgspec.MsgspecError) as error:
            return _Answered(session=False, refused=f"the worker does not answer: {error}")


@contextlib.contextmanager
def _entered(directory: Path) -> Iterator[Path]:
    """The directory under a short name: a socket's path has 107 octets at most."""
    descriptor = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield Path(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)
