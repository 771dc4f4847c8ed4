"""SMTP in: the ports of operators, mail clients and the hospital.

    servers = await serve([*profiles.relay(config, inbound.begin, contexts.relay), ...])
    ...
    await servers.stop()

`connection` is what lies below the verbs, `session` has the verbs, `port` counts, `profiles` are policy as data.
Who may send what is decided by the flows that are handed in.
"""

from mssgw.smtpd import profiles
from mssgw.smtpd.port import Port, Profile
from mssgw.smtpd.server import Endpoint, Servers, serve

__all__ = ["Endpoint", "Port", "Profile", "Servers", "profiles", "serve"]
