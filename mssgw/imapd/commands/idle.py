"""IDLE. RFC 2177: what happens in the mailbox is sent at once, until DONE."""

from __future__ import annotations

import asyncio

from mssgw.imapd.registry import Capability, State, command, no_arguments
from mssgw.imapd.replies import Bad, Done
from mssgw.imapd.session import ImapSession

_LINE = 100  # octets of the line that must be DONE


@command("IDLE", no_arguments, State.AUTHENTICATED, brings=[Capability("IDLE")])
async def idle(session: ImapSession, _: None) -> Done:
    session.wire.write(b"+ idling\r\n")
    await session.push(expunge=True, force=True)
    await session.wire.drain()
    done = asyncio.ensure_future(session.wire.line(_LINE))
    news = asyncio.ensure_future(session.rung())
    try:
        async with asyncio.timeout(session.service.idle_seconds):
            while not done.done():
                session.waiting = True
                await asyncio.wait((done, news), return_when=asyncio.FIRST_COMPLETED)
                session.waiting = False
                if news.done():
                    await session.push(expunge=True)
                    await session.wire.drain()
                    news = asyncio.ensure_future(session.rung())
        if done.result().strip().upper() != b"DONE":
            raise Bad("expected DONE")
        return Done("IDLE completed")
    finally:
        done.cancel()
        news.cancel()
        await asyncio.gather(done, news, return_exceptions=True)
