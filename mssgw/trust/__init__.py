"""Who may talk to whom: the signed whitelist, the pinned authorities, revocation, and TLS.

anchors, paths, revocation    the pinned validator
whitelist, xmlsig, space      the list: verified, read, asked
fetch, feed, refresh, disk    the background
tls, contexts                 one context per role
faults, decisions             the reason of a refusal, in one sentence; every decision reported once
service                       Trust, the interface for all other areas
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mssgw.trust.decisions import Decision, Step
    from mssgw.trust.service import Trust
    from mssgw.trust.space import Operator, TrustSpace
    from mssgw.trust.tls import Identity

__all__ = ["Decision", "Identity", "Operator", "Step", "Trust", "TrustSpace"]
_HOMES = {"Decision": "decisions", "Step": "decisions", "Trust": "service", "Operator": "space", "TrustSpace": "space", "Identity": "tls"}


def __getattr__(name: str) -> Any:
    """Loaded when used: the process that reads a list (whitelist.py) needs none of them, and starts three times as fast."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
