"""The person a verb speaks to: her terminal, her files, her Ctrl-C. In this process, or at the other end of the agent's socket.

Every verb reaches them through `terminal()`. Which one it is stands in a context variable: an agent runs several verbs at once.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Final, Protocol

import typer

from mssgw.agent import places
from mssgw.agent.bars import drawn

Bar = Callable[[int, int], None]
"""(octets done, octets in all; 0 when unknown)."""

_ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(Exception):
    """A signal came while a person was asked. `number`: which."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class Terminal(Protocol):
    """Where a verb prints, asks, and finds the files that its command line names."""

    @property
    def asks(self) -> bool:
        """A person sits at standard input."""

    def out(self, text: str) -> None:
        """To standard output."""

    def octets(self, content: bytes) -> None:
        """To standard output, as they are."""

    def err(self, text: str) -> None:
        """To standard error."""

    def line(self, prompt: str) -> str:
        """One line typed after the prompt, with its end; "" at the end of input. Blocks. Raises Interrupted."""

    def hidden(self, prompt: str) -> str:
        """The same without being shown. Raises Interrupted."""

    def pin(self) -> str | None:
        """From the descriptor that MSSGW_PIN_FD names; None where it names none."""

    async def entered(self) -> None:
        """Until Enter, or the end of standard input."""

    def bar(self, label: str) -> AbstractContextManager[Bar | None]:
        """For a transfer that takes a while; it is seen from `bars.BIG` octets on, and only at a terminal."""

    def listening(self, came: Callable[[int], None]) -> AbstractContextManager[None]:
        """Inside a task: `came` is called on its loop with the number of each signal that ends a verb."""

    def seen(self, path: Path) -> tuple[str, bool, bool]:
        """See `places.seen`."""

    def opened(self, path: Path, how: str) -> int:
        """See `places.opened`. Raises OSError."""


class Own:
    """Of this process."""

    @property
    def asks(self) -> bool:
        return sys.stdin.isatty()

    def out(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()

    def octets(self, content: bytes) -> None:
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()

    def err(self, text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()

    def line(self, prompt: str) -> str:
        with _interruptible():  # from before the person sees that an answer is waited for
            self.err(prompt)
            return sys.stdin.readline()

    def hidden(self, prompt: str) -> str:
        with _interruptible():
            return str(typer.prompt(prompt, hide_input=True, err=True))

    def pin(self) -> str | None:
        descriptor = os.environ.get("MSSGW_PIN_FD")
        if not descriptor:
            return None
        with os.fdopen(int(descriptor)) as given:
            return given.readline().strip()

    async def entered(self) -> None:
        loop = asyncio.get_running_loop()
        entered = asyncio.Event()
        with suppress(OSError, ValueError):  # a file or /dev/null cannot be waited for: then the clock or the card ends it
            loop.add_reader(sys.stdin, entered.set)
        try:
            await entered.wait()
        finally:
            with suppress(OSError, ValueError):
                loop.remove_reader(sys.stdin)

    @contextmanager
    def bar(self, label: str) -> Iterator[Bar | None]:
        if not sys.stderr.isatty():
            yield None
            return
        with drawn(label) as bar:
            yield bar

    @contextmanager
    def listening(self, came: Callable[[int], None]) -> Iterator[None]:
        loop, listened, count = asyncio.get_running_loop(), _listened(), itertools.count(1)

        def heard(number: int) -> None:
            if next(count) > 2:
                loop.remove_signal_handler(number)
                signal.raise_signal(number)
            came(number)

        with suppress(ValueError, RuntimeError):  # another thread than the first hears no signals
            for one in listened:
                loop.add_signal_handler(one, heard, one)
        try:
            yield
        finally:
            for one in listened:
                loop.remove_signal_handler(one)

    def seen(self, path: Path) -> tuple[str, bool, bool]:
        return places.seen(str(path))

    def opened(self, path: Path, how: str) -> int:
        return places.opened(str(path), how)


def _listened() -> tuple[signal.Signals, ...]:
    """The signals that end a verb, without those that are ignored already (by nohup, or by a shell for a background job)."""
    return tuple(s for s in _ENDING if signal.getsignal(s) is not signal.SIG_IGN)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Around a blocking read: a signal raises Interrupted out of it. The loop hears it too, later."""

    def came(number: int, _frame: object) -> None:
        raise Interrupted(number)

    before = {}
    with suppress(ValueError):
        before = {one: signal.signal(one, came) for one in _listened()}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


_OWN: Final = Own()
_terminal: Final[ContextVar[Terminal]] = ContextVar("mssgw.cli.terminal", default=_OWN)


def terminal() -> Terminal:
    """Whom the verb that runs here speaks to."""
    return _terminal.get()


@contextmanager
def speaking_to(person: Terminal) -> Iterator[None]:
    """Inside, and in what is started there."""
    token = _terminal.set(person)
    try:
        yield
    finally:
        _terminal.reset(token)


def read(path: Path, most: int, allowed: Callable[[int], None]) -> bytes:
    """A file of the command line, at most `most` octets and one more. `allowed` is told its size and raises. Raises OSError."""
    with os.fdopen(terminal().opened(path, places.READ), "rb") as file:
        allowed(os.fstat(file.fileno()).st_size)
        return file.read(most + 1)


def write(path: Path, content: bytes, *, over: bool, durably: bool = False) -> None:
    """Raises OSError; FileExistsError where something stands already, unless `over`."""
    with os.fdopen(terminal().opened(path, places.OVER if over else places.NEW), "wb") as file:
        file.write(content)
        if durably:
            file.flush()
            os.fsync(file.fileno())
