"""A PKI shaped like IGC-Santé, made at run time, for the demo and the tests.

Same tree (a root per range; ORGANISATIONS and PERSONNES under each, pathlen 0), same order of names, same
extensions, policies, CRL and OCSP addresses as the real one, but its own names ("DEMO …"), so that nothing made
here can be taken for the real thing. Authorities are made when first asked for. Keys of authorities are RSA-2048
(IGC-Santé: 4096) because a demo must start in seconds; `ca_bits` makes them longer.

    pki = Pki(base_url="http://127.0.0.1:22000")
    alpha = pki.operator("mx.alpha.mssante.test", o="CLINIQUE ALPHA", ou="318751275100020")
    pki.revoke(alpha); pki.save(directory); pki = Pki.load(directory)

What is signed is public; `save` also writes the keys of the authorities, because the demo's authority has to sign
CRLs, OCSP answers and lists: a demo PKI protects nothing.
"""

from __future__ import annotations

import ipaddress
import itertools
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID, ObjectIdentifier

Range = Literal["ELEMENTAIRE", "STANDARD", "FORT"]
Branch = Literal["ORGANISATIONS", "PERSONNES"]
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
KeyKind = Literal["rsa", "p256", "p384"]

POLICY = ObjectIdentifier("1.2.250.1.213.1.7.2.1.1.1.1")  # the arc of the test PKI
CERTIFICATE_TYPE = ObjectIdentifier("1.2.250.1.71.1.2.5")  # OCTET STRING of one octet; 0x80 is set in test certificates
ANY_POLICY = ObjectIdentifier("2.5.29.32.0")
YEARS = timedelta(days=3 * 365)
TWO_YEARS = timedelta(days=820)
_SHORT = {"ELEMENTAIRE": "EL", "STANDARD": "ST", "FORT": "FO", "ORGANISATIONS": "ORG", "PERSONNES": "PP"}


@dataclass(frozen=True, slots=True)
class Credential:
    """A certificate, its private key and the certificates above it (the root left out)."""

    certificate: x509.Certificate
    key: PrivateKey
    chain: tuple[x509.Certificate, ...] = ()

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def pem(self) -> bytes:
        """The certificate alone."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def chain_pem(self) -> bytes:
        """The certificate, then its chain."""
        return self.pem + b"".join(each.public_bytes(serialization.Encoding.PEM) for each in self.chain)

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())

    def write(self, directory: Path, name: str) -> tuple[Path, Path]:
        """`name.pem` (with the chain) and `name.key` (mode 0600)."""
        directory.mkdir(parents=True, exist_ok=True)
        pem, key = directory / f"{name}.pem", directory / f"{name}.key"
        pem.write_bytes(self.chain_pem)
        _write_private(key, self.key_pem)
        return pem, key

    @classmethod
    def read(cls, pem: Path, key: Path) -> Credential:
        first, *chain = x509.load_pem_x509_certificates(pem.read_bytes())
        private = serialization.load_pem_private_key(key.read_bytes(), None)
        assert isinstance(private, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey)
        return cls(first, private, tuple(chain))


@dataclass(slots=True)
class Authority:
    """A root or an intermediate, with the state of the certificates it issued."""

    name: str  # as in the addresses of IGC-Santé: ACR-EL, ACI-EL-ORG
    credential: Credential
    revoked: dict[int, datetime] = field(default_factory=dict)
    crl_number: int = 0


@dataclass(frozen=True, slots=True)
class Profile:
    """What a class of certificates carries (measured on real ones)."""

    usages: tuple[str, ...]
    extended: tuple[ObjectIdentifier, ...]
    kind: int = 0x83
    policy: ObjectIdentifier = POLICY


SERV_SSL = Profile(("digital_signature", "key_encipherment"), (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH))
ORG_AUTH_CLI = Profile(("digital_signature",), (ExtendedKeyUsageOID.CLIENT_AUTH,))
ORG_SIGN = Profile(("digital_signature", "content_commitment"), (ExtendedKeyUsageOID.EMAIL_PROTECTION,))
CPS_SIGN = Profile(("content_commitment",), (ExtendedKeyUsageOID.EMAIL_PROTECTION,), kind=0x80)
# Not seen in public data (docs/reference/crypto.md 1.2); needed to encrypt to anyone at all.
MAIL = Profile(("digital_signature", "content_commitment", "key_encipherment"), (ExtendedKeyUsageOID.EMAIL_PROTECTION,))
MAIL_EC = Profile(("digital_signature", "content_commitment", "key_agreement"), (ExtendedKeyUsageOID.EMAIL_PROTECTION,))


class Pki:
    """The tree. `now` is when it is made: tests that own the clock pass theirs."""

    def __init__(
        self, base_url: str = "http://127.0.0.1:22000", *, now: datetime | None = None, ca_bits: int = 2048, prefix: str = "DEMO"
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self.made = (now or datetime.now(UTC)).replace(microsecond=0)
        self.ca_bits = ca_bits
        self.prefix = prefix
        self.authorities: dict[str, Authority] = {}

    # -- authorities ---------------------------------------------------------------------------------------------

    def root(self, range_: Range = "ELEMENTAIRE") -> Authority:
        name = f"ACR-{_SHORT[range_]}"
        if name not in self.authorities:
            subject = self._ca_name(f"AC RACINE IGC-SANTE {range_}")
            key = new_key("rsa", self.ca_bits)
            self.authorities[name] = Authority(name, Credential(self._sign_ca(subject, key, None, None), key))
        return self.authorities[name]

    def authority(self, range_: Range = "ELEMENTAIRE", branch: Branch = "ORGANISATIONS") -> Authority:
        name = f"ACI-{_SHORT[range_]}-{_SHORT[branch]}"
        if name not in self.authorities:
            key = new_key("rsa", self.ca_bits)
            subject = self._ca_name(f"AC IGC-SANTE {range_} {branch}")
            certificate = self._sign_ca(subject, key, self.root(range_), 0)
            self.authorities[name] = Authority(name, Credential(certificate, key))
        return self.authorities[name]

    def _ca_name(self, common_name: str) -> x509.Name:
        return x509.Name(
            [
                x509.NameAttribute(NameOID.COUNTRY_NAME, "FR"),
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, "MSSGW DEMO"),
                x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "0002 000000000"),
                x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, f"IGC-SANTE {self.prefix}"),
                x509.NameAttribute(NameOID.COMMON_NAME, f"{self.prefix} {common_name}"),
            ]
        )

    def _sign_ca(self, subject: x509.Name, key: PrivateKey, issuer: Authority | None, path_length: int | None) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer.credential.certificate.subject if issuer else subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(self.made - timedelta(days=365))
            .not_valid_after(self.made + timedelta(days=19 * 365))
            .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
            .add_extension(_key_usage("key_cert_sign", "crl_sign"), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.CertificatePolicies([x509.PolicyInformation(ANY_POLICY, [f"{self.base_url}/PC"])]), critical=False)
        )
        if issuer:
            builder = self._with_addresses(builder, issuer)
        return builder.sign(issuer.credential.key if issuer else key, hashes.SHA256())

    def _with_addresses(self, builder: x509.CertificateBuilder, issuer: Authority) -> x509.CertificateBuilder:
        above = issuer.credential.certificate
        ski = above.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        ldap = f"ldap://annuaire.invalid/cn={quote(issuer.name)},o=MSSGW%20DEMO,c=FR"
        return (
            builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(ski), critical=False)
            .add_extension(
                x509.CRLDistributionPoints(
                    [_point(self.crl_url(issuer)), _point(f"{ldap}?certificaterevocationlist;binary?base?objectClass=pkiCA")]
                ),
                critical=False,
            )
            .add_extension(x509.FreshestCRL([_point(f"{ldap}?deltarevocationlist;binary?base?objectClass=pkiCA")]), critical=False)
            .add_extension(
                x509.AuthorityInformationAccess(
                    [
                        x509.AccessDescription(AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier(self.ocsp_url)),
                        x509.AccessDescription(
                            AuthorityInformationAccessOID.CA_ISSUERS,
                            x509.UniformResourceIdentifier(f"{self.base_url}/AC/{issuer.name}.cer"),
                        ),
                    ]
                ),
                critical=False,
            )
        )

    def crl_url(self, authority: Authority) -> str:
        return f"{self.base_url}/CRL/{authority.name}.crl"

    @property
    def ocsp_url(self) -> str:
        return f"{self.base_url}/ocsp"

    # -- leaves --------------------------------------------------------------------------------------------------

    def issue(
        self,
        subject: x509.Name,
        profile: Profile,
        issuer: Authority,
        *,
        sans: Sequence[x509.GeneralName] = (),
        key: KeyKind | PrivateKey = "rsa",
        not_before: datetime | None = None,
        not_after: datetime | None = None,
        extra: Iterable[tuple[x509.ExtensionType, bool]] = (),
    ) -> Credential:
        """A certificate of any shape, signed by `issuer`."""
        private = new_key(key) if isinstance(key, str) else key
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer.credential.certificate.subject)
            .public_key(private.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(not_before or self.made - timedelta(hours=1))
            .not_valid_after(not_after or self.made + YEARS)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(private.public_key()), critical=False)
            .add_extension(_key_usage(*profile.usages), critical=True)
            .add_extension(x509.CertificatePolicies([x509.PolicyInformation(profile.policy, [f"{self.base_url}/PC"])]), critical=False)
            .add_extension(x509.ExtendedKeyUsage(profile.extended), critical=False)
            .add_extension(x509.UnrecognizedExtension(CERTIFICATE_TYPE, bytes([4, 1, profile.kind])), critical=False)
        )
        if sans:
            builder = builder.add_extension(x509.SubjectAlternativeName(sans), critical=False)
        for extension, critical in extra:
            builder = builder.add_extension(extension, critical)
        certificate = self._with_addresses(builder, issuer).sign(issuer.credential.key, hashes.SHA256())
        chain = () if issuer.name.startswith("ACR") else (issuer.credential.certificate,)
        return Credential(certificate, private, chain)

    def operator(
        self,
        common_name: str,
        *,
        o: str = "OPERATEUR DEMO",
        ou: str = "318751275100020",
        st: str = "Paris (75)",
        names: Sequence[str] = (),
        addresses: Sequence[str] = (),
        profile: Profile = SERV_SSL,
        key: KeyKind = "rsa",
        not_before: datetime | None = None,
        not_after: datetime | None = None,
    ) -> Credential:
        """A server certificate (SERV_SSL: server and client) of an operator. `names` and `addresses` go to the SAN.

        For 27 months, not three years as IGC-Santé issues them: clients and testssl expect at most 825 days of a web server.
        """
        sans: list[x509.GeneralName] = [x509.DNSName(name) for name in dict.fromkeys((common_name.strip(), *names))]
        sans += [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
        return self.issue(
            organisation_name(common_name, o=o, ou=ou, st=st),
            profile,
            self.authority(),
            sans=sans,
            key=key,
            not_before=not_before,
            not_after=not_after or self.made + TWO_YEARS,
        )

    def organisation(
        self,
        address: str,
        *,
        common_name: str | None = None,
        o: str = "CLINIQUE DEMO",
        ou: str = "318751275100020",
        st: str = "Paris (75)",
        key: KeyKind = "rsa",
        profile: Profile | None = None,
        not_before: datetime | None = None,
        not_after: datetime | None = None,
    ) -> Credential:
        """An organisation's mail certificate. It can encrypt too, unless `profile=ORG_SIGN`, the only profile seen in public data."""
        subject = organisation_name(common_name or address.partition("@")[2], o=o, ou=ou, st=st)
        return self.issue(
            subject,
            profile or mail_profile(key),
            self.authority(),
            sans=[x509.RFC822Name(address)],
            key=key,
            not_before=not_before,
            not_after=not_after,
        )

    def list_signer(
        self,
        common_name: str = "alb.mssante.test",
        *,
        address: str | None = None,
        not_before: datetime | None = None,
        not_after: datetime | None = None,
    ) -> Credential:
        """The ORG_SIGN certificate that signs the whitelist."""
        return self.organisation(
            address or "alb@mssante.test",
            common_name=common_name,
            o="AUTORITE DEMO",
            profile=ORG_SIGN,
            not_before=not_before,
            not_after=not_after,
        )

    def person(
        self,
        address: str | None,
        *,
        given: str,
        surname: str,
        identifier: str,
        title: str = "Médecin",
        key: KeyKind = "rsa",
        profile: Profile | None = None,
        not_before: datetime | None = None,
        not_after: datetime | None = None,
    ) -> Credential:
        """A professional's certificate: multi-valued RDN as on a CPS card. `address=None` leaves the SAN out, as cards do."""
        subject = x509.Name(
            [
                x509.RelativeDistinguishedName([x509.NameAttribute(NameOID.COUNTRY_NAME, "FR")]),
                x509.RelativeDistinguishedName([x509.NameAttribute(NameOID.TITLE, title)]),
                x509.RelativeDistinguishedName(
                    [
                        x509.NameAttribute(NameOID.GIVEN_NAME, given.upper()),
                        x509.NameAttribute(NameOID.COMMON_NAME, identifier),
                        x509.NameAttribute(NameOID.SURNAME, surname.upper()),
                    ]
                ),
            ]
        )
        sans = [x509.RFC822Name(address)] if address else []
        return self.issue(
            subject,
            profile or mail_profile(key),
            self.authority("FORT", "PERSONNES"),
            sans=sans,
            key=key,
            not_before=not_before,
            not_after=not_after,
        )

    # -- revocation ----------------------------------------------------------------------------------------------

    def issuer_of(self, certificate: x509.Certificate) -> Authority:
        for authority in self.authorities.values():
            if authority.credential.certificate.subject == certificate.issuer:
                return authority
        raise LookupError(f"no authority of this PKI issued {certificate.subject.rfc4514_string()}")

    def revoke(self, credential: Credential | x509.Certificate, at: datetime | None = None) -> None:
        certificate = credential.certificate if isinstance(credential, Credential) else credential
        self.issuer_of(certificate).revoked[certificate.serial_number] = (at or self.made).replace(microsecond=0)

    # -- files ---------------------------------------------------------------------------------------------------

    def anchors(self) -> list[x509.Certificate]:
        return [authority.credential.certificate for authority in self.authorities.values()]

    def write_anchors(self, directory: Path) -> None:
        """One PEM file per authority: what `[trust] anchors` and `--anchors` read."""
        directory.mkdir(parents=True, exist_ok=True)
        for authority in self.authorities.values():
            (directory / f"{authority.name}.pem").write_bytes(authority.credential.pem)

    def save(self, directory: Path) -> None:
        """Everything, keys of the authorities included, so that another process can load it."""
        directory.mkdir(parents=True, exist_ok=True)
        state = {
            "base_url": self.base_url,
            "made": self.made.isoformat(),
            "prefix": self.prefix,
            "ca_bits": self.ca_bits,
            "authorities": {
                each.name: {"crl_number": each.crl_number, "revoked": {str(serial): at.isoformat() for serial, at in each.revoked.items()}}
                for each in self.authorities.values()
            },
        }
        for authority in self.authorities.values():
            authority.credential.write(directory, authority.name)
        temporary = directory / ".pki.json"
        temporary.write_text(json.dumps(state, indent=1))
        temporary.replace(directory / "pki.json")

    @classmethod
    def load(cls, directory: Path) -> Pki:
        state = json.loads((directory / "pki.json").read_text())
        pki = cls(state["base_url"], now=datetime.fromisoformat(state["made"]), ca_bits=state["ca_bits"], prefix=state["prefix"])
        for name, known in state["authorities"].items():
            credential = Credential.read(directory / f"{name}.pem", directory / f"{name}.key")
            revoked = {int(serial): datetime.fromisoformat(at) for serial, at in known["revoked"].items()}
            pki.authorities[name] = Authority(name, credential, revoked, known["crl_number"])
        return pki


def mail_profile(key: KeyKind) -> Profile:
    return MAIL if key == "rsa" else MAIL_EC


def organisation_name(common_name: str, *, o: str, ou: str, st: str = "Paris (75)") -> x509.Name:
    """C, ST, O, OU, CN: the order in which IGC-Santé encodes the subjects of organisations."""
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "FR"),
            x509.NameAttribute(NameOID.STATE_OR_PROVINCE_NAME, st),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, o),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, ou),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def listed_name(credential: Credential) -> str:
    """The subject as the whitelist prints it: CN=…,OU=…,O=…,ST=…,C=FR."""
    short = {
        NameOID.COMMON_NAME: "CN",
        NameOID.ORGANIZATIONAL_UNIT_NAME: "OU",
        NameOID.ORGANIZATION_NAME: "O",
        NameOID.STATE_OR_PROVINCE_NAME: "ST",
        NameOID.LOCALITY_NAME: "L",
        NameOID.COUNTRY_NAME: "C",
    }
    attributes = list(itertools.chain.from_iterable(credential.certificate.subject.rdns))
    return ",".join(f"{short[each.oid]}={each.value!s}" for each in reversed(attributes))


def new_key(kind: KeyKind, bits: int = 2048) -> PrivateKey:
    if kind == "rsa":
        return rsa.generate_private_key(public_exponent=65537, key_size=bits)
    return ec.generate_private_key(ec.SECP256R1() if kind == "p256" else ec.SECP384R1())


def _key_usage(*usages: str) -> x509.KeyUsage:
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
    return x509.KeyUsage(**{usage: usage in usages for usage in every})


def _point(uri: str) -> x509.DistributionPoint:
    return x509.DistributionPoint([x509.UniformResourceIdentifier(uri)], None, None, None)


def _write_private(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
