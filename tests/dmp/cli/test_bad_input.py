"""Bad input, line by line: a clear refusal each, in French, status 1, never a traceback, nothing sent."""

from __future__ import annotations

import base64
import io
import json
import re
import ssl
import zipfile
from dataclasses import replace
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path

import httpx2
import pytest
from typer.testing import CliRunner

from dmp_connector import codes, xdm
from dmp_connector.cda import Level1, build_level1, describe
from dmp_connector.model import Document, Dtm, Ins, InsKind
from dmp_connector.paper.letters import letter
from mssgw.cli.xdm import app as xdm_app
from tests.dmp.documents.conftest import CABINET, DOCTOR, PATIENT

from .test_scenarios import vitale

AT = datetime(2026, 1, 2, tzinfo=UTC)


def wanted(unique_id: str = "1.2.3", patient=PATIENT) -> Level1:
    tables = codes.load()
    return Level1(
        unique_id,
        patient,
        DOCTOR,
        CABINET,
        tables.type_code.require("11490-0"),
        "Lettre",
        AT,
        letter("Lettre", ["x"], at=AT),
        tables.practice.require("AMBULATOIRE"),
        AT,
    )


@pytest.fixture
def archive() -> bytes:
    return xdm.wrap(wanted(), submission_id="1.2.4", source_id="1.2").archive


def read(path: Path, *arguments: str):
    ran = CliRunner().invoke(xdm_app, ["read", str(path), "--json", *arguments])
    assert ran.exception is None or isinstance(ran.exception, SystemExit)
    return ran.exit_code, json.loads(ran.stdout.splitlines()[-1])


def refused_archive(tmp_path: Path, data: bytes, said: str) -> None:
    path = tmp_path / "IHE_XDM.ZIP"
    path.write_bytes(data)
    status, document = read(path, "--extract", str(tmp_path / "out"))
    assert status == 1
    assert document["error"] == "BadArchive"
    assert said in document["detail"]
    assert not (tmp_path / "out").exists()


def packed(archive: bytes, **changes: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for info in old.infolist():
            new.writestr(info.filename, changes.pop(info.filename, old.read(info)))
        for name, content in changes.items():
            new.writestr(name, content)
    return out.getvalue()


def test_wrong_ins_key_typed(mssgw):
    refused = mssgw("exists", "--patient", "279035121518900")
    assert refused.status == 1
    assert refused.document["error"] == "BadIns"
    assert "INS" in refused.document["sentence"]
    for typed in ("", "12", "abc", "2790351215189899"):
        assert mssgw("exists", "--patient", typed).document["error"] == "BadIns"


def test_traits_that_differ_from_insi(mssgw, tmp_path):
    card = Path(vitale(mssgw, tmp_path, "SANSDOSSIER"))
    content = json.loads(card.read_text())
    content["beneficiaries"][0]["birth_name"] = "DURAND"
    card.write_text(json.dumps(content))
    refused = mssgw("create", "--no-account", "-o", str(tmp_path / "lettre.pdf"), "--vitale", str(card), "--consent", "oral", "--yes")
    assert refused.document["error"] == "TraitsDiffer"
    assert "DURAND" not in refused.document["sentence"]
    assert mssgw("exists", patient="SANSDOSSIER").document["state"] == "NO_DMP"


def test_two_patients_in_one_archive(tmp_path, archive):
    other = replace(PATIENT, ins=Ins.typed("109076322083489", InsKind.NIR_TEST))
    second = xdm.wrap(wanted("1.2.9", other), submission_id="1.2.5", source_id="1.2").archive
    with zipfile.ZipFile(io.BytesIO(second)) as opened:
        extra = {n.replace("SUBSET01", "SUBSET02"): opened.read(n) for n in opened.namelist() if "SUBSET01" in n}
    refused_archive(tmp_path, packed(archive, **extra), "two patients")


def test_zip_bomb_path_traversal_and_xml_bomb(tmp_path, archive):
    refused_archive(tmp_path, packed(archive, BOMB=b"\0" * 40_000_000), "bomb")
    refused_archive(tmp_path, packed(archive, **{"../../x": b"x"}), "leaves the archive")
    bomb = b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><x>&b;</x>'
    refused_archive(tmp_path, packed(archive, **{"IHE_XDM/SUBSET01/METADATA.XML": bomb}), "DTD")
    refused_archive(tmp_path, b"", "ZIP")


def test_an_archive_in_a_mail_is_read_and_extracted_under_names_of_ours(tmp_path, archive):
    mail = EmailMessage()
    mail["Subject"] = "XDM/1.0/DDM+Lettre"
    mail.set_content("Bonjour")
    mail.add_attachment(archive, maintype="application", subtype="zip", filename="ihe_xdm.zip")
    path = tmp_path / "mail.eml"
    path.write_bytes(mail.as_bytes())
    status, document = read(path, "--extract", str(tmp_path / "out"))
    assert status == 0
    assert document["patient"]["ins"] == PATIENT.ins.value
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["document-001.xml"]
    path.write_bytes(b"Subject: x\r\n\r\nno archive")
    assert read(path)[1]["error"] == "BadArchive"
    assert read(tmp_path / "absent.zip")[1]["error"] == "BadArchive"


def test_writing_an_archive_is_deterministic(tmp_path):
    source = tmp_path / "cda.xml"
    source.write_bytes(build_level1(wanted()))
    for name in ("a.zip", "b.zip"):
        ran = CliRunner().invoke(xdm_app, ["write", str(source), "-o", str(tmp_path / name), "--at", "2026-11-22T10:00:00+01:00"])
        assert ran.exit_code == 0
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    assert read(tmp_path / "a.zip")[0] == 0


def write(tmp_path: Path, name: str, patient=PATIENT, **changes) -> Path:
    source, target = tmp_path / f"{name}.xml", tmp_path / f"{name}.zip"
    source.write_bytes(build_level1(replace(wanted(), patient=patient, **changes)))
    ran = CliRunner().invoke(xdm_app, ["write", str(source), "-o", str(target), "--at", "2026-01-01T10:00:00Z"])
    assert ran.exit_code == 0, ran.stderr
    return target


def test_submission_sets_of_one_second_differ_by_patient_and_by_document(tmp_path):
    another = replace(PATIENT, ins=Ins.typed("146026322000196", PATIENT.ins.oid))
    archives = [write(tmp_path, "a"), write(tmp_path, "b", another), write(tmp_path, "c", title="Autre lettre"), write(tmp_path, "d")]
    ids = [read(archive)[1]["submission_sets"][0]["unique_id"] for archive in archives]
    assert len(set(ids[:3])) == 3
    assert ids[3] == ids[0]
    assert all(re.fullmatch(r"[0-2](\.(0|[1-9][0-9]*))+", one) and len(one) <= 64 for one in ids)


def test_submission_id_is_an_oid_of_64_characters_below_the_longest_root():
    moment, root = Dtm.of(datetime(2026, 1, 1, tzinfo=UTC)), "1.2." + "9" * 44
    ids = {
        xdm.submission_id(root, moment, [Document(describe(c), c)])
        for c in [build_level1(replace(wanted(), title=f"T{n}")) for n in range(3)]
    }
    assert len(ids) == 3
    assert all(len(one) <= 64 for one in ids)


def test_extracting_refuses_files_that_exist_and_then_writes_nothing(tmp_path):
    another = replace(PATIENT, ins=Ins.typed("146026322000196", PATIENT.ins.oid))
    first, second, out = write(tmp_path, "a"), write(tmp_path, "b", another), tmp_path / "out"
    assert read(first, "--extract", str(out))[0] == 0
    kept = (out / "document-001.xml").read_bytes()
    status, document = read(second, "--extract", str(out))
    assert status == 1
    assert "document-001.xml existe déjà" in document["sentence"]
    assert (out / "document-001.xml").read_bytes() == kept
    assert read(second, "--extract", str(out), "--overwrite")[0] == 0
    assert (out / "document-001.xml").read_bytes() != kept


def test_errors_of_xdm_are_french_and_name_their_own_command(tmp_path):
    ran = CliRunner().invoke(xdm_app, ["read", str(tmp_path / "missing.zip")])
    assert ran.exit_code == 1
    french = ran.stderr.splitlines()[0]
    assert french.startswith("mssgw xdm")
    assert "ce fichier n'existe pas" in french
    assert "No such file" not in french
    deep = tmp_path / "deep.xml"
    deep.write_bytes(b"<a>" * 5000 + b"</a>" * 5000)
    said = CliRunner().invoke(xdm_app, ["write", str(deep), "-o", str(tmp_path / "x.zip")]).stderr
    assert "imbriqué" in said
    assert "HUGE" not in said


def test_controls_and_direction_signs_of_a_foreign_title_do_not_reach_the_terminal(tmp_path):
    archive = write(tmp_path, "a", title="Lettre \u202etxt.exe \x9b31m \u2066fin")
    for ran in (CliRunner().invoke(xdm_app, ["read", str(archive)]),
                CliRunner().invoke(xdm_app, ["write", str(tmp_path / "a.xml"), "-o", str(tmp_path / "again.zip")])):  # fmt: skip
        assert ran.exit_code == 0
        assert "\\u202etxt.exe" in ran.stdout
        assert not set("\u202e\u2066\x9b") & set(ran.stdout)


def submit(mssgw, path: Path):
    return mssgw("submit", str(path), "--title", "T", "--type", "11490-0", patient="PATIENT")


def test_getting_a_document_refuses_a_file_that_exists_before_it_is_asked_for(mssgw, tmp_path):
    unique_id = mssgw.done("find", "--all", patient="PATIENT")["documents"][0]["unique_id"]
    target = tmp_path / "x.xml"
    target.write_text("another patient's")
    refused = mssgw("get", unique_id, "-o", str(target), patient="PATIENT")
    assert refused.status == 1
    assert "existe déjà" in refused.document["sentence"]
    assert target.read_text() == "another patient's"
    assert mssgw.done("get", unique_id, "-o", str(target), "--overwrite", patient="PATIENT")["bytes"] == target.stat().st_size


def test_a_document_on_stdout_with_json_is_one_json_document(mssgw):
    unique_id = mssgw.done("find", "--all", patient="PATIENT")["documents"][0]["unique_id"]
    got = mssgw.done("get", unique_id, "-o", "-", patient="PATIENT")
    assert len(base64.b64decode(got["content"])) == got["bytes"]


def test_a_cda_in_utf16_is_refused_and_utf8_asked_for(mssgw, tmp_path):
    path = tmp_path / "x.xml"
    path.write_bytes('<?xml version="1.0" encoding="UTF-16"?><ClinicalDocument/>'.encode("utf-16"))
    assert "UTF-8" in submit(mssgw, path).document["sentence"]


def test_a_100_mb_pdf_and_a_pdf_that_is_not_pdfa1(mssgw, tmp_path):
    big = tmp_path / "big.pdf"
    with big.open("wb") as file:
        file.write(b"%PDF-1.4\n")
        file.truncate(100 * 1024 * 1024)
    refused = submit(mssgw, big)
    assert refused.document["error"] == "BadDocument"
    assert "104857600" in refused.document["sentence"]
    plain = tmp_path / "plain.pdf"
    plain.write_bytes(b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF")
    assert submit(mssgw, plain).document["error"] == "BadDocument"
    assert not any(w == "TD2.1" for w, _ in mssgw.audit("PATIENT"))


def test_xml_that_is_no_cda_a_cda_of_another_patient_and_a_code_outside_its_set(mssgw, tmp_path):
    path = tmp_path / "x.xml"
    path.write_bytes(b'<!DOCTYPE x [<!ENTITY a "a">]><x>&a;</x>')
    assert submit(mssgw, path).document["error"] == "BadDocument"
    path.write_bytes(build_level1(wanted()))
    assert "autre patient" in submit(mssgw, path).document["sentence"]
    path.write_bytes(build_level1(wanted()).replace(b'code="11490-0"', b'code="00000-0"'))
    assert submit(mssgw, path).document["error"] == "BadCode"
    pdf = tmp_path / "x.pdf"
    pdf.write_bytes(letter("T", ["x"], at=AT))
    assert mssgw("submit", str(pdf), "--title", "T", "--type", "0-0", patient="PATIENT").document["error"] == "BadCode"
    assert mssgw("submit", str(pdf), patient="PATIENT").document["error"] == "BadDocument"
    assert mssgw("submit", str(tmp_path / "absent.pdf"), patient="PATIENT").document["error"] == "BadDocument"


def test_an_unknown_document_to_get_or_replace(mssgw, tmp_path):
    assert mssgw("get", "1.2.3.4.5", "-o", str(tmp_path / "x"), patient="PATIENT").document["error"] == "DocumentUnknown"
    pdf = tmp_path / "x.pdf"
    pdf.write_bytes(letter("T", ["x"], at=AT))
    refused = mssgw("submit", str(pdf), "--title", "T", "--type", "11490-0", "--replace", "1.2.3.4.5", patient="PATIENT")
    assert refused.document["error"] == "DocumentUnknown"


def test_a_replayed_request_is_refused(mssgw, tmp_path):
    """The trace has every octet of the exchange; sent a second time, its VIHF was used before."""
    mssgw.done("exists", "--trace", str(tmp_path / "trace"), patient="PATIENT")
    request = next(p for p in sorted((tmp_path / "trace").iterdir()) if "request" in p.name)
    head, _, body = request.read_bytes().partition(b"\r\n\r\n")
    lines = head.decode().splitlines()
    headers = dict(line.split(": ", 1) for line in lines[1:] if line.lower().startswith("content-type"))
    settings = mssgw.running.settings
    context = ssl.create_default_context(cafile=str(settings.anchors))
    context.load_cert_chain(settings.certificate, settings.key)
    url = settings.url.split("/si-dmp-server")[0] + lines[0].split()[1]
    with httpx2.Client(verify=context) as client:
        answer = client.post(url, content=body, headers=headers)
    assert b"Fault" in answer.content
    assert b"PRPA_IN201308UV02" not in answer.content


def test_an_expired_certificate_or_a_key_of_another_is_named(write_config, mssgw):
    mssgw.config = write_config(key=f"file:{mssgw.running.settings.key.parent / 'server.key'}")
    assert mssgw("exists", patient="PATIENT").document["error"] == "BadCertificate"


def test_the_doctor_names_what_is_missing(write_config, tmp_path):
    from mssgw.cli.dmp import app

    config = write_config(card_module=str(tmp_path / "absent.so"))
    ran = CliRunner().invoke(app, ["doctor", "--config", str(config), "--json"])
    checks = {c["name"]: c for c in json.loads(ran.stdout)["checks"]}
    assert checks["module PKCS#11"]["holds"] is False
    assert "Cryptolib" in checks["module PKCS#11"]["advice"]
    assert checks["certificat TLS"]["holds"] is True
    assert checks["jeux de valeurs"]["holds"] is True
