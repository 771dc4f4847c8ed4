"""IMAP4rev1 (RFC 3501) for mail clients, with the extensions of `Session.capabilities`.

    service = Service(config, store, login.authenticate, client_context)
    servers = await serve(service)
    ...
    await servers.stop()

`wire` moves octets, `connection` reads commands and answers, `commands` says who handles what, and one file per family
of commands does it with a `session`; `view` is the selected mailbox as the client knows it. What may be done with
mailboxes is decided in `flow.mailboxes`, what stands on the wire in `protocol.imap_*`.
"""

from mssgw.imapd.server import Servers, serve
from mssgw.imapd.session import Login, Service

__all__ = ["Login", "Servers", "Service", "serve"]
