"""The library for a program without an event loop: its loop runs in a thread of its own, and each call waits for the answer.

    with Blocking() as loop:
        dmp = loop.enter(Dmp(settings, signer))
        dossier = loop.run(dmp.td02_existence(call))

What runs beside the calls (a card that is watched, its TLS relay) goes on between them.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from types import TracebackType
from typing import Any, Self, TypeVar

T = TypeVar("T")


class Blocking:
    """One event loop in a thread. Safe for threads: what several of them run at once is run at once. Ends with `close`, or as a context."""

    def __init__(self, name: str = "dmp_connector") -> None:
        """`name`: of the thread."""
        self._loop = asyncio.new_event_loop()
        self._entered = AsyncExitStack()
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T], *, seconds: float | None = None) -> T:
        """The result, or the error that it raises; never called from the loop itself.

        Raises TimeoutError after `seconds`: the work is cancelled. It is cancelled by Ctrl-C as well, and ends before KeyboardInterrupt
        goes on.
        """
        task: list[asyncio.Task[T]] = []
        over = threading.Event()

        def begin() -> None:
            task.append(self._loop.create_task(_bounded(work, seconds)))
            task[0].add_done_callback(lambda _: over.set())

        self._loop.call_soon_threadsafe(begin)
        try:
            over.wait()
        except KeyboardInterrupt:  # it still has something to close: a row is left of each act that is stopped
            self._loop.call_soon_threadsafe(lambda: task[0].cancel("SIGINT"))
            over.wait()
            raise
        return task[0].result()

    def enter(self, context: AbstractAsyncContextManager[T]) -> T:
        """What `async with` gives; it is left, the last one first, when this is closed."""
        return self.run(self._entered.enter_async_context(context))

    def close(self) -> None:
        """Leave what was entered, and end the loop; a second time does nothing. Raises what leaving raises, after the loop is ended."""
        if self._loop.is_closed():
            return
        try:
            self.run(self._entered.aclose())
        finally:
            self.run(self._loop.shutdown_asyncgens())
            self.run(self._loop.shutdown_default_executor())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


async def _bounded(work: Coroutine[Any, Any, T], seconds: float | None) -> T:
    async with asyncio.timeout(seconds):
        return await work
