"""OpenLDAP's slapd as the directory of recipients' certificates: TLS in both forms, logins, limits, a server that dies."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

import msgspec
import pybase64
import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from mssgw import smime
from mssgw.core.address import Address
from mssgw.core.config.base import decode_hook
from mssgw.core.config.ldap import Ldap
from mssgw.smime.cms import capabilities
from mssgw.smime.cms.signed import Signer
from mssgw.smime.directories.ldap import LdapDirectory
from mssgw.smime.errors import DirectoryUnavailable
from tests.peers.smime_matrix import run
from tests.smime.letters import letter
from tests.smime.people import ALWAYS, BOB, NOW, Authority, Person, private, usage

pytestmark = pytest.mark.peer("/usr/sbin/slapd")
WHO, NOBODY = Address.parse(BOB), Address.parse("nobody@beta.mssante.test")
CROWD = "crowd@beta.mssante.test"


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


CONFIG = """
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile {path}/pid
TLSCACertificateFile {path}/ca.pem
TLSCertificateFile {path}/server.pem
TLSCertificateKeyFile {path}/server.key
TLSVerifyClient try
authz-regexp "cn=gateway,c=fr" "cn=gateway,dc=hospital"
database mdb
suffix dc=hospital
rootdn cn=root,dc=hospital
directory {path}/data
access to dn.subtree="ou=staff,dc=hospital" by dn.exact="cn=gateway,dc=hospital" read by anonymous auth by * none
access to attrs=userPassword by anonymous auth by * none
access to * by * read
"""


@dataclass
class Slapd:
    path: Path
    authority: Authority
    bob: Person
    port: int
    tls_port: int
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen(
            [
                "/usr/sbin/slapd",
                "-f",
                self.path / "slapd.conf",
                "-d",
                "0",
                "-h",
                f"ldap://127.0.0.1:{self.port} ldaps://127.0.0.1:{self.tls_port}",
            ],
            stderr=subprocess.DEVNULL,
        )
        ends = time.monotonic() + 20
        while time.monotonic() < ends and self.process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.tls_port), 1):
                return
        raise AssertionError("slapd does not start")

    def stop(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()

    def directory(self, **given: object) -> LdapDirectory:
        base = {"urls": [f"ldaps://127.0.0.1:{self.tls_port}"], "base": "dc=hospital", "ca": str(self.path / "ca.pem"), "cache_seconds": 0}
        return LdapDirectory(msgspec.convert(base | given, Ldap, dec_hook=decode_hook), clock=lambda: self.clock)

    clock = 1000.0


def _ldif(name: str, *lines: str) -> str:
    return "\n".join([f"dn: {name}", *lines, "", ""])


def _person(name: str, mail: str, *lines: str) -> str:
    return _ldif(name, "objectClass: inetOrgPerson", f"cn: {name.partition(',')[0][3:]}", "sn: x", f"mail: {mail}", *lines)


def _binary(name: str, value: bytes) -> str:
    return f"{name}:: {pybase64.b64encode(value).decode()}"


def _content(bob: Person, card: Person) -> str:
    said = Signer(bob.identity).sign(hashlib.sha256(b"").digest(), NOW)
    return "".join(
        [
            _ldif("dc=hospital", "objectClass: dcObject", "objectClass: organization", "o: Hospital", "dc: hospital"),
            _ldif("ou=people,dc=hospital", "objectClass: organizationalUnit", "ou: people"),
            _ldif("ou=staff,dc=hospital", "objectClass: organizationalUnit", "ou: staff"),
            _ldif(
                "ou=elsewhere,dc=hospital",
                "objectClass: referral",
                "objectClass: extensibleObject",
                "ou: elsewhere",
                "ref: ldap://127.0.0.1:1/dc=elsewhere",
            ),
            _ldif("cn=gateway,dc=hospital", "objectClass: person", "cn: gateway", "sn: x", "userPassword: correct horse"),
            _person("cn=Bob,ou=people,dc=hospital", BOB, _binary("userCertificate;binary", bob.der), _binary("userSMIMECertificate", said)),
            _person("cn=Card,ou=staff,dc=hospital", "card@beta.mssante.test", _binary("userCertificate;binary", card.der)),
            *(_person(f"cn=Many {number},ou=people,dc=hospital", CROWD) for number in range(20)),
        ]
    )


@pytest.fixture(scope="module")
def slapd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slapd]:
    path = tmp_path_factory.mktemp("slapd")
    authority = Authority(**ALWAYS)
    one = Slapd(path, authority, authority.issue("rsa", BOB, number=1), free_port(), free_port())
    (path / "ca.pem").write_bytes(authority.pem())
    (path / "other.pem").write_bytes(Authority("Another CA", private("rsa", 98)).pem())
    names = x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1")), x509.DNSName("localhost")])
    for name, purpose in (("server", ExtendedKeyUsageOID.SERVER_AUTH), ("gateway", ExtendedKeyUsageOID.CLIENT_AUTH)):
        key = private("p256", 50)
        cert = authority._sign(
            name,
            key.public_key(),
            [
                (names, False),
                (usage(digital_signature=True), True),
                (x509.ExtendedKeyUsage([purpose]), False),
                (x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()), False),
                (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
            ],
        )
        Person(key, cert).write(path, name)
    (path / "password").write_text("correct horse\n")
    (path / "wrong").write_text("battery staple")
    (path / "slapd.conf").write_text(CONFIG.format(path=path))
    (path / "data").mkdir()
    (path / "content.ldif").write_text(_content(one.bob, authority.issue("rsa", number=2)))
    run("/usr/sbin/slapadd", "-f", path / "slapd.conf", "-l", path / "content.ldif")
    one.start()
    yield one
    one.stop()
    shutil.rmtree(path / "data")


@pytest.mark.parametrize("way", ["ldaps", "starttls", "clear", "by name"])
async def test_it_gives_certificate_and_capabilities(slapd: Slapd, way: str) -> None:
    given: dict[str, object] = {
        "ldaps": {},
        "starttls": {"urls": [f"ldap://127.0.0.1:{slapd.port}"]},
        "by name": {"urls": [f"ldaps://localhost:{slapd.tls_port}"]},
        "clear": {"urls": [f"ldap://127.0.0.1:{slapd.port}"], "starttls": False},
    }[way]
    one = slapd.directory(**given)
    (found,) = await one.find(WHO)
    assert found.certificate == slapd.bob.der
    assert capabilities.stated(found.capabilities) == capabilities.MODERN
    assert await one.find(NOBODY) == ()
    assert await one.problems() == []
    one.close()


async def test_a_message_is_encrypted_to_what_it_gives(slapd: Slapd) -> None:
    one = slapd.directory()
    (sent,) = await smime.protect(
        letter(), [WHO], smime.Policy("never", "always"), NOW, signer=None, lookup=one.find, validate=slapd.authority.validate
    )
    assert sent.cipher == "aes256-gcm"
    assert (await smime.open(sent.body, [slapd.bob.identity], slapd.authority.validate, NOW)).unwrapped
    one.close()


WRONG = {
    "another authority": ({"ca": "other.pem"}, "its certificate is refused"),
    "another authority, STARTTLS": ({"ca": "other.pem", "urls": ["ldap://127.0.0.1:{port}"]}, "its certificate is refused"),
    "another name": ({"urls": ["ldaps://127.0.0.2:{tls_port}"]}, ""),
    "clear on the TLS port": ({"urls": ["ldap://127.0.0.1:{tls_port}"], "starttls": False}, ""),
    "TLS on the clear port": ({"urls": ["ldaps://127.0.0.1:{port}"]}, ""),
    "no such base": ({"base": "dc=absent"}, "no such base"),
    "wrong password": ({"bind_dn": "cn=gateway,dc=hospital", "password": "file:{path}/wrong"}, "invalid credentials"),
    "wrong name": ({"bind_dn": "cn=absent,dc=hospital", "password": "file:{path}/password"}, "invalid credentials"),
    "absent password": ({"bind_dn": "cn=gateway,dc=hospital", "password": "file:{path}/absent"}, "No such file"),
}


@pytest.mark.parametrize(("given", "sentence"), WRONG.values(), ids=WRONG.keys())
async def test_a_wrong_setting_is_reported_and_never_taken_for_an_empty_answer(
    slapd: Slapd, given: dict[str, object], sentence: str
) -> None:
    def fill(value: object) -> object:
        if isinstance(value, list):
            return [fill(one) for one in value]
        text = str(value).format(port=slapd.port, tls_port=slapd.tls_port, path=slapd.path)
        return str(slapd.path / text) if text == "other.pem" else value if isinstance(value, bool) else text

    one = slapd.directory(**{name: fill(value) for name, value in given.items()}, timeout_seconds=3)
    with pytest.raises(DirectoryUnavailable) as caught:
        await one.find(WHO)
    assert sentence in caught.value.detail
    (problem,) = await one.problems()
    assert sentence in problem
    assert "horse" not in problem
    one.close()


@pytest.mark.parametrize(
    "login",
    [
        {"bind_dn": "cn=gateway,dc=hospital", "password": "file:{path}/password"},
        {"certificate": "{path}/gateway.pem", "key": "file:{path}/gateway.key"},
    ],
    ids=["password", "certificate"],
)
@pytest.mark.parametrize("scheme", ["ldap", "ldaps"])
async def test_logins_see_what_others_do_not(slapd: Slapd, login: dict[str, str], scheme: str) -> None:
    card = Address.parse("card@beta.mssante.test")
    urls = {"urls": [f"{scheme}://127.0.0.1:{slapd.port if scheme == 'ldap' else slapd.tls_port}"]}
    stranger = slapd.directory(**urls)
    assert await stranger.find(card) == ()
    known = slapd.directory(**urls, **{name: value.format(path=slapd.path) for name, value in login.items()})
    (found,) = await known.find(card)
    assert not smime.certificate(found.certificate).addresses
    for one in (stranger, known):
        one.close()


async def test_a_wide_filter_does_not_find_somebody_else_s_card(slapd: Slapd) -> None:
    """`(|(mail={address})(sn=*))` below a small branch: the only entry with a certificate has a card, and another address."""
    gateway = {"certificate": str(slapd.path / "gateway.pem"), "key": f"file:{slapd.path}/gateway.key"}
    one = slapd.directory(base="ou=staff,dc=hospital", filter="(|(mail={address})(sn=*))", **gateway)
    assert await one.find(NOBODY) == ()
    assert await one.find(Address.parse("card@beta.mssante.test"))
    one.close()


async def test_too_many_entries_are_nobody_in_particular(slapd: Slapd) -> None:
    one = slapd.directory()
    with pytest.raises(DirectoryUnavailable, match="too wide for one recipient"):
        await one.find(Address.parse(CROWD))
    one.close()


async def test_a_star_in_an_address_is_a_star(slapd: Slapd) -> None:
    one = slapd.directory()
    assert await one.find(Address.parse('"*"@beta.mssante.test')) == ()
    assert await one.find(Address.parse('"x)(mail=*"@beta.mssante.test')) == ()
    one.close()


async def test_referrals_are_not_followed(slapd: Slapd) -> None:
    one = slapd.directory(base="ou=elsewhere,dc=hospital")
    with pytest.raises(DirectoryUnavailable, match="a referral, which is not followed"):
        await one.find(WHO)
    one.close()


async def test_killed_and_back(slapd: Slapd) -> None:
    one = slapd.directory(stale_seconds=0, timeout_seconds=3)
    assert await one.find(WHO)
    slapd.stop()
    try:
        with pytest.raises(DirectoryUnavailable):
            await one.find(WHO)
        beside = slapd.directory(urls=[f"ldaps://127.0.0.1:{free_port()}", f"ldaps://127.0.0.1:{slapd.tls_port}"])
        with pytest.raises(DirectoryUnavailable):
            await beside.find(WHO)
    finally:
        slapd.start()
    slapd.clock += 60
    assert (await one.find(WHO))[0].certificate == slapd.bob.der
    assert (await beside.find(WHO))[0].certificate == slapd.bob.der  # the first server is still dead
    one.close()
    beside.close()
