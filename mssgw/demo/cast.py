"""The persons of the demo: made once in DIR, read again at the next start.

Files, all below DIR: `pki/` what everybody may read (certificates, and the keys of the players, because outsiders
play them), `authority/` the PKI with the keys of its authorities, `anchors/` for `[trust] anchors`, one directory per operator.
Everything here protects nothing: invented people, throw-away keys.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from mssgw.demo.authority import ListEntry, publish
from mssgw.demo.pki import SERV_SSL, Credential, KeyKind, Pki, listed_name, new_key, organisation_name

ZONE = "mssante.test"
LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"  # letters that can't be confused when a password is typed or dictated


@dataclass(frozen=True, slots=True)
class Account:
    address: str
    kind: str
    role: str = ""
    given: str = ""
    surname: str = ""
    rpps: str = ""
    members: tuple[str, ...] = ()
    password: str = ""

    @property
    def person(self) -> bool:
        return bool(self.rpps)


@dataclass(frozen=True, slots=True)
class Operator:
    name: str
    structure: str
    ou: str
    accounts: tuple[Account, ...]

    @property
    def domain(self) -> str:
        return f"{self.name}.{ZONE}"

    @property
    def host(self) -> str:
        return f"mx.{self.domain}"

    def port(self, base: int, offset: int) -> int:
        return base + {"alpha": 10, "beta": 20}[self.name] + offset


@dataclass(frozen=True, slots=True)
class Peer:
    """One row of the national audit of operators: a certificate, the domain it claims, the required outcome."""

    name: str
    domain: str
    expect: str
    certificate: bool = True
    extra: dict[str, Any] = field(default_factory=dict)


def _alpha() -> tuple[Account, ...]:
    return (
        Account(f"jeanne.martin@alpha.{ZONE}", "PER", "doctor", "Jeanne", "Martin", "801234567894"),
        Account(f"luc.bernard@alpha.{ZONE}", "PER", "secretary", "Luc", "Bernard"),
        Account(f"cardiologie@alpha.{ZONE}", "ORG", members=(f"jeanne.martin@alpha.{ZONE}", f"luc.bernard@alpha.{ZONE}")),
        Account(f"labo_auto@alpha.{ZONE}", "APP"),
        Account(f"admin@alpha.{ZONE}", "PER", "admin", "Alice", "Admin"),
    )


def _beta() -> tuple[Account, ...]:
    return (
        Account(f"paul.durand@beta.{ZONE}", "PER", "doctor", "Paul", "Durand", "809876543217"),
        Account(f"anne.leroy@beta.{ZONE}", "PER", "doctor", "Anne", "Leroy", "804567891232"),
        Account(f"secretariat@beta.{ZONE}", "ORG", members=(f"paul.durand@beta.{ZONE}", f"anne.leroy@beta.{ZONE}")),
        Account(f"admin@beta.{ZONE}", "PER", "admin", "Bruno", "Admin"),
    )


OPERATORS = (
    Operator("alpha", "CLINIQUE ALPHA", "318751275100020", _alpha()),
    Operator("beta", "HOPITAL BETA", "1750712184", _beta()),
)
PETIT = Account(f"paul.petit@gamma.{ZONE}", "PER", "doctor", "Paul", "Petit", "802345678905")
GAMMA = f"gamma.{ZONE}"
PEERS = (
    Peer("valid", GAMMA, "accept"),
    Peer("cn-differs", GAMMA, "refuse"),
    Peer("dn-differs", GAMMA, "refuse"),
    Peer("other-domain", f"delta.{ZONE}", "refuse"),
    Peer("expired", GAMMA, "refuse"),
    Peer("revoked", f"epsilon.{ZONE}", "refuse"),
    Peer("foreign-ca", GAMMA, "refuse"),
    Peer("unlisted", f"unlisted.{ZONE}", "refuse"),
    Peer("no-tls", GAMMA, "refuse", certificate=False),
    Peer("no-certificate", GAMMA, "refuse", certificate=False),
)


def passwords(directory: Path) -> dict[str, str]:
    """Address -> password of each account that has one, made once."""
    path = directory / "passwords.json"
    known: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    for operator in OPERATORS:
        for account in operator.accounts:
            if account.kind != "ORG":
                known.setdefault(account.address, "".join(secrets.choice(LETTERS) for _ in range(12)))
    write_private(path, json.dumps(known, indent=1).encode())
    return known


def write_private(path: Path, content: bytes) -> None:
    temporary = path.with_suffix(".tmp")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
    temporary.replace(path)


def make(directory: Path, base: int) -> None:
    """Make the PKI, the players' certificates and the signed list. A second call changes nothing."""
    marker = directory / "cast.json"
    wanted = {"base": base, "cast": 2, "peers": [asdict(peer) for peer in PEERS]}
    if marker.exists() and json.loads(marker.read_text()) == wanted:
        return
    pki = Pki(f"http://127.0.0.1:{base}")
    public = directory / "pki"
    listed = _operators(pki, public) | _peers(pki, public)
    for operator in OPERATORS:
        _hand_out(directory, operator)
    signer = pki.list_signer()
    signer.write(directory / "authority", "list-signer")
    pki.save(directory / "authority")
    pki.write_anchors(directory / "anchors")
    roots = [one for one in pki.anchors() if one.subject == one.issuer]
    _bundle(public / "ca.pem", roots)
    _bundle(public / "igc.pem", pki.anchors())
    publish(directory / "authority", [ListEntry(domain, name) for domain, names in listed.items() for name in names], signer)
    write_private(marker, json.dumps(wanted).encode())


def _bundle(path: Path, certificates: list[Any]) -> None:
    from cryptography.hazmat.primitives.serialization import Encoding

    path.write_bytes(b"".join(one.public_bytes(Encoding.PEM) for one in certificates))


def _operators(pki: Pki, public: Path) -> dict[str, list[str]]:
    """The two operators, their organisations' seals and their people. Returns their entries for the list."""
    listed: dict[str, list[str]] = {}
    for operator in OPERATORS:
        relay = pki.operator(operator.host, o=operator.structure, ou=operator.ou, names=("localhost",), addresses=("127.0.0.1",))
        relay.write(public, operator.name)
        seal = pki.organisation(f"organisation@{operator.domain}", common_name=operator.domain, o=operator.structure, ou=operator.ou)
        seal.write(public, f"{operator.name}-seal")
        listed[operator.domain] = [listed_name(relay)]
        for account in operator.accounts:
            if account.person:
                _person(pki, account).write(public, account.address.partition("@")[0])
                _person(pki, account, key="rsa").write(public, dmp_name(account))
    _person(pki, PETIT).write(public, "paul.petit")
    pki.operator("dmp.mssante.test", o="DMP DEMO", names=("localhost",), addresses=("127.0.0.1",)).write(public, "dmp")
    return listed


def _hand_out(directory: Path, operator: Operator) -> None:
    """The files that an operator's administrator would place: certificates of correspondents, keys of its own people."""
    public, home = directory / "pki", directory / operator.name
    for part in ("recipients", "identities"):
        (home / part).mkdir(mode=0o700, parents=True, exist_ok=True)
    shutil.copy(public / "paul.petit.pem", home / "recipients")
    for other in OPERATORS:
        if other is not operator:
            shutil.copy(public / f"{other.name}-seal.pem", home / "recipients" / f"{other.domain}.pem")
    for account in operator.accounts:
        if account.person:
            for suffix in (".pem", ".key"):
                shutil.copy(public / f"{account.address.partition('@')[0]}{suffix}", home / "identities")


def _person(pki: Pki, account: Account, *, key: KeyKind | None = None) -> Credential:
    return pki.person(
        account.address,
        given=account.given,
        surname=account.surname,
        identifier=account.rpps,
        key=key or ("p256" if account.given == "Anne" else "rsa"),
    )


def dmp_name(account: Account) -> str:
    """The certificate that signs for the DMP: RSA, as its VIHF wants (docs/reference/dmp.md 2); Anne's mail has an elliptic one."""
    return f"{account.address.partition('@')[0]}-dmp"


def _peers(pki: Pki, public: Path) -> dict[str, list[str]]:
    """The ten peers. gamma, delta and epsilon are listed; what the audit's certificates differ in is in their names."""
    key = new_key("rsa")  # one for all: only the certificates matter
    host, made = f"mx.{GAMMA}", pki.made

    def serv(common_name: str, o: str, ou: str, *, by: Pki = pki, **dates: Any) -> Credential:
        return by.issue(organisation_name(common_name, o=o, ou=ou), SERV_SSL, by.authority(), key=key, **dates)

    gamma = ("LABORATOIRE GAMMA", "344444444400014")
    valid = serv(host, *gamma)
    delta = serv(f"mx.delta.{ZONE}", "CENTRE DELTA", "355555555500015")
    epsilon = serv(f"mx.epsilon.{ZONE}", "CABINET EPSILON", "366666666600016")
    pki.revoke(epsilon)
    credentials = {
        "valid": valid,
        "cn-differs": serv(f"autre.{GAMMA}", *gamma),
        "dn-differs": serv(host, gamma[0], "377777777700017"),
        "other-domain": valid,  # a good certificate, for a domain that is another operator's
        "expired": serv(host, *gamma, not_before=made - timedelta(days=400), not_after=made - timedelta(days=35)),
        "revoked": epsilon,
        "foreign-ca": serv(host, *gamma, by=Pki(pki.base_url, prefix="AUTRE")),
        "unlisted": serv(f"mx.unlisted.{ZONE}", "NULLE PART", "388888888800018"),
    }
    for peer, credential in credentials.items():
        credential.write(public, f"peer-{peer}")
    return {GAMMA: [listed_name(valid)], f"delta.{ZONE}": [listed_name(delta)], f"epsilon.{ZONE}": [listed_name(epsilon)]}
