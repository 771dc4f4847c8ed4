"""IMAP4rev1 (RFC 3501) for mail clients, with the extensions that its commands bring.

    service = Service(config, store, login.authenticate, client_context)
    servers = await serve(service)
    ...
    await servers.stop()

`wire` moves octets, `connection` reads commands and answers; `commands/` has one file for each family of commands, which
are declared there with `registry` and work with a `session`; `view` is the selected mailbox as the client knows it. What
may be done with mailboxes is decided in `flow.mailboxes`, what stands on the wire in `protocol.imap_*` and in the grammar
of each command.
"""

from mssgw.imapd.server import Servers, serve
from mssgw.imapd.session import Login, Service

__all__ = ["Login", "Servers", "Service", "serve"]
