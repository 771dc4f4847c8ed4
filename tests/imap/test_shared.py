"""Organisations' mailboxes in the shared namespace: two members see each other, strangers see nothing. RFC 2342."""

from __future__ import annotations

from mssgw.core.address import Address
from mssgw.store import Transaction, accounts, mailboxes
from mssgw.store.mailboxes import FlagOp
from tests.imap.conftest import MESSAGE, MailServer

RADIO = '"Partag&AOk-/radio@alpha.mssante.test/INBOX"'


def _person(tx: Transaction, name: str) -> accounts.Account:
    found = accounts.by_address(tx, Address.parse(f"{name}@alpha.mssante.test"))
    assert found is not None
    return found


async def test_members_share_a_mailbox(house: MailServer) -> None:
    await house.store.write(lambda tx: accounts.add_member(tx, _person(tx, "radio").id, _person(tx, "bob").id))
    alice, bob = await house.login("alice", RADIO), await house.login("bob", RADIO)
    await alice.append(RADIO, MESSAGE)
    assert await bob.ok("NOOP") == [b"* 1 EXISTS", b"* 1 RECENT"]
    await bob.ok("STORE 1 +FLAGS.SILENT (\\Seen)")
    assert b"* 1 FETCH (UID 1 FLAGS (\\Recent \\Seen))" in await alice.ok("NOOP")
    await bob.ok("COPY 1 INBOX")
    await bob.ok("SELECT INBOX")
    assert (await bob.ok("FETCH 1 BODY.PEEK[]"))[0].endswith(MESSAGE + b")")


async def test_no_client_says_that_a_signature_holds(house: MailServer) -> None:
    """Regression: a member appended a message with `$Signed`, and a colleague's program showed it as verified."""
    await house.store.write(lambda tx: accounts.add_member(tx, _person(tx, "radio").id, _person(tx, "bob").id))
    alice, bob = await house.login("alice", RADIO), await house.login("bob", RADIO)
    await alice.append(RADIO, MESSAGE, " ($signed $SignedBySeal $SignatureDoubtful $Done)")
    await bob.ok("NOOP")
    assert await bob.ok("FETCH 1 FLAGS") == [b"* 1 FETCH (FLAGS ($Done \\Recent))"]
    await bob.ok("STORE 1 +FLAGS.SILENT ($SIGNED)")

    def said_by_the_node(tx: Transaction) -> None:
        box = mailboxes.by_name(tx, _person(tx, "radio").id, "INBOX")
        mailboxes.store_flags(tx, box.id, [1], FlagOp.ADD, ["$Signed"])

    await house.store.write(said_by_the_node)
    await bob.ok("NOOP")
    for command in ("STORE 1 -FLAGS.SILENT ($signed)", "STORE 1 FLAGS.SILENT (\\Seen $SignedBySeal)"):
        await bob.ok(command)
    assert await bob.ok("FETCH 1 FLAGS") == [b"* 1 FETCH (FLAGS ($Signed \\Recent \\Seen))"]
    offered = next(line for line in await bob.ok(f"SELECT {RADIO}") if b"PERMANENTFLAGS" in line)
    assert b"$Signed" not in offered
    await bob.ok("COPY 1 INBOX")
    await bob.ok("SELECT INBOX")
    assert b"$Signed" in (await bob.ok("FETCH 1 FLAGS"))[0]


async def test_strangers_see_nothing(house: MailServer) -> None:
    bob = await house.login("bob")
    assert not any(b"radio" in line for line in await bob.ok('LIST "" "*"'))
    for command in (f"SELECT {RADIO}", f"STATUS {RADIO} (MESSAGES)", f"SUBSCRIBE {RADIO}"):
        await bob.no(command, "NONEXISTENT")
    assert (await bob.append(RADIO, MESSAGE)).startswith(b"NO [TRYCREATE]")


async def test_the_tree_of_an_organisation_is_not_its_members_to_change(house: MailServer) -> None:
    alice = await house.login()
    base = '"Partag&AOk-/radio@alpha.mssante.test/'
    for command in (f'CREATE {base}x"', f'DELETE {base}Sent"', f'RENAME {base}Sent" Mine', f'RENAME Sent {base}x"', "CREATE Partag&AOk-"):
        await alice.no(command, "NOPERM")
    await alice.ok(f"SUBSCRIBE {RADIO}")
    assert any(b"radio" in line for line in await alice.ok('LSUB "" "*"'))


async def test_who_is_no_longer_a_member_is_sent_away(house: MailServer) -> None:
    alice = await house.login("alice", RADIO)
    alice.send(b"i1 IDLE\r\n")
    assert (await alice.response()).startswith(b"+")
    await house.store.write(lambda tx: accounts.remove_member(tx, _person(tx, "radio").id, _person(tx, "alice").id))
    assert (await alice.response()).startswith(b"* BYE")
