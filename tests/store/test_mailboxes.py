"""Mailboxes: messages come, change, move and go; counters, UIDs and modseqs stay true."""

from datetime import UTC, datetime, timedelta

import pytest

from mssgw.core.address import Address
from mssgw.core.body import Body
from mssgw.core.changes import FlagsChanged, MessageAdded
from mssgw.core.errors import NotAllowed, NotFound, Refused
from mssgw.store import accounts, audit, mailboxes
from mssgw.store.mailboxes import FlagOp, NewMessage, Want
from tests.conftest import make_config
from tests.store.messages import DOMAIN, describe, fill, inbox_of, new_account, new_inbox, new_message, octets

SEEN, FLAGGED, DELETED = frozenset({"\\Seen"}), frozenset({"\\Flagged"}), frozenset({"\\Deleted"})


async def test_a_new_account_has_its_folders(store):
    account = await new_account(store)
    boxes = await store.read(lambda rx: mailboxes.list_all(rx, account.id))
    assert {(box.name, box.special_use) for box in boxes} == {
        ("INBOX", None),
        ("Sent", "\\Sent"),
        ("Drafts", "\\Drafts"),
        ("Trash", "\\Trash"),
        ("Junk", "\\Junk"),
        ("Archive", "\\Archive"),
    }
    assert all(box.subscribed and box.uidnext == 1 and box.messages == 0 for box in boxes)
    assert len({box.uidvalidity for box in boxes}) == 6


async def test_append_and_read(store):  # RFC 5788 2
    box = await new_inbox(store)
    date = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    first = await new_message(store, 1, flags=frozenset({"\\seen", "$Forwarded", "\\Recent"}), date=date)
    second = await new_message(store, 2, size=900)
    assert await store.write(lambda tx: mailboxes.append(tx, box, first)) == 1
    assert await store.write(lambda tx: mailboxes.append(tx, box, second)) == 2
    rows = await store.read(lambda rx: mailboxes.rows(rx, box, [2, 1, 7], Want.ALL))
    assert [row.uid for row in rows] == [1, 2]
    assert rows[0].flags == {"\\Seen", "$Forwarded"}
    assert rows[0].internal_date == date
    assert rows[0].size == len(octets(1))
    assert rows[0].header_size == describe(octets(1)).header_size
    assert (rows[1].envelope, rows[1].bodystructure, rows[1].body) == (b"(envelope of 900)", b"(structure of 900)", b"(body of 900)")
    assert (await store.blobs.read(rows[1].content)).read() == octets(2, 900)
    state = await store.read(lambda rx: mailboxes.get(rx, box))
    assert (state.uidnext, state.messages, state.unseen, state.size) == (3, 2, 1, len(octets(1)) + 900)


async def test_rows_open_only_what_is_wanted(store):
    box = await new_inbox(store)
    await fill(store, box, 2)
    (row, _) = await store.read(lambda rx: mailboxes.rows(rx, box, None, Want.ENVELOPE))
    assert row.envelope.startswith(b"(envelope")
    assert row.bodystructure == row.body == b""
    (row, _) = await store.read(lambda rx: mailboxes.rows(rx, box, None))
    assert row.envelope == b""


async def test_append_many_is_all_or_none(store):
    box = await new_inbox(store)
    good = await new_message(store)
    bad = NewMessage(await store.blobs.prepare(Body.of(b"x"), DOMAIN))
    with pytest.raises(ValueError, match="summary"):
        await store.write(lambda tx: mailboxes.append_many(tx, box, [good, bad]))
    assert (await store.read(lambda rx: mailboxes.get(rx, box))).messages == 0


async def test_append_to_nowhere(store):
    message = await new_message(store)
    with pytest.raises(NotFound):
        await store.write(lambda tx: mailboxes.append(tx, 4711, message))


async def test_equal_content_is_kept_once(store):
    box = await new_inbox(store)
    one, two = await new_message(store, 1, size=400_000), await new_message(store, 1, size=400_000)
    await store.write(lambda tx: mailboxes.append_many(tx, box, [one, two]))
    rows = await store.read(lambda rx: mailboxes.rows(rx, box, None))
    assert rows[0].content == rows[1].content


async def test_snapshot(store):
    box = await new_inbox(store)
    await fill(store, box, 3, flags=SEEN)
    await fill(store, box, 1)
    seen = await store.read(lambda rx: mailboxes.snapshot(rx, box))
    assert seen.uids == [1, 2, 3, 4]
    assert seen.flags == [SEEN, SEEN, SEEN, frozenset()]
    assert seen.flags[0] is seen.flags[1]
    assert seen.modseqs == [2, 2, 2, 3]
    assert seen.mailbox.modseq == 3


@pytest.mark.parametrize(
    ("op", "expected"), [(FlagOp.SET, [FLAGGED, FLAGGED]), (FlagOp.ADD, [FLAGGED, FLAGGED | SEEN]), (FlagOp.REMOVE, [frozenset(), SEEN])]
)
async def test_store_flags(store, op, expected):
    box = await new_inbox(store)
    await fill(store, box, 1, flags=FLAGGED if op is FlagOp.REMOVE else frozenset())
    await fill(store, box, 1, flags=SEEN)
    await fill(store, box, 1)
    stored = await store.write(lambda tx: mailboxes.store_flags(tx, box, [1, 2, 99], op, ["\\FLAGGED"]))
    now = await store.read(lambda rx: mailboxes.snapshot(rx, box))
    assert now.flags[:2] == expected
    assert [change.uid for change in stored.changed] == ([1] if op is FlagOp.REMOVE else [1, 2])
    assert now.mailbox.unseen == sum("\\Seen" not in flags for flags in now.flags)
    assert {now.modseqs[change.uid - 1] for change in stored.changed} == {stored.modseq} == {now.mailbox.modseq}


async def test_storing_what_is_there_changes_nothing(store):
    box = await new_inbox(store)
    await fill(store, box, 1, flags=SEEN)
    before = await store.read(lambda rx: mailboxes.snapshot(rx, box))
    stored = await store.write(lambda tx: mailboxes.store_flags(tx, box, [1], FlagOp.ADD, SEEN))
    assert stored.changed == []
    assert await store.read(lambda rx: mailboxes.snapshot(rx, box)) == before


async def test_unchangedsince_leaves_the_changed_alone(store):
    box = await new_inbox(store)
    await fill(store, box, 3)
    base = (await store.read(lambda rx: mailboxes.get(rx, box))).modseq
    await store.write(lambda tx: mailboxes.store_flags(tx, box, [2], FlagOp.ADD, SEEN))
    stored = await store.write(lambda tx: mailboxes.store_flags(tx, box, [1, 2, 3], FlagOp.ADD, FLAGGED, unchangedsince=base))
    assert stored.modified == [2]
    assert [change.uid for change in stored.changed] == [1, 3]


async def test_changes_since(store):
    box = await new_inbox(store)
    await fill(store, box, 4)
    base = (await store.read(lambda rx: mailboxes.get(rx, box))).modseq
    assert (await store.read(lambda rx: mailboxes.changes_since(rx, box, base))).modseq == base
    await store.write(lambda tx: mailboxes.store_flags(tx, box, [2], FlagOp.ADD, SEEN))
    await fill(store, box, 1)
    await store.write(lambda tx: mailboxes.store_flags(tx, box, [5], FlagOp.ADD, FLAGGED))
    await store.write(lambda tx: mailboxes.remove(tx, box, [1, 3]))
    changes = await store.read(lambda rx: mailboxes.changes_since(rx, box, base))
    assert changes.flags == [FlagsChanged(box, 2, base + 1, SEEN)]
    assert changes.added == [MessageAdded(box, 5, base + 3, FLAGGED)]
    assert changes.expunged == [1, 3]
    assert changes.modseq == base + 4


async def test_expunge_takes_only_the_deleted(store):
    box = await new_inbox(store)
    await fill(store, box, 4)
    await store.write(lambda tx: mailboxes.store_flags(tx, box, [1, 3, 4], FlagOp.ADD, DELETED))
    assert await store.write(lambda tx: mailboxes.expunge(tx, box, [2, 3])) == [3]
    assert await store.write(lambda tx: mailboxes.expunge(tx, box)) == [1, 4]
    assert await store.write(lambda tx: mailboxes.expunge(tx, box)) == []
    assert await fill(store, box, 1) == [5]


async def test_copy_keeps_flags_dates_and_order(store):
    account = await new_account(store)
    box = await inbox_of(store, account)
    await fill(store, box, 3, flags=SEEN)
    archive = await store.read(lambda rx: mailboxes.by_name(rx, account.id, "Archive"))
    copied = await store.write(lambda tx: mailboxes.copy(tx, box, [3, 1, 9], archive.id))
    assert copied.uids == [(1, 1), (3, 2)]
    assert copied.uidvalidity == archive.uidvalidity
    rows = await store.read(lambda rx: mailboxes.rows(rx, archive.id, None))
    originals = await store.read(lambda rx: mailboxes.rows(rx, box, [1, 3]))
    for row, original in zip(rows, originals, strict=True):
        assert (row.flags, row.internal_date, row.content) == (original.flags, original.internal_date, original.content)


async def test_move(store):
    account = await new_account(store)
    box = await inbox_of(store, account)
    await fill(store, box, 3)
    trash = await store.read(lambda rx: mailboxes.by_name(rx, account.id, "Trash"))
    assert (await store.write(lambda tx: mailboxes.move(tx, box, [2], trash.id))).uids == [(2, 1)]
    assert (await store.read(lambda rx: mailboxes.snapshot(rx, box))).uids == [1, 3]


async def test_recent_is_given_once(store):
    box = await new_inbox(store)
    await fill(store, box, 2)
    assert await store.write(lambda tx: mailboxes.claim_recent(tx, box)) == 1
    await fill(store, box, 1)
    assert await store.write(lambda tx: mailboxes.claim_recent(tx, box)) == 3
    assert await store.write(lambda tx: mailboxes.claim_recent(tx, box)) == 4


async def test_delivered_once_within_seven_days(store, clock):
    box = await new_inbox(store)
    message = await new_message(store)
    sender = Address.parse("bob@beta.mssante.test")
    key = mailboxes.duplicate_key(sender, "<1@beta>", message.content.blob)

    async def deliver(trace):
        return await store.write(lambda tx: mailboxes.deliver(tx, box, message, key=key, trace=trace, sender=sender, message_id="<1@beta>"))

    assert await deliver("T1") == 1
    assert await deliver("T2") is None
    clock.advance(days=8)
    assert await deliver("T3") == 2
    entries = await store.read(lambda rx: audit.find(rx, message_id="<1@beta>"))
    assert [(entry.trace, entry.what) for entry in entries] == [("T1", "delivered"), ("T2", "duplicate"), ("T3", "delivered")]


async def test_quota(tmp_path, sqlite_config, clock):
    from mssgw import store as store_package

    config = make_config(tmp_path, more="[limits]\nquota = 500\n")
    store = await store_package.open(config, clock, worker="test")
    box = await new_inbox(store)
    await fill(store, box, 1)
    with pytest.raises(mailboxes.OverQuota) as caught:
        await fill(store, box, 1)
    assert caught.value.reply.enhanced == "5.2.2"
    assert (await store.read(lambda rx: mailboxes.get(rx, box))).messages == 1
    assert await store.check() == []
    await store.close()


# -- the tree --------------------------------------------------------------------------------------------


async def test_inbox_in_any_case(store):
    account = await new_account(store)
    for name in ("inbox", "InBox", "INBOX"):
        assert (await store.read(lambda rx, name=name: mailboxes.by_name(rx, account.id, name))).name == "INBOX"
    with pytest.raises(Refused):
        await store.write(lambda tx: mailboxes.create(tx, account.id, "inbox"))
    with pytest.raises(NotAllowed):
        await store.write(lambda tx: mailboxes.delete(tx, account.id, "Inbox"))


async def test_create_makes_superiors(store):
    account = await new_account(store)
    await store.write(lambda tx: mailboxes.create(tx, account.id, "Patients/2026/Été/"))
    names = {box.name for box in await store.read(lambda rx: mailboxes.list_all(rx, account.id))}
    assert {"Patients", "Patients/2026", "Patients/2026/Été"} <= names


@pytest.mark.parametrize("name", ["", "/", "a//b", "/a", "a\rb", "x" * 2000, "/".join("a" * 40)])
async def test_names_that_cant_be(sqlite_store, name):
    account = await new_account(sqlite_store)
    with pytest.raises(Refused):
        await sqlite_store.write(lambda tx: mailboxes.create(tx, account.id, name))
    assert await sqlite_store.read(lambda rx: mailboxes.by_name(rx, account.id, name)) is None


async def test_a_name_used_again_has_a_new_uidvalidity(store):
    account = await new_account(store)
    seen = set()
    for _ in range(3):
        seen.add((await store.write(lambda tx: mailboxes.create(tx, account.id, "Projet"))).uidvalidity)
        await store.write(lambda tx: mailboxes.delete(tx, account.id, "Projet"))
    assert len(seen) == 3


async def test_rename_takes_inferiors_along(store):
    account = await new_account(store)
    await store.write(lambda tx: mailboxes.create(tx, account.id, "a/b/c"))
    await store.write(lambda tx: mailboxes.subscribe(tx, account.id, "a/b"))
    await store.write(lambda tx: mailboxes.rename(tx, account.id, "a", "x/y"))
    names = {box.name for box in await store.read(lambda rx: mailboxes.list_all(rx, account.id))}
    assert {"x", "x/y", "x/y/b", "x/y/b/c"} <= names
    assert not {"a", "a/b"} & names
    assert "x/y/b" in await store.read(lambda rx: mailboxes.subscribed_names(rx, account.id))
    with pytest.raises(Refused):
        await store.write(lambda tx: mailboxes.rename(tx, account.id, "x", "x/z"))
    with pytest.raises(Refused):
        await store.write(lambda tx: mailboxes.rename(tx, account.id, "x", "Sent"))


async def test_renaming_inbox_moves_its_messages(store):
    account = await new_account(store)
    box = await inbox_of(store, account)
    await fill(store, box, 3)
    await store.write(lambda tx: mailboxes.rename(tx, account.id, "inbox", "Anciens"))
    old = await store.read(lambda rx: mailboxes.by_name(rx, account.id, "Anciens"))
    assert old.messages == 3
    assert (await store.read(lambda rx: mailboxes.get(rx, box))).messages == 0


async def test_delete_with_messages_leaves_inferiors_and_subscription(store):
    account = await new_account(store)
    await store.write(lambda tx: mailboxes.create(tx, account.id, "a/b"))
    await store.write(lambda tx: mailboxes.subscribe(tx, account.id, "a"))
    box = await store.read(lambda rx: mailboxes.by_name(rx, account.id, "a"))
    await fill(store, box.id, 2)
    await store.write(lambda tx: mailboxes.delete(tx, account.id, "a"))
    assert await store.read(lambda rx: mailboxes.by_name(rx, account.id, "a/b")) is not None
    assert "a" in await store.read(lambda rx: mailboxes.subscribed_names(rx, account.id))
    with pytest.raises(NotFound):
        await store.read(lambda rx: mailboxes.snapshot(rx, box.id))


async def test_accounts_do_not_see_each_other(store):
    alice, bob = await new_account(store, "alice"), await new_account(store, "bob")
    await store.write(lambda tx: mailboxes.create(tx, alice.id, "Secret"))
    assert await store.read(lambda rx: mailboxes.by_name(rx, bob.id, "Secret")) is None
    assert timedelta(0) == alice.created - bob.created
    assert isinstance(alice, accounts.Account)


# -- flags and the log -----------------------------------------------------------------------------------


@pytest.mark.parametrize("flag", ["", "two words", "a\rb", "(", "\\", "\\*", "é", "x" * 201, '"'])
async def test_what_is_no_flag_is_refused(sqlite_store, flag):
    box = await new_inbox(sqlite_store)
    await fill(sqlite_store, box, 1)
    with pytest.raises(Refused):
        await sqlite_store.write(lambda tx: mailboxes.store_flags(tx, box, [1], FlagOp.ADD, [flag]))


async def test_flags_ignore_case_and_keep_their_first_spelling(store):
    box = await new_inbox(store)
    await fill(store, box, 1, flags=frozenset({"Projet"}))
    assert (await store.write(lambda tx: mailboxes.store_flags(tx, box, [1], FlagOp.ADD, ["PROJET"]))).changed == []
    await store.write(lambda tx: mailboxes.store_flags(tx, box, [1], FlagOp.ADD, ["$forwarded"]))
    assert (await store.read(lambda rx: mailboxes.snapshot(rx, box))).flags == [{"Projet", "$Forwarded"}]
    await store.write(lambda tx: mailboxes.store_flags(tx, box, [1], FlagOp.REMOVE, ["projet", "$FORWARDED"]))
    assert (await store.read(lambda rx: mailboxes.snapshot(rx, box))).flags == [frozenset()]


async def test_a_message_has_at_most_64_flags(store):
    box = await new_inbox(store)
    await fill(store, box, 1, flags=frozenset(f"k{number}" for number in range(64)))
    with pytest.raises(Refused, match="64 flags"):
        await store.write(lambda tx: mailboxes.store_flags(tx, box, [1], FlagOp.ADD, SEEN))


async def test_dotless_i_is_not_inbox(sqlite_store):
    account = await new_account(sqlite_store)
    assert await sqlite_store.read(lambda rx: mailboxes.by_name(rx, account.id, "ınbox")) is None


async def test_a_trimmed_log_is_reported_as_too_short(store):
    box = await new_inbox(store)
    await fill(store, box, 6)
    base = (await store.read(lambda rx: mailboxes.get(rx, box))).modseq
    for uid in (1, 2, 3):
        await store.write(lambda tx, uid=uid: mailboxes.remove(tx, box, [uid]))
    assert await store.write(lambda tx: mailboxes.trim_log(tx, box, 5)) == 0
    assert await store.write(lambda tx: mailboxes.trim_log(tx, box, 1)) == 2
    with pytest.raises(mailboxes.LogTooShort):
        await store.read(lambda rx: mailboxes.changes_since(rx, box, base))
    assert (await store.read(lambda rx: mailboxes.changes_since(rx, box, base + 2))).expunged == [3]


async def test_sweep_forgets_old_delivery_keys(store, clock):
    box = await new_inbox(store)
    message = await new_message(store)
    await store.write(lambda tx: mailboxes.deliver(tx, box, message, key=b"k", trace="T1"))
    clock.advance(days=6)
    assert await store.write(mailboxes.forget_deliveries) == 0
    clock.advance(days=2)
    assert await store.write(mailboxes.forget_deliveries) == 1
