"""The store at rest: sealed, opened by its key only, re-keyed, and brought up from version 1, on both engines."""

from __future__ import annotations

import json
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from dmp_connector.errors import BadSettings
from dmp_connector.model import AccessMode, Consent, ConsentBasis, ConsentMeans, Dossier, DossierState, Patient, Sex
from dmp_connector.model.creation import AccountAccess, Channel, Creation, Step, to_plain
from dmp_connector.store import ConsultationRow, DepositState, DmpStore, SealBroken, StoreKeys
from dmp_connector.store import tables as t
from tests.conftest import ENGINES
from tests.dmp.conftest import RPPS, STORE_KEYS, practitioner
from tests.dmp.dossier import store_version_1 as v1
from tests.dmp.dossier.test_store import AT, INS, deposit, dmp_postgres, record

__all__ = ["dmp_postgres"]

OTHER = StoreKeys(b"o" * 32)
WHY = "Inconscient sur la voie publique"
SECRETS = ("DUPONTEL", INS.value, "patient.dupontel@example.test", WHY, "Bilan de DUPONTEL", "the CDA itself")


@pytest.fixture(params=ENGINES)
def url(request, tmp_path: Path) -> str:
    return f"sqlite:{tmp_path / 'dmp.db'}" if request.param == "sqlite" else request.getfixturevalue("dmp_postgres")


def filled(url: str, keys: StoreKeys = STORE_KEYS) -> DmpStore:
    """A store with one row of each kind, and every secret in it."""
    store = DmpStore.open(url, keys)
    store.note_dossier(Dossier(INS, DossierState.ACTIVE, attached_to_mes=True), AT)
    store.add_consent(Consent(INS, ConsentBasis.EXPLICIT, practitioner(), ConsentMeans.ORAL, AT, AT + timedelta(days=1)), structure="S")
    opened = record(consultation="c1", reason=SECRETS[3], facts=(("title", SECRETS[4]),))
    store.add_consultation(ConsultationRow("c1", INS.cx, RPPS, "S", "card", AccessMode.BRIS_DE_GLACE, SECRETS[3], AT, AT), opened)
    store.accept_deposit(deposit(submission={"title": SECRETS[4]}, content=SECRETS[5].encode()))
    store.note_attempt("1.2.3", f"refused for {SECRETS[0]}")
    store.save_creation(creation(), AT)
    return store


def creation() -> Creation:
    patient = Patient(INS, SECRETS[0], "MARIE", date(1979, 3, 28), Sex("F"))
    return Creation("k1", RPPS, AT, Step.READY, patient, patient, account=AccountAccess(Channel.EMAIL, SECRETS[2]))


def require_whole(store: DmpStore) -> None:
    assert store.check() == []
    assert store.dossiers()[0][0].ins == INS
    assert store.latest_consent(INS, practitioner=RPPS).collected_by.family == "MARTIN"
    (consultation,) = store.open_consultations(patient=INS.cx)
    assert (consultation.patient, consultation.reason) == (INS.cx, SECRETS[3])
    (pending,) = store.pending_deposits()
    assert (pending.patient, pending.content, pending.submission["title"], pending.attempts) == (INS.cx, SECRETS[5].encode(), SECRETS[4], 1)
    assert pending.last_error == f"refused for {SECRETS[0]}"
    assert store.creation("k1") == creation()
    assert [r.reason for r in store.audit(patient=INS.cx)] == [SECRETS[3]]


def lies_in_clear(url: str, tmp_path: Path) -> list[str]:
    """The secrets that stand in clear in the files or in any column of any table."""
    engine = t.open_engine(url)
    with engine.connect() as connection:
        inspector = sa.inspect(connection)
        found = b"".join(
            b"".join(value if isinstance(value, bytes) else str(value).encode() for value in row)
            for name in inspector.get_table_names()
            for row in connection.execute(sa.text(f'SELECT * FROM "{name}"'))
        )
    engine.dispose()
    found += b"".join(path.read_bytes() for path in tmp_path.glob("dmp.db*"))
    return [secret for secret in SECRETS if secret.encode() in found]


def test_nothing_of_a_patient_lies_in_clear(url, tmp_path):
    store = filled(url)
    require_whole(store)
    store.close()
    assert lies_in_clear(url, tmp_path) == []


def test_another_key_opens_nothing_and_changes_nothing(url):
    filled(url).close()
    with pytest.raises(BadSettings, match="not the key that seals"):
        DmpStore.open(url, OTHER)
    store = DmpStore.open(url, STORE_KEYS)
    require_whole(store)
    store.close()


def test_a_new_key_of_the_program_reads_what_the_former_one_sealed(url):
    filled(url).close()
    DmpStore.open(url, StoreKeys(OTHER.current, (b"x" * 32, STORE_KEYS.current))).close()
    store = DmpStore.open(url, OTHER)  # re-wrapped: the former key is not needed any more
    require_whole(store)
    store.close()
    with pytest.raises(BadSettings):
        DmpStore.open(url, STORE_KEYS)


def test_rotation_writes_every_row_again_and_others_go_on(url):
    store, another = filled(url), DmpStore.open(url, STORE_KEYS)
    with store._engine.begin() as connection:
        before = connection.execute(sa.select(t.deposits.c.content, t.deposits.c.patient)).one()
    store.rotate()
    with store._engine.begin() as connection:
        after = connection.execute(sa.select(t.deposits.c.content, t.deposits.c.patient)).one()
        assert {row.number for row in connection.execute(t.keys.select())} == {2}
    assert before.content != after.content
    assert before.patient != after.patient
    require_whole(another)  # it had loaded the former keys
    another.finish_deposit("1.2.3", DepositState.SENT, at=AT)
    assert store.deposit("1.2.3").state is DepositState.SENT
    store.close()
    another.close()


def test_a_rotation_that_meets_a_broken_row_changes_nothing(url):
    store = filled(url)
    with store._engine.begin() as connection:
        connection.execute(t.creations.update().values(id="k2"))  # sealed for another row
    with pytest.raises(SealBroken):
        store.rotate()
    with store._engine.begin() as connection:
        connection.execute(t.creations.update().values(id="k1"))
        assert {row.number for row in connection.execute(t.keys.select())} == {1}
    require_whole(store)
    store.close()


def test_what_was_moved_or_altered_does_not_open_and_check_names_it(url):
    store = filled(url)
    with store._engine.begin() as connection:
        connection.execute(t.audit.update().values(outcome="granted"))
        connection.execute(t.consultations.update().values(sealed=sa.select(t.creations.c.sealed).scalar_subquery()))
        connection.execute(t.deposits.update().values(content=b"\x01short"))
    with pytest.raises(SealBroken):
        store.audit()
    with pytest.raises(SealBroken):
        store.deposit("1.2.3")
    assert {problem.split(":")[0] for problem in store.check()} == {"dmp_audit", "dmp_consultations", "dmp_deposits"}
    assert not [problem for problem in store.check() if INS.value in problem]
    store.close()


def test_a_row_filed_under_another_patient_is_found(url):
    store = filled(url)
    with store._engine.begin() as connection:
        connection.execute(t.deposits.update().values(patient="0" * 64))
    assert store.check() == ["dmp_deposits: a row of one patient is filed under another"]
    store.close()


def test_the_end_of_a_deposit_takes_its_content_along(url):
    store = filled(url)
    store.finish_deposit("1.2.3", DepositState.REFUSED, at=AT, error="no")
    with store._engine.begin() as connection:
        assert connection.scalar(sa.select(t.deposits.c.content)) is None
    assert store.deposit("1.2.3").last_error == "no"
    store.close()


def test_a_store_that_lost_its_keys_is_not_begun_anew(url):
    store = filled(url)
    with store._engine.begin() as connection:
        connection.execute(t.keys.delete())
    store.close()
    with pytest.raises(BadSettings, match="lost its own keys"):
        DmpStore.open(url, STORE_KEYS)


def test_two_that_open_a_new_store_at_once_share_its_keys(url):
    with ThreadPoolExecutor(4) as pool:
        stores = list(pool.map(lambda _: DmpStore.open(url, STORE_KEYS), range(4)))
    stores[0].note_dossier(Dossier(INS, DossierState.ACTIVE), AT)
    for store in stores:
        assert store.dossiers()[0][0].ins == INS
        store.close()


def test_a_key_has_32_octets():
    with pytest.raises(BadSettings, match="32"):
        StoreKeys(b"short")


# -- from version 1


def version_1(url: str) -> None:
    """What version 1 wrote for the same rows as `filled`."""
    engine = t.open_engine(url)
    known = creation()
    with engine.begin() as connection:
        v1.meta.create_all(connection)
        at = AT.isoformat(timespec="microseconds")
        by = [RPPS, "MARTIN", "JEANNE", ["10", "1.2.250.1.71.1.2.7", "Médecin"], None]
        consent = {"ins": [INS.value, INS.oid], "basis": "explicit", "means": "oral", "at": at, "until": at, "by": by}
        rest = {"evidence": "card 1", "conditions": [], "reason": SECRETS[3], "facts": [["title", SECRETS[4]]]}
        for table, values in (
            (v1.version, {"version": 1}),
            (v1.dossiers, {"patient": INS.cx, "state": "ACTIVE", "treating_doctor": False, "attached_to_mes": True, "seen": at}),
            (v1.consents, {"patient": INS.cx, "practitioner": RPPS, "structure": "S", "consent": json.dumps(consent), "at": at,
                           "until": at}),
            (v1.consultations, {"id": "c1", "patient": INS.cx, "practitioner": RPPS, "structure": "S", "evidence": "card",
                                "mode": "bris_de_glace", "reason": SECRETS[3], "opened": at, "closes": at}),
            (v1.deposits, {"unique_id": "1.2.3", "patient": INS.cx, "practitioner": RPPS, "hash": "a" * 40,
                           "submission": json.dumps({"title": SECRETS[4]}), "content": SECRETS[5].encode(), "state": "pending",
                           "attempts": 1, "last_error": f"refused for {SECRETS[0]}", "accepted": at}),
            (v1.creations, {"id": "k1", "practitioner": RPPS, "step": "ready", "creation": json.dumps(to_plain(known)), "changed": at}),
            (v1.audit, {"at": at, "who": RPPS, "structure": "S", "patient": INS.cx, "mode": "normal", "what": "w", "outcome": "o",
                        "consultation": "c1", "record": json.dumps(rest)}),
        ):  # fmt: skip
            connection.execute(table.insert().values(**values))
    engine.dispose()


def test_a_store_of_version_1_is_sealed_when_it_is_opened(url, tmp_path):
    version_1(url)
    assert set(lies_in_clear(url, tmp_path)) == set(SECRETS)
    store = DmpStore.open(url, STORE_KEYS)
    require_whole(store)
    store.close()
    assert lies_in_clear(url, tmp_path) == []
    DmpStore.open(url, STORE_KEYS).close()


def test_another_writer_is_no_obstacle_to_sealing(tmp_path):
    """VACUUM needs the file for itself and is skipped; what it would free was overwritten already."""
    url = f"sqlite:{tmp_path / 'dmp.db'}"
    filled(url).close()
    engine = t.open_engine(url)
    sa.event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA busy_timeout=0"))
    with closing(sqlite3.connect(tmp_path / "dmp.db", isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        t.forget_free_pages(engine)
    engine.dispose()
    store = DmpStore.open(url, STORE_KEYS)
    require_whole(store)
    store.close()


def test_a_store_of_version_1_with_a_row_nobody_can_read_stays_as_it_was(url):
    version_1(url)
    engine = t.open_engine(url)
    with engine.begin() as connection:
        connection.execute(v1.creations.update().values(creation="{"))
    with pytest.raises(BadSettings, match=r"dmp_creations.*nothing was changed"):
        DmpStore.open(url, STORE_KEYS)
    with engine.begin() as connection:
        assert connection.scalar(sa.select(v1.version.c.version)) == 1
        assert connection.scalar(sa.select(v1.deposits.c.content)) == SECRETS[5].encode()
        connection.execute(v1.creations.update().values(creation=json.dumps(to_plain(creation()))))
    engine.dispose()
    store = DmpStore.open(url, STORE_KEYS)
    require_whole(store)
    store.close()
