"""Configuration: all mistakes at once, each with its path; nothing half read."""

from pathlib import Path

import pytest

from mssgw.core.config import ConfigError, load, parse
from mssgw.core.config.base import Listen, Network, Secret
from tests.problems import english

GOOD = """
[node]
hostname = "mx.alpha.test"
data = "data"
[seal]
master_key = "file:master.key"
[trust]
anchors = "anchors"
[[domain]]
name = "alpha.test"
"""


def problems(text: str) -> list[tuple[str, str]]:
    with pytest.raises(ConfigError) as caught:
        parse(text, Path("/base"))
    return english(caught.value.problems)


def test_smallest_configuration():
    config = parse(GOOD, Path("/base"))
    assert config.node.data == Path("/base/data")
    assert config.seal.master_key == Secret("file", "/base/master.key")
    assert config.domain[0].name == "alpha.test"
    assert config.relay is None


def test_all_mistakes_at_once_with_their_paths():
    text = (
        GOOD.replace('data = "data"', 'data = "data"\nworkers = 0\nbogus = 1')
        + """
[relay]
certificate = "a.pem"
listen = ["0.0.0.0:25", "nonsense"]
[[domain]]
name = "Upper.Test"
[nonsense]
"""
    )
    assert {path for path, _ in problems(text)} == {"node.workers", "node.bogus", "relay.key", "relay.listen[1]", "domain[1]", "nonsense"}


def test_missing_tables_are_named():
    assert {path for path, _ in problems("")} == {"node", "seal", "trust", "domain"}


@pytest.mark.parametrize("name", ["…", "mx alpha.test", "mx..test", "-mx.test", "[192.0.2.1]", "mx.test\\r\\nX: y"])
def test_hostname_is_a_host_name(name):
    """Regression: the placeholder of config/mssgw.toml was used in banners and Received fields."""
    ((path, sentence),) = problems(GOOD.replace("mx.alpha.test", name))
    assert path == "node"
    assert "is not a host name such as mx.chu.example" in sentence


def test_every_mistake_inside_one_table_is_named():
    """Regression: `config check` stopped at the first one of an [[ldap]]."""
    assert problems(
        GOOD
        + """
[[ldap]]
urls = ["ldaps://a.test", "http://b.test"]
base = "pas un dn"
scope = "partout"
filter = "(mail=*)"
domains = ["Ä.test", "ok.test", "b c"]
bind_dn = "cn=x"
certificate = "x.pem"
stale_seconds = 1
timeout_seconds = 0
bogus = 1
"""
    ) == [
        ("ldap[0].scope", "'partout' is none of base, one, sub"),
        ("ldap[0].timeout_seconds", "expected a number of at least 1"),
        ("ldap[0].bogus", "no such setting"),
        ("ldap[0].urls[1]", "'http://b.test' is not ldaps://host or ldap://host, with a port or without"),
        ("ldap[0].domains[0]", "write it as xn--4ca.test"),
        ("ldap[0].domains[2]", "domain label 'b c' is not letters, digits and hyphens"),
        ("ldap[0].base", "'pas un dn' is not a distinguished name such as ou=people,dc=hospital,dc=example"),
        ("ldap[0].filter", "the filter names nobody: {address}, {local} or {domain} is missing"),
        ("ldap[0].password", "bind_dn and password go together: give both or neither"),
        ("ldap[0].key", "certificate and key go together: give both or neither"),
        ("ldap[0].stale_seconds", "stale_seconds is shorter than cache_seconds"),
    ]


def test_what_is_missing_is_named_and_what_is_wrong_is_not_called_missing():
    assert problems(GOOD + "[[ldap]]\n[relay]\n") == [
        ("ldap[0].urls", "is required"),
        ("ldap[0].base", "is required"),
        ("relay.certificate", "is required"),
        ("relay.key", "is required"),
    ]
    text = GOOD + '[[ldap]]\nurls = ["ldaps://a.test"]\nbase = "dc=x"\ncertificate = "x"\nkey = "nowhere"\n'
    assert [path for path, _ in problems(text)] == ["ldap[0].key"]


@pytest.mark.parametrize(
    ("path", "text", "choices"),
    [
        ("domain[1].encrypt", '[[domain]]\nname = "b.test"\nencrypt = "toujours"\n', "always, never, when-possible"),
        ("smime.cipher", '[smime]\ncipher = "toujours"\n', "aes256-cbc, aes256-gcm, auto"),
        ("trust.pki", GOOD.replace("[trust]", '[trust]\npki = "toujours"'), "igc-sante, igc-sante-test, private"),
        ("node.log_format", GOOD.replace("[node]", '[node]\nlog_format = "toujours"'), "json, text"),
    ],
)
def test_a_word_that_is_none_of_a_few_is_refused_with_those_that_are(path, text, choices):
    """Regression: `Invalid enum value 'toujours'` did not name the words that exist."""
    assert problems(text if "[node]" in text else GOOD + text) == [(path, f"'toujours' is none of {choices}")]


@pytest.mark.parametrize(
    ("name", "good"),
    [
        ("", True),
        ("dc=x", True),
        ("ou=people, dc=chu,dc=example", True),
        (r'CN=Doe\, J\C3\A9+uid=1,O="A, B"', True),
        ("2.5.4.3=x,1.2=#04024869", True),
        ("dc=hôpital", True),
        ("cn=", True),
        ("c=a=b", True),
        ("pas un dn", False),
        ("…", False),
        ("dc=x,", False),
        ("=x", False),
        ("dc=x;dc=y", False),
        ("dc=x,hospital", False),
        ("dc=a\\", False),
    ],
)
def test_a_base_is_a_distinguished_name(name, good):
    text = GOOD + f"[[ldap]]\nurls = [\"ldaps://a.test\"]\nbase = '{name}'\n"
    if good:
        parse(text, Path("/base"))
    else:
        assert [path for path, _ in problems(text)] == ["ldap[0].base"]


def test_hostname_is_written_plainly():
    assert problems(GOOD.replace("mx.alpha.test", "hôpital.test")) == [("node", "write the hostname as xn--hpital-ixa.test")]
    assert problems(GOOD.replace("mx.alpha.test", "mx.alpha.test.")) == [("node", "write the hostname as mx.alpha.test")]
    assert parse(GOOD.replace("mx.alpha.test", "MX.alpha.test"), Path("/base")).node.hostname == "MX.alpha.test"


def test_what_is_no_toml_is_refused_with_its_place():
    assert "line 1" in problems("[node\nx = 1")[0][1]


def test_two_listeners_on_one_address():
    text = (
        GOOD + '[clients]\ncertificate = "c.pem"\nkey = "file:c.key"\n'
        '[submission]\nlisten = ["127.0.0.1:587"]\n[imap]\nlisten = ["127.0.0.1:587"]\n'
    )
    assert problems(text) == [("imap.listen", "127.0.0.1:587 is already taken by submission.listen")]


def test_domain_configured_twice_and_routed_away():
    text = GOOD + '[[domain]]\nname = "alpha.test"\n[[route]]\ndomain = "alpha.test"\nhost = "x"\n'
    assert [path for path, _ in problems(text)] == ["domain[1].name", "route[0].domain"]


def test_secrets_are_listed_and_never_shown(tmp_path):
    key = tmp_path / "master.key"
    key.write_bytes(b"s3cret")
    config = parse(GOOD, tmp_path)
    ((name, secret),) = config.secrets()
    assert name == "seal.master_key"
    assert secret.read() == b"s3cret"
    assert "s3cret" not in repr(config)


def test_a_credential_without_systemd_is_refused_as_such(monkeypatch):
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    with pytest.raises(FileNotFoundError, match=r"looked for in .*/run/credentials/mssgw.service/master, .*/etc/credstore/master"):
        Secret.parse("credential:master").read()


def test_unreadable_file(tmp_path):
    with pytest.raises(ConfigError, match="there is no such file"):
        load(tmp_path / "absent.toml")
    (tmp_path / "latin.toml").write_bytes(b"\xe9")
    with pytest.raises(ConfigError, match="not UTF-8 at octet 0"):
        load(tmp_path / "latin.toml")


@pytest.mark.parametrize(("text", "host", "port"), [("0.0.0.0:25", "0.0.0.0", 25), ("[::1]:465", "::1", 465), ("mx.test:0", "mx.test", 0)])
def test_listen(text, host, port):
    listen = Listen.parse(text)
    assert (listen.host, listen.port, str(listen)) == (host, port, text)


@pytest.mark.parametrize("text", ["25", ":25", "::1:25", "a:65536", "a b:1"])
def test_listen_refused(text):
    with pytest.raises(ValueError, match="expected host:port"):
        Listen.parse(text)


def test_network_holds_mapped_and_scoped_addresses():
    assert "10.1.2.3" in Network("10.1.0.0/16")
    assert "::ffff:10.1.2.3" in Network("10.1.0.0/16")
    assert "fe80::1%eth0" in Network("fe80::/10")
    assert "10.2.0.1" not in Network("10.1.0.0/16")


@pytest.mark.parametrize(
    ("table", "where", "why"),
    [
        ('[metrics]\nlisten = ["0.0.0.0:9464"]', "metrics.listen", "0.0.0.0:9464 can be reached from outside"),
        ('[metrics]\nlisten = ["[::]:9464"]', "metrics.listen", "listen on 127.0.0.1 or"),
        ('[metrics]\nlisten = ["mx.example:9464"]', "metrics.listen", "can be reached from outside"),
        ('[hospital]\nnetworks = ["0.0.0.0/0"]', "hospital.networks", "0.0.0.0/0 lets everybody hand over mail"),
        ('[hospital]\nnetworks = ["10.0.0.0/8", "128.0.0.0/1", "::/0"]', "hospital.networks", "128.0.0.0/1 lets everybody"),
    ],
)
def test_what_opens_the_node_to_everybody_is_a_mistake(table, where, why):
    """Regression: `config check` accepted it."""
    with pytest.raises(ConfigError) as caught:
        parse(f"{GOOD}\n{table}\n", Path("/base"))
    assert {one for one, _ in english(caught.value.problems)} == {where}
    assert any(why in sentence for _, sentence in english(caught.value.problems))


def test_metrics_on_loopback():
    parse(f'{GOOD}\n[metrics]\nlisten = ["127.0.0.1:9464", "[::1]:9464", "localhost:9465"]\n', Path("/base"))


@pytest.mark.parametrize("text", ["mysql://root@localhost/mail", "store.db", "sqlite:", "postgresql:mail", "sqlite:///"])
def test_a_store_that_is_none(text):
    with pytest.raises(ConfigError) as caught:
        parse(GOOD.replace("[seal]", f'store = "{text}"\n[seal]'), Path("/base"))
    ((where, sentence),) = english(caught.value.problems)
    assert where == "node.store"
    assert "expected sqlite:PATH or postgresql://user@host/database" in sentence


def test_a_file_as_windows_notepad_saves_it(tmp_path):
    """Regression: the byte order mark gave "Invalid statement (at line 1, column 1)"."""
    (tmp_path / "mssgw.toml").write_bytes(b"\xef\xbb\xbf" + GOOD.lstrip().encode())
    assert load(tmp_path / "mssgw.toml").node.hostname == "mx.alpha.test"
