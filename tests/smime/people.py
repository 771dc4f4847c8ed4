"""A small PKI in memory, people in it, and a validator for them. All identities are invented."""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, mlkem, rsa, x25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mssgw.core.errors import Deferred, NotTrusted
from mssgw.pki.judgement import Evidence, Purpose
from mssgw.smime.keys.certificates import Certificate, certificate
from mssgw.smime.keys.key import Identity, SoftKey

NOW = datetime.datetime(2026, 11, 20, 9, 30, tzinfo=datetime.UTC)
DAY = datetime.timedelta(days=1)
ALICE, BOB = "alice.martin@alpha.mssante.test", "bob.durand@beta.mssante.test"

MAKE: dict[str, Any] = {
    "rsa": lambda: rsa.generate_private_key(65537, 2048),
    "rsa3072": lambda: rsa.generate_private_key(65537, 3072),
    "p256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "brainpool256": lambda: ec.generate_private_key(ec.BrainpoolP256R1()),
    "brainpool512": lambda: ec.generate_private_key(ec.BrainpoolP512R1()),
    "x25519": x25519.X25519PrivateKey.generate,
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "mldsa44": mldsa.MLDSA44PrivateKey.generate,
    "mldsa65": mldsa.MLDSA65PrivateKey.generate,
    "mldsa87": mldsa.MLDSA87PrivateKey.generate,
    "mlkem768": mlkem.MLKEM768PrivateKey.generate,
}


@cache
def private(kind: str, number: int = 0) -> Any:
    """One key per kind and number for the whole run: making RSA keys is slow."""
    return MAKE[kind]()


@dataclass
class Person:
    key: Any
    cert: x509.Certificate
    chain: tuple[x509.Certificate, ...] = ()

    @property
    def der(self) -> bytes:
        return self.cert.public_bytes(serialization.Encoding.DER)

    @property
    def certificate(self) -> Certificate:
        return certificate(self.der)

    @property
    def identity(self) -> Identity:
        chain = tuple(certificate(one.public_bytes(serialization.Encoding.DER)) for one in self.chain)
        return Identity(self.certificate, SoftKey(self.key), chain)

    def pem(self) -> bytes:
        return self.cert.public_bytes(serialization.Encoding.PEM)

    def key_pem(self) -> bytes:
        return self.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())

    def write(self, directory: Path, name: str) -> tuple[Path, Path]:
        cert, key = directory / f"{name}.pem", directory / f"{name}.key"
        cert.write_bytes(self.pem())
        key.write_bytes(self.key_pem())
        return cert, key


def name(cn: str | x509.Name) -> x509.Name:
    if isinstance(cn, x509.Name):
        return cn
    return x509.Name([x509.NameAttribute(NameOID.COUNTRY_NAME, "FR"), x509.NameAttribute(NameOID.COMMON_NAME, cn)])


def usage(**on: bool) -> x509.KeyUsage:
    every = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    )
    return x509.KeyUsage(**{one: on.get(one, False) for one in every})


ALWAYS = {"start": datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC), "end": datetime.datetime(2049, 1, 1, tzinfo=datetime.UTC)}
"""For programs that judge by the machine's clock, whatever it shows."""


@dataclass
class Authority:
    """Issues, and judges what it issued: the test's `pki.judgement.Validate`."""

    cn: str = "Test CA"
    key: Any = field(default_factory=lambda: private("rsa", 99))
    revoked: set[int] = field(default_factory=set)
    silent: bool = False  # no fresh revocation data
    start: datetime.datetime = NOW - 300 * DAY
    end: datetime.datetime = NOW + 300 * DAY

    def __post_init__(self) -> None:
        self.cert = self._sign(
            self.cn,
            self.key.public_key(),
            [
                (x509.BasicConstraints(True, 0), True),
                (usage(key_cert_sign=True, crl_sign=True), True),
                (x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), False),
            ],
            1,
        )

    def _sign(
        self,
        cn: str,
        public: Any,
        extensions: list[tuple[Any, bool]],
        serial: int | None = None,
        start: datetime.datetime | None = None,
        end: datetime.datetime | None = None,
    ) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .subject_name(name(cn))
            .issuer_name(name(self.cn))
            .public_key(public)
            .serial_number(serial or x509.random_serial_number())
            .not_valid_before(start or self.start)
            .not_valid_after(end or self.end)
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        return builder.sign(self.key, hashes.SHA256())

    def issue(
        self,
        kind: str,
        *addresses: str,
        number: int = 0,
        cn: str | x509.Name | None = None,
        ku: x509.KeyUsage | None = None,
        san: list[x509.GeneralName] | None = None,
        **dates: Any,
    ) -> Person:
        key = private(kind, number)
        names = san if san is not None else [x509.RFC822Name(one) for one in addresses]
        if kind == "rsa" or kind.startswith("rsa"):
            allowed = usage(digital_signature=True, content_commitment=True, key_encipherment=True)
        elif kind == "mlkem768":
            allowed = usage(key_encipherment=True)
        else:
            allowed = usage(
                digital_signature=kind != "x25519", key_agreement=kind in ("p256", "p384", "x25519") or kind.startswith("brainpool")
            )
        extensions: list[tuple[Any, bool]] = [
            (x509.BasicConstraints(False, None), False),
            (ku or allowed, True),
            (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), False),
            (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
            (x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), False),
        ]
        if names:
            extensions.append((x509.SubjectAlternativeName(names), False))
        return Person(
            key,
            self._sign(cn or (addresses[0] if addresses else "carte 899700000001"), key.public_key(), extensions, **dates),
            (self.cert,),
        )

    def issue_for(self, purposes: tuple[x509.ObjectIdentifier, ...], policy: str | None = None) -> Person:
        """A certificate for something else than mail, such as TLS."""
        key = private("rsa", 3)
        extensions: list[tuple[Any, bool]] = [
            (usage(digital_signature=True, key_encipherment=True), True),
            (x509.ExtendedKeyUsage(purposes), False),
        ]
        if policy:
            extensions.append((x509.CertificatePolicies([x509.PolicyInformation(x509.ObjectIdentifier(policy), None)]), False))
        return Person(key, self._sign("serveur.alpha.mssante.test", key.public_key(), extensions), (self.cert,))

    def validate(self, octets: bytes, purpose: Purpose, moment: datetime.datetime) -> Evidence:
        cert = x509.load_der_x509_certificate(octets)
        try:
            cert.verify_directly_issued_by(self.cert)
        except Exception as error:
            raise NotTrusted(detail="unknown issuer") from error
        if not cert.not_valid_before_utc <= moment <= cert.not_valid_after_utc:
            raise NotTrusted(detail="expired or not yet valid")
        if self.silent:
            raise Deferred(detail="revocation data too old")
        if cert.serial_number in self.revoked:
            raise NotTrusted(detail="revoked")
        return Evidence(cert.subject.rfc4514_string(), cert.fingerprint(hashes.SHA256()).hex(), self.cn, "root", moment, purpose, "none")

    def pem(self) -> bytes:
        return self.cert.public_bytes(serialization.Encoding.PEM)
