"""Unlocking persons' tokens: a PIN goes from the person to each worker, once, and is kept nowhere.

Each worker listens on a socket of the owner of `node.data` (data/run/unlock-PID.sock, nobody else may enter the directory) and
logs in to the token with what it gets; the session lives in its token's process until the card is pulled or the node stops. A
PIN that one worker's login refused is not tried by the next: cards count.

    one line of JSON in     {"token": "pkcs11:token=…;object=…", "pin": "…"}
    one line of JSON out    {"refused": "", "lock": null}      or why not, and the `Lock` of the token
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from mssgw.core.config.smime import Smime
from mssgw.core.errors import ConfigError
from mssgw.core.texts import message
from mssgw.core.tokens import TokenReference
from mssgw.smime.errors import KeyUnavailable, Lock, TokenLocked
from mssgw.smime.places import place_of, token_at

MAX_LINE: Final = 8192
PATIENCE: Final = 30.0  # seconds, more than a token has to start
_TOLD: Final = (Lock.ABSENT, Lock.PIN, Lock.LAST_TRY, Lock.BLOCKED)  # in a sentence of their own
_CREDENTIALS: Final = struct.Struct("3i")  # pid, uid, gid


class _Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    token: str
    pin: str


class _Answered(msgspec.Struct, frozen=True):
    refused: str = ""
    lock: Lock | None = None


class Unlocking:
    """The worker's side."""

    def __init__(self, data: Path, settings: Callable[[], Smime]) -> None:
        self._directory, self._settings = data / "run", settings
        self._name = f"unlock-{os.getpid()}.sock"
        self._server: asyncio.Server | None = None

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
                answer = await self._unlocked(await reader.readline(), writer)
                writer.write(msgspec.json.encode(answer) + b"\n")
                await writer.drain()
        except (OSError, ValueError, TimeoutError):
            return  # whoever asked is gone, or wrote no line
        finally:
            writer.close()

    async def _unlocked(self, line: bytes, writer: asyncio.StreamWriter) -> _Answered:
        peer = writer.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        if _CREDENTIALS.unpack(peer)[1] not in (0, os.geteuid()):
            return _Answered("not allowed")
        try:
            asked = msgspec.json.decode(line, type=_Asked)
            token = token_at(place_of(TokenReference.parse(asked.token), self._settings()))
            await asyncio.to_thread(token.unlock, asked.pin)
        except KeyUnavailable as error:
            return _Answered(error.detail or error.reply.text, error.lock if isinstance(error, TokenLocked) else None)
        except (ConfigError, ValueError, msgspec.MsgspecError) as error:
            return _Answered("unreadable" if isinstance(error, msgspec.MsgspecError) else str(error))
        return _Answered()


def unlock(data: Path, reference: str, pin: str) -> int:
    """Unlock a token in every worker of the running node; in how many. Raises KeyUnavailable: one could not, and none after it tried."""
    done, directory = 0, data / "run"
    if not directory.is_dir():
        return 0
    with _entered(directory) as place:
        for path in sorted(place.glob("unlock-*.sock")):
            answer = _asked(path, msgspec.json.encode(_Asked(reference, pin)) + b"\n")
            if answer is None:
                continue
            if answer.refused:
                told = answer.lock if answer.lock in _TOLD else "other"
                said = message(f"identity.not-unlocked.{told}", token=TokenReference.parse(reference).name)
                raise KeyUnavailable(detail=answer.refused, message=said)
            done += 1
    return done


def _asked(path: Path, line: bytes) -> _Answered | None:
    """None when nobody listens there any more."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(PATIENCE)
        try:
            client.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
            return None
        try:
            client.sendall(line)
            with client.makefile("rb") as answer:
                return msgspec.json.decode(answer.readline(MAX_LINE), type=_Answered)
        except (OSError, msgspec.MsgspecError) as error:
            return _Answered(f"the worker does not answer: {error}")


@contextlib.contextmanager
def _entered(directory: Path) -> Iterator[Path]:
    """The directory under a short name: a socket's path has 107 octets at most."""
    descriptor = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield Path(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)
