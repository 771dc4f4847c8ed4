"""Whether a key in a token answers and is that of a certificate: tried once, before anything relies on it."""

from __future__ import annotations

import os

from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from mssgw.smime.cms.signed import Signer
from mssgw.smime.errors import KeyUnavailable, SmimeError
from mssgw.smime.keys.certificates import Certificate
from mssgw.smime.keys.key import Identity, Key

_NOTHING = b"mssgw tries this key"


def require_works(who: Identity) -> None:
    """The key signs what its certificate verifies; one that only opens, opens what is encrypted to it. Blocks.

    Raises KeyUnavailable: it is not there, or another's; SmimeError: nothing can be tried with a certificate of that kind.
    """
    try:
        who.certificate.require_signing_use()
    except SmimeError:
        _require_opens(who.key, who.certificate)
        return
    who.key.sign(_NOTHING, Signer(who).scheme)  # a key in a token verifies what it signed (`tokens.Pkcs11Key`)


def _require_opens(key: Key, own: Certificate) -> None:
    public, secret = own.public_key, os.urandom(32)
    opened = b""
    if isinstance(public, rsa.RSAPublicKey):
        opened = key.decrypt(public.encrypt(secret, padding.PKCS1v15()), None)
    elif isinstance(public, ec.EllipticCurvePublicKey):
        other = ec.generate_private_key(public.curve)
        secret, opened = other.exchange(ec.ECDH(), public), key.agree(other.public_key())
    if opened != secret:
        raise KeyUnavailable(detail=f"the key in the token is not that of {own.name}")
