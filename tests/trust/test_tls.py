"""Mutual TLS: the handshake succeeds whatever the peer's certificate is; then our code judges it and the reply gives the reason.

The client is `openssl s_client`, over TLS 1.2 and 1.3, with the full chain, without the intermediate, and with the
chain in the wrong order; the server runs on asyncio and on uvloop, with STARTTLS and implicit TLS.
"""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from datetime import timedelta

import pytest
import uvloop

from mssgw.core.errors import ConfigError, NotTrusted
from mssgw.demo.authority import make_crl
from mssgw.demo.pki import Pki, listed_name
from mssgw.demo.whitelist import ListEntry
from mssgw.trust import faults, paths, revocation, tls, whitelist
from mssgw.trust.contexts import Contexts
from mssgw.trust.decisions import Step
from mssgw.trust.space import TrustSpace
from mssgw.trust.tls import Identity
from tests.trust.conftest import NOW, World
from tests.trust.smtp_end import SmtpEnd

GAMMA = "gamma.mssante.test"
LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
pytestmark = pytest.mark.peer("openssl")


class Peers(World):
    """Ten peers like those of the national audit (MOTCO1), as certificate files for openssl."""

    def __init__(self, directory):
        super().__init__()
        pki, gamma = self.pki, {"o": "LABORATOIRE GAMMA", "ou": "344444444400014"}
        self.delta = pki.operator("mx.delta.mssante.test", o="CENTRE DELTA", ou="355555555500015")
        self.epsilon = pki.operator("mx.epsilon.mssante.test", o="CABINET EPSILON", ou="366666666600016")
        pki.revoke(self.epsilon, NOW - timedelta(days=2))
        self.directory = directory
        self.credentials = {
            "valid": (self.gamma, GAMMA, "250"),
            "cn-differs": (
                pki.operator("autre.gamma.mssante.test", **gamma),
                GAMMA,
                "CN is 'autre.gamma.mssante.test', the list says 'mx.gamma",
            ),
            "dn-differs": (
                pki.operator("mx.gamma.mssante.test", o="LABORATOIRE GAMMA", ou="377777777700017"),
                GAMMA,
                "OU is '377777777700017', the list says '344444444400014'",
            ),
            "other-domain": (self.gamma, "delta.mssante.test", "is a listed operator, but not of delta.mssante.test"),
            "expired": (
                pki.operator("mx.gamma.mssante.test", **gamma, not_before=NOW - timedelta(days=400), not_after=NOW - timedelta(days=35)),
                GAMMA,
                "expired on 2026-10-18: renew it",
            ),
            "revoked": (self.epsilon, "epsilon.mssante.test", "was revoked on 2026-11-20: order a new one"),
            "foreign-ca": (self.foreign, GAMMA, "is no authority of the trust space"),
            "unlisted": (pki.operator("mx.unlisted.test"), "unlisted.mssante.test", "is not on the MSSante whitelist"),
            "no-certificate": (None, GAMMA, "presented no certificate"),
        }
        for name, (credential, _, _) in self.credentials.items():
            if credential:
                (directory / f"{name}.pem").write_bytes(credential.pem)
                (directory / f"{name}.key").write_bytes(credential.key_pem)
        own = pki.operator("mx.alpha.mssante.test", names=("localhost",), addresses=("127.0.0.1",))
        self.identity = Identity(*own.write(directory, "own"))
        chain = [each.credential.pem for each in (pki.authority(), pki.root())]
        (directory / "full").write_bytes(b"".join(chain))
        (directory / "wrong-order").write_bytes(b"".join(reversed(chain)))

    def entries(self):
        return [
            ListEntry(GAMMA, listed_name(self.gamma)),
            ListEntry("delta.mssante.test", listed_name(self.delta)),
            ListEntry("epsilon.mssante.test", listed_name(self.epsilon)),
        ]


@pytest.fixture(scope="module")
def peers(tmp_path_factory):
    return Peers(tmp_path_factory.mktemp("peers"))


@pytest.fixture
def judge(peers, ledger, clock):
    """Stands for Trust.require, with the test's clock and list."""
    for authority in peers.pki.authorities.values():
        for anchor in peers.anchors.every:
            if anchor.certificate.subject_der == authority.credential.certificate.subject.public_bytes():
                authority.crl_number += 1
                ledger.add_crl(revocation.read_crl(make_crl(authority, NOW - timedelta(hours=1)), anchor))
    validator = paths.Validator(peers.anchors, ledger, clock)
    unjudged = whitelist.open_signed(peers.signed())
    space = TrustSpace.of(whitelist.judge(unjudged, validator, (), NOW))

    def judge(domain, certificate):
        if certificate is None:
            raise faults.refusal(faults.Fault.NO_CERTIFICATE)
        validator(certificate, Step.MAIL.purpose, clock.now())
        return space.require(domain, paths.read(certificate).subject)

    return judge


def says(peers, port, name, version, chain, *, starttls=True):
    """What the server answers to this peer's MAIL, through openssl."""
    credential, domain, _ = peers.credentials[name]
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", f"-{version}", "-quiet", "-crlf"]
    command += ["-starttls", "smtp"] if starttls else []
    if credential:
        command += ["-cert", peers.directory / f"{name}.pem", "-key", peers.directory / f"{name}.key"]
        command += [] if chain == "missing" else ["-cert_chain", peers.directory / chain]
    done = subprocess.run(command, input=f"MAIL FROM:<x@{domain}>\nxUIT\n".encode(), capture_output=True, timeout=20, check=False)
    return done.stdout.decode()


@pytest.mark.parametrize("chain", ["full", "missing", "wrong-order"])
@pytest.mark.parametrize("version", ["tls1_2", "tls1_3"])
def test_audit_peers_get_their_reply(peers, judge, version, chain):
    context = tls.relay_server_context(peers.identity, peers.anchors)
    with SmtpEnd(asyncio.new_event_loop, lambda: context, judge) as end:
        for name, (_, _, expected) in peers.credentials.items():
            answer = says(peers, end.port, name, version, chain)
            assert expected in answer, name
            assert answer.count("550 5.") == (name != "valid"), name


@pytest.mark.parametrize("starttls", [True, False], ids=["starttls", "implicit"])
@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("version", ["tls1_2", "tls1_3"])
def test_on_both_loops_and_both_ways(peers, judge, loop, version, starttls):
    context = tls.relay_server_context(peers.identity, peers.anchors)
    with SmtpEnd(LOOPS[loop], lambda: context, judge, implicit=not starttls) as end:
        for name in ("valid", "expired", "foreign-ca", "no-certificate"):
            assert peers.credentials[name][2] in says(peers, end.port, name, version, "full", starttls=starttls), name


def test_no_list_of_authorities_is_sent_so_that_every_peer_shows_what_it_has(peers, judge):
    context = tls.relay_server_context(peers.identity, peers.anchors)
    with SmtpEnd(asyncio.new_event_loop, lambda: context, judge) as end:
        done = subprocess.run(
            ["openssl", "s_client", "-connect", f"127.0.0.1:{end.port}", "-starttls", "smtp"],
            input=b"xUIT\n",
            capture_output=True,
            timeout=20,
            check=False,
        )
    assert b"No client certificate CA names sent" in done.stdout


def test_a_certificate_without_its_key_does_not_come_through(peers, judge):
    """The handshake still proves possession: gamma's certificate with another key is no peer at all."""
    context = tls.relay_server_context(peers.identity, peers.anchors)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    with pytest.raises(ssl.SSLError):
        client.load_cert_chain(peers.directory / "valid.pem", peers.directory / "expired.key")
    with SmtpEnd(asyncio.new_event_loop, lambda: context, judge) as end:
        done = subprocess.run(
            [
                "openssl",
                "s_client",
                "-connect",
                f"127.0.0.1:{end.port}",
                "-starttls",
                "smtp",
                "-quiet",
                "-cert",
                peers.directory / "valid.pem",
                "-key",
                peers.directory / "expired.key",
            ],
            input=b"MAIL FROM:<x@gamma.mssante.test>\n",
            capture_output=True,
            timeout=20,
            check=False,
        )
        assert b"250 2.1.0" not in done.stdout


def test_a_revocation_between_two_sessions_of_one_peer(peers, judge, ledger, tmp_path):  # RFC 5077, 5246
    """The first session is served, the second refused; no ticket and no session id carries the first one over."""
    context = tls.relay_server_context(peers.identity, peers.anchors)
    zeta = peers.pki.operator("mx.zeta.mssante.test", o="LABORATOIRE GAMMA", ou="344444444400014")
    peers.credentials["zeta"] = (zeta, GAMMA, "")
    (peers.directory / "zeta.pem").write_bytes(zeta.pem)
    (peers.directory / "zeta.key").write_bytes(zeta.key_pem)
    with SmtpEnd(asyncio.new_event_loop, lambda: context, judge) as end:
        for version in ("tls1_2", "tls1_3"):
            session = tmp_path / version
            command = [
                "openssl",
                "s_client",
                "-connect",
                f"127.0.0.1:{end.port}",
                f"-{version}",
                "-starttls",
                "smtp",
                "-cert",
                peers.directory / "zeta.pem",
                "-key",
                peers.directory / "zeta.key",
            ]
            first = subprocess.run([*command, "-sess_out", session], input=b"xUIT\n", capture_output=True, timeout=20, check=False)
            assert b"New, TLSv1" in first.stdout
            if session.exists():
                again = subprocess.run([*command, "-sess_in", session], input=b"xUIT\n", capture_output=True, timeout=20, check=False)
                assert b"Reused, TLSv1" not in again.stdout
        assert "CN is" in says(peers, end.port, "zeta", "tls1_3", "full")  # known, good, not the listed one
        peers.pki.revoke(zeta, NOW - timedelta(minutes=1))
        authority = peers.pki.authority()
        authority.crl_number += 1
        anchor = next(each for each in peers.anchors.every if each.above)
        ledger.add_crl(revocation.read_crl(make_crl(authority, NOW), anchor))
        assert "was revoked" in says(peers, end.port, "zeta", "tls1_3", "full")
    del peers.credentials["zeta"]


@pytest.mark.parametrize(("name", "fault"), [("valid", None), ("expired", faults.Fault.EXPIRED), ("foreign-ca", faults.Fault.FOREIGN)])
def test_outgoing_takes_the_servers_certificate_to_judge_it(peers, judge, name, fault):
    """Relay out: the handshake succeeds, the DER comes out, the judgement is ours."""
    server = tls._server(Identity(peers.directory / f"{name}.pem", peers.directory / f"{name}.key"), tls._GCM)
    client = tls.relay_client_context(peers.identity, peers.anchors)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    there = server.wrap_bio(incoming, outgoing, server_side=True)
    here = client.wrap_bio(outgoing, incoming)
    for _ in range(4):
        tls._step(here)
        tls._step(there)
    certificate = tls.peer_certificate(here)
    assert certificate == peers.credentials[name][0].der
    if fault:
        with pytest.raises(NotTrusted) as caught:
            judge(GAMMA, certificate)
        assert faults.fault_of(caught.value) is fault
    else:
        assert judge(GAMMA, certificate).name.first("CN") == "mx.gamma.mssante.test"


# -- the mechanism ---------------------------------------------------------------------------------------------------


def test_mechanism_is_there_and_proved():
    assert tls.mechanism()


def test_self_test_notices_a_mechanism_that_does_nothing():
    assert not tls.self_test(lambda context: None)


def test_without_the_mechanism_openssl_verifies_and_refuses(peers, judge, monkeypatch):
    """Fail closed: an interpreter that we don't know keeps OpenSSL's own verification."""
    monkeypatch.setattr(tls, "mechanism", lambda: False)
    context = tls.relay_server_context(peers.identity, peers.anchors)
    with SmtpEnd(asyncio.new_event_loop, lambda: context, judge) as end:
        assert "250 2.1.0" not in says(peers, end.port, "foreign-ca", "tls1_2", "full")
        assert "presented no certificate" in says(peers, end.port, "no-certificate", "tls1_2", "full")


@pytest.mark.parametrize("version", [(3, 10, 0), (3, 15, 0)])
def test_unknown_interpreters_are_not_touched(monkeypatch, version):
    class Version(tuple):
        pass

    tls._openssl.cache_clear()
    monkeypatch.setattr(tls.sys, "version_info", Version(version))
    try:
        assert tls._openssl() is None
    finally:
        monkeypatch.undo()
        tls._openssl.cache_clear()


# -- client-facing ---------------------------------------------------------------------------------------------------

NATIONAL = ["ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES256-SHA384", "ECDHE-RSA-AES128-SHA256"]


def connects(port, *options):
    """The suite agreed on, or "" when the handshake fails."""
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", *options], input=b"", capture_output=True, timeout=20, check=False
    )
    found = [line.rpartition(" is ")[2] for line in done.stdout.decode().splitlines() if line.startswith("New, ")]
    return found[0] if found and found[0] != "(NONE)" else ""


@pytest.fixture
def clients(peers):
    context = tls.client_facing_context(peers.identity)
    with SmtpEnd(asyncio.new_event_loop, lambda: context, lambda *_: None, implicit=True) as end:
        yield end.port


@pytest.mark.parametrize("suite", NATIONAL)
def test_the_four_national_suites(clients, suite):  # ECO.1.1.3
    assert connects(clients, "-tls1_2", "-cipher", suite) == suite


@pytest.mark.parametrize("suite", ["AES128-SHA", "AES256-GCM-SHA384", "ECDHE-RSA-AES128-SHA", "DHE-RSA-AES256-GCM-SHA384"])
def test_no_other_suite(clients, suite):
    assert connects(clients, "-tls1_2", "-cipher", suite) == ""


@pytest.mark.parametrize("version", ["-tls1", "-tls1_1"])
def test_no_old_version(clients, version):  # ECO.1.1.1
    assert connects(clients, version, "-cipher", "DEFAULT@SECLEVEL=0") == ""


def test_tls_1_3(clients):  # RFC 8446
    assert connects(clients, "-tls1_3").startswith("TLS_")


def test_operators_get_no_cbc_and_only_1_3_by_setting(peers, judge):
    for strict, options, agreed in (
        (False, ("-tls1_2", "-cipher", NATIONAL[2]), False),
        (False, ("-tls1_2",), True),
        (True, ("-tls1_2",), False),
        (True, ("-tls1_3",), True),
    ):
        context = tls.relay_server_context(peers.identity, peers.anchors, tls13_only=strict)
        with SmtpEnd(asyncio.new_event_loop, lambda context=context: context, judge, implicit=True) as end:
            assert bool(connects(end.port, *options)) is agreed


def test_sni_chooses_the_certificate(peers):  # RFC 6066 3
    other = Identity(peers.directory / "valid.pem", peers.directory / "valid.key")
    context = tls.client_facing_context(peers.identity, others=[other])
    with SmtpEnd(asyncio.new_event_loop, lambda: context, lambda *_: None, implicit=True) as end:

        def shown(name):
            done = subprocess.run(
                ["openssl", "s_client", "-connect", f"127.0.0.1:{end.port}", "-servername", name],
                input=b"",
                capture_output=True,
                timeout=20,
                check=False,
            )
            return next(line for line in done.stdout.decode().splitlines() if line.startswith("subject="))

        assert "mx.gamma" in shown("MX.gamma.mssante.test")
        assert "mx.alpha" in shown("other.test")


def test_the_hospital_is_verified_against_its_own_authority(peers, judge, tmp_path):
    hospital = Pki(prefix="AUTRE")  # OpenSSL judges it by the wall clock
    server = hospital.operator("mx.gamma.mssante.test")
    certificate, key = server.write(tmp_path, "hospital")
    (tmp_path / "ca.pem").write_bytes(hospital.root().credential.pem)
    contexts = Contexts(peers.anchors, clients=peers.identity, hospital_ca=tmp_path / "ca.pem")
    assert contexts.hospital() is contexts.hospital()
    seen = []
    with SmtpEnd(asyncio.new_event_loop, contexts.hospital, lambda domain, certificate: seen.append(certificate)) as end:

        def talks(*certificate):
            done = subprocess.run(
                ["openssl", "s_client", "-connect", f"127.0.0.1:{end.port}", "-starttls", "smtp", "-quiet", *certificate],
                input=b"MAIL FROM:<x@gamma.mssante.test>\nxUIT\n",
                capture_output=True,
                timeout=20,
                check=False,
            )
            return b"250 2.1.0" in done.stdout

        chain = tmp_path / "chain.pem"
        chain.write_bytes(hospital.authority().credential.pem)
        theirs = ("-cert", certificate, "-key", key, "-cert_chain", chain)
        assert talks(*theirs)
        assert talks()
        assert not talks("-cert", peers.directory / "valid.pem", "-key", peers.directory / "valid.key")
    assert seen == [server.der, None]


def test_new_files_are_taken_up_and_broken_ones_are_not(peers, tmp_path):
    identity = Identity(*peers.gamma.write(tmp_path, "mx"))
    contexts = Contexts(peers.anchors, relay=identity, clients=identity)
    first, relay = contexts.client_facing(), contexts.relay_server()
    contexts.follow("v1")
    assert contexts.client_facing() is first
    assert contexts.relay_server() is not relay  # anchors or CRLs changed
    identity.certificate.write_bytes(b"nothing")
    contexts.follow("v1")
    assert contexts.client_facing() is first
    peers.delta.write(tmp_path, "mx")
    contexts.follow("v1")
    assert contexts.client_facing() is not first


def test_certificates_that_cannot_be_used_are_all_named_at_the_start(peers, tmp_path):
    mixed = Identity(peers.directory / "valid.pem", peers.directory / "expired.key")
    with pytest.raises(ConfigError) as caught:
        Contexts(
            peers.anchors, relay=mixed, clients=Identity(tmp_path / "no.pem", tmp_path / "no.key"), hospital_ca=tmp_path / "no.ca"
        ).require_usable()
    assert [path for path, _ in caught.value.problems] == ["relay.certificate", "clients.certificate", "hospital.client_ca"]
