"""`mssgw dmp doctor`: what is sent to the DMP by which setting, and the lists that the DMP answers."""

from __future__ import annotations

import msgspec

from mssgw.core.config.dmp_wire import DmpProtocol, DmpVihf


def test_doctor_shows_every_setting_of_the_wire_and_who_decided_it(mssgw, write_config):
    mssgw.config = write_config(vihf={"version": "4.0"}, protocol={"service_urls": {"registry": "https://127.0.0.1:9/r"}})
    shown = {s["name"]: (s["value"], s["origin_en"]) for s in mssgw("doctor").document["settings"]}
    assert shown["dmp.vihf.version"] == ("4.0", "the configuration")
    assert shown["dmp.vihf.access_mode_system_name"] == ("mode acces VIHF 2.0", "default, by the official samples")
    assert shown["dmp.vihf.lps_id"] == ("1.2.250.1.213.1.1.9.1", "default, [dmp] system_oid")
    assert shown["dmp.protocol.processing_code"] == ("D", "default, by [dmp] production")
    assert shown["dmp.protocol.service_urls.registry"] == ("https://127.0.0.1:9/r", "the configuration")
    assert shown["dmp.protocol.service_urls.patients"][0].endswith("/services/patients")
    assert shown["dmp.homologation"] == ("absent", "not in the configuration")
    for table in (DmpProtocol, DmpVihf):
        prefix = "dmp.protocol" if table is DmpProtocol else "dmp.vihf"
        for field in msgspec.structs.fields(table):
            assert any(name.startswith(f"{prefix}.{field.name}") for name in shown), field.name


def test_doctor_never_shows_the_homologation_number(mssgw, write_config, tmp_path):
    (tmp_path / "homologation").write_text("SECRET-NUMBER")
    mssgw.config = write_config(homologation="file:homologation")
    seen = mssgw("doctor", text=True).text
    assert "donné (secret)" in seen
    assert "SECRET-NUMBER" not in seen


def test_the_list_of_professionals_shows_speciality_and_since_when(mssgw):
    mssgw.done("authorise", "--yes", patient="NOUVEAU")
    (row,) = mssgw.done("professionals", patient="NOUVEAU")["professionals"]
    assert row["specialities"][0]["code"] == "G15_10/SM26"
    assert row["since"]
    shown = mssgw("professionals", patient="NOUVEAU", text=True).text
    assert "depuis le" in shown
    assert "Médecin - " in shown


def test_the_list_of_dossiers_has_the_ins_of_each(mssgw):
    rows = mssgw.done("list", "--since", "2020-01-01")["dossiers"]
    patient = mssgw.running.ins("PATIENT")
    assert (patient.value, patient.oid) in {(row["ins"], row["oid"]) for row in rows}
    assert {row["message"] for row in rows} == {False}


def test_what_the_server_remarked_stands_in_the_trail(mssgw):
    for _ in range(2):
        mssgw.done("authorise", "--yes", patient="NOUVEAU")
    rows = [row for row in mssgw.done("audit", patient="NOUVEAU")["audit"] if row["outcome"] == "done" and "remark" in row["facts"]]
    assert len(rows) == 1
