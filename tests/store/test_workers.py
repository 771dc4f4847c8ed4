"""Two workers on one store: what they do at the same time has the result of one after the other."""

import asyncio

from mssgw.core.errors import NotFound, Refused
from mssgw.store import accounts, mailboxes, queue
from mssgw.store.mailboxes import FlagOp
from mssgw.store.queue import Outcome, State
from tests.store.messages import enqueue, fill, inbox_of, new_account, new_inbox, new_message


async def together(*work):
    """The outcomes of all. Errors that two workers may cause each other are returned, others are raised."""
    answers = await asyncio.gather(*work, return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException) and not isinstance(answer, NotFound | Refused):
            raise answer
    return answers


async def test_uids_are_given_once(store, open_again):
    other, box = await open_again(), await new_inbox(store)
    messages = [await new_message(store, number) for number in range(40)]
    uids = await together(
        *(
            one.write(lambda tx, message=message: mailboxes.append(tx, box, message))
            for number, message in enumerate(messages)
            for one in [(store, other)[number % 2]]
        )
    )
    assert sorted(uids) == list(range(1, 41))


async def test_flags_of_two_workers_add_up(store, open_again):
    other, box = await open_again(), await new_inbox(store)
    await fill(store, box, 5)
    await together(
        *(
            one.write(lambda tx, flag=f"k{number}": mailboxes.store_flags(tx, box, [1, 2, 3, 4, 5], FlagOp.ADD, [flag]))
            for number in range(10)
            for one in [(store, other)[number % 2]]
        )
    )
    seen = await store.read(lambda rx: mailboxes.snapshot(rx, box))
    assert seen.flags == [{f"k{number}" for number in range(10)}] * 5


async def test_a_message_is_expunged_or_moved_once(store, open_again):
    other, account = await open_again(), await new_account(store)
    box = await inbox_of(store, account)
    trash = (await store.read(lambda rx: mailboxes.by_name(rx, account.id, "Trash"))).id
    await fill(store, box, 20)
    await together(
        *(one.write(lambda tx: mailboxes.move(tx, box, list(range(1, 21)), trash)) for one in (store, other) * 3),
        *(one.write(lambda tx, uid=uid: mailboxes.remove(tx, box, [uid])) for uid in range(1, 21) for one in (store, other)),
    )
    moved = (await store.read(lambda rx: mailboxes.get(rx, trash))).messages
    log = (await store.read(lambda rx: mailboxes.changes_since(rx, box, 2))).expunged
    assert log == list(range(1, 21))
    assert moved <= 20


async def test_mail_into_a_mailbox_that_is_being_deleted(store, open_again):
    other, account = await open_again(), await new_account(store)
    message = await new_message(store)
    for turn in range(8):
        box = (await store.write(lambda tx: mailboxes.create(tx, account.id, "Projet"))).id
        keys = [b"%d/%d" % (turn, number) for number in range(4)]
        await together(
            *(other.write(lambda tx, key=key, box=box: mailboxes.deliver(tx, box, message, key=key, trace="T")) for key in keys),
            *(other.write(lambda tx, box=box: mailboxes.append(tx, box, message)) for _ in range(4)),
            store.write(lambda tx: mailboxes.delete(tx, account.id, "Projet")),
        )
        assert await store.read(lambda rx: mailboxes.by_name(rx, account.id, "Projet")) is None


async def test_a_name_is_taken_once(store, open_again):
    other, account = await open_again(), await new_account(store)
    answers = await together(*(one.write(lambda tx: mailboxes.create(tx, account.id, "a/b")) for one in (store, other) * 3))
    assert sum(isinstance(answer, mailboxes.Mailbox) for answer in answers) == 1
    answers = await together(*(new_account(one, "bob") for one in (store, other) * 3))
    assert sum(isinstance(answer, accounts.Account) for answer in answers) == 1


async def test_the_same_content_from_both(store, open_again):
    other, box = await open_again(), await new_inbox(store)
    messages = [await new_message(one, 1, size=size) for size in (300, 300_000) for one in (store, other)]
    await together(
        *(one.write(lambda tx, message=message: mailboxes.append(tx, box, message)) for message in messages * 3 for one in (store, other))
    )
    rows = await store.read(lambda rx: mailboxes.rows(rx, box, None))
    assert len(rows) == 24
    assert len({row.content for row in rows}) == 2


async def test_the_queue_is_worked_off_by_both(store, open_again):
    other = await open_again()
    for number in range(20):
        await enqueue(store, f"T{number}", "a@beta.test", "b@gamma.test")
    done = []

    async def worker(one):
        while claimed := await one.write(lambda tx: queue.claim(tx, tx.now, 3, 60)):
            for delivery in claimed:
                outcomes = [Outcome(each.id, State.SENT, "250 ok") for each in delivery.pending]
                await one.write(lambda tx, delivery=delivery, outcomes=outcomes: queue.record(tx, delivery, outcomes, None))
                done.append(delivery.id)

    await asyncio.gather(worker(store), worker(other), worker(store), worker(other))
    assert len(done) == len(set(done)) == 40
    for number in range(20):
        assert (await store.read(lambda rx, number=number: queue.show(rx, f"T{number}"))).finished
