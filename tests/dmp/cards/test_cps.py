"""A CPS on SoftHSM2, through the worker process."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from dmp_connector.card.cps import Activity, activity_object, parse_activity
from dmp_connector.card.pkcs11 import Pkcs11CardReader
from dmp_connector.errors import CardExpired, CardRemoved, CardUnreadable, NoCard, NoReader, WrongPin
from dmp_connector.model import AuthenticationMode
from dmp_connector.signer import Algorithm
from tests.fuzz import examples

from .conftest import CARD_TOOLS, SOFTHSM, provision

NOW = datetime.now(UTC)


def test_the_card_is_seen_without_its_pin_and_its_activities_only_with_it(cps):
    with Pkcs11CardReader(SOFTHSM) as reader:
        seen = reader.see()
        assert seen.speciality == "SM26"
        assert seen.activities == ()
        assert seen.tries_left == 3
        opened = reader.open(cps.pin, NOW)
        assert opened.card.activities == (
            Activity("Cabinet Martin", "499700367909006", "SA07"),
            Activity("CHU Exemple", "1750000001", "SA01"),
        )


def test_the_actor_comes_from_the_card(cps):
    with Pkcs11CardReader(SOFTHSM) as reader:
        actor = reader.open(cps.pin, NOW).card.actor(0, NOW)
    doctor = actor.practitioner
    assert (doctor.id, doctor.family, doctor.given, doctor.profession.code) == ("899700367909", "MARTIN", "JEANNE", "10")
    assert doctor.is_doctor
    assert doctor.speciality.code == "SM26"
    assert actor.structure.id == "499700367909006"
    assert actor.structure.sector.code == "SA07"
    assert actor.authentication is AuthenticationMode.DIRECT
    assert not actor.staff_card
    assert actor.evidence.startswith("card ")


@pytest.mark.peer(*CARD_TOOLS)
def test_a_card_without_a_name_is_a_staff_card(tmp_path, ca, monkeypatch):
    name = x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Cabinet Martin"), x509.NameAttribute(NameOID.COMMON_NAME, "499700367909006/E01")]
    )
    token = provision(tmp_path / "cpe", ca, monkeypatch, subject=name)
    with Pkcs11CardReader(SOFTHSM) as reader:
        actor = reader.open(token.pin, NOW).card.actor(0, NOW)
    assert actor.staff_card
    assert actor.practitioner.family == "Cabinet Martin"


@pytest.mark.parametrize("algorithm", list(Algorithm))
def test_each_key_signs_what_its_certificate_verifies(cps, algorithm):
    digest = hashes.SHA256() if algorithm is Algorithm.RSA_SHA256 else hashes.SHA1()
    with Pkcs11CardReader(SOFTHSM) as reader:
        session = reader.open(cps.pin, NOW)
        for signer in (session.signer, session.authenticator):
            public = x509.load_der_x509_certificate(signer.certificate).public_key()
            assert isinstance(public, rsa.RSAPublicKey)
            public.verify(signer.sign(b"what is signed", algorithm), b"what is signed", padding.PKCS1v15(), digest)
        assert session.signer.certificate != session.authenticator.certificate


def test_a_wrong_pin_names_the_tries_left_and_is_not_repeated(cps):
    with Pkcs11CardReader(SOFTHSM) as reader:
        with pytest.raises(WrongPin) as raised:
            reader.open("9999", NOW)
        assert raised.value.tries_left is not None
        assert "Essais restants" in raised.value.message.fr
        reader.open(cps.pin, NOW)


@pytest.mark.peer(*CARD_TOOLS)
def test_an_expired_card_is_refused_before_the_pin_is_tried(tmp_path, ca, monkeypatch):  # REC_0.X-1050
    provision(tmp_path / "old", ca, monkeypatch, valid=timedelta(days=-2))
    with Pkcs11CardReader(SOFTHSM) as reader, pytest.raises(CardExpired):
        reader.open("9999", NOW)


def test_a_card_not_yet_valid_is_refused(cps):
    with Pkcs11CardReader(SOFTHSM) as reader, pytest.raises(CardExpired):
        reader.open(cps.pin, NOW - timedelta(days=30))


@pytest.mark.peer(*CARD_TOOLS)
def test_a_token_that_is_no_card_is_no_card(tmp_path, monkeypatch):
    (tmp_path / "tokens").mkdir()
    config = tmp_path / "softhsm2.conf"
    config.write_text(f"directories.tokendir = {tmp_path / 'tokens'}\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(config))
    with Pkcs11CardReader(SOFTHSM) as reader, pytest.raises(NoCard):
        reader.see()


def test_a_missing_module_is_named(tmp_path):
    with pytest.raises(NoReader, match="not installed"):
        Pkcs11CardReader(tmp_path / "libcps3_pkcs11.so")


def test_a_module_that_is_no_module_is_named(tmp_path):
    fake = tmp_path / "fake.so"
    fake.write_bytes(b"not a library")
    with Pkcs11CardReader(fake) as reader, pytest.raises(CardUnreadable):
        reader.see()


def test_a_pulled_token_signs_nothing_more(cps):
    with Pkcs11CardReader(SOFTHSM) as reader:
        session = reader.open(cps.pin, NOW)
        session.require_present()
        cps.pull()
        with pytest.raises((CardRemoved, CardUnreadable)):
            session.signer.sign(b"x", Algorithm.RSA_SHA256)


def test_after_close_nothing_is_open(cps):
    with Pkcs11CardReader(SOFTHSM) as reader:
        session = reader.open(cps.pin, NOW)
        session.close()
        with pytest.raises(CardRemoved):
            session.signer.sign(b"x", Algorithm.RSA_SHA256)


@given(st.binary(max_size=300))
@settings(max_examples=examples(200))
def test_any_octets_of_a_card_are_an_activity_or_unreadable(data):
    try:
        parsed = parse_activity(data)
    except CardUnreadable:
        return
    assert parsed.structure


@given(st.text(max_size=60), st.text(alphabet="0123456789AB", min_size=1, max_size=20))
def test_activities_read_back(company, structure):
    activity = Activity(company.strip(), structure, "SA07")
    assert parse_activity(activity_object(activity)) == activity
