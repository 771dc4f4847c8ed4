"""`mssgw demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mssgw.core import owner


def demo(
    directory: Annotated[Path, typer.Option("--dir", help="Where it lives; a second start goes on with what is there.")] = Path(".demo"),
    port_base: Annotated[int, typer.Option(min=1024, max=65_000, help="All listeners are on 127.0.0.1, numbered from here.")] = 22_000,
    workers: Annotated[int, typer.Option(min=1, max=16, help="Worker processes of each operator.")] = 1,
    store: Annotated[str | None, typer.Option(help="Store of both operators, each in a file or schema of its own.")] = None,
    once: Annotated[bool, typer.Option("--once", help="Do the main job once, then the refusals, and stop.")] = False,
) -> None:
    """Two operators, the authority and a DMP simulator on this machine."""
    from mssgw.demo.play import Options, play

    owner.become(directory)

    raise typer.Exit(play(Options(directory.absolute(), port_base, workers, store, once)))
