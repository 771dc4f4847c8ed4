"""A bar on standard error for a transfer that takes a while."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

BIG = 512 * 1024
"""Octets from which a transfer shows a bar."""


@contextmanager
def drawn(label: str) -> Iterator[Callable[[int, int], None]]:
    """From the first report of a transfer of BIG octets on. Reported: octets done, and in all or 0 when unknown."""
    from rich.console import Console  # costs more than a verb that shows no bar
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

    with ExitStack() as stack:
        shown = Progress(TextColumn("{task.description}"), BarColumn(), DownloadColumn(), console=Console(stderr=True), transient=True)
        task = shown.add_task(label, total=None)

        def went(done: int, total: int) -> None:
            if not shown.live.is_started:
                if max(done, total) < BIG:
                    return
                stack.enter_context(shown)
            shown.update(task, completed=done, total=total or None)

        yield went
