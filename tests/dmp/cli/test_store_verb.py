"""`mssgw dmp store`, and the errors of a wrong or missing master key."""

from __future__ import annotations

import json

from typer.testing import CliRunner

from mssgw.cli.dmp import app


def run(mssgw, *arguments: str):
    return CliRunner().invoke(app, [*arguments, "--config", str(mssgw.config)])


def test_the_store_is_checked_and_rotated_and_goes_on(mssgw):
    mssgw.done("exists", patient="PATIENT")
    ran = run(mssgw, "store", "--rotate", "--json")
    assert (ran.exit_code, json.loads(ran.stdout)) == (0, {"ok": True, "rotated": True, "problems": []})
    assert "aucune anomalie" in run(mssgw, "store").stdout
    assert ("TD0.2", "ACTIVE") in mssgw.audit("PATIENT")


def test_another_master_key_is_a_sentence_and_the_right_one_still_opens(mssgw):
    mssgw.done("exists", patient="PATIENT")
    master = mssgw.config.parent / "master"
    right = master.read_bytes()
    master.write_bytes(b"x" * 32)
    refused = mssgw("exists", patient="PATIENT")
    assert (refused.status, refused.document["error"]) == (1, "BadSettings")
    assert "remettez la bonne" in refused.document["sentence"]
    master.write_bytes(right)
    assert mssgw.audit("PATIENT")


def test_without_master_key_nothing_is_opened(mssgw):
    (mssgw.config.parent / "master").unlink()
    ran = run(mssgw, "store")
    assert ran.exit_code == 1
    assert "mssgw seal new-key" in ran.stderr
    assert not (mssgw.config.parent / "dmp.db").exists()


def test_a_short_master_key_is_refused(mssgw):
    (mssgw.config.parent / "master").write_bytes(b"short")
    assert "expected 32 octets, found 5" in run(mssgw, "store").stderr
