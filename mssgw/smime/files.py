"""S/MIME on files: what the command line needs beside `protect` and `open`, which serve mail in transit."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import pybase64

from mssgw.core.body import Body, BodyWriter
from mssgw.core.message import Headers
from mssgw.pki.judgement import Evidence, Purpose
from mssgw.smime import entity
from mssgw.smime.errors import FileProblem, KeyFileError, KeyUnavailable
from mssgw.smime.keys import files as keyfiles
from mssgw.smime.keys import key as keys
from mssgw.smime.keys.certificates import Certificate
from mssgw.smime.keys.files import Material
from mssgw.smime.keys.key import Identity, SoftKey
from mssgw.smime.protecting import Policy, encrypt_to, protect_now
from mssgw.smime.wire import oids
from mssgw.smime.wire.algorithms import MADE

MAX_HEADER: Final = 1 << 20
_CMS: Final = (oids.SIGNED_DATA, oids.ENVELOPED_DATA, oids.AUTH_ENVELOPED_DATA, oids.COMPRESSED_DATA)
_ARMOUR: Final = tuple(
    b"-----BEGIN %b-----" % label for label in (b"CMS", b"PKCS7", b"SIGNED MESSAGE", b"ENCRYPTED MESSAGE", b"CMS OBJECT")
)  # openssl's two, then gpgsm's
_HEADER: Final = b"MIME-Version: 1.0\r\nContent-Type: application/pkcs7-mime; name=smime.p7m\r\nContent-Transfer-Encoding: %b\r\n\r\n"


def material(path: Path, passphrase: bytes | None = None) -> Material:
    """What stands in a file of keys or certificates. Raises KeyFileError, which names the file, OSError."""
    try:
        if path.stat().st_size > keyfiles.MAX_FILE:
            raise KeyFileError(FileProblem.TOO_LARGE)
        return keyfiles.read(path.read_bytes(), passphrase)
    except KeyFileError as error:
        raise error.at(path) from error


def certificates(path: Path, now: datetime, passphrase: bytes | None = None) -> tuple[Certificate, ...]:
    """Certificates of a file, the holder's that is valid at `now` first. Raises KeyFileError, OSError."""
    found = material(path, passphrase)
    try:
        return keyfiles.holder_first(found.require_certificates(), now)
    except KeyFileError as error:
        raise error.at(path) from error


def identity(
    cert: Path | None, key: Path, now: datetime, passphrase: bytes | None = None, chain: Path | None = None, *, weak: bool = False
) -> Identity:
    """The private key in a file with its certificate that is valid at `now`, which stands in `cert`, in `chain` or beside the key.

    `weak`: a key too short for use today may still read old messages. Raises KeyFileError, OSError.
    """
    beside = material(key, passphrase)
    given = [one for path in (cert, chain) if path for one in certificates(path, now, passphrase)]
    found = tuple(dict.fromkeys([*given, *beside.certificates]))
    try:
        if not found:
            raise beside.problem or KeyFileError(FileProblem.NO_CERTIFICATE)  # a PKCS#12 that could not be opened may hold it
        _ = beside.key
        made = _paired(found, beside.keys, now)
        if not weak:
            keys.require_pair(made)
    except KeyFileError as error:
        raise error.at(key) from error
    return made


def _paired(found: Sequence[Certificate], private: Sequence[Any], now: datetime) -> Identity:
    for own in keyfiles.valid_first(found, now):
        for one in private:
            if keyfiles.belongs(one, own):
                return Identity(own, SoftKey(one), tuple(each for each in found if each != own and not each.self_issued))
    raise KeyFileError(FileProblem.NOT_OF_CERTIFICATE)


def is_message(body: Body) -> bool:
    """Whether it begins with header fields, or an empty line. The first lines of a plain text file would be lost as a header."""
    start = entity.header_end(body)
    if start > MAX_HEADER:
        return False
    fields = Headers.parse(body.read(0, start)).fields
    return all(field.name or (at == 0 and field.raw.startswith(b"From ")) for at, field in enumerate(fields))  # mbox has such a line


def headers(body: Body) -> Headers:
    return Headers.parse(body.read(0, min(entity.header_end(body), MAX_HEADER)))


def as_message(body: Body) -> Body:
    """A bare CMS structure (a saved smime.p7m; PEM or base64 of it) as the message it was an attachment of."""
    start = body.read(0, 4096)
    if _is_cms(start):
        return _wrapped(body, 0, body.size, b"binary")
    text = start.lstrip()
    first = len(start) - len(text)
    if text.startswith(_ARMOUR):
        first += text.index(b"\n") + 1 if b"\n" in text else len(text)
        tail = body.read(max(first, body.size - 4096))
        last = tail.rfind(b"-----END")
        return _wrapped(body, first, body.size - (len(tail) - last if last >= 0 else 0), b"base64")
    letters = b"".join(text[:400].split())[:64]
    try:
        return _wrapped(body, first, body.size, b"base64") if _is_cms(pybase64.b64decode(letters, validate=True)) else body
    except ValueError:
        return body


def _is_cms(start: bytes) -> bool:
    """ContentInfo, by its first octets: SEQUENCE, a length of some form, the content type."""
    return start[:1] == b"0" and any(start[2:].startswith(oid, skip) for oid in _CMS for skip in range(5))


def _wrapped(body: Body, start: int, stop: int, encoding: bytes) -> Body:
    writer = BodyWriter()
    writer.write(_HEADER % encoding)
    for at in range(start, stop, 1 << 20):
        writer.write(body.read(at, min(1 << 20, stop - at)))
    return writer.finish()


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
