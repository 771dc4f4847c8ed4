"""What every verb shares: options, output for people or as one JSON document, the exit status.

0 what was asked holds, 1 it doesn't (the reason on stderr), 2 the command was used wrongly.
"""

from __future__ import annotations

import asyncio
import json as json_module
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

T = TypeVar("T")

Json = Annotated[bool, typer.Option("--json", help="One JSON document instead of text for people.")]
ConfigFile = Annotated[Path, typer.Option("--config", "-c", metavar="FILE", envvar="MSSGW_CONFIG", help="The configuration of the node.")]


def output(text: str, *, json: bool, document: Any) -> None:
    """Print `text` for people, or `document` for programs."""
    sys.stdout.write((json_module.dumps(document, ensure_ascii=False, default=str) if json else text) + "\n")
    sys.stdout.flush()


def failure(reason: str) -> typer.Exit:
    """To be raised: prints the reason and ends with status 1."""
    sys.stderr.write(reason + "\n")
    return typer.Exit(1)


def run(task: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(task)
