"""The same PDF is one document: it is filed in the DMP once, whatever happens between two submissions."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from dmp_connector import codes
from dmp_connector.dossier.deposits import Deposits
from dmp_connector.dossier.desk import Desk
from dmp_connector.dossier.pdf_document import PdfRequest, document_id
from dmp_connector.errors import Unavailable
from dmp_connector.paper.letters import letter
from mssgw.cli.config import loaded
from mssgw.dossier.setup import open_store

from .conftest import HOSPITAL, OTHER

AT = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture
def pdf(tmp_path: Path) -> Path:
    path = tmp_path / "lettre.pdf"
    path.write_bytes(letter("Lettre", ["Tout va bien."], at=AT))
    return path


def submit(mssgw, path: Path, *more: str, title: str = "Lettre", kind: str = "11490-0", who: str | None = None):
    return mssgw("submit", str(path), "--title", title, "--type", kind, *more, patient="PATIENT", **({"who": who} if who else {}))


def filed(mssgw) -> list[str]:
    return [d["unique_id"] for d in mssgw.done("find", "--all", patient="PATIENT")["documents"] if d["title"] == "Lettre"]


def test_the_same_pdf_again_is_shown_and_not_sent(mssgw, pdf):
    first = submit(mssgw, pdf).document
    assert first["already"] is False
    for _ in range(3):
        again = submit(mssgw, pdf).document
        assert (again["ok"], again["already"], again["unique_id"]) == (True, True, first["unique_id"])
        assert again["filed_at"]
    assert filed(mssgw) == [first["unique_id"]]
    assert mssgw.audit("PATIENT").count(("TD2.1", "sent")) == 1
    assert mssgw.audit("PATIENT").count(("TD2.1", "already done")) == 3
    shown = mssgw("submit", str(pdf), "--title", "Lettre", "--type", "11490-0", patient="PATIENT", text=True)
    assert "Déjà déposé" in shown.text
    assert first["unique_id"] in shown.text


def test_again_makes_a_new_document_each_time(mssgw, pdf):
    first = submit(mssgw, pdf).document["unique_id"]
    second = submit(mssgw, pdf, "--again").document["unique_id"]
    third = submit(mssgw, pdf, "--again").document["unique_id"]
    assert len({first, second, third}) == 3
    assert submit(mssgw, pdf).document["already"] is True
    assert sorted(filed(mssgw)) == sorted([first, second, third])


def test_another_title_type_day_author_or_octets_is_another_document(mssgw, pdf, tmp_path):
    ids = [
        submit(mssgw, pdf).document["unique_id"],
        submit(mssgw, pdf, title="Autre").document["unique_id"],
        submit(mssgw, pdf, kind="11488-4").document["unique_id"],
        submit(mssgw, pdf, "--date", "2024-01-02").document["unique_id"],
        submit(mssgw, pdf, who=OTHER).document["unique_id"],
        submit(mssgw, pdf, who=HOSPITAL).document["unique_id"],
    ]
    pdf.write_bytes(letter("Lettre", ["Tout va mieux."], at=AT))
    ids.append(submit(mssgw, pdf).document["unique_id"])
    assert len(set(ids)) == len(ids)


def test_the_day_of_the_act_is_in_the_metadata(mssgw, pdf):
    unique_id = submit(mssgw, pdf, "--date", "2024-01-02").document["unique_id"]
    entry = next(d for d in mssgw.done("find", "--since", "2024-01-01", patient="PATIENT")["documents"] if d["unique_id"] == unique_id)
    assert datetime.fromisoformat(entry["service_start"]).astimezone(ZoneInfo("Europe/Paris")).date() == date(2024, 1, 2)


@pytest.mark.parametrize(("day", "words"), [("2999-01-01", "futur"), ("1900-01-01", "naissance")])
def test_an_act_of_the_future_or_before_the_birth_is_refused(mssgw, pdf, day, words):
    refused = submit(mssgw, pdf, "--date", day)
    assert refused.status == 1
    assert words in refused.document["sentence"]


def test_another_visibility_is_not_silently_kept(mssgw, pdf):
    submit(mssgw, pdf)
    refused = submit(mssgw, pdf, "--mask")
    assert refused.status == 1
    assert "autre visibilité" in refused.document["sentence"]


def test_deleted_in_the_dmp_it_is_filed_anew(mssgw, pdf):
    first = submit(mssgw, pdf).document["unique_id"]
    mssgw.done("delete", first, patient="PATIENT")
    second = submit(mssgw, pdf).document
    assert second["already"] is False
    assert second["unique_id"] != first


def test_beyond_the_window_it_is_filed_anew(write_config, mssgw, pdf):
    first = submit(mssgw, pdf).document["unique_id"]
    store = open_store(loaded(mssgw.config), mssgw.config)
    row = store.deposit(first)
    later = row.accepted + timedelta(days=31)
    found = identifier(mssgw, store, pdf, later)
    store.close()
    assert found[0] != first
    assert found[1] is None


def identifier(mssgw, store, pdf: Path, now: datetime):
    from dmp_connector.client import Call, Dmp
    from dmp_connector.model import Actor, AuthenticationMode
    from tests.dmp.conftest import practitioner, structure

    async def ask():
        async with Dmp(mssgw.running.settings, mssgw.running.signer) as dmp:
            deposits = Deposits(Desk(dmp, store, now=lambda: now))
            actor = Actor(practitioner(), structure(), AuthenticationMode.DIRECT, datetime.now(UTC))
            return await deposits._identifier(Call(actor, mssgw.running.ins("PATIENT")), wanted(pdf))

    return asyncio.run(ask())


def wanted(pdf: Path) -> PdfRequest:
    tables = codes.load()
    return PdfRequest(pdf.read_bytes(), "Lettre", tables.type_code.require("11490-0"), tables.practice.require("AMBULATOIRE"))


class Dying:
    """Breaks the connection before or after the DMP took the document."""

    def __init__(self, dmp, *, delivers: bool) -> None:
        self._dmp, self._delivers = dmp, delivers

    def __getattr__(self, name):
        return getattr(self._dmp, name)

    async def td21_submit(self, *arguments, **options):
        if self._delivers:
            await self._dmp.td21_submit(*arguments, **options)
        raise Unavailable("no answer")


@pytest.fixture
def desk(dmp, tmp_path, dmp_running):
    from dmp_connector.store import DmpStore
    from tests.dmp.conftest import STORE_KEYS

    store = DmpStore.open(f"sqlite:{tmp_path / 'desk.db'}", STORE_KEYS)
    yield Desk(dmp, store, now=dmp_running.clock)
    store.close()


@pytest.mark.parametrize("delivers", [True, False])
async def test_a_crash_while_sending_a_pdf_is_finished_by_submitting_it_again(desk, call_of, pdf, delivers):
    broken = replace(desk, dmp=Dying(desk.dmp, delivers=delivers))
    with pytest.raises(Unavailable):
        await Deposits(broken).deposit_pdf(call_of("PATIENT"), wanted(pdf))
    (pending,) = desk.store.pending_deposits()
    receipt = await Deposits(desk).deposit_pdf(call_of("PATIENT"), wanted(pdf))
    assert receipt.unique_id == pending.unique_id
    assert desk.store.pending_deposits() == ()
    found = await desk.dmp.td31a_by_unique_id(call_of("PATIENT"), [pending.unique_id])
    assert len(found) == 1
    assert (await Deposits(desk).deposit_pdf(call_of("PATIENT"), wanted(pdf))).filed_before is not None


async def test_two_submissions_at_the_same_moment_are_one_document(desk, call_of, pdf):
    """Both find nothing, both build their CDA, one row wins."""
    call = call_of("PATIENT")
    both = await asyncio.gather(*(Deposits(desk).deposit_pdf(call, wanted(pdf)) for _ in range(2)), return_exceptions=True)
    assert not [r for r in both if isinstance(r, BaseException)], both
    assert len({r.unique_id for r in both}) == 1
    entries = await desk.dmp.td31a_by_unique_id(call, [both[0].unique_id])
    assert len(entries) == 1


def test_the_id_of_a_pdf_is_an_oid_of_at_most_64_characters(call_of, pdf):
    for root in ("1.2", "1.2.250.1.213.1.1.9.1", "1." + "2" * 44):
        found = document_id(root, call_of("PATIENT"), wanted(pdf), 7)
        assert len(found) <= 64
        assert found.startswith(root + ".")
        assert not found.rpartition(".")[2].startswith("0")


@pytest.mark.parametrize("title", ["Compte\x00rendu", "Compte\nrendu", "Compte\x1b[31m", "Compte\u2028rendu", "é" * 65, "T" * 5000, "  "])
def test_a_title_with_control_characters_or_too_long_is_refused(mssgw, pdf, title):
    refused = submit(mssgw, pdf, title=title)
    assert refused.status == 1
    assert refused.document["error"] == "BadDocument"
    assert "titre" in refused.document["sentence"]


def test_a_title_of_128_octets_is_taken(mssgw, pdf):
    assert submit(mssgw, pdf, title="é" * 64).ok


@pytest.mark.parametrize("content", [b"", b"   \n", b"\x89PNG\r\n\x1a\n", b"\x00" * 100, b"hello", b"<html></html>"])
def test_what_is_no_pdf_is_refused_as_such(mssgw, tmp_path, content):
    path = tmp_path / "scan.pdf"
    path.write_bytes(content)
    refused = submit(mssgw, path)
    assert refused.status == 1
    assert "PDF" in refused.document["sentence"]
    assert "XML bien formé" not in refused.document["sentence"]
    assert "UTF-8" not in refused.document["sentence"]


def test_a_whole_cda_again_is_the_same_and_again_is_not_for_it(mssgw, pdf, tmp_path):
    first = submit(mssgw, pdf).document["unique_id"]
    mssgw.done("get", first, "-o", str(tmp_path / "cda.xml"), patient="PATIENT")
    again = mssgw.done("submit", str(tmp_path / "cda.xml"), patient="PATIENT")
    assert (again["already"], again["unique_id"]) == (True, first)
    refused = mssgw("submit", str(tmp_path / "cda.xml"), "--again", patient="PATIENT")
    assert "--again" in refused.document["sentence"]


def test_bris_de_glace_files_with_its_reason(mssgw, pdf):
    refused = submit(mssgw, pdf, "--mode", "bris_de_glace")
    assert refused.document["error"] == "ReasonMissing"
    assert "10 caractères" in refused.document["sentence"]
    refused = submit(mssgw, pdf, "--mode", "bris_de_glace", "--reason", "Patient inconscient")
    assert refused.document["error"] == "NotConfirmed"
    assert submit(mssgw, pdf, "--mode", "bris_de_glace", "--reason", "Patient inconscient", "--yes").ok
