"""A verb that runs in the agent: the terminal of its visitor, and the session that is kept for its actor."""

from __future__ import annotations

import asyncio
import base64
import os
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from pathlib import Path
from typing import Any, Final

from dmp_connector.blocking import Blocking
from mssgw.agent.bars import BIG
from mssgw.agent.frames import PIECE, BadFrame
from mssgw.agent.server import Stopped, Visitor
from mssgw.cli.dmp.interruption import Interrupted
from mssgw.cli.dmp.session import Options, ask_pin
from mssgw.cli.terminal import Bar
from mssgw.cli.terminal import Interrupted as Asked
from mssgw.dossier import Checks, DmpService, DmpSession, Kept, Lasting

_QUEUED: Final = 0.25  # seconds: how often who waits for a turn looks whether its visitor is gone


class Remote:
    """`terminal.Terminal` at the other end of the socket."""

    def __init__(self, visitor: Visitor) -> None:
        self._visitor = visitor

    @property
    def asks(self) -> bool:
        return self._visitor.hello.get("stdin") is True

    def out(self, text: str) -> None:
        self._text("out", text)

    def err(self, text: str) -> None:
        self._text("err", text)

    def _text(self, stream: str, text: str) -> None:
        for start in range(0, len(text), PIECE):
            piece = text[start : start + PIECE]
            self._visitor.tell({stream: piece}, len(piece))

    def octets(self, content: bytes) -> None:
        for start in range(0, len(content), PIECE):
            piece = base64.b64encode(content[start : start + PIECE]).decode("ascii")
            self._visitor.tell({"octets": piece}, len(piece))

    def line(self, prompt: str) -> str:
        return self._asked({"ask": "line", "prompt": prompt})

    def hidden(self, prompt: str) -> str:
        return self._asked({"ask": "hidden", "prompt": prompt})

    def pin(self) -> str | None:
        return self._asked({"ask": "pin"}) if self._visitor.hello.get("pin") is True else None

    def _asked(self, question: dict[str, object]) -> str:
        answer, _ = self._ask(question)
        typed = answer.get("answer")
        return typed if isinstance(typed, str) else ""

    def _ask(self, question: dict[str, object]) -> tuple[dict[str, object], int | None]:
        try:
            return self._visitor.ask(question)
        except Stopped as error:
            raise Asked(error.number) from None

    async def entered(self) -> None:
        loop, entered = asyncio.get_running_loop(), asyncio.Event()
        self._visitor.on_entered(lambda: _soon(loop, entered.set))
        try:
            await entered.wait()
        finally:
            self._visitor.on_entered(None)

    @contextmanager
    def bar(self, label: str) -> Iterator[Bar | None]:
        if self._visitor.hello.get("stderr") is not True:
            yield None
            return
        yield lambda done, total: self._visitor.tell({"bar": [label, done, total]}) if max(done, total) >= BIG else None
        self._visitor.tell({"bar": None})

    @contextmanager
    def listening(self, came: Callable[[int], None]) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        self._visitor.on_signal(lambda number: _soon(loop, came, number))
        try:
            yield
        finally:
            self._visitor.on_signal(None)

    def seen(self, path: Path) -> tuple[str, bool, bool]:
        answer, _ = self._file({"seen": str(path)})
        match answer.get("seen"):
            case [str(kind), bool(placed), bool(writable)]:
                return kind, placed, writable
        raise BadFrame("what is there was not said")

    def opened(self, path: Path, how: str) -> int:
        _, descriptor = self._file({"open": str(path), "how": how})
        if descriptor is None:
            raise BadFrame("no descriptor")
        return descriptor

    def _file(self, question: dict[str, object]) -> tuple[dict[str, object], int | None]:
        answer, descriptor = self._ask(question)
        number = answer.get("errno")
        if isinstance(number, int):
            raise OSError(number, os.strerror(number), str(answer.get("path")))
        return answer, descriptor


def _soon(loop: asyncio.AbstractEventLoop, callback: Callable[..., object], *arguments: object) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(callback, *arguments)


class Actor:
    """The session of one actor, on a loop of its own in a thread of its own: a question to one actor's visitor hinders no other's."""

    def __init__(self, service: DmpService, address: str, checks: Checks, lasting: Lasting) -> None:
        self._loop = Blocking(f"agent {address}")
        self._turn = threading.Lock()
        self._front: Visitor | None = None
        self.kept: Final[Kept] = self._loop.run(_made(service, address, checks, lasting))

    @property
    def asking(self) -> bool:
        """Somebody's verb waits for an answer: who comes now would wait for it as well."""
        return (front := self._front) is not None and front.asking

    def run(self, visitor: Visitor, whole: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """One act after another. Raises Interrupted: the visitor went away before its turn; and what `whole` raises."""
        while not self._turn.acquire(timeout=_QUEUED):
            if visitor.number:
                raise Interrupted(visitor.number, asked=True)
        try:
            self._front = visitor
            self._loop.run(whole())
        finally:
            self._front = None
            self._turn.release()

    def close(self) -> None:
        """End the session and the loop, once the act that runs is over."""
        self._loop.run(self.kept.close())
        self._loop.close()


async def _made(service: DmpService, address: str, checks: Checks, lasting: Lasting) -> Kept:
    return Kept(service, address, checks, lasting)


class InAgent:
    """`session.House` of one visitor."""

    def __init__(self, actor: Actor, visitor: Visitor) -> None:
        self._actor, self._visitor = actor, visitor

    def run(self, options: Options, whole: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._actor.run(self._visitor, whole)

    def session(self, name: str, options: Options) -> AbstractAsyncContextManager[DmpSession]:
        return self._actor.kept.session(pin=ask_pin, act=name, mode=options.mode)
