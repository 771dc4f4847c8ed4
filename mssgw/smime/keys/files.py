"""Files with private keys and certificates, in every shape that programs write them.

    PEM        blocks in any order, with any text before, between and behind them ("Bag Attributes" of openssl):
               CERTIFICATE, X509 or TRUSTED CERTIFICATE, PKCS7, PKCS12, PRIVATE KEY (PKCS#8), ENCRYPTED PRIVATE KEY,
               RSA PRIVATE KEY (PKCS#1) and EC PRIVATE KEY (SEC1), both also encrypted as OpenSSL once did
    DER        a certificate, a certificate chain (p7b), a key of each kind above, PKCS#12
    base64     of any of that DER, without the lines around it
    UTF-16     of any of that text, as Windows writes it

`read` takes all of it; what can't be opened is remembered, and raised only when it is needed: a bundle whose
key is encrypted still gives its certificates. Files come from outside too (a recipient's certificate), so all is
bounded: 1 MB, 100 blocks, ten million iterations. Errors say no more of a passphrase than "missing" or "wrong".
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import pybase64
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import pkcs7, pkcs12

from mssgw.pki import der
from mssgw.pki.certificates import BROKEN
from mssgw.pki.policy import MAX_RSA_BITS
from mssgw.smime.errors import FileProblem, KeyFileError, SmimeError
from mssgw.smime.keys.certificates import Certificate, certificate

MAX_FILE: Final = 1024 * 1024
MAX_BLOCKS: Final = 100
MAX_ELEMENTS: Final = 10_000
MAX_ITERATIONS: Final = 10_000_000  # openssl makes 2,048, a careful program a million; ours takes 3 s for this
MAX_SCRYPT: Final = 1 << 23  # cost times block size: 1 GiB
_BEGIN = re.compile(rb"-----BEGIN ([A-Z0-9 ]{1,40})-----")
_CERTIFICATES = (b"CERTIFICATE", b"X509 CERTIFICATE", b"TRUSTED CERTIFICATE")
_KEYS = (b"PRIVATE KEY", b"ENCRYPTED PRIVATE KEY", b"RSA PRIVATE KEY", b"EC PRIVATE KEY")
_SIGNED_DATA: Final = der.oid("1.2.840.113549.1.7.2")


@dataclass(frozen=True, slots=True)
class Material:
    """What a file holds, in its order. `problem` is the first thing in it that could not be opened."""

    keys: tuple[Any, ...] = ()
    certificates: tuple[Certificate, ...] = ()
    problem: KeyFileError | None = None

    @property
    def key(self) -> Any:
        """The first private key. Raises KeyFileError with the reason when there is none."""
        if self.keys:
            return self.keys[0]
        raise self.problem or KeyFileError(FileProblem.NO_KEY)

    @property
    def certificate(self) -> Certificate | None:
        """The certificate of that key, when it is here."""
        return next((one for one in self.certificates if belongs(self.key, one)), None)

    @property
    def chain(self) -> tuple[Certificate, ...]:
        return tuple(one for one in self.certificates if one != self.certificate)

    def require_certificates(self) -> tuple[Certificate, ...]:
        """In the order of the file: `holder_first` finds the holder's. Raises KeyFileError."""
        if not self.certificates:
            raise self.problem or KeyFileError(FileProblem.NO_CERTIFICATE)
        return self.certificates


def read(data: bytes, passphrase: bytes | None = None) -> Material:
    """Everything in a file. Raises KeyFileError when it is none of the shapes above."""
    if len(data) > MAX_FILE:
        raise KeyFileError(FileProblem.TOO_LARGE)
    data = _without_mark(data)
    if not data.strip():
        raise KeyFileError(FileProblem.EMPTY)
    found = _Found(passphrase)
    if not found.der(data):
        if _BEGIN.search(data):
            found.pem(data)
        elif not found.der(_unarmoured(data)):
            raise KeyFileError(FileProblem.UNKNOWN_FORMAT)
    return Material(tuple(found.keys), tuple(dict.fromkeys(found.certificates)), found.problem)


def belongs(key: Any, one: Certificate) -> bool:
    """Whether a private key is that of a certificate."""
    try:
        return is_of(key.public_key(), one)
    except BROKEN:
        return False


def is_of(public: Any, one: Certificate) -> bool:
    """Whether a public key is that of a certificate."""
    try:
        return spki(public) == spki(one.parsed.public_key())
    except (SmimeError, *BROKEN):
        return False


def spki(public: Any) -> bytes:
    """SubjectPublicKeyInfo of a public key, DER."""
    octets: bytes = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return octets


def valid_first(certificates: Sequence[Certificate], now: datetime) -> list[Certificate]:
    """The first that is valid at `now` stands first, the others behind it as they were."""

    def invalid(one: Certificate) -> bool:
        try:
            return not one.valid_at(now)
        except (SmimeError, *BROKEN):
            return True

    return sorted(certificates, key=invalid)


def holder_first(certificates: Sequence[Certificate], now: datetime) -> tuple[Certificate, ...]:
    """The certificate that issued none of the others comes first: bundles stand in any order. Of a renewed one, the one valid at `now`."""
    issuers = {one.issuer_der for one in certificates if not one.self_issued}
    leaf = valid_first([one for one in certificates if one.subject_der not in issuers] or certificates, now)[0]
    return (leaf, *(one for one in certificates if one != leaf))


def _without_mark(data: bytes) -> bytes:
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", "replace").encode("ascii", "replace")
    return data.removeprefix(b"\xef\xbb\xbf")


class _Found:
    """Collects; remembers the first problem and goes on."""

    def __init__(self, passphrase: bytes | None) -> None:
        self.passphrase = passphrase
        self.keys: list[Any] = []
        self.certificates: list[Certificate] = []
        self.problem: KeyFileError | None = None

    def _failed(self, problem: FileProblem, what: str = "") -> None:
        self.problem = self.problem or KeyFileError(problem, what)

    # --- PEM

    def pem(self, data: bytes) -> None:
        for number, (label, content) in enumerate(_blocks(data)):
            if number >= MAX_BLOCKS:
                raise KeyFileError(FileProblem.TOO_LARGE)
            if content is None:
                self._failed(FileProblem.DAMAGED, f"{label.decode()} without its end")
            elif label in _KEYS:
                self._key(label, content)
            elif label in _CERTIFICATES:
                self._certificate(_unarmoured(content))
            elif label in (b"PKCS12", b"PKCS7", b"CMS"):
                if not self.der(_unarmoured(content)):
                    self._failed(FileProblem.DAMAGED, label.decode())
            elif label not in (b"EC PARAMETERS", b"X509 CRL"):
                self._failed(FileProblem.UNSUPPORTED, label.decode())

    def _key(self, label: bytes, content: bytes) -> None:
        lines = b"\n".join(line.strip() for line in content.strip().splitlines())
        self._load(serialization.load_pem_private_key, b"-----BEGIN %b-----\n%b\n-----END %b-----\n" % (label, lines, label))

    # --- DER

    def der(self, data: bytes) -> bool:
        """One DER element, by its first fields. Returns False when it is none that we know."""
        try:
            fields = der.inside(data, der.read(data, 0, len(data)), der.SEQUENCE, 64, 1)
        except (der.DerError, ValueError, IndexError):
            # PKCS#12 of NSS and Windows is BER, of no definite length.
            return data[:2] == b"0\x80" and data[2:5] == b"\x02\x01\x03" and self._pkcs12(data)
        tag, start, end = fields[0][0], fields[0][2], fields[0][3]
        if tag == der.INTEGER:
            return self._pkcs12(data) if data[start:end] == b"\x03" else self._load(serialization.load_der_private_key, data)
        if tag == 0x06:
            return data[fields[0][1] : end] == _SIGNED_DATA and self._pkcs7(data)
        if tag == der.SEQUENCE and len(fields) >= 3:
            return self._certificate(data)
        return tag == der.SEQUENCE and self._load(serialization.load_der_private_key, data)  # EncryptedPrivateKeyInfo

    def _certificate(self, data: bytes) -> bool:
        try:
            end = der.read(data, 0, len(data))[3]  # what follows in a TRUSTED CERTIFICATE are OpenSSL's remarks
            self.certificates.append(certificate(data[:end]))
        except (SmimeError, der.DerError, ValueError, IndexError):
            self._failed(FileProblem.DAMAGED, "CERTIFICATE")
        return True

    def _load(self, load: Any, data: bytes) -> bool:
        try:
            self.keys.append(_private(load, data, self.passphrase))
        except KeyFileError as error:
            self.problem = self.problem or error
        return True

    def _pkcs7(self, data: bytes) -> bool:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # a SET that is not in DER order, as openssl writes it
                loaded = pkcs7.load_der_pkcs7_certificates(data)
            if len(loaded) > MAX_BLOCKS:
                raise KeyFileError(FileProblem.TOO_LARGE)
            self.certificates += [certificate(one.public_bytes(serialization.Encoding.DER)) for one in loaded]
        except (SmimeError, *BROKEN):
            self._failed(FileProblem.DAMAGED, "PKCS7")
        return True

    def _pkcs12(self, data: bytes) -> bool:
        try:
            require_cheap(data)
            bundle = _opened(data, self.passphrase)
            held = [one.certificate for one in (bundle.cert, *bundle.additional_certs) if one]
            if len(held) > MAX_BLOCKS:
                raise KeyFileError(FileProblem.TOO_LARGE)
            self.certificates += [certificate(one.public_bytes(serialization.Encoding.DER)) for one in held]
            if bundle.key is not None:
                self.keys.append(bundle.key)
        except KeyFileError as error:
            self.problem = self.problem or error
        except UnsupportedAlgorithm:
            self._failed(FileProblem.UNSUPPORTED, "PKCS12")
        except (SmimeError, *BROKEN):  # damage and a wrong passphrase look the same here
            self._failed(FileProblem.PASSPHRASE_WRONG if self.passphrase is not None else FileProblem.PASSPHRASE_MISSING, "PKCS12")
        return True


def _opened(data: bytes, passphrase: bytes | None) -> pkcs12.PKCS12KeyAndCertificates:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # BER, as NSS and Windows write it
        try:
            return pkcs12.load_pkcs12(data, passphrase)
        except ValueError:
            if passphrase is None:
                raise
            return pkcs12.load_pkcs12(data, None)  # the key has none: the passphrase was meant for another file


def _private(load: Any, data: bytes, passphrase: bytes | None) -> Any:
    """One private key. A passphrase that was not needed does no harm. Raises KeyFileError."""
    try:
        try:
            return load(data, None)
        except TypeError:  # encrypted
            return _unsealed(load, data, passphrase)
        except ValueError:
            return _with_right_exponents(load(data, None, unsafe_skip_rsa_key_validation=True))
    except UnsupportedAlgorithm as error:
        raise KeyFileError(FileProblem.UNSUPPORTED) from error
    except (ValueError, TypeError, OverflowError) as error:
        raise KeyFileError(FileProblem.DAMAGED) from error


def _unsealed(load: Any, data: bytes, passphrase: bytes | None) -> Any:
    """An encrypted private key. One wrong passphrase in 256 gives good padding and a broken key: both are the same error."""
    if passphrase is None:
        raise KeyFileError(FileProblem.PASSPHRASE_MISSING)
    require_cheap(data if data[:1] == b"0" else _unarmoured(data.partition(b"-----\n")[2].partition(b"-----")[0]))
    try:
        return load(data, passphrase)
    except (ValueError, TypeError, OverflowError) as error:
        raise KeyFileError(FileProblem.PASSPHRASE_WRONG) from error


def _with_right_exponents(key: Any) -> Any:
    """GnuPG exports RSA keys whose CRT exponents are those of the swapped primes. Raises ValueError when more is wrong."""
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ValueError("not a key")
    numbers = key.private_numbers()
    p, q, d = numbers.p, numbers.q, numbers.d
    if min(p, q) < 3 or p.bit_length() + q.bit_length() > MAX_RSA_BITS + 1:
        raise ValueError("not a key")
    return rsa.RSAPrivateNumbers(
        p, q, d, rsa.rsa_crt_dmp1(d, p), rsa.rsa_crt_dmq1(d, q), rsa.rsa_crt_iqmp(p, q), numbers.public_numbers
    ).private_key()  # all of it is validated here


def require_cheap(data: bytes) -> None:
    """Limits on the key derivation that a file asks for: iterations of PBKDF2 and PKCS#12, memory of scrypt. Raises KeyFileError.

    Found by their shape, a salt and then numbers, wherever they stand in definite DER; PKCS#12 nests it in octet strings.
    """
    waiting, seen = [(0, len(data))], 0
    while waiting and seen < MAX_ELEMENTS:
        start, end = waiting.pop()
        try:
            found = der.split(data, start, end, MAX_BLOCKS)
        except der.DerError:
            continue  # an octet string of something else, or nothing for us to open
        seen += len(found)
        for at, (tag, _, inner, stop) in enumerate(found):
            if tag & 0x20 or (tag in (der.OCTET_STRING, 0x80) and data[inner : inner + 1] == b"0"):
                waiting.append((inner, stop))
            elif tag == der.OCTET_STRING:
                _require_cheap([int.from_bytes(data[one[2] : one[3]], "big") for one in found[at + 1 : at + 4] if one[0] == der.INTEGER])


def _require_cheap(numbers: Sequence[int]) -> None:
    costly = numbers[0] * numbers[1] > MAX_SCRYPT or numbers[2] > 64 if len(numbers) == 3 else bool(numbers) and numbers[0] > MAX_ITERATIONS
    if costly:
        raise KeyFileError(FileProblem.UNSUPPORTED, "more iterations than we make")


def _blocks(data: bytes) -> Iterator[tuple[bytes, bytes | None]]:
    """(label, content) of each PEM block; the content of one without its end is None, and it is the last."""
    at = 0
    while begin := _BEGIN.search(data, at):
        end = data.find(b"-----END %b-----" % begin[1], begin.end())
        yield begin[1], data[begin.end() : end] if end >= 0 else None
        if end < 0:
            return
        at = end + len(begin[0]) - 2


def _unarmoured(content: bytes) -> bytes:
    """The octets behind base64, b"" when it is not base64."""
    letters = b"".join(content.split()).rstrip(b"=")
    try:
        return pybase64.b64decode(letters + b"=" * (-len(letters) % 4), validate=True)
    except ValueError:
        return b""
