"""What `config check` and the start of a node find missing: every mistake at once, each with its path."""

from datetime import UTC, datetime, timedelta

import pytest

from mssgw.core.config import parse
from mssgw.core.errors import ConfigError
from mssgw.demo.pki import Pki
from mssgw.readiness import remarks, require_ready

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
    return tmp_path


def problems(home):
    with pytest.raises(ConfigError) as caught:
        require_ready(parse(TOML, home))
    return dict(caught.value.problems)


def test_complete(home):
    require_ready(parse(TOML, home))


def test_missing_files_are_all_named(home):
    for name in ("master.key", "relay.pem", "seal.pem"):
        (home / name).unlink()
    found = problems(home)
    assert set(found) >= {"seal.master_key", "relay.certificate", "domain[0].certificate"}
    assert "No such file" in found["relay.certificate"]


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
    table = '\n[[ldap]]\nurls = ["ldaps://nowhere.invalid"]\nbase = "dc=x"\nfilter = "(mail=*)"\nca = "ca.pem"\n'
    with pytest.raises(ConfigError) as caught:
        require_ready(parse(TOML + table, home))
    assert dict(caught.value.problems) == {
        "ldap[0].filter": "the filter names nobody: {address}, {local} or {domain} is missing",
        "ldap[0].ca": f"{home}/ca.pem: not PEM certificates, or not their PEM key"}


def test_no_anchors(home):
    for path in (home / "anchors").iterdir():
        path.unlink()
    assert any(path.startswith("trust") for path in problems(home))


def test_a_seal_that_readers_refuse(home):
    """Regression: a TLS certificate as seal passed, and all mail was signed with what nobody believes."""
    Pki().operator("mx.a.test", key="p256").write(home, "seal")
    assert "not for mail" in problems(home)["domain[0].certificate"]
    require_ready(parse(TOML + 'sign = "never"\n', home))


def test_a_seal_out_of_its_dates_is_remarked_and_stops_no_start(home):
    config = parse(TOML, home)
    require_ready(config)
    today = datetime.now(UTC)
    assert dict(remarks(config, today)) == {}
    ((where, sentence),) = remarks(config, today + timedelta(days=20 * 365))
    assert where == "domain[0].certificate"
    assert "what is to be signed waits" in sentence
