"""Helpers that tests share."""

import asyncio

from mssgw.core.address import Address


def address(text):
    return Address.parse(text)


async def turns(count=10):
    """Let everything that is ready run."""
    for _ in range(count):
        await asyncio.sleep(0)
