"""EnvelopedData and AuthEnvelopedData, made (RFC 5652 6, 5083, 5084), as a stream of definite-length DER.

The size of the content is known before its first octet, so every length is, and ciphertext is written
through: memory does not grow with the message. One content key for all recipients of one message.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher as Primitive
from cryptography.hazmat.primitives.ciphers import algorithms, modes

from mssgw.pki import der
from mssgw.smime.cms.recipients import Recipient
from mssgw.smime.wire import oids
from mssgw.smime.wire.algorithms import Cipher, identifier

NONCE, TAG = 12, 16  # octets, RFC 5084 3.2; nothing else is made or accepted

Octets = bytes | memoryview
Write = Callable[[Any], Any]  # takes Octets


def encrypt(
    content: Iterable[bytes], size: int, recipients: Sequence[Recipient], cipher: Cipher, write: Write, content_type: bytes = oids.DATA
) -> None:
    """Write the ContentInfo that hides `size` octets of `content` from everybody but `recipients`.

    Raises ValueError when the content is not of that size: what was written is then unusable and must be dropped.
    """
    if not recipients:
        raise ValueError("nobody to encrypt to")
    key = os.urandom(cipher.key_size)
    infos = b"".join(sorted([one.wrap(key) for one in recipients]))
    if cipher.authenticated:
        _authenticated(content, size, der.header(der.SET, len(infos)) + infos, cipher, key, write, content_type)
    else:
        version = max(one.version for one in recipients)
        _enveloped(content, size, der.integer(version) + der.header(der.SET, len(infos)) + infos, cipher, key, write, content_type)


def _authenticated(content: Iterable[bytes], size: int, infos: bytes, cipher: Cipher, key: bytes, write: Write, kind: bytes) -> None:
    nonce = os.urandom(NONCE)
    algorithm = identifier(cipher.oid, der.sequence(der.octets(nonce), der.integer(TAG)))  # RFC 5084 3.2: not the default of 12
    _frame(write, oids.AUTH_ENVELOPED_DATA, der.integer(0) + infos, kind + algorithm, size, TAG + 2)
    encryptor = Primitive(algorithms.AES(key), modes.GCM(nonce)).encryptor()
    _pour(content, size, encryptor, write)
    write(der.octets(encryptor.tag))


def _enveloped(content: Iterable[bytes], size: int, head: bytes, cipher: Cipher, key: bytes, write: Write, kind: bytes) -> None:
    vector = os.urandom(cipher.block)
    algorithm = identifier(cipher.oid, der.octets(vector))
    pad = cipher.block - size % cipher.block  # RFC 5652 6.3
    _frame(write, oids.ENVELOPED_DATA, head, kind + algorithm, size + pad, 0)
    encryptor = Primitive(algorithms.AES(key), modes.CBC(vector)).encryptor()
    _pour(content, size, encryptor, write, bytes((pad,)) * pad)


def _frame(write: Write, outer: bytes, head: bytes, kind: bytes, ciphertext: int, after: int) -> None:
    """Everything before the first octet of ciphertext; `after` octets will follow its last one."""
    hidden = kind + der.header(0x80, ciphertext)  # [0] IMPLICIT OCTET STRING
    fields = head + der.header(der.SEQUENCE, len(hidden) + ciphertext) + hidden
    data = der.header(der.SEQUENCE, len(fields) + ciphertext + after) + fields
    info = outer + der.header(0xA0, len(data) + ciphertext + after) + data
    write(der.header(der.SEQUENCE, len(info) + ciphertext + after) + info)


def _pour(content: Iterable[bytes], size: int, encryptor: Any, write: Write, pad: bytes = b"") -> None:
    done = 0
    for chunk in content:
        done += len(chunk)
        write(encryptor.update(chunk))
    if done != size:
        raise ValueError(f"{done} octets of content where {size} were announced")
    if last := (encryptor.update(pad) if pad else b"") + encryptor.finalize():
        write(last)
