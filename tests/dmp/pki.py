"""A small PKI for the DMP tests: one root, certificates of the classes a DMP meets. Made once per run."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class Leaf:
    certificate: x509.Certificate
    key: rsa.RSAPrivateKey

    def write(self, directory: Path, name: str) -> tuple[Path, Path]:
        pem, key = directory / f"{name}.pem", directory / f"{name}.key"
        pem.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))
        key.write_bytes(self.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
        return pem, key


class Root:
    def __init__(self, name: str = "TEST ROOT") -> None:
        self.key = rsa.generate_private_key(65537, 2048)
        subject = _name(name, "ANS TEST")
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(self.key.public_key())
        builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(days=2))
        builder = builder.not_valid_after(now + timedelta(days=3650)).add_extension(x509.BasicConstraints(True, None), True)
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        self.certificate = builder.add_extension(usage, True).sign(self.key, hashes.SHA256())

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def issue(
        self,
        common_name: str,
        *,
        o: str = "HOPITAL TEST",
        ou: str = "10B0073160",
        server: bool = False,
        signature: bool = False,
        days: int = 300,
    ) -> Leaf:
        key = rsa.generate_private_key(65537, 2048)
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder().subject_name(_name(common_name, o, ou)).issuer_name(self.certificate.subject)
        builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
        start = now - timedelta(days=1) if days > 0 else now - timedelta(days=400)
        builder = builder.not_valid_before(start).not_valid_after(now + timedelta(days=days))
        builder = builder.add_extension(x509.BasicConstraints(False, None), False)
        builder = builder.add_extension(x509.KeyUsage(True, signature, server, False, False, False, False, False, False), True)
        if server:
            names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), False)
        return Leaf(builder.sign(self.key, hashes.SHA256()), key)


def _name(common_name: str, o: str, ou: str = "") -> x509.Name:
    parts = [(NameOID.COUNTRY_NAME, "FR"), (NameOID.ORGANIZATION_NAME, o), *([(NameOID.ORGANIZATIONAL_UNIT_NAME, ou)] if ou else [])]
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in [*parts, (NameOID.COMMON_NAME, common_name)]])
