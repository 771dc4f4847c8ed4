"""Where cryptography runs: never on the event loop, on as many threads as there are cores, no more.

RSA, AES, SHA and base64 release the GIL for their whole run (docs/reference/crypto.md 4.3), so threads are enough. Keys
that wait for hardware have an executor of their own, so that a slow token delays nobody else.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import cache
from typing import Any, TypeVar

T = TypeVar("T")


@cache
def _shared() -> Executor:
    return ThreadPoolExecutor(max_workers=len(os.sched_getaffinity(0)), thread_name_prefix="smime")


async def run(executor: Executor | None, work: Callable[..., T], *arguments: Any) -> T:
    """Run blocking work in the executor, or in the shared pool of all cores."""
    return await asyncio.get_running_loop().run_in_executor(executor or _shared(), work, *arguments)
