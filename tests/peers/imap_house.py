"""Programs by others against the IMAP server of `tests.imap`: how they are started and what they read."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from tests.imap.conftest import MESSAGE, MailServer, certificate, client_tls, fill, server_tls, small_house

__all__ = ["MESSAGE", "MailServer", "certificate", "client_tls", "fill", "run", "server_tls", "small_house"]


def other_day() -> dict[str, str]:
    """What a program needs to live on the day of `make calendar`."""
    return {name: value for name, value in os.environ.items() if name == "LD_PRELOAD" or name.startswith("FAKETIME")}


async def run(*command: str, home: Path, wanted: int = 0, **environment: str) -> str:
    """The output of a program that must end with the status `wanted`."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={"PATH": os.environ["PATH"], "HOME": str(home), "TERM": "dumb", "LC_ALL": "C.UTF-8", **other_day(), **environment},
        cwd=home,
    )
    try:
        async with asyncio.timeout(60):
            output, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        raise
    text = output.decode("utf-8", "replace")
    assert process.returncode == wanted, f"{' '.join(command)}: {process.returncode}\n{text}"
    return text
