"""Mail that the program itself hands in for one of its accounts, as if they had sent it by their mail client."""

from __future__ import annotations

from collections.abc import Sequence

from mssgw import store
from mssgw.core.address import Address
from mssgw.core.body import Body
from mssgw.core.clock import Clock
from mssgw.core.config import Config
from mssgw.core.envelope import Recipient
from mssgw.core.errors import NotFound
from mssgw.flow.transaction import Client
from mssgw.node.services import Services
from mssgw.protocol.mail_data import MailData
from mssgw.protocol.smtp import MailFrom
from mssgw.store import accounts

_HERE = Client("127.0.0.1", "localhost", "ESMTPA")


async def post(config: Config, clock: Clock, octets: bytes, author: Address, recipients: Sequence[Address]) -> str:
    """Queue the message and return its trace once that is durable. The author is an account of this node.

    Checked, signed, encrypted, kept in Sent and audited as what comes by port 587. Raises MailError: what a mail client would be
    told; ConfigError when the store can't be opened.
    """
    opened = await store.open(config, clock, worker="post")
    try:
        account = await opened.read(lambda rx: accounts.by_address(rx, author))
        if account is None:
            raise NotFound(f"No such account: {author}")
        services = await Services.of(config, opened, clock)
        try:
            transaction = await services.submission.begin(_client(account), MailFrom(author, len(octets)))
            for one in recipients:
                await transaction.recipient(Recipient(one))
            return await transaction.accept(MailData.check(Body.of(octets), config.limits))
        finally:
            services.close()
    finally:
        await opened.close()


def _client(account: accounts.Account) -> Client:
    return Client(_HERE.address, _HERE.helo, _HERE.keyword, account=account)
