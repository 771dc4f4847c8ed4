"""What `config check` warns of beside the files: our certificates as others judge them, who may write what, weakened rules.

Each is what an administrator did by mistake, and the check accepted.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from mssgw.core.config import ConfigError, parse
from mssgw.demo.pki import SERV_SSL, Credential, Pki, Profile, listed_name
from mssgw.demo.whitelist import ListEntry, render, sign
from mssgw.node.remarks import remarks
from tests.problems import english

TOML = """
[node]
hostname = "mx.a.test"
data = "data"
[seal]
master_key = "file:master.key"
[trust]
anchors = "anchors"
pki = "private"
[relay]
listen = ["127.0.0.1:2525"]
certificate = "relay.pem"
key = "file:relay.key"
[[domain]]
name = "a.test"
certificate = "seal.pem"
key = "file:seal.key"
"""
ONLY_SERVER = Profile(SERV_SSL.usages, (ExtendedKeyUsageOID.SERVER_AUTH,))


@pytest.fixture(scope="module")
def pki():
    return Pki()


@pytest.fixture
def home(tmp_path, pki):
    pki.operator("mx.a.test", key="p256").write(tmp_path, "relay")
    pki.organisation("organisation@a.test", key="p256").write(tmp_path, "seal")
    pki.write_anchors(tmp_path / "anchors")
    (tmp_path / "master.key").write_bytes(bytes(32))
    (tmp_path / "master.key").chmod(0o600)
    (tmp_path / "data").mkdir(mode=0o700)
    (tmp_path / "mssgw.toml").write_text(TOML)
    return tmp_path


def found(home, toml=TOML):
    """Every remark, in both languages: where, and the English with the French behind it."""
    made = list(remarks(parse(toml, home), datetime.now(UTC), home / "mssgw.toml"))
    assert all(what.fr != what.en for _, what in made)
    return english(made)


def one(home, toml=TOML):
    ((where, said),) = found(home, toml)
    return where, said


def test_nothing_is_remarked_about_a_node_in_order(home):
    assert found(home) == []


# -- certificates ----------------------------------------------------------------------------------------------------


def test_an_operator_certificate_of_another_authority(home):
    other = Pki(prefix="AUTRE")
    other.operator("mx.a.test", key="p256").write(home, "relay")
    where, said = one(home)
    assert where == "relay.certificate"
    assert "mssgw trust import-anchors" in said


@pytest.mark.parametrize("name", ["relay", "seal", "clients"])
def test_a_certificate_that_a_crl_on_disk_revokes(home, pki, name):
    mine = pki.operator("mx.a.test", key="p256") if name != "seal" else pki.organisation("organisation@a.test", key="p256")
    mine.write(home, name)
    toml = TOML + '[clients]\ncertificate = "clients.pem"\nkey = "file:clients.key"\n' if name == "clients" else TOML
    assert found(home, toml) == []
    (home / "data" / "trust" / "crl").mkdir(parents=True)
    (home / "data" / "trust" / "crl" / "a.crl").write_bytes(crl_of(pki, mine))
    where, said = one(home, toml)
    assert where == ("domain[0].certificate" if name == "seal" else f"{name}.certificate")
    assert "revoked" in said
    assert "Order the next one now, with a new key" in said


def crl_of(pki, revoked):
    issuer = pki.issuer_of(revoked.certificate).credential
    now = datetime.now(UTC)
    entry = x509.RevokedCertificateBuilder().serial_number(revoked.certificate.serial_number).revocation_date(now - timedelta(hours=1))
    made = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(now - timedelta(hours=1))
        .next_update(now + timedelta(days=1))
        .add_revoked_certificate(entry.build())
        .add_extension(x509.CRLNumber(7), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), critical=False)
        .sign(issuer.key, hashes.SHA256())
    )
    return made.public_bytes(Encoding.DER)


@pytest.mark.parametrize("kind", ["a seal", "a server only"])
def test_an_operator_certificate_of_the_wrong_kind(home, pki, kind):
    if kind == "a seal":
        pki.organisation("organisation@a.test", key="p256").write(home, "relay")
    else:
        pki.operator("mx.a.test", key="p256", profile=ONLY_SERVER).write(home, "relay")
    said = [sentence for where, sentence in found(home) if where == "relay.certificate" and "serverAuth and clientAuth" in sentence]
    assert len(said) == 1


def test_a_seal_shown_to_mail_clients(home, pki):
    pki.organisation("organisation@a.test", key="p256").write(home, "clients")
    said = [sentence for where, sentence in found(home, TOML + '[clients]\ncertificate = "clients.pem"\nkey = "file:clients.key"\n')]
    assert any("is no server's certificate (serverAuth): mail clients refuse it" in sentence for sentence in said)


@pytest.mark.parametrize("listed", ["another domain's", "another operator", "ours"])
def test_an_operator_certificate_and_the_list(home, pki, listed):
    other = listed_name(pki.operator("mx.b.test", key="p256", o="AUTRE"))
    mine = listed_name(Credential.read(home / "relay.pem", home / "relay.key"))
    entries = [ListEntry("a.test", mine if listed == "ours" else other)]
    if listed == "another domain's":
        entries.append(ListEntry("b.test", mine))
    (home / "data" / "trust").mkdir()
    octets = sign(render(entries, datetime(2026, 11, 22, tzinfo=UTC)), pki.list_signer())
    (home / "data" / "trust" / "list.xml").write_bytes(octets)
    if listed == "ours":
        assert found(home) == []
        return
    where, said = one(home)
    assert where == "relay.certificate"
    assert "is not the certificate that is listed for a.test" in said
    assert "have the list corrected (ANS)" in said


# -- weakened rules, mailboxes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ('revocation = "none"', "a revoked certificate"),
        ('revocation_mail = "none"', "a revoked certificate"),
        ('match = "lenient"', "only CN and OU"),
    ],
)
def test_rules_that_accept_more_than_the_trust_space_allows(home, line, what):
    where, said = one(home, TOML.replace("[relay]", f"{line}\n[relay]"))
    assert where == f"trust.{line.partition(' ')[0]}"
    assert said.startswith(what)


@pytest.mark.parametrize("setting", ["postmaster", "catch_all"])
def test_a_mailbox_at_a_foreign_domain_is_a_mistake(home, setting):
    """Regression: nothing is forwarded, so the mail went to somebody else, or was refused."""
    for given, said in (("me@elsewhere.test", "is of no domain here (a.test)"), ("nonsense", "no @ in the address")):
        with pytest.raises(ConfigError) as caught:
            parse(with_mailbox(setting, given), home)
        ((where, sentence),) = english(caught.value.problems)
        assert where.endswith(setting)
        assert said in sentence


def with_mailbox(setting, address):
    after = "[node]\n" if setting == "postmaster" else "[[domain]]\n"
    return TOML.replace(after, f'{after}{setting} = "{address}"\n')


def test_a_port_that_asks_for_certificates_of_nobody_is_a_mistake(home):
    hospital = '[hospital]\nlisten = ["127.0.0.1:2526"]\nnetworks = ["10.0.0.0/8"]\nrequire_certificate = true\n'
    with pytest.raises(ConfigError) as caught:
        parse(TOML + hospital, home)
    ((where, sentence),) = english(caught.value.problems)
    assert where == "hospital.client_ca"
    assert "refuses all mail" in sentence
    parse(TOML + hospital + 'client_ca = "hospital.pem"\n', home)


# -- who may write what ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("store", ["sqlite:../store.db", "sqlite:{home}/store.db", "sqlite:sub/../../store.db"])
def test_a_store_outside_of_the_data(home, store):
    toml = TOML.replace("[seal]", f'store = "{store.format(home=home)}"\n[seal]')
    where, said = one(home, toml)
    assert where == "node.store"
    assert said.startswith(f"{home}/store.db lies outside {home}/data: a copy of that directory misses it")
    assert 'set "sqlite:store.db" here' in said
    assert found(home, TOML.replace("[seal]", f'store = "sqlite:{home}/data/sub/store.db"\n[seal]')) == []


def test_a_store_of_the_dmp_outside_of_the_data(home):
    where, said = one(home, TOML + '[dmp]\nurl = "https://dmp.example/v2"\nanchors = "dmp.pem"\nstore = "sqlite:../dmp.db"\n')
    assert where == "dmp.store"
    assert 'set "sqlite:dmp.db" here' in said


@pytest.mark.parametrize("which", ["mssgw.toml", "."])
@pytest.mark.parametrize(("mode", "who", "remedy"), [(0o666, "everybody can write", "chmod o-w"), (0o660, "can write", "chmod g-w")])
def test_a_configuration_that_others_can_write(home, which, mode, who, remedy):
    """Whoever writes it commands the node; whoever writes its directory replaces it."""
    path = (home / which).resolve()
    if mode == 0o660 and os.geteuid() == 0:
        os.chown(path, 0, 12345)
    path.chmod(mode | 0o700)
    if mode == 0o660 and path.stat().st_gid == 0:
        assert found(home) == []
        return
    where, said = one(home)
    assert where == ""
    assert who in said
    assert f"commands the node; {remedy} {path}" in said


@pytest.mark.root
def test_a_configuration_of_somebody_else(home):
    os.chown(home / "mssgw.toml", 12345, 0)
    assert one(home)[
        1
    ] == f"{home}/mssgw.toml: it belongs to 12345, who is neither root nor the service; whoever writes there commands " + (
        f"the node; chown root {home}/mssgw.toml"
    )


def test_a_sticky_directory_above_is_no_remark(home):
    home.chmod(0o1777)
    assert found(home) == []


def test_keys_that_everybody_can_read(home, pki):
    (home / "relay.key").chmod(0o644)
    where, said = one(home)
    assert where == "relay.key"
    assert "everybody can read or change it" in said
    (home / "relay.key").chmod(0o600)
    (home / "persons").mkdir()
    for name in ("seal.pem", "seal.key"):
        (home / "persons" / name).write_bytes((home / name).read_bytes())
    (home / "persons" / "seal.key").chmod(0o644)
    where, said = one(home, TOML + '[smime]\nidentities = "persons"\n')
    assert where == "smime.identities"
    assert f"{home}/persons/seal.key: mode 0644" in said
