"""Signer: the interface to a signature key. A file here; a CPS or an HSM behind PKCS#11 in `card`.

`sign` blocks (1.5 ms in software, 200 ms and more on a card): the client calls it in a thread.
"""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Protocol

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from dmp_connector.errors import BadCertificate
from dmp_connector.names import der_items, distinguished_name
from dmp_connector.texts import message


class Algorithm(enum.StrEnum):
    """XML-DSig names of RSASSA-PKCS1-v1_5. SHA-1 only where an old server wants it (settings.sha1)."""

    RSA_SHA256 = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"
    RSA_SHA1 = "http://www.w3.org/2000/09/xmldsig#rsa-sha1"

    @property
    def digest(self) -> str:
        """The digest algorithm that goes with it."""
        sha256 = "http://www.w3.org/2001/04/xmlenc#sha256"
        return sha256 if self is Algorithm.RSA_SHA256 else "http://www.w3.org/2000/09/xmldsig#sha1"

    @property
    def hashlib_name(self) -> str:
        """The digest as hashlib calls it."""
        return "sha256" if self is Algorithm.RSA_SHA256 else "sha1"


class Signer(Protocol):
    """A signature key with its certificate. Implementations may raise CardError or BadCertificate."""

    @property
    def certificate(self) -> bytes:
        """DER."""

    def sign(self, data: bytes, algorithm: Algorithm) -> bytes:
        """RSASSA-PKCS1-v1_5 over `data` (not over a digest)."""


class FileSigner:
    """Key and certificate from PEM files. Raises BadCertificate when they are unreadable or do not belong together."""

    def __init__(self, certificate: x509.Certificate, key: rsa.RSAPrivateKey) -> None:
        if certificate.public_key() != key.public_key():
            raise BadCertificate(message("signer.signature-key-does-not-belong"))
        self._certificate = certificate.public_bytes(Encoding.DER)
        self._key = key

    @classmethod
    def load(cls, certificate: Path, key: Path, password: bytes | None = None) -> FileSigner:
        """PEM files; `password` of the key, None when it has none. Raises BadCertificate: not readable, not RSA, not a pair."""
        try:
            loaded = load_pem_private_key(key.read_bytes(), password)
            leaf = x509.load_pem_x509_certificate(certificate.read_bytes())
        except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise BadCertificate(message("at", place=f"{certificate.name} / {key.name}", what=type(error).__name__)) from error
        if not isinstance(loaded, rsa.RSAPrivateKey):
            raise BadCertificate(message("signer.rsa-key-needed", name=key.name))
        return cls(leaf, loaded)

    @property
    def certificate(self) -> bytes:
        """The certificate, DER."""
        return self._certificate

    def sign(self, data: bytes, algorithm: Algorithm) -> bytes:
        """RSASSA-PKCS1-v1_5 (RFC 8017 8.2) over `data`."""
        digest = hashes.SHA256() if algorithm is Algorithm.RSA_SHA256 else hashes.SHA1()  # noqa: S303 - asked for by configuration
        return self._key.sign(data, padding.PKCS1v15(), digest)


def issuer_text(certificate: bytes) -> str:
    """Issuer DN of a DER certificate as RFC 4514 text. Raises BadCertificate."""
    return _name(certificate, 2)


def subject_text(certificate: bytes) -> str:
    """Subject DN of a DER certificate as RFC 4514 text: the VIHF's Issuer (docs/reference/dmp.md 2). Raises BadCertificate."""
    return _name(certificate, 4)


def _name(certificate: bytes, place: int) -> str:
    """The name at this place behind the version (RFC 5280 4.1), from its own octets: others cannot decode those of older cards."""
    try:
        fields = list(der_items(_load(certificate).tbs_certificate_bytes))
        start = 1 if fields[0][0] == 0xA0 else 0  # [0] version
        return distinguished_name(fields[start + place][1])
    except (ValueError, IndexError) as error:
        raise BadCertificate(message("signer.signing-certificate-cannot-read")) from error


def serial_number(certificate: bytes) -> int:
    """The serial number of a certificate in DER. Raises BadCertificate."""
    return _load(certificate).serial_number


def _load(certificate: bytes) -> x509.Certificate:
    try:
        return x509.load_der_x509_certificate(certificate)
    except ValueError as error:
        raise BadCertificate(message("signer.signing-certificate-cannot-read")) from error
