"""What `mssgw trust show` shows of the background: addresses that fail, CRLs and OCSP answers with their ages."""

# ruff: noqa: F811 - the fixtures of test_service

from __future__ import annotations

import asyncio
import json
from datetime import timedelta

from mssgw.trust import feed, status
from tests.cli.desk import mssgw
from tests.configurations import alpha
from tests.trust.test_service import ALPHA, Scene, cast, in_this_process, later, scene  # noqa: F401 - fixtures


async def shown(scene: Scene) -> tuple[int, dict, str]:
    """`mssgw trust show` on the directory of the scene's workers."""
    config = scene.directory / "mssgw.toml"
    config.write_text(alpha(trust='pki = "private"\nsigner_common_names = ["alb.mssante.test"]'))
    target = scene.directory / "data" / "trust"
    if not target.exists():
        target.mkdir()
        for each in scene.directory.joinpath("data").iterdir():
            if each != target:
                (target / each.name).symlink_to(each)
    asked = ("trust", "show", "--config", config, "--at", scene.clock.now().isoformat())
    people = await asyncio.to_thread(mssgw, *asked)
    program = await asyncio.to_thread(mssgw, *asked, "--json")
    assert people.returncode == program.returncode, (people.stderr, program.stderr)
    return people.returncode, json.loads(program.stdout), (people.stdout + people.stderr).decode()


async def test_show_lists_what_fails_since_when_and_when_it_is_tried_again(scene: Scene) -> None:
    """Regression: all it showed was `valid True` while nothing could be fetched."""
    trust = await scene.started()
    scene.authority.behaviour["*"] = "throttled"
    await later(trust, scene.clock, hours=5)
    await trust.tick()
    failing = {one.url: one for one in status.failures(scene.directory / "data")}
    listed = failing[scene.authority.list_url]
    assert (listed.problem, listed.failures, listed.at) == ("status 403", 1, scene.clock.now())
    assert timedelta(seconds=25) < listed.next_try - listed.at < timedelta(seconds=35)
    assert any(url.endswith(".crl") for url in failing)

    _, document, said = await shown(scene)
    assert scene.authority.list_url in [one["url"] for one in document["failing"]]
    assert {one["problem"] for one in document["failing"]} == {"status 403"}
    assert "ATTENTION\u00a0: " + scene.authority.list_url in said
    assert "WARNING: " + scene.authority.list_url in said

    scene.authority.behaviour.clear()
    await later(trust, scene.clock, hours=1)
    await trust.tick()
    assert status.failures(scene.directory / "data") == ()
    assert (await shown(scene))[1]["failing"] == []


async def test_an_address_that_failed_before_a_restart_and_works_now_is_not_shown(scene: Scene) -> None:
    """Regression: the new process knew of no failure to take back, and the warning stood for two days."""
    trust = await scene.started()
    scene.authority.behaviour["*"] = "throttled"
    await later(trust, scene.clock, hours=5)
    await trust.tick()
    assert status.failures(scene.directory / "data")
    scene.authority.behaviour.clear()
    again = await scene.started()
    await later(again, scene.clock, hours=5)
    await again.tick()
    assert status.failures(scene.directory / "data") == ()


async def test_a_failure_that_a_clock_ahead_noted_is_not_shown(scene: Scene) -> None:
    """Regression: after the clock was set right, `trust show` warned of a next try in ten days."""
    trust = await scene.started()
    scene.clock.step(days=10)
    scene.authority.behaviour["*"] = "throttled"
    await later(trust, scene.clock, hours=5)
    await trust.tick()
    scene.clock.step(days=-10)
    await later(trust, scene.clock, hours=5)
    await trust.tick()
    assert all(one.at <= scene.clock.now() for one in status.failures(scene.directory / "data"))


async def test_show_lists_the_state_of_crls_and_ocsp(scene: Scene) -> None:
    trust = await scene.started(ocsp=True)
    trust.require(ALPHA, scene.alpha.der)
    await trust.tick()
    await trust.tick()
    _, document, said = await shown(scene)
    crl = next(one for one in document["crls"] if "ORGANISATIONS" in one["authority"])
    assert crl["number"] >= 1
    assert {"age_seconds", "next_update", "stale"} <= set(crl)
    assert len(document["ocsp"]) >= 1
    assert any("ORGANISATIONS" in one["authority"] and one["revoked"] is False for one in document["ocsp"])
    assert "CRL / CRLs " in said
    assert "OCSP " in said


async def test_a_list_too_old_shows_what_is_known_all_the_same(scene: Scene) -> None:
    """The refusal stood alone: `failing`, `crls` and `ocsp` were gone just when they were needed."""
    trust = await scene.started(ocsp=True)
    trust.require(ALPHA, scene.alpha.der)
    await trust.tick()
    scene.authority.behaviour["*"] = "throttled"
    await later(trust, scene.clock, hours=169)
    await trust.tick()
    status_, document, said = await shown(scene)
    assert (status_, document["valid"], document["fault"]) == (1, False, "list-too-old")
    assert scene.authority.list_url in [one["url"] for one in document["failing"]]
    assert document["crls"]
    assert all(one["stale"] for one in document["crls"])
    assert document["ocsp"]
    assert "WARNING: " + scene.authority.list_url in said
    assert "STALE" in said


async def test_a_stale_crl_is_adopted_with_a_warning(scene: Scene, monkeypatch) -> None:
    """Regression: it was logged at level info."""
    told = []
    monkeypatch.setattr(feed, "log", lambda event, level="info", **fields: told.append((event, level, fields)))
    scene.authority.behaviour["crl"] = "stale"
    trust = await scene.started()
    levels = {level for event, level, _ in told if event is feed.Event.TRUST_CRL_ADOPTED}
    assert levels == {"warning"}
    assert {one.problem[:11] for one in status.failures(scene.directory / "data") if one.url.endswith(".crl")} == {"a stale CRL"}
    held = [crl for _, crl in status.crls(scene.directory / "data", trust.anchors)]
    assert held
    assert all(scene.clock.now() > crl.next_update for crl in held)


async def test_two_workers_note_beside_each_other(scene: Scene) -> None:
    """The failures that one worker noted are not overwritten by another that had none."""
    first = await scene.started()
    scene.authority.behaviour["list"] = "gone"
    await later(first, scene.clock, hours=5)
    second = scene.worker()
    status.note(scene.directory / "data", second._fetcher, second.feed, second.ledger)
    assert [one.url for one in status.failures(scene.directory / "data")] == [scene.authority.list_url]


def test_show_without_any_list_names_what_fails(tmp_path) -> None:
    (tmp_path / "mssgw.toml").write_text(alpha())
    (tmp_path / "anchors").mkdir()
    done = mssgw("trust", "show", "--config", tmp_path / "mssgw.toml", "--json")
    found = json.loads(done.stdout)
    assert (done.returncode, found["fault"], found["valid"]) == (1, "no-list", False)
    assert done.stderr.decode().startswith("Aucune liste en vigueur")
