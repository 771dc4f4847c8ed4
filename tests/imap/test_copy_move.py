"""COPY, MOVE, EXPUNGE, UID EXPUNGE. RFC 3501 6.4.3, 6.4.7; RFC 4315, 6851."""

from __future__ import annotations

from tests.imap.conftest import MailServer, fill
from tests.imap.dialogue import Client


async def test_copy_keeps_flags_and_dates(alice: Client) -> None:
    await fill(alice, 3)
    await alice.ok("SELECT INBOX")
    await alice.ok("STORE 2 +FLAGS.SILENT (\\Seen $Work)")
    (before,) = await alice.ok("FETCH 2 INTERNALDATE")
    _, tagged = await alice.command("COPY 2:3 Archive")
    assert tagged.startswith(b"OK [COPYUID ")
    assert tagged.split(b"]")[0].split()[3:] == [b"2:3", b"1:2"]
    await alice.ok("SELECT Archive")
    assert await alice.ok("FETCH 1 (FLAGS)") == [b"* 1 FETCH (FLAGS ($Work \\Recent \\Seen))"]
    assert (await alice.ok("FETCH 1 INTERNALDATE"))[0] == before.replace(b"* 2", b"* 1")


async def test_copy_to_a_mailbox_that_is_not_there(alice: Client) -> None:
    await fill(alice, 1)
    await alice.ok("SELECT INBOX")
    await alice.no("COPY 1 Nowhere", "TRYCREATE")
    await alice.no("UID MOVE 1 Nowhere", "TRYCREATE")
    assert await alice.ok("UID COPY 99 Nowhere") == []
    assert await alice.ok("SEARCH ALL") == [b"* SEARCH 1"]


async def test_copy_into_the_selected_mailbox_is_announced(alice: Client) -> None:
    await fill(alice, 1)
    await alice.ok("SELECT INBOX")
    assert await alice.ok("COPY 1 INBOX") == [b"* 2 EXISTS", b"* 2 RECENT"]


async def test_move_sends_copyuid_then_expunge(alice: Client) -> None:
    await fill(alice, 4)
    await alice.ok("SELECT INBOX")
    await alice.play("""
        C: a1 MOVE 2,4 Trash
        S! * {{\\d}} EXPUNGE
        S: * OK [COPYUID {{\\d+}} 2,4 1:2] *
        S: * 2 EXPUNGE
        S: * 3 EXPUNGE
        S: a1 OK MOVE completed
        C: a2 UID MOVE 3 Trash
        S: * OK [COPYUID {{\\d+}} 3 3] *
        S: * 2 EXPUNGE
        S: a2 OK *
    """)
    assert await alice.ok("STATUS Trash (MESSAGES)") == [b'* STATUS "Trash" (MESSAGES 3)']


async def test_expunge_numbers_shift_as_they_are_announced(alice: Client) -> None:  # RFC 3501 6.4.3's example
    await fill(alice, 11)
    await alice.ok("SELECT INBOX")
    await alice.ok("STORE 3,4,7,11 +FLAGS.SILENT (\\Deleted)")
    assert await alice.ok("EXPUNGE") == [b"* 3 EXPUNGE", b"* 3 EXPUNGE", b"* 5 EXPUNGE", b"* 8 EXPUNGE"]
    assert await alice.ok("EXPUNGE") == []


async def test_uid_expunge_takes_only_what_is_named_and_deleted(alice: Client) -> None:
    await fill(alice, 4)
    await alice.ok("SELECT INBOX")
    await alice.ok("STORE 1,3,4 +FLAGS.SILENT (\\Deleted)")
    assert await alice.ok("UID EXPUNGE 2:3") == [b"* 3 EXPUNGE"]
    assert await alice.ok("UID SEARCH ALL") == [b"* SEARCH 1 2 4"]


async def test_no_expunge_is_announced_during_fetch_store_search(house: MailServer) -> None:
    """RFC 3501 7.4.1: the other session's numbers stay valid until the server may send EXPUNGE."""
    one = await house.login()
    await fill(one, 4)
    await one.ok("SELECT INBOX")
    two = await house.login(mailbox="INBOX")
    await two.ok("STORE 2 +FLAGS.SILENT (\\Deleted)")
    await two.ok("EXPUNGE")
    await one.play("""
        C: a1 FETCH 3 (UID)
        S! * {{\\d}} EXPUNGE
        S: * 3 FETCH (UID 3)
        S! * {{\\d}} EXPUNGE
        S: a1 OK *
        C: a2 SEARCH UID 4
        S! * {{\\d}} EXPUNGE
        S: * SEARCH 4
        S: a2 OK *
        C: a3 STORE 4 +FLAGS (\\Seen)
        S! * {{\\d}} EXPUNGE
        S: * 4 FETCH (UID 4 *
        S! * {{\\d}} EXPUNGE
        S: a3 OK *
        C: a4 UID FETCH 4 (UID)
        S: * 4 FETCH (UID 4)
        S: * 2 EXPUNGE
        S: a4 OK *
        C: a5 FETCH 3 (UID)
        S: * 3 FETCH (UID 4)
        S: a5 OK *
    """)


async def test_messages_another_session_expunged(house: MailServer) -> None:
    """RFC 2180 4.1.3, 4.2.1, 4.4.1."""
    one = await house.login()
    await fill(one, 3)
    await one.ok("SELECT INBOX")
    two = await house.login(mailbox="INBOX")
    await two.ok("STORE 2 +FLAGS.SILENT (\\Deleted)")
    await two.ok("EXPUNGE")
    untagged, tagged = await one.command("FETCH 1:3 (UID BODY.PEEK[HEADER.FIELDS (Subject)])")
    assert tagged.startswith(b"NO [EXPUNGEISSUED]")
    assert [line.split()[1] for line in untagged if b"BODY[" in line] == [b"1", b"3"]
    assert await one.no("COPY 1:3 Archive", "EXPUNGEISSUED") == [b"* 2 EXPUNGE"]
    assert await one.ok("STATUS Archive (MESSAGES)") == [b'* STATUS "Archive" (MESSAGES 0)']


async def test_deleted_mailbox_sends_its_session_away(house: MailServer) -> None:
    one, two = await house.login(), await house.login()
    await one.ok("CREATE Projet")
    await one.ok("SELECT Projet")
    await two.ok("DELETE Projet")
    one.send(b"a1 NOOP\r\n")
    assert (await one.response()).startswith(b"* BYE")  # RFC 2180 3.3
