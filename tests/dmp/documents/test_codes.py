"""The value sets: their content, how doubtful codes are marked, and an operator's own files."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from dmp_connector import codes
from dmp_connector.doctor import Station, examine
from dmp_connector.errors import BadCode, BadSettings

R02, R276 = "1.2.250.1.71.4.2.4", "1.2.250.1.213.1.6.1.128"
G15, G16, R01 = "1.2.250.1.71.1.2.7", "1.2.250.1.71.1.2.8", "1.2.250.1.71.4.2.5"


def test_the_sets_of_the_dmp_are_named_and_dated():
    tables = codes.load()
    assert (tables.facility.name, tables.facility.date) == ("JDV_J61_HealthcareFacilityTypeCode_DMP", "2024-01-26")
    assert (tables.content_type.name, tables.content_type.date) == ("JDV_J59_ContentTypeCode_DMP", "2026-09-28")
    assert (tables.format_code.name, tables.format_code.date) == ("JDV_J60_FormatCode_DMP", "2026-09-28")
    assert (tables.subject_role.name, tables.subject_role.date) == ("JDV_J65_SubjectRole_DMP", "2026-07-06")


def test_home_care_is_a_content_type():
    assert codes.load().content_type.require("05", R276).label == "Hospitalisation à domicile (au domicile du patient)"


def test_the_formats_of_2024_are_there_and_the_withdrawn_are_not():
    formats = codes.load().format_code
    assert formats.find("urn:ans:ci-sis:trod:2024")
    with pytest.raises(BadCode):
        formats.require("urn:asip:ci-sis:cva:2017")


def test_a_role_is_distinguished_from_the_same_code_of_another_system():
    roles = codes.load().subject_role
    assert (roles.require("10", G15).label, roles.require("10", G16).label) == ("Médecin", "Médecin en formation")
    assert roles.require("SM26", R01).label.startswith("Qualifié en Médecine")
    with pytest.raises(BadCode):
        roles.require("77", G15)


def test_codes_taken_from_another_set_are_marked_and_shown_by_doctor():
    facility = codes.load().facility
    assert {c.code for c in facility.unconfirmed} == {"SA64", "SA65", "SA66", "SA67", "SA68", "SA69"}
    assert facility.require("SA11", R02) not in facility.unconfirmed
    (said,) = [c for c in examine(Station(), datetime.now(UTC)) if c.name.fr == "jeux de valeurs"]
    assert "JDV_J61_HealthcareFacilityTypeCode_DMP (6 codes)" in said.advice.fr


def test_an_operators_file_replaces_ours_and_the_others_stay(tmp_path):
    own = {"name": "JDV_J61", "version": "3", "date": "2027-01-01", "concepts": [["SA99", R02, "Nouveau"]]}
    (tmp_path / "healthcare-facility.json").write_text(json.dumps(own))
    tables = codes.load(tmp_path)
    assert [c.code for c in tables.facility.concepts] == ["SA99"]
    assert tables.facility.unconfirmed == frozenset()
    assert tables.versions["JDV_J61"] == "3"
    assert tables.content_type == codes.load().content_type


@pytest.mark.parametrize(
    "text",
    [
        "{",
        '{"name": "x"}',
        '{"name": "x", "version": "1", "date": "d", "concepts": [["SA99"]]}',
        '{"name": "x", "version": "1", "date": "d", "concepts": 5}',
        '{"name": "x", "version": "1", "date": "d"}',
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path, text):
    (tmp_path / "healthcare-facility.json").write_text(text)
    with pytest.raises(BadSettings, match=r"healthcare-facility\.json"):
        codes.load(tmp_path)


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(BadSettings, match="value_sets"):
        codes.load(tmp_path / "absent")
