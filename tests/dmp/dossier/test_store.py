"""The connector's own store on both engines."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from dmp_connector.errors import BadDocument, BadSettings
from dmp_connector.model import (
    AccessMode,
    AuthorisationStatus,
    Consent,
    ConsentBasis,
    ConsentMeans,
    Dossier,
    DossierState,
    Ins,
    InsKind,
)
from dmp_connector.model.audit import AuditRecord
from dmp_connector.model.creation import Creation
from dmp_connector.store import ConsultationRow, Deposit, DepositState, DmpStore, rows
from tests.conftest import ENGINES
from tests.dmp.conftest import RPPS, STORE_KEYS, practitioner

AT = datetime(2026, 11, 22, 12, tzinfo=UTC)
INS = Ins("279035121518989", InsKind.NIR_TEST)


@pytest.fixture(params=ENGINES)
def dmp_store(request, tmp_path):
    url = f"sqlite:{tmp_path / 'dmp.db'}" if request.param == "sqlite" else request.getfixturevalue("dmp_postgres")
    store = DmpStore.open(url, STORE_KEYS)
    yield store
    assert store.check() == []
    store.close()


@pytest.fixture
def dmp_postgres(pg):
    name = pg.create()
    yield pg.url(name)
    pg.drop(name)


def record(**changes) -> AuditRecord:
    base = {"at": AT, "who": RPPS, "structure": "S", "evidence": "card 1", "patient": INS.cx, "mode": "normal", "what": "w", "outcome": "o"}
    return AuditRecord(**{**base, **changes})


def deposit(**changes) -> Deposit:
    base = {
        "unique_id": "1.2.3",
        "patient": INS.cx,
        "practitioner": RPPS,
        "hash": "a" * 40,
        "submission": {"x": 1},
        "content": b"cda",
        "accepted": AT,
    }
    return Deposit(**{**base, **changes})


def test_the_last_answer_about_a_dossier_is_kept(dmp_store):  # REC_0.4-1010
    dmp_store.note_dossier(Dossier(INS, DossierState.ACTIVE, AuthorisationStatus.VALID, attached_to_mes=True), AT)
    dmp_store.note_dossier(Dossier(INS, DossierState.CLOSED), AT + timedelta(hours=1))
    assert dmp_store.dossiers() == ((Dossier(INS, DossierState.CLOSED), AT + timedelta(hours=1)),)


def test_the_newest_consent_counts_until_it_is_withdrawn(dmp_store):
    first = Consent(INS, ConsentBasis.EXPLICIT, practitioner(), ConsentMeans.ORAL, AT, AT + timedelta(days=1))
    second = Consent(INS, ConsentBasis.EXPLICIT, practitioner(), ConsentMeans.WRITTEN, AT, AT + timedelta(days=2))
    for consent in (first, second):
        dmp_store.add_consent(consent, structure="S")
    found = dmp_store.latest_consent(INS, practitioner=RPPS)
    assert (found.means, found.until) == (ConsentMeans.WRITTEN, second.until)
    assert dmp_store.latest_consent(INS, practitioner="other") is None
    assert dmp_store.withdraw_consents(INS, practitioner=RPPS, at=AT) == 2
    assert dmp_store.latest_consent(INS, practitioner=RPPS) is None


def test_a_consultation_closes_once(dmp_store):
    row = ConsultationRow("c1", INS.cx, RPPS, "S", "card 1", AccessMode.BRIS_DE_GLACE, "motif", AT, AT + timedelta(minutes=15))
    dmp_store.add_consultation(row, record(consultation="c1", outcome="opened"))
    assert dmp_store.open_consultations(practitioner=RPPS, patient=INS.cx) == (row,)
    assert dmp_store.close_consultation(record(consultation="c1", outcome="closed", at=AT + timedelta(minutes=1)), by="hand")
    assert not dmp_store.close_consultation(record(consultation="c1", outcome="closed", at=AT + timedelta(minutes=2)), by="time")
    assert dmp_store.open_consultations() == ()


def test_a_consultation_is_closed_with_its_row_or_not_at_all(dmp_store, monkeypatch):
    """Regression: an act that was cancelled between the two left a closed consultation of which the audit said nothing."""
    opened = record(consultation="c1", what="consultation", outcome="opened")
    dmp_store.add_consultation(
        ConsultationRow("c1", INS.cx, RPPS, "S", "card 1", AccessMode.NORMAL, "", AT, AT + timedelta(minutes=15)), opened
    )
    closed = record(consultation="c1", what="consultation", outcome="closed", at=AT + timedelta(minutes=1))

    def full(vault, row):
        raise OSError("full")

    with monkeypatch.context() as patched:
        patched.setattr(rows, "audit_row", full)
        with pytest.raises(OSError, match="full"):
            dmp_store.close_consultation(closed, by="hand")
    assert len(dmp_store.open_consultations()) == 1
    assert dmp_store.close_consultation(closed, by="hand")
    assert not dmp_store.close_consultation(closed, by="hand")
    assert dmp_store.audit(consultation="c1") == (opened, closed)


def test_a_deposit_is_one_by_its_unique_id_and_its_content_leaves(dmp_store):
    assert dmp_store.accept_deposit(deposit()).state is DepositState.PENDING
    assert dmp_store.accept_deposit(deposit()).state is DepositState.PENDING
    assert len(dmp_store.pending_deposits()) == 1
    with pytest.raises(BadDocument):
        dmp_store.accept_deposit(deposit(hash="b" * 40))
    dmp_store.note_attempt("1.2.3", "timeout")
    assert dmp_store.deposit("1.2.3").attempts == 1
    dmp_store.finish_deposit("1.2.3", DepositState.SENT, at=AT)
    kept = dmp_store.deposit("1.2.3")
    assert (kept.state, kept.content) == (DepositState.SENT, None)
    assert dmp_store.accept_deposit(deposit()).state is DepositState.SENT


def test_a_refused_deposit_may_be_asked_for_again(dmp_store):
    dmp_store.accept_deposit(deposit())
    dmp_store.finish_deposit("1.2.3", DepositState.REFUSED, at=AT, error="no")
    assert dmp_store.deposit("1.2.3").content is None
    again = dmp_store.accept_deposit(deposit())
    assert (again.state, again.content) == (DepositState.PENDING, b"cda")
    assert len(dmp_store.pending_deposits()) == 1


def test_the_audit_comes_back_in_order_and_whole(dmp_store):
    for n in range(3):
        dmp_store.record(record(what=f"w{n}", conditions=(("INS", True, "é"),), facts=(("k", "v"),), reason="motif"))
    found = dmp_store.audit(patient=INS.cx)
    assert [r.what for r in found] == ["w0", "w1", "w2"]
    assert found[0] == record(what="w0", conditions=(("INS", True, "é"),), facts=(("k", "v"),), reason="motif")
    assert dmp_store.audit(patient="other") == ()


def test_a_creation_is_replaced_by_its_next_step(dmp_store):
    creation = Creation("c1", RPPS, AT)
    dmp_store.save_creation(creation, AT)
    dmp_store.save_creation(creation.abandon(), AT)
    assert dmp_store.creation("c1") == creation.abandon()
    assert dmp_store.creation("c2") is None


def test_check_finds_what_cannot_be(tmp_path):
    store = DmpStore.open(f"sqlite:{tmp_path / 'x.db'}", STORE_KEYS)
    store.accept_deposit(deposit())
    store.add_consultation(ConsultationRow("c1", INS.cx, RPPS, "S", "", AccessMode.NORMAL, "", AT, AT), record(consultation="c1"))
    with store._engine.begin() as connection:
        connection.execute(sa.text("UPDATE dmp_deposits SET content = NULL"))
        connection.execute(sa.text("DELETE FROM dmp_audit"))
    assert sorted(p.split(":")[0] for p in store.check()) == ["consultation c1", "deposit 1.2.3"]
    store.close()


def test_another_version_and_another_engine_are_refused(tmp_path):
    url = f"sqlite:{tmp_path / 'x.db'}"
    store = DmpStore.open(url, STORE_KEYS)
    with store._engine.begin() as connection:
        connection.execute(sa.text("UPDATE dmp_version SET version = 99"))
    store.close()
    with pytest.raises(BadSettings, match="version 99"):
        DmpStore.open(url, STORE_KEYS)
    with pytest.raises(BadSettings):
        DmpStore.open("mysql://x", STORE_KEYS)
