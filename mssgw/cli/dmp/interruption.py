"""Ctrl-C, SIGTERM, SIGHUP: the first one ends a verb, in order. What is open is closed, a row is left, a sentence said.

While the loop runs, a signal cancels the verb's task. While a person is asked (a blocking read) it raises
`Interrupted` out of the read. Later ones change nothing, until the third, which kills as if nobody listened.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from mssgw import dossier
from mssgw.cli import terminal


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
    """The first signal of one verb."""

    number: int = 0


_heard: Final[ContextVar[_Heard]] = ContextVar("mssgw.cli.dmp.heard")


@contextmanager
def listening() -> Iterator[None]:
    """Inside a task: the first signal cancels it."""
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("not in a task")
    heard = _Heard()
    token = _heard.set(heard)

    def came(number: int) -> None:
        if not heard.number:
            heard.number = number
            task.cancel(signal.Signals(number).name)  # the audit says it

    try:
        with terminal.terminal().listening(came):
            yield
    finally:
        _heard.reset(token)


@contextmanager
def asking() -> Iterator[None]:
    """Around a question: a signal raises Interrupted out of it."""
    try:
        yield
    except terminal.Interrupted as error:
        if (heard := _heard.get(None)) is not None:
            heard.number = error.number  # the loop hears it too, later, and has nothing more to do
        raise Interrupted(error.number, asked=True) from None


def interrupted(error: BaseException) -> Interrupted | None:
    """What a cancelled task is, when a signal cancelled it."""
    if isinstance(error, Interrupted):
        return error
    heard = _heard.get(None)
    return Interrupted(heard.number) if heard is not None and heard.number else None
