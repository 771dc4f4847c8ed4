"""What `config check` and the start of a node find missing: every mistake at once, each with its path."""

import sys
from datetime import UTC, datetime, timedelta

import pytest

from mssgw.core.config import parse
from mssgw.core.errors import ConfigError
from mssgw.demo.pki import Credential, Pki, listed_name
from mssgw.demo.whitelist import ListEntry, render, sign
from mssgw.node.readiness import require_ready
from mssgw.node.remarks import remarks
from mssgw.smime.keys import token_worker
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


@pytest.fixture
def home(tmp_path):
    pki = Pki()
    pki.operator("mx.a.test", key="p256").write(tmp_path, "relay")
    pki.organisation("organisation@a.test", key="p256").write(tmp_path, "seal")
    pki.write_anchors(tmp_path / "anchors")
    (tmp_path / "master.key").write_bytes(bytes(32))
    (tmp_path / "master.key").chmod(0o600)
    (tmp_path / "data").mkdir(mode=0o700)
    return tmp_path


def problems(home):
    with pytest.raises(ConfigError) as caught:
        require_ready(parse(TOML, home))
    return dict(english(caught.value.problems))


def test_complete(home):
    require_ready(parse(TOML, home))


def test_missing_files_are_all_named(home):
    for name in ("master.key", "relay.pem", "seal.pem"):
        (home / name).unlink()
    found = problems(home)
    assert set(found) >= {"seal.master_key", "relay.certificate", "domain[0].certificate"}
    assert "there is no such file" in found["relay.certificate"]


def test_key_of_another_certificate(home):
    (home / "relay.key").write_bytes((home / "seal.key").read_bytes())
    assert problems(home) == {"relay.certificate": f"{home}/relay.pem: the key is not that of the certificate"}


def test_seal_with_a_foreign_key(home):
    (home / "seal.key").write_bytes((home / "relay.key").read_bytes())
    assert "does not belong" in problems(home)["domain[0].key"]


def test_rubbish_instead_of_a_certificate(home):
    (home / "relay.pem").write_text("hello")
    assert "not a PEM certificate" in problems(home)["relay.certificate"]


def test_wrong_ldap_settings_are_named_without_asking_the_server(home):
    (home / "ca.pem").write_text("hello")
    table = '\n[[ldap]]\nurls = ["ldaps://nowhere.invalid"]\nbase = "dc=x"\nca = "ca.pem"\n'
    with pytest.raises(ConfigError) as caught:
        require_ready(parse(TOML + table, home))
    assert dict(english(caught.value.problems)) == {"ldap[0].ca": f"{home}/ca.pem: not PEM certificates, or not their PEM key"}


def test_no_anchors(home):
    for path in (home / "anchors").iterdir():
        path.unlink()
    assert any(path.startswith("trust") for path in problems(home))


def test_a_seal_that_readers_refuse(home):
    """Regression: a TLS certificate as seal passed the check, and all mail was signed with a certificate that readers refuse."""
    Pki().operator("mx.a.test", key="p256").write(home, "seal")
    assert "not for mail" in problems(home)["domain[0].certificate"]
    require_ready(parse(TOML + 'sign = "never"\n', home))


def test_a_seal_out_of_its_dates_is_remarked_and_stops_no_start(home):
    config = parse(TOML, home)
    require_ready(config)
    today = datetime.now(UTC)
    assert dict(english(remarks(config, today))) == {}
    later = dict(english(remarks(config, today + timedelta(days=20 * 365))))
    assert set(later) == {"relay.certificate", "domain[0].certificate"}
    assert "peers refuse it" in later["relay.certificate"]
    assert "what is to be signed waits" in later["domain[0].certificate"]


def found_with(home, table):
    with pytest.raises(ConfigError) as caught:
        require_ready(parse(TOML + table, home))
    return english(caught.value.problems)


def test_directories_of_certificates_that_are_not_there(home):
    """Regression: both passed the check; recipients' mail left in clear, and nobody's mail was opened."""
    assert found_with(home, '[smime]\nrecipients = "nope"\nidentities = "none"\n') == [
        ("smime.recipients", f"{home}/nope: there is no such file"),
        ("smime.identities", f"{home}/none: there is no such file"),
    ]
    (home / "nope").write_text("a file")
    ((where, sentence),) = found_with(home, '[smime]\nrecipients = "nope"\n')
    assert (where, sentence) == ("smime.recipients", f"{home}/nope: this is not a directory")


def test_identities_that_can_not_be_used_are_named(home):
    (home / "persons").mkdir()
    for name in ("seal.pem", "seal.key"):
        (home / "persons" / name).write_bytes((home / name).read_bytes())
    config = '[smime]\nidentities = "persons"\n'
    require_ready(parse(TOML + config, home))
    (home / "persons" / "seal.pem").write_text("garbage")
    ((where, sentence),) = found_with(home, config)
    assert where == "smime.identities"
    assert sentence.startswith(f"{home}/persons/seal.pem: ")


def test_a_recipient_s_file_that_is_broken_is_remarked_and_stops_no_start(home):
    (home / "recipients").mkdir()
    (home / "recipients" / "paul.petit.pem").write_text("garbage")
    config = parse(TOML + '[smime]\nrecipients = "recipients"\n', home)
    require_ready(config)
    ((where, sentence),) = english(remarks(config, datetime.now(UTC)))
    assert where == "smime.recipients"
    assert f"{home}/recipients/paul.petit.pem: " in sentence


TOKEN = (
    TOML.replace("file:seal.key", "pkcs11:token=igc;object=seal")
    + """
[smime]
pkcs11_module = "{module}"
pkcs11_pin = "file:master.key"
"""
)


def test_a_key_in_a_token_needs_its_library_and_ours(home, monkeypatch):
    """Regression: the check passed, and all mail then waited with `ModuleNotFoundError`."""
    (home / "module.so").write_bytes(b"")
    require_ready(parse(TOKEN.format(module="module.so"), home))
    monkeypatch.setitem(sys.modules, "pkcs11", None)
    with pytest.raises(ConfigError) as caught:
        require_ready(parse(TOKEN.format(module="absent.so"), home))
    assert dict(english(caught.value.problems)) == {
        "domain[0].key": "a key in a token needs python-pkcs11, which is not installed: pip install python-pkcs11",
        "smime.pkcs11_module": f"{home}/absent.so: there is no such PKCS#11 library",
    }
    with pytest.raises(token_worker.Refusal) as refusal:
        token_worker._login({"module": f"{home}/module.so", "token": "igc", "pin": ""})
    assert "pip install python-pkcs11" in refusal.value.text


def test_a_master_key_that_is_none(home):
    """Regression: the check and a reload accepted any file, and the next start failed."""
    (home / "master.key").write_text("garbage")
    assert "expected 32 octets, found 7" in problems(home)["seal.master_key"]


def test_an_anchor_that_is_no_certificate_is_remarked(home):
    (home / "anchors" / "more.pem").write_text("garbage")
    assert (english(remarks(parse(TOML, home), datetime.now(UTC)))) == [
        ("trust.anchors", f"{home}/anchors/more.pem: no certificate in it; no authority is known by it")
    ]


def test_a_mistake_stands_where_its_domain_stands(home):
    """Regression: domains without a seal were not counted."""
    Pki().organisation("organisation@a.test", key="p256").write(home, "other")
    (home / "seal.key").write_bytes((home / "other.key").read_bytes())
    toml = TOML.replace("[[domain]]", '[[domain]]\nname = "b.test"\n[[domain]]', 1)
    with pytest.raises(ConfigError) as caught:
        require_ready(parse(toml, home))
    assert "domain[1].key" in dict(english(caught.value.problems))


def remarked(home, toml=TOML):
    config = parse(toml, home)
    require_ready(config)
    return dict(english(remarks(config, datetime.now(UTC))))


def test_a_certificate_that_is_not_for_the_host_name(home):
    """Regression: peers and mail clients refused it, and the check accepted it."""
    pki = Pki()
    pki.operator("other.a.test", key="p256").write(home, "relay")
    pki.write_anchors(home / "anchors")
    found = remarked(home)
    assert "relay.pem is not for mx.a.test ([node] hostname)" in found["relay.certificate"]
    assert "order one with this name" in found["relay.certificate"]


def test_no_listener_at_all(home):
    assert "nobody can send or read mail here" in remarked(home, TOML.replace('listen = ["127.0.0.1:2525"]', ""))[""]


def test_persons_keys_that_sign_for_anybody(home):
    toml = TOML.replace("[[domain]]", '[[domain]]\npersonal_keys = "any"', 1)
    found = remarked(home, toml)["domain[0].personal_keys"]
    assert "from the hospital port" in found
    assert '"session"' in found


def test_a_data_directory_that_others_can_look_into(home):
    (home / "data").chmod(0o750)
    assert remarked(home)["node.data"] == f"{home}/data has mode 0750, others can look into it; chmod 700 {home}/data"


def test_a_data_directory_that_can_not_be(home):
    (home / "file").write_bytes(b"")
    with pytest.raises(ConfigError) as caught:
        require_ready(parse(TOML.replace('"data"', '"file/data"'), home))
    assert dict(english(caught.value.problems)) == {"node.data": f"{home}/file/data can't be made: {home}/file is no directory"}


def test_networks_of_the_internet(home):
    hospital = '\n[hospital]\nlisten = ["127.0.0.1:2526"]\nnetworks = ["10.0.0.0/8", "192.0.2.0/24", "8.8.0.0/16"]\n'
    found = [
        sentence for where, sentence in english(remarks(parse(TOML + hospital, home), datetime.now(UTC))) if where == "hospital.networks"
    ]
    assert [sentence.split()[0] for sentence in found] == ["8.8.0.0/16"]


def test_a_domain_that_is_not_on_the_last_good_list(home):
    pki = Pki()
    name = listed_name(Credential.read(home / "relay.pem", home / "relay.key"))
    for domain, expected in (("b.test", ["domain[0].name"]), ("a.test", [])):
        listed = sign(render([ListEntry(domain, name)], datetime(2026, 11, 22, tzinfo=UTC)), pki.list_signer())
        (home / "data" / "trust").mkdir(exist_ok=True)
        (home / "data" / "trust" / "list.xml").write_bytes(listed)
        found = remarked(home)
        assert list(found) == expected
        assert not expected or "a.test is not on the national whitelist of 2026-11-22" in found["domain[0].name"]


def test_a_list_on_disk_that_was_changed_is_remarked(home):
    (home / "data" / "trust").mkdir()
    (home / "data" / "trust" / "list.xml").write_bytes(b"<a/>")
    assert "is fetched again" in remarked(home)["node.data"]
