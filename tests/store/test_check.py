"""check finds each kind of damage; here each invariant is broken by hand."""

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives import serialization

from mssgw import store as store_package
from mssgw.core.address import Domain
from mssgw.flow import enrolment
from mssgw.store import identities, queue, schema, usable
from mssgw.store.queue import Outcome, State
from tests.smime.people import NOW, Authority
from tests.store.messages import enqueue, fill, new_account, new_inbox

HARMS = [
    ("counter", "UPDATE mailbox SET messages = messages + 1 WHERE name = 'INBOX'"),
    ("counter", "UPDATE mailbox SET unseen = 0 WHERE name = 'INBOX'"),
    ("counter", "UPDATE mailbox SET size = size - 1 WHERE name = 'INBOX'"),
    ("counter", "DELETE FROM message WHERE uid = 2"),
    ("uidnext", "UPDATE mailbox SET uidnext = 2 WHERE name = 'INBOX'"),
    ("uidnext", "UPDATE mailbox SET uidnext = 3, recent_from = 1 WHERE name = 'INBOX'"),
    ("modseq", "UPDATE mailbox SET modseq = 1 WHERE name = 'INBOX'"),
    ("modseq", "UPDATE message SET added = modseq + 1 WHERE uid = 1"),
    ("recent", "UPDATE mailbox SET recent_from = 99 WHERE name = 'INBOX'"),
    ("expunged", "INSERT INTO expunged (mailbox_id, modseq, uid) SELECT mailbox_id, modseq, uid FROM message WHERE uid = 1"),
    ("flags", "UPDATE message SET flags = '\\Seen \\Answered' WHERE uid = 1"),
    ("content", "UPDATE message SET size = size + 1 WHERE uid = 1"),
    ("content", "UPDATE message SET header_size = size + 1 WHERE uid = 1"),
    ("content", "DELETE FROM summary WHERE content_id = (SELECT content_id FROM message WHERE uid = 1)"),
    ("content", "UPDATE content SET sealed = (SELECT sealed FROM content WHERE id = 1) WHERE sealed IS NOT NULL"),
    ("summary", "UPDATE summary SET envelope = bodystructure"),
    ("mailbox name", "UPDATE mailbox SET name = 'inbox/x' WHERE name = 'Sent'"),
    ("mailbox name", "UPDATE mailbox SET name = 'a//b' WHERE name = 'Sent'"),
    ("uidvalidity", "UPDATE mailbox SET uidvalidity = 1"),
    ("uidvalidity", "UPDATE account SET uidvalidity = 1"),
    ("special use", "UPDATE mailbox SET special_use = '\\Sent' WHERE name = 'Trash'"),
    ("account address", "UPDATE account SET key = 'other@alpha.mssante.test' WHERE id = 1"),
    ("account address", "UPDATE account SET address = 'no address'"),
    ("account folders", "UPDATE mailbox SET name = 'Other' WHERE name = 'INBOX'"),
    ("members", "INSERT INTO member (organisation_id, person_id) SELECT id, id FROM account"),
    ("delivery", "DELETE FROM recipient"),
    ("delivery", "UPDATE delivery SET finished = NULL"),
    ("delivery", "UPDATE recipient SET state = 'QUEUED'"),
    ("queue", "UPDATE queued SET finished = NULL WHERE trace = 'DONE'"),
    ("queue", "UPDATE queued SET finished = received WHERE trace = 'WAITS'"),
    ("queue", "UPDATE queued SET content_id = NULL WHERE trace = 'WAITS'"),
    ("recipient", "UPDATE recipient SET reply = NULL"),
    ("lease", "UPDATE delivery SET lease_until = due + 1, lease_owner = 'w' WHERE finished IS NULL"),
    ("lease", "UPDATE delivery SET lease_until = due WHERE finished IS NULL"),
    ("journal", "DELETE FROM audit WHERE what = 'queued'"),
    ("journal", "DELETE FROM audit WHERE what = 'recipient'"),
    ("identity state", "UPDATE identity SET state = 'gone' WHERE id = 1"),
    ("identity state", "UPDATE identity SET kind = 'neither' WHERE id = 1"),
    ("identity state", "UPDATE identity SET state = 'requested' WHERE id = 1"),
    ("identity state", "UPDATE identity SET der = NULL WHERE id = 1"),
    ("identity certificate", "UPDATE identity SET der = X WHERE id = 1"),
    ("identity chain", "UPDATE identity SET chain = X WHERE id = 1"),
    ("identity public", "UPDATE identity SET public = X WHERE id = 1"),
    ("identity seal", "UPDATE identity SET sealed = X WHERE id = 1"),
    ("identity seal", "UPDATE identity SET sealed = (SELECT sealed FROM identity WHERE id = 1) WHERE id = 2"),
    ("identity token", "UPDATE identity SET sealed = NULL, token = 'pkcs11:nonsense' WHERE id = 1"),
    ("identity fingerprint", "UPDATE identity SET fingerprint = X WHERE id = 1"),
    ("identity dates", "UPDATE identity SET not_after = not_before WHERE id = 1"),
]


@pytest.fixture
async def harmed(config, clock):
    """A store with a little of everything, which the test may damage: `check` does not run at its end."""
    store = await store_package.open(config, clock, worker="w")
    box = await new_inbox(store)
    await fill(store, box, 3)
    await store.write(lambda tx: store_package.mailboxes.remove(tx, box, [3]))
    await new_account(store, "bob")
    await enqueue(store, "DONE")
    (done,) = await store.write(lambda tx: queue.claim(tx, tx.now, 1, 60))
    await store.write(lambda tx: queue.record(tx, done, [Outcome(one.id, State.SENT, "250 ok") for one in done.pending], None))
    await enqueue(store, "WAITS")
    await hold(store)
    assert await store.check() == []
    yield store
    await store.close()


async def hold(store):
    """Two identities of one account."""

    def add(tx):
        owner = enrolment.Owner.of(tx, account)
        for one in (authority.issue("rsa", str(account.address), number=number) for number in range(2)):
            identities.add(tx, account, enrolment.from_files(owner, [one.certificate], [one.key], NOW, kind=None, retired=False), "test")

    authority, account = Authority(), await new_account(store, "carole")
    await store.require_key(account.address.domain)
    await store.write(add)


@pytest.mark.parametrize(("invariant", "harm"), HARMS, ids=[f"{number}-{name}" for number, (name, _) in enumerate(HARMS)])
async def test_harm_is_found(harmed, invariant, harm):
    octets = {"sqlite": "x'3000'", "postgresql": "'\\\\x3000'::bytea"}
    await harmed.write(lambda tx: tx.connection.exec_driver_sql(harm.replace("= X", f"= {octets[tx.dialect]}")))
    problems = await harmed.check()
    assert invariant in {problem.invariant for problem in problems}, problems
    assert all(problem.message.fr != problem.message.en for problem in problems), problems


async def test_a_sealed_key_that_is_not_that_of_its_certificate_is_found(harmed):
    """It opens: somebody sealed another key for this row."""

    def exchange(tx):
        table = schema.identity.c
        row = tx.run(sa.select(schema.identity).where(table.id == 1)).one()
        other = Authority().issue("p256", "x@alpha.mssante.test").key
        octets = other.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        sealed = tx.context.seal.seal(Domain("alpha.mssante.test"), usable.bound(row.account_id, row.public), octets)
        tx.run(sa.update(schema.identity).where(table.id == 1).values(sealed=sealed))

    await harmed.write(exchange)
    assert [problem.invariant for problem in await harmed.check()] == ["identity key"]


async def test_lost_rows_are_found_by_the_engine(sqlite_store):
    box = await new_inbox(sqlite_store)
    await fill(sqlite_store, box, 1)

    def harm(tx):
        tx.run(sa.text("INSERT INTO delivered VALUES (4711, x'00', 1)"))

    driver_only = sqlite_store._write_engine.connect()
    driver_only.connection.driver_connection.execute("PRAGMA foreign_keys=OFF")
    with driver_only.begin():
        harm(type("T", (), {"run": lambda _self, statement: driver_only.execute(statement)})())
    assert {problem.invariant for problem in await sqlite_store.check()} == {"reference"}
    with driver_only.begin():
        driver_only.execute(sa.text("DELETE FROM delivered"))
    driver_only.close()


async def test_a_problem_reads_well(harmed):
    await harmed.write(lambda tx: tx.connection.exec_driver_sql("UPDATE mailbox SET messages = 7 WHERE name = 'Sent' AND account_id = 1"))
    (problem,) = await harmed.check()
    assert str(problem).endswith("messages is 7, counted 0")
