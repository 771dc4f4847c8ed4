"""One letter out and one letter in, on each engine of the store, with several clients at once."""

from __future__ import annotations

import asyncio

import pytest

from mssgw.core.address import Address
from mssgw.flow.inbound import Inbound
from mssgw.flow.protection import Protection
from mssgw.flow.resources import Resources
from mssgw.flow.submission import Submission
from mssgw.protocol.smtp import MailFrom
from mssgw.store import accounts, audit, mailboxes, queue
from mssgw.store.accounts import NewAccount
from tests.flow.conftest import HERE, checked, client_of, distrust, peer, rcpt

MANY = 40


@pytest.fixture
def resources(config, store, clock) -> Resources:
    return Resources.of(config, store, clock, Protection.of(config, clock, distrust, {}))


async def test_many_at_once(resources, store, trust) -> None:
    jeanne = await store.write(lambda tx: accounts.add(tx, NewAccount(Address("jeanne.martin", HERE))))
    submission, inbound = Submission(resources, trust), Inbound(resources, trust)

    async def out(number: int) -> str:
        transaction = await submission.begin(client_of(jeanne), MailFrom(jeanne.address))
        for recipient in (f"a{number}@beta.mssante.test", "b@gamma.mssante.test", f"jeanne.martin@{HERE}"):
            await transaction.recipient(rcpt(recipient))
        letter = b"From: jeanne.martin@alpha.mssante.test\r\n\r\nout %d\r\n" % number
        return await transaction.accept(checked(letter + (b"x" * 998 + b"\r\n") * 3 * number))

    async def into(number: int) -> str:
        transaction = await inbound.begin(peer(b"beta"), MailFrom(Address.parse("durand@beta.mssante.test")))
        await transaction.recipient(rcpt(f"jeanne.martin@{HERE}"))
        return await transaction.accept(checked(b"From: durand@beta.mssante.test\r\nMessage-ID: <%d@beta>\r\n\r\nin\r\n" % (number // 2)))

    traces = await asyncio.gather(*map(out, range(MANY)), *map(into, range(MANY)))
    assert len(set(traces)) == 2 * MANY
    box = await store.read(lambda rx: mailboxes.by_name(rx, jeanne.id, "INBOX"))
    assert box.messages == MANY + MANY // 2  # every second incoming letter repeats the one before
    assert (await store.read(queue.count)).waiting == 2 * MANY
    for trace in traces[MANY:]:
        found = [row.what for row in await store.read(lambda rx, trace=trace: audit.find(rx, trace=trace))]
        assert found in (["received", "delivered"], ["received", "duplicate"])
