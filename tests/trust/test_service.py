"""Trust as workers use it: adoption, outages, rollback, several workers on one disk, every decision logged.

The source is a real HTTP server on loopback; time is the test's.
"""

from __future__ import annotations

import socket
from datetime import timedelta

import msgspec
import pytest

from mssgw.core.errors import ConfigError, Deferred, NotTrusted
from mssgw.demo.authority import Authority
from mssgw.demo.pki import Pki, listed_name
from mssgw.demo.whitelist import ListEntry, quirky, render, sign
from mssgw.pki.judgement import Purpose
from mssgw.trust import disk, refresh, whitelist
from mssgw.trust.decisions import Step
from mssgw.trust.faults import Fault, fault_of
from mssgw.trust.service import Trust
from tests.conftest import TestClock
from tests.trust.conftest import NOW, settings

ALPHA, GAMMA = "alpha.mssante.test", "gamma.mssante.test"


class Cast:
    """Keys and certificates for all tests here (they cost time), with the address where the authority will be."""

    def __init__(self):
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.pki = Pki(f"http://127.0.0.1:{self.port}", now=NOW - timedelta(days=30))
        self.alpha = self.pki.operator("mx.alpha.mssante.test", o="CLINIQUE ALPHA")
        self.gamma = self.pki.operator("mx.gamma.mssante.test", o="LABO GAMMA")
        self.signer = self.pki.list_signer()

    def untouched(self):
        """The PKI with nobody revoked."""
        pki = Pki(self.pki.base_url, now=self.pki.made)
        pki.authorities = {name: type(each)(name, each.credential) for name, each in self.pki.authorities.items()}
        return pki


@pytest.fixture(scope="module")
def cast():
    return Cast()


class Scene:
    """An authority with its PKI, two operators, and as many workers as a test wants."""

    def __init__(self, directory, clock, cast):
        self.directory, self.clock, self.port = directory, clock, cast.port
        self.pki, self.alpha, self.gamma, self.signer = cast.untouched(), cast.alpha, cast.gamma, cast.signer
        self.authority = Authority(self.pki, clock=clock)
        self.told = []

    async def open(self):
        await self.authority.start(port=self.port)
        self.pki.write_anchors(self.directory / "anchors")
        self.alpha.write(self.directory, "alpha")
        self.publish()

    def publish(self, entries=None, signer=None):
        entries = entries or [ListEntry(ALPHA, listed_name(self.alpha)), ListEntry(GAMMA, listed_name(self.gamma))]
        self.authority.signed_list = sign(render(entries, self.clock.now()), signer or self.signer)

    def worker(self, **changes):
        given = settings(self.directory, self.authority.list_url, **changes)
        return Trust(given, self.directory / "data", self.clock, our_certificates=[self.directory / "alpha.pem"], audit=self.told.append)

    async def started(self, **changes):
        trust = self.worker(**changes)
        await trust.start()
        return trust

    def reasons(self):
        return [(each.step.value, each.outcome, each.reason) for each in self.told]

    def lists(self):
        return [(each.outcome, each.reason) for each in self.told if each.step is Step.LIST]


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch):
    """Reads lists in this process: a process for each costs half a minute. That both agree is tested in test_whitelist.py."""

    async def open_here(octets, *, stronger, limit):
        return whitelist.open_signed(octets, stronger=stronger, limit=limit, contacts=False)

    monkeypatch.setattr(whitelist, "open_apart", open_here)


@pytest.fixture
async def scene(tmp_path, cast):
    made = Scene(tmp_path, TestClock(NOW), cast)
    await made.open()
    yield made
    await made.authority.stop()


async def later(trust, clock, **by):
    clock.advance(**by)
    await trust.tick()


def fault(function, *arguments):
    with pytest.raises((NotTrusted, Deferred)) as caught:
        function(*arguments)
    return fault_of(caught.value)


# -- questions -------------------------------------------------------------------------------------------------------


async def test_each_step_has_its_decision_and_each_decision_is_logged(scene):
    trust = await scene.started()
    scene.told.clear()
    assert trust.require(ALPHA, scene.alpha.der).name.first("O") == "CLINIQUE ALPHA"
    assert trust.require(GAMMA, scene.gamma.der, Step.RELAY).id.startswith("CN=mx.gamma")
    assert trust.require(ALPHA, scene.alpha.der, Step.FROM)
    assert trust.require_any(scene.gamma.der).id.startswith("CN=mx.gamma")
    assert [operator.name.first("CN") for operator in trust.require_listed(GAMMA)] == ["mx.gamma.mssante.test"]
    assert fault(trust.require, GAMMA, scene.alpha.der, Step.FROM) is Fault.OTHER_DOMAIN
    assert fault(trust.require, GAMMA, None) is Fault.NO_CERTIFICATE
    assert fault(trust.require_any, scene.pki.operator("mx.else.test").der) is Fault.UNLISTED_PEER
    assert fault(trust.require_listed, "nowhere.test") is Fault.UNLISTED
    assert scene.reasons() == [
        ("mail", "trusted", "ok"),
        ("relay", "trusted", "ok"),
        ("from", "trusted", "ok"),
        ("null-sender", "trusted", "ok"),
        ("rcpt", "trusted", "ok"),
        ("from", "refused", "other-domain"),
        ("mail", "refused", "no-certificate"),
        ("null-sender", "refused", "unlisted-peer"),
        ("rcpt", "refused", "unlisted"),
    ]
    assert all(each.certificate or each.step is Step.RCPT or each.reason == "no-certificate" for each in scene.told)


async def test_no_sub_domain_inherits_and_no_parent_either(scene):
    trust = await scene.started()
    for domain in (f"service.{ALPHA}", "mssante.test", f"x{ALPHA}", ALPHA + "."):
        assert fault(trust.require_listed, domain) is Fault.UNLISTED


async def test_the_senders_domain_has_its_own_code(scene):
    trust = await scene.started()
    with pytest.raises(NotTrusted) as caught:
        trust.require("nowhere.test", scene.alpha.der)
    assert caught.value.reply.enhanced == "5.1.8"
    with pytest.raises(NotTrusted) as caught:
        trust.require("nowhere.test", scene.alpha.der, Step.RELAY)
    assert caught.value.reply.enhanced == "5.1.2"
    assert "nowhere.test is not on the MSSante whitelist of 2026-11-22" in caught.value.reply.text


async def test_a_client_only_certificate_may_connect_but_not_serve(scene):
    from mssgw.demo.pki import ORG_AUTH_CLI

    client = scene.pki.operator("mx.client.test", profile=ORG_AUTH_CLI)
    scene.publish([ListEntry(ALPHA, listed_name(client))])
    trust = await scene.started()
    assert trust.require(ALPHA, client.der)
    assert fault(trust.require, ALPHA, client.der, Step.RELAY) is Fault.WRONG_USAGE


async def test_lenient_by_setting(scene):
    moved = scene.pki.operator("mx.alpha.mssante.test", o="CLINIQUE ALPHA (NOUVEAU NOM)")
    trust = await scene.started()
    assert fault(trust.require, ALPHA, moved.der) is Fault.DN_DIFFERS
    trust = await scene.started(match="lenient")
    assert trust.require(ALPHA, moved.der)


async def test_mail_certificates_are_judged_too(scene):
    seal = scene.pki.organisation("organisation@alpha.mssante.test")
    trust = await scene.started()
    assert trust.validate(seal.der, Purpose.MAIL_SIGN, NOW).revocation.startswith("crl")


# -- the outage (must show 4) ----------------------------------------------------------------------------------------


async def test_three_days_without_the_authority_and_then_back(scene):
    """Default settings: CRLs of three days. Mail flows until they end and 4 h of grace are over; then peers get 451 and
    our queue waits, nothing is refused for good; when the authority is back, mail flows again."""
    trust = await scene.started()
    clock = scene.clock
    scene.authority.behaviour["*"] = "gone"
    for _ in range(3 * 24):
        await later(trust, clock, hours=1)
        assert trust.require(ALPHA, scene.alpha.der)
    await later(trust, clock, hours=5)
    assert fault(trust.require, ALPHA, scene.alpha.der) is Fault.REVOCATION_UNKNOWN
    assert fault(trust.require, ALPHA, scene.alpha.der, Step.RELAY) is Fault.REVOCATION_UNKNOWN
    assert trust.require_listed(GAMMA)  # the list itself is still in force: clients may submit, the queue keeps the mail
    del scene.authority.behaviour["*"]
    await later(trust, clock, minutes=34)  # the longest back-off and its jitter
    assert trust.require(ALPHA, scene.alpha.der)
    assert all(outcome != "refused" for _, outcome, _ in scene.reasons())


async def test_back_off_by_url_is_patient(scene):
    trust = await scene.started()
    scene.authority.behaviour["*"] = "throttled"
    scene.authority.requests.clear()
    for _ in range(24 * 60):
        await later(trust, scene.clock, minutes=1)
    lists = [each for each in scene.authority.requests if "listeblanche" in each]
    assert 24 * 2 <= len(lists) <= 24 * 2 + 20  # every half hour, after the first steep minutes


async def test_the_list_itself_too_old_then_an_audited_override(scene):
    trust = await scene.started(revocation="none")
    scene.authority.behaviour["*"] = "gone"
    scene.clock.advance(hours=169)
    await trust.tick()
    assert fault(trust.require, ALPHA, scene.alpha.der) is Fault.LIST_TOO_OLD
    assert fault(trust.require_listed, ALPHA) is Fault.LIST_TOO_OLD
    refresh.override(scene.directory / "data", "op", "ANS est en panne", scene.clock.now(), hours=24)
    await trust.tick()
    assert trust.require(ALPHA, scene.alpha.der)
    assert "ANS est en panne" in next(each.detail for each in scene.told if each.outcome == "override")
    refresh.override(scene.directory / "data", "op", "revenue", scene.clock.now(), hours=0)
    await trust.tick()
    assert fault(trust.require, ALPHA, scene.alpha.der) is Fault.LIST_TOO_OLD
    assert (
        scene.told[-2].detail == "override taken back, age counts again: revenue"
    )  # the override, which switched the age limit off until now, has ended
    refresh.override(scene.directory / "data", "op", "encore", scene.clock.now(), hours=24)
    await trust.tick()
    assert trust.require(ALPHA, scene.alpha.der)
    await later(trust, scene.clock, hours=25)
    assert fault(trust.require, ALPHA, scene.alpha.der) is Fault.LIST_TOO_OLD


async def test_stale_crl_does_not_replace_the_fresh_one(scene):
    trust = await scene.started()
    before = trust.require(ALPHA, scene.alpha.der)
    scene.authority.behaviour["crl"] = "stale"
    await later(trust, scene.clock, hours=5)
    assert trust.require(ALPHA, scene.alpha.der) == before


@pytest.mark.parametrize("manner", ["wrong", "throttled", "broken", "stale", "gone", "slow"])
async def test_a_misbehaving_source_changes_nothing(scene, manner):
    trust = await scene.started()
    trust._fetcher.seconds = 0.2 if manner == "slow" else 20
    scene.authority.stale_list = scene.authority.signed_list
    scene.authority.behaviour["*"] = manner
    for _ in range(5):
        await later(trust, scene.clock, hours=2)
        assert trust.require(ALPHA, scene.alpha.der)
        assert fault(trust.require, GAMMA, scene.alpha.der) is Fault.OTHER_DOMAIN


async def test_revoked_while_mail_waits_in_the_queue(scene):
    """Listed and good at submission; at relay time its server is revoked: our queue refuses to hand the mail over."""
    trust = await scene.started(crl_refresh_seconds=3600)
    assert trust.require_listed(GAMMA)
    assert trust.require(GAMMA, scene.gamma.der, Step.RELAY)
    scene.pki.revoke(scene.gamma, scene.clock.now())
    await later(trust, scene.clock, hours=2)
    assert fault(trust.require, GAMMA, scene.gamma.der, Step.RELAY) is Fault.REVOKED


async def test_contexts_are_swapped_when_a_crl_changes(scene):
    from mssgw.trust.contexts import Contexts
    from mssgw.trust.tls import Identity

    trust = await scene.started(crl_refresh_seconds=3600)
    trust.tls = Contexts(trust.anchors, relay=Identity(scene.directory / "alpha.pem", scene.directory / "alpha.key"))
    await trust.tick()
    before = trust.tls.relay_server()
    await trust.tick()
    assert trust.tls.relay_server() is before
    scene.pki.revoke(scene.gamma, scene.clock.now())
    await later(trust, scene.clock, hours=2)
    assert trust.tls.relay_server() is not before


# -- new lists -------------------------------------------------------------------------------------------------------


async def test_unchanged_is_a_304_and_keeps_the_list_young(scene):
    trust = await scene.started()
    await later(trust, scene.clock, hours=2)
    assert f"304 /{scene.authority.list_url.rpartition('/')[2]}" in scene.authority.requests
    assert trust.keeper.state.checked_at == scene.clock.now()
    assert scene.lists() == [("adopted", "ok")]


async def test_a_new_list_is_adopted(scene):
    trust = await scene.started()
    scene.clock.advance(hours=1)
    scene.publish([ListEntry(ALPHA, listed_name(scene.alpha)), ListEntry(GAMMA, listed_name(scene.alpha))])
    await later(trust, scene.clock, hours=1)
    assert trust.require(GAMMA, scene.alpha.der)


async def test_rollback_to_an_older_list(scene):
    """A genuine, well signed list of last week is served again."""
    old = sign(render([ListEntry(GAMMA, listed_name(scene.alpha))], NOW - timedelta(days=7)), scene.signer)
    trust = await scene.started()
    scene.authority.signed_list = old
    await later(trust, scene.clock, hours=2)
    assert scene.lists()[-1] == ("refused", "list-rollback")
    assert fault(trust.require, GAMMA, scene.alpha.der) is Fault.OTHER_DOMAIN


async def test_a_list_of_the_future(scene):
    trust = await scene.started()
    scene.authority.signed_list = sign(render([ListEntry(ALPHA, "CN=x,OU=1")], NOW + timedelta(days=7)), scene.signer)
    await later(trust, scene.clock, hours=2)
    assert scene.lists()[-1] == ("refused", "not-a-list")


async def test_a_list_that_loses_many_domains_waits_for_the_administrator(scene):
    scene.publish(quirky(100))
    trust = await scene.started()
    everybody = len(trust.space.domains)
    scene.clock.advance(hours=1)
    scene.publish(list(quirky(100))[:50])
    await later(trust, scene.clock, hours=1)
    assert scene.lists()[-1] == ("refused", "list-shrunk")
    assert len(trust.space.domains) == everybody
    await later(trust, scene.clock, hours=1)
    pending = refresh.accept(scene.directory / "data", "op", "migration SISRA", scene.clock.now())
    assert pending.lost > everybody * 0.2
    await trust.tick()
    assert len(trust.space.domains) == everybody - pending.lost
    assert scene.lists()[-1] == ("override", "ok")
    assert "op: migration SISRA" in scene.told[-1].detail
    assert not (scene.directory / "data" / "pending.json").exists()


async def test_accepting_one_list_accepts_no_other(scene):
    scene.publish(quirky(100))
    trust = await scene.started()
    scene.clock.advance(hours=1)
    scene.publish(list(quirky(100))[:50])
    await later(trust, scene.clock, hours=1)
    word = refresh.accept(scene.directory / "data", "op", "x", scene.clock.now())
    scene.publish(list(quirky(100))[:10])
    (scene.directory / "data" / "pending.xml").write_bytes(scene.authority.signed_list)
    await later(trust, scene.clock, hours=2)
    assert len(trust.space.domains) > 50
    assert word.lost < 50


async def test_a_signer_revoked_later_does_not_undo_the_list_but_signs_no_new_one(scene):
    trust = await scene.started(crl_refresh_seconds=3600)
    scene.pki.revoke(scene.signer, scene.clock.now())
    scene.clock.advance(hours=2)
    scene.publish([ListEntry(ALPHA, listed_name(scene.alpha))])
    await trust.tick()
    await later(trust, scene.clock, hours=2)
    assert ("refused", "revoked") in scene.lists()
    assert trust.require(ALPHA, scene.alpha.der)


# -- the disk --------------------------------------------------------------------------------------------------------


async def test_a_restart_with_the_authority_gone(scene):
    await scene.started()
    scene.authority.behaviour["*"] = "gone"
    scene.clock.advance(hours=3)
    again = await scene.started()
    assert again.require(ALPHA, scene.alpha.der)


async def test_a_restart_late_in_an_outage(scene):
    """Clients may go on to submit to listed domains; peers and the queue wait for revocation data."""
    await scene.started()
    scene.authority.behaviour["*"] = "gone"
    scene.clock.advance(days=5)
    again = await scene.started()
    assert again.require_listed(GAMMA)
    assert fault(again.require, ALPHA, scene.alpha.der) is Fault.REVOCATION_UNKNOWN


async def test_the_second_worker_reads_what_the_first_fetched(scene):
    first = await scene.started()
    scene.authority.requests.clear()
    second = await scene.started()
    assert second.require(ALPHA, scene.alpha.der)
    assert scene.authority.requests == []
    scene.clock.advance(hours=1)
    scene.publish(
        [
            ListEntry(ALPHA, listed_name(scene.alpha)),
            ListEntry(GAMMA, listed_name(scene.gamma)),
            ListEntry("delta.mssante.test", listed_name(scene.gamma)),
        ]
    )
    await later(first, scene.clock, hours=1)
    await second.tick()
    assert second.require_listed("delta.mssante.test")
    assert len([each for each in scene.authority.requests if each.startswith("GET") and "listeblanche" in each]) == 1


async def test_one_fetches_at_a_time(scene):
    trust = scene.worker()
    with disk.lock(scene.directory / "data") as ours:
        assert ours
        await trust.tick()
        assert scene.authority.requests == []
    await trust.tick()
    assert trust.require(ALPHA, scene.alpha.der)


async def test_a_changed_list_on_disk_is_not_used(scene):
    await scene.started()
    path = scene.directory / "data" / "list.xml"
    path.write_bytes(path.read_bytes().replace(b"gamma.mssante.test</Nom>", b"evil1.mssante.test</Nom>"))
    scene.authority.behaviour["*"] = "gone"
    again = scene.worker()
    await again.tick()
    assert fault(again.require_listed, GAMMA) is Fault.NO_LIST


async def test_a_changed_list_on_disk_is_looked_at_with_patience_and_still_forbids_older_ones(scene):
    await scene.started()
    path = scene.directory / "data" / "list.xml"
    path.write_bytes(path.read_bytes().replace(b"gamma.mssante.test</Nom>", b"evil1.mssante.test</Nom>"))
    scene.authority.signed_list = sign(render([ListEntry(GAMMA, listed_name(scene.alpha))], NOW - timedelta(days=7)), scene.signer)
    scene.told.clear()
    again = scene.worker()
    for _ in range(20):
        await again.tick()
    assert scene.lists() == [("refused", "list-signature"), ("refused", "list-rollback")]
    scene.publish()
    await later(again, scene.clock, hours=1)
    assert again.require(ALPHA, scene.alpha.der)


async def test_accepting_a_list_that_does_not_hold_counts_once(scene):
    scene.publish(quirky(100))
    trust = await scene.started()
    scene.clock.advance(hours=1)
    scene.publish(list(quirky(100))[:50])
    await later(trust, scene.clock, hours=1)
    pending = scene.directory / "data" / "pending.xml"
    pending.write_bytes(pending.read_bytes().replace(b"mssante.test</Nom>", b"mssante.evil</Nom>"))
    refresh.accept(scene.directory / "data", "op", "x", scene.clock.now())
    scene.told.clear()
    for _ in range(5):
        await trust.tick()
    assert scene.lists() == [("refused", "list-signature")]
    assert len(trust.space.domains) > 50


async def test_a_crash_between_list_and_state(scene):
    await scene.started()
    scene.clock.advance(hours=1)
    newer = sign(render([ListEntry(ALPHA, listed_name(scene.alpha))], scene.clock.now()), scene.signer)
    disk.write(scene.directory / "data" / "list.xml", newer)  # and then the process died
    scene.authority.behaviour["*"] = "gone"
    again = await scene.started()
    assert again.require(ALPHA, scene.alpha.der)
    assert again.keeper.state.generated_at == scene.clock.now()


async def test_broken_state_files_are_no_obstacle(scene):
    await scene.started()
    for name in ("list.json", "override.json", "pending.json", "accepted.json", "crl/sources.json"):
        (scene.directory / "data" / name).write_bytes(b"{")
    again = await scene.started()
    assert again.require(ALPHA, scene.alpha.der)


async def test_without_any_list_everything_is_deferred(scene):
    scene.authority.behaviour["list"] = "gone"
    trust = await scene.started()
    assert fault(trust.require, ALPHA, scene.alpha.der) is Fault.NO_LIST
    assert fault(trust.require_listed, ALPHA) is Fault.NO_LIST
    assert fault(trust.require_any, scene.alpha.der) is Fault.NO_LIST


# -- anchors ---------------------------------------------------------------------------------------------------------


async def test_a_private_pki_must_be_configured(scene):
    with pytest.raises(ConfigError) as caught:
        scene.worker(pki="igc-sante")
    assert 'pki = "igc-sante"' in str(caught.value)


async def test_an_anchor_that_is_not_pinned(scene):
    pinned = (trust := scene.worker()).anchors.every[0].fingerprint
    with pytest.raises(ConfigError, match="not in anchor_fingerprints"):
        scene.worker(anchor_fingerprints=(pinned,))
    every = tuple(each.fingerprint for each in trust.anchors.every)
    assert scene.worker(anchor_fingerprints=every)


def test_mistakes_in_settings_are_named():
    for wrong in ({"anchor_fingerprints": ("AB:CD",)}, {"pki": "igc-sante-test"}, {"warn_age_hours": 200}):
        with pytest.raises((ValueError, msgspec.ValidationError)):
            settings(__import__("pathlib").Path(), **wrong)
