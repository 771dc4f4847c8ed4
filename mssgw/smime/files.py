"""S/MIME on files: what the command line needs beside `protect` and `open`, which serve mail in transit."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from mssgw.core.body import Body
from mssgw.core.config.base import Secret
from mssgw.core.pki import Evidence, Purpose
from mssgw.smime import entity, keys
from mssgw.smime.algorithms import MADE
from mssgw.smime.certificates import Certificate
from mssgw.smime.errors import KeyUnavailable, Reason, SmimeError
from mssgw.smime.keys import FileKey, Identity
from mssgw.smime.protecting import Policy, encrypt_to, protect_now


def certificates(path: Path) -> tuple[Certificate, ...]:
    """Certificates of a PEM or DER file. Raises SmimeError, OSError."""
    if path.stat().st_size > keys.MAX_KEY_FILE:
        raise SmimeError(Reason.LIMIT, "file over 1 MB")
    return keys.load_certificates(path.read_bytes())


def identity(found: Sequence[Certificate], key: Path, passphrase: Secret | None) -> Identity:
    """A certificate with the private key in a file. Raises KeyUnavailable when they don't belong together."""
    made = keys.identity(found, FileKey(Secret("file", str(key)), passphrase))
    keys.require_pair(made)
    return made


def sign(body: Body, who: Identity, now: datetime, *, pss: bool, opaque: bool, header_protection: bool) -> tuple[Body, dict[str, Any]]:
    """A signed copy of a message, and what was done. Raises SmimeError, KeyUnavailable."""
    policy = Policy(sign="always", encrypt="never", pss=pss, opaque=opaque, header_protection=header_protection, again=True)
    (made,) = protect_now(body, (), policy, now, who, {}, _not_asked)
    return made.body, {"signed": True, "algorithms": [made.signature], "signer": who.certificate.name, "size": made.body.size}


def _not_asked(_certificate: bytes, _purpose: Purpose, _at: datetime) -> Evidence:
    raise KeyUnavailable(detail="nobody is encrypted to")


def encrypt(body: Body, readers: Sequence[Certificate], cipher: str, *, oaep: bool, experimental: bool) -> tuple[Body, dict[str, Any]]:
    """A copy of a message that only `readers` can read, and what was done. Raises SmimeError."""
    made, ways = encrypt_to(entity.outgoing(body), readers, MADE[cipher], oaep=oaep, experimental=experimental)
    names = [one.name for one in readers]
    return made, {"encrypted": True, "algorithms": [cipher, *dict.fromkeys(ways)], "recipients": names, "size": made.size}
