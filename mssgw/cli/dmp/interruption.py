"""Ctrl-C, SIGTERM, SIGHUP: the first one ends a verb, in order. What is open is closed, a row is left, a sentence said.

While the loop runs, a signal cancels the verb's task. While a person is asked (a blocking read) it raises
`Interrupted` out of the read. Later ones change nothing, until the third, which kills as if nobody listened.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from mssgw import dossier

_ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(dossier.Interrupted):
    """By this signal; `asked`: at a question, so that nothing was sent."""

    def __init__(self, number: int, *, asked: bool = False) -> None:
        super().__init__(signal.Signals(number).name)
        self.number, self.asked = number, asked

    @property
    def status(self) -> int:
        """As a shell tells it."""
        return 128 + self.number


class _Heard:
    """The signals of this verb. One verb runs in a process at a time."""

    number: int = 0
    count: int = 0


_heard: Final = _Heard()


def _listened() -> tuple[signal.Signals, ...]:
    """The signals that end a verb, without those that are ignored already (by nohup, or by a shell for a background job)."""
    return tuple(s for s in _ENDING if signal.getsignal(s) is not signal.SIG_IGN)


@contextmanager
def listening() -> Iterator[None]:
    """Inside a task: the first signal cancels it."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    if task is None:
        raise RuntimeError("not in a task")
    _heard.number = _heard.count = 0

    def came(number: int) -> None:
        _heard.count += 1
        if _heard.count > 2:
            loop.remove_signal_handler(number)
            signal.raise_signal(number)
        if not _heard.number:
            _heard.number = number
            task.cancel(signal.Signals(number).name)  # the audit says it

    listened = _listened()
    with suppress(ValueError, RuntimeError):  # another thread than the first hears no signals
        for one in listened:
            loop.add_signal_handler(one, came, one)
    try:
        yield
    finally:
        for one in listened:
            loop.remove_signal_handler(one)


@contextmanager
def asking() -> Iterator[None]:
    """Around a blocking read: a signal raises Interrupted out of it."""

    def came(number: int, _frame: object) -> None:
        _heard.number = number  # the loop hears it too, later, and has nothing more to do
        raise Interrupted(number, asked=True)

    before = {}
    with suppress(ValueError):
        before = {one: signal.signal(one, came) for one in _listened()}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def interrupted(error: BaseException) -> Interrupted | None:
    """What a cancelled task is, when a signal cancelled it."""
    if isinstance(error, Interrupted):
        return error
    return Interrupted(_heard.number) if _heard.number else None
