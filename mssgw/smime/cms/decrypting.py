"""EnvelopedData and AuthEnvelopedData, read (RFC 5652 6, 5083, 5084).

Order: find our RecipientInfo by its identifier, unwrap the content key, decrypt as a stream into a private
sink, check tag or padding last. From the moment a RecipientInfo is ours every failure
is the same `Undecryptable`, and a key that can't be unwrapped is replaced by a random one so that the
content is gone through all the same: no oracle in text or in time (docs/reference/crypto.md 9.2, 9.3, 9.12, 9.13).

AuthEnvelopedData takes AES-GCM with a nonce of 12 octets and a tag of 16 and nothing else, EnvelopedData
never takes GCM: the lesson of CVE-2026-34182.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher as Primitive
from cryptography.hazmat.primitives.ciphers import algorithms, modes

from mssgw.pki import der
from mssgw.smime.cms import legacy
from mssgw.smime.cms.enveloped import NONCE, TAG, Octets, Write
from mssgw.smime.cms.unwrapping import MAX_RECIPIENTS, Ours, find
from mssgw.smime.errors import Reason, SmimeError, Undecryptable
from mssgw.smime.keys.key import Identity
from mssgw.smime.wire import oids
from mssgw.smime.wire.algorithms import CIPHERS, Cipher, name_of, split_identifier
from mssgw.smime.wire.ber import Stream


@dataclass(frozen=True, slots=True)
class Decrypted:
    """How a message was hidden. The plaintext is in the sink."""

    cipher: Cipher
    transport: str  # "rsa-oaep", "ecdh-sha256", ...
    reader: Identity
    content_type: bytes  # OID of what was inside

    @property
    def authenticated(self) -> bool:
        return self.cipher.authenticated


@dataclass(frozen=True, slots=True)
class Reading:
    """What we are ready to read: policy as data."""

    legacy: bool = False  # 3DES and RC2 (docs/reference/crypto.md 2.1)
    experimental: bool = False  # ML-KEM, ML-DSA


MODERN: Final = Reading()


def decrypt(source: Callable[[], Stream], readers: Sequence[Identity], write: Callable[[], Write], reading: Reading = MODERN) -> Decrypted:
    """Decrypt the ContentInfo that `source()` streams into `write()`.

    Both are called again when authenticated attributes after the content make a second pass necessary.
    Raises SmimeError (NO_KEY when no recipient is one of `readers`), Undecryptable, KeyUnavailable.
    """
    found = _pass(source(), readers, write(), reading, b"")
    if isinstance(found, bytes):
        found = _pass(source(), readers, write(), reading, found)
    assert isinstance(found, Decrypted)
    return found


def _pass(stream: Stream, readers: Sequence[Identity], write: Write, reading: Reading, additional: bytes) -> Decrypted | bytes:
    """One pass. Returns the authenticated attributes when they are needed and were not given."""
    kind, infos, content_type, cipher, nonce = _read_head(stream, reading)
    ours = find(infos, readers, old=reading.legacy, experimental=reading.experimental)
    key = _content_key(ours, cipher)
    decryptor = _decryptor(cipher, key, nonce)
    if additional:
        decryptor.authenticate_additional_data(additional)
    held = _pour(stream.octets(0x80), decryptor, write, cipher)
    stream.leave()
    attributes, tag = _after_content(stream, kind)
    if attributes and not additional:
        _check_attributes(attributes, content_type)
        return b"\x31" + attributes[1:]  # RFC 5083 2.2: the DER of a SET is what is authenticated
    _finish(stream)
    _conclude(decryptor, cipher, tag, held, write)
    return Decrypted(cipher, ours.name, ours.reader, content_type)


def require_hidden(stream: Stream) -> None:
    """Read a ContentInfo to its end without any key: it must hide something from everybody but its readers.

    Raises SmimeError (another type, no reader, a cipher we refuse), BerError, DerError.
    """
    kind, infos, _type, cipher, _nonce = _read_head(stream, MODERN)
    if not der.inside(infos, der.whole(infos, der.SET), der.SET, MAX_RECIPIENTS):
        raise SmimeError(Reason.MALFORMED, "nobody can read it")
    size = sum(len(chunk) for chunk in stream.octets(0x80))
    if not size or (not cipher.authenticated and size % cipher.block):
        raise SmimeError(Reason.MALFORMED, "not what this cipher makes")
    stream.leave()
    _after_content(stream, kind)
    _finish(stream)


def _read_head(stream: Stream, reading: Reading) -> tuple[bytes, bytes, bytes, Cipher, bytes]:
    """(structure, RecipientInfos, type of the content, cipher, nonce); what follows is the ciphertext."""
    stream.enter(der.SEQUENCE)
    kind = stream.element(64)
    if kind not in (oids.ENVELOPED_DATA, oids.AUTH_ENVELOPED_DATA):
        raise SmimeError(Reason.UNSUPPORTED, f"content type {_oid_name(kind)}")
    stream.enter(0xA0)
    stream.enter(der.SEQUENCE)
    stream.element(16)  # version: follows from the structure
    if stream.peek() == 0xA0:
        stream.element()  # originatorInfo: certificates we don't use
    infos = stream.element()
    stream.enter(der.SEQUENCE)
    content_type = stream.element(64)
    cipher, nonce = _read_cipher(stream.element(256), kind == oids.AUTH_ENVELOPED_DATA, reading)
    if stream.peek() not in (0x80, 0xA0):
        raise SmimeError(Reason.MALFORMED, "no encrypted content")
    return kind, infos, content_type, cipher, nonce


def _finish(stream: Stream) -> None:
    for _ in range(3):
        stream.leave()
    stream.finish()


def _oid_name(element: bytes) -> str:
    return name_of(element) if element[:1] == b"\x06" else "unreadable"


def _after_content(stream: Stream, kind: bytes) -> tuple[bytes, bytes]:
    """(authAttrs or b"", mac or b"")."""
    if kind == oids.ENVELOPED_DATA:
        while stream.more():
            stream.element()  # unprotectedAttrs
        return b"", b""
    attributes = stream.element() if stream.peek() == 0xA1 else b""
    mac = stream.element(64)
    while stream.more():
        stream.element()  # unauthAttrs
    return attributes, der.octet_content(mac, der.whole(mac, mac[0]))


def _check_attributes(attributes: bytes, content_type: bytes) -> None:
    """RFC 5083 2.1: a content type attribute must agree with the structure."""
    for one in der.inside(attributes, der.whole(attributes, 0xA1), 0xA1):
        oid, values = der.inside(attributes, one, der.SEQUENCE, 2, 2)
        if attributes[oid[1] : oid[3]] == oids.CONTENT_TYPE and attributes[values[2] : values[3]] != content_type:
            raise SmimeError(Reason.ATTRIBUTES, "authenticated content type differs")


# --- content cipher -----------------------------------------------------------------------------------------------------


def _read_cipher(algorithm: bytes, authenticated: bool, reading: Reading) -> tuple[Cipher, bytes]:
    oid, parameters = split_identifier(algorithm)
    cipher = CIPHERS.get(oid)
    if cipher is None or cipher.authenticated != authenticated:
        raise SmimeError(Reason.UNSUPPORTED, f"content cipher {name_of(oid)} in this structure")
    if cipher.legacy and not reading.legacy:
        raise SmimeError(Reason.WEAK, cipher.name)
    if authenticated:
        fields = der.inside(parameters, der.whole(parameters), der.SEQUENCE, 2, 1)
        nonce = der.octet_content(parameters, fields[0])
        tag = der.small_integer(parameters, fields[1]) if len(fields) > 1 else 12  # RFC 5084 3.2: DEFAULT 12
        if len(nonce) != NONCE or tag != TAG:
            raise SmimeError(Reason.WEAK, f"GCM with a nonce of {len(nonce)} and a tag of {tag} octets")
        return cipher, nonce
    if oid == oids.RC2_CBC:
        cipher, nonce = legacy.read_rc2(parameters)
    else:
        nonce = der.octet_content(parameters, der.whole(parameters, der.OCTET_STRING))
    if len(nonce) != cipher.block:
        raise SmimeError(Reason.MALFORMED, f"initialisation vector of {len(nonce)} octets")
    return cipher, nonce


def _decryptor(cipher: Cipher, key: bytes, nonce: bytes) -> Any:
    if cipher.authenticated:
        return Primitive(algorithms.AES(key), modes.GCM(nonce)).decryptor()
    if not cipher.legacy:
        return Primitive(algorithms.AES(key), modes.CBC(nonce)).decryptor()
    return legacy.decryptor(cipher, key, nonce)


def _pour(chunks: Iterable[Octets], decryptor: Any, write: Write, cipher: Cipher) -> bytes:
    """Decrypt all chunks; with CBC the last block is held back, it may be padding."""
    update = decryptor.update
    if cipher.authenticated:
        for chunk in chunks:
            write(update(chunk))
        return b""
    held = b""
    for chunk in chunks:
        if plain := update(chunk):
            if held:
                write(held)
            held = plain[-cipher.block :]
            write(memoryview(plain)[: -cipher.block])
    return held


def _conclude(decryptor: Any, cipher: Cipher, tag: bytes, held: bytes, write: Write) -> None:
    try:
        if cipher.authenticated:
            if len(tag) != TAG:
                raise Undecryptable
            decryptor.finalize_with_tag(tag)
            return
        decryptor.finalize()
    except (InvalidTag, ValueError):
        raise Undecryptable from None
    pad = held[-1] if held else 0
    if len(held) != cipher.block or not 1 <= pad <= cipher.block or not hmac.compare_digest(held[-pad:], bytes((pad,)) * pad):
        raise Undecryptable
    write(held[:-pad])


def _content_key(ours: Ours, cipher: Cipher) -> bytes:
    """The content key, or a random one when it can't be had (docs/reference/crypto.md 9.12)."""
    spare = os.urandom(cipher.key_size)
    try:
        key = ours.unwrap()
    except Undecryptable:
        return spare
    if cipher.oid == oids.DES_EDE3_CBC and len(key) == 16:
        key += key[:8]
    return key if len(key) == cipher.key_size else spare
