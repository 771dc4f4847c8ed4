"""A document about another person than the register knows under this INS is refused, and the sentence names the trait."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dmp_connector import codes
from dmp_connector.cda import Level1, build_level1
from dmp_connector.model import Patient, Sex
from dmp_connector.paper.letters import letter
from mssgw.cli.xdm import app as xdm_app
from tests.dmp.documents.conftest import CABINET

from .conftest import DOCTOR, Mssgw

AT = datetime(2026, 1, 2, tzinfo=UTC)


def register(mssgw: Mssgw, name: str = "PATIENT") -> Patient:
    return mssgw.running.record(name).data.patient


def cda(tmp_path: Path, patient: Patient, name: str = "cda.xml", unique_id: str = "1.2.250.1.213.1.1.9.1.700") -> Path:
    from tests.dmp.conftest import practitioner

    tables = codes.load()
    content = build_level1(
        Level1(
            unique_id,
            patient,
            practitioner(),
            CABINET,
            tables.type_code.require("11490-0"),
            "Lettre",
            AT,
            letter("Lettre", ["x"], at=AT),
            tables.practice.require("AMBULATOIRE"),
            AT,
        )
    )
    path = tmp_path / name
    path.write_bytes(content)
    return path


CHANGES = [
    ({"birth_date": date(1979, 3, 29)}, "date de naissance"),
    ({"birth_name": "DUPONT"}, "nom de naissance"),
    ({"sex": Sex.M}, "sexe"),
    ({"given_names": "PAULINE MARIE"}, "prénoms"),
    ({"given_names": "MARIE ACTIF"}, "prénoms"),
    ({"birth_place": "75101"}, "lieu de naissance"),
]


@pytest.mark.parametrize(("changes", "named"), CHANGES)
def test_a_cda_whose_traits_differ_from_insi_is_refused_before_anything_is_sent(mssgw, tmp_path, changes, named):
    path = cda(tmp_path, replace(register(mssgw), **changes))
    refused = mssgw("submit", str(path), patient="PATIENT")
    assert refused.status == 1
    assert refused.document["error"] == "TraitsDiffer"
    assert named in refused.document["sentence"]
    assert "INSi" in refused.document["sentence"]
    for value in changes.values():
        assert str(value) not in refused.document["sentence"]
    rows = mssgw.done("audit", patient="PATIENT")["audit"]
    assert [(r["what"], r["outcome"]) for r in rows][-1] == ("identité", "refused")
    assert rows[-1]["facts"]["error"] == "TraitsDiffer"
    assert not any(r["what"] == "TD2.1" and r["outcome"] != "granted" for r in rows)
    assert not any(d["unique_id"].endswith(".700") for d in mssgw.done("find", "--all", patient="PATIENT")["documents"])


def test_several_traits_are_all_named(mssgw, tmp_path):
    path = cda(tmp_path, replace(register(mssgw), birth_name="DUPONT", sex=Sex.M))
    sentence = mssgw("submit", str(path), patient="PATIENT").document["sentence"]
    assert "nom de naissance, sexe" in sentence


@pytest.mark.parametrize(
    "changes",
    [
        {"birth_name": "Patient"},
        {"birth_name": "pàtïent"},
        {"given_names": "Actif"},  # the list may be shorter than the register's
        {"given_names": "Actif-Marie"},
        {"given_names": "ACTIF MARIE LOUISE"},
    ],
)
def test_case_accents_hyphens_and_shorter_lists_are_the_same_person(mssgw, tmp_path, changes):
    path = cda(tmp_path, replace(register(mssgw), **changes))
    assert mssgw.done("submit", str(path), patient="PATIENT")["unique_id"].endswith(".700")


def test_a_trait_the_document_leaves_out_is_named(mssgw, tmp_path):
    path = cda(tmp_path, register(mssgw))
    path.write_bytes(path.read_bytes().replace(b'<birthTime value="19790328"/>', b'<birthTime nullFlavor="UNK"/>'))
    refused = mssgw("submit", str(path), patient="PATIENT")
    assert refused.status == 1
    assert "birthTime" in refused.document["sentence"]
    assert "ne doit pas" in refused.document["sentence"]


def test_without_insi_the_dmp_s_own_data_are_the_reference(write_config, mssgw, tmp_path):
    mssgw.config = write_config(insi_url=None)
    path = cda(tmp_path, replace(register(mssgw), birth_name="DUPONT"))
    sentence = mssgw("submit", str(path), patient="PATIENT").document["sentence"]
    assert "du DMP : nom de naissance" in sentence


@pytest.mark.parametrize(
    ("option", "value", "named"),
    [
        ("--family", "DUPONT", "nom de naissance"),
        ("--given", "PAULINE", "prénoms"),
        ("--birth-date", "1979-03-29", "date de naissance"),
        ("--sex", "M", "sexe"),
    ],
)
def test_traits_typed_beside_a_pdf_are_compared(mssgw, tmp_path, option, value, named):
    path = tmp_path / "lettre.pdf"
    path.write_bytes(letter("Lettre", ["x"], at=AT))
    command = ("submit", str(path), "--title", "T", "--type", "11490-0")
    refused = mssgw(*command, option, value, patient="PATIENT")
    assert refused.document["error"] == "TraitsDiffer"
    assert named in refused.document["sentence"]
    right = ("--family", "patient", "--given", "Actif", "--birth-date", "1979-03-28", "--sex", "F")
    assert mssgw(*command, *right, patient="PATIENT").ok


def xdm(*arguments: str):
    ran = CliRunner().invoke(xdm_app, [*arguments])
    assert ran.exception is None or isinstance(ran.exception, SystemExit), ran.exception
    return ran


def test_an_archive_of_a_document_whose_traits_differ_is_refused(mssgw, tmp_path):
    wrong, target = cda(tmp_path, replace(register(mssgw), sex=Sex.M)), tmp_path / "IHE_XDM.ZIP"
    asked = ("--config", str(mssgw.config), "--as", DOCTOR)
    ran = xdm("write", str(wrong), "-o", str(target), *asked)
    assert ran.exit_code == 1
    assert "sexe" in ran.stderr
    assert not target.exists()
    assert xdm("write", str(wrong), "-o", str(target)).exit_code == 0  # no server was asked
    ran = xdm("read", str(target), *asked)
    assert ran.exit_code == 1
    assert "sexe" in ran.stderr
    right = cda(tmp_path, register(mssgw))
    assert xdm("write", str(right), "-o", str(target), *asked).exit_code == 0
    assert xdm("read", str(target), *asked).exit_code == 0


def test_two_documents_of_one_ins_under_two_names_make_no_archive(mssgw, tmp_path):
    one = cda(tmp_path, register(mssgw))
    other = cda(tmp_path, replace(register(mssgw), birth_name="DUPONT"), "other.xml", "1.2.250.1.213.1.1.9.1.701")
    ran = xdm("write", str(one), str(other), "-o", str(tmp_path / "a.zip"))
    assert ran.exit_code == 1
    assert "nom de naissance" in ran.stderr


def test_a_received_archive_is_remarked_when_document_and_metadata_name_the_patient_differently(mssgw, tmp_path):
    target, changed = tmp_path / "a.zip", tmp_path / "b.zip"
    assert xdm("write", str(cda(tmp_path, register(mssgw))), "-o", str(target)).exit_code == 0
    with zipfile.ZipFile(target) as old, zipfile.ZipFile(changed, "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name).replace(b"PID-7|19790328", b"PID-7|19790329"))
    assert "date de naissance" in xdm("read", str(changed)).stdout
    assert "douteuse" not in xdm("read", str(target)).stdout


@pytest.mark.parametrize("root", ["abc", "1", "1.2.", "3.1.2", "1.02.3", "1." + "2" * 60])
def test_the_root_of_an_archive_is_an_oid(mssgw, tmp_path, root):
    path = cda(tmp_path, register(mssgw))
    ran = xdm("write", str(path), "-o", str(tmp_path / "a.zip"), "--root", root)
    assert ran.exit_code == 1
    assert "OID" in ran.stderr
    assert not (tmp_path / "a.zip").exists()
    ran = xdm("write", str(path), "-o", str(tmp_path / "a.zip"), "--at", "hier")
    assert "ISO 8601" in ran.stderr
