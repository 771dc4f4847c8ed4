"""SELECT, EXAMINE, CLOSE, UNSELECT, CHECK, NOOP, \\Recent. RFC 3501 6.3.1, 2.3.2."""

from __future__ import annotations

from tests.imap.conftest import MailServer, fill
from tests.imap.dialogue import Client


async def test_select_sends_everything_that_is_required(alice: Client) -> None:
    await fill(alice, 2)
    await alice.play("""
        C: a1 SELECT inbox
        S: * FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft)
        S: * 2 EXISTS
        S: * 2 RECENT
        S: * OK [UNSEEN 1] *
        S: * OK [UIDVALIDITY {{\\d+}}] *
        S: * OK [UIDNEXT 3] *
        S: * OK [PERMANENTFLAGS (\\Answered \\Deleted \\Draft \\Flagged \\Seen \\*)] *
        S: a1 OK [READ-WRITE] *
    """)


async def test_recent_belongs_to_the_first_session_that_selects(house: MailServer) -> None:
    one, two = await house.login(), await house.login()
    await fill(one, 1)
    assert b"* 1 RECENT" in await two.ok("EXAMINE INBOX")  # EXAMINE doesn't take it
    assert b"* 1 RECENT" in await one.ok("SELECT INBOX")
    assert b"* 0 RECENT" in await two.ok("SELECT INBOX")
    assert await one.ok("FETCH 1 FLAGS") == [b"* 1 FETCH (FLAGS (\\Recent))"]
    assert await two.ok("FETCH 1 FLAGS") == [b"* 1 FETCH (FLAGS ())"]
    assert await one.ok("SEARCH RECENT") == [b"* SEARCH 1"]
    assert await two.ok("SEARCH OLD") == [b"* SEARCH 1"]
    assert await one.ok("SEARCH NEW") == [b"* SEARCH 1"]
    await one.no("STORE 1 +FLAGS (\\Recent)")


async def test_examine_changes_nothing(alice: Client) -> None:
    await fill(alice, 2)
    await alice.play("""
        C: a1 EXAMINE INBOX
        S: * OK [PERMANENTFLAGS ()] *
        S: a1 OK [READ-ONLY] *
        C: a2 FETCH 1 BODY[]
        S! {{.*}}\\Seen*
        S: a2 OK *
        C: a3 STORE 1 +FLAGS (\\Deleted)
        S: a3 NO *
        C: a4 EXPUNGE
        S: a4 NO *
        C: a5 MOVE 1 Trash
        S: a5 NO *
        C: a6 CLOSE
        S: a6 OK *
    """)
    assert await alice.ok("STATUS INBOX (MESSAGES UNSEEN)") == [b'* STATUS "INBOX" (MESSAGES 2 UNSEEN 2)']


async def test_close_expunges_silently_and_unselect_does_not(alice: Client) -> None:  # RFC 3691
    await fill(alice, 3)
    await alice.ok("SELECT INBOX")
    await alice.ok("STORE 2 +FLAGS.SILENT (\\Deleted)")
    assert await alice.ok("UNSELECT") == []
    await alice.bad("FETCH 1 FLAGS")
    await alice.ok("SELECT INBOX")
    assert await alice.ok("CLOSE") == []
    assert await alice.ok("STATUS INBOX (MESSAGES)") == [b'* STATUS "INBOX" (MESSAGES 2)']


async def test_failed_select_leaves_no_mailbox_selected(anna: Client) -> None:
    await anna.ok("SELECT INBOX")
    await anna.no("SELECT nowhere", "NONEXISTENT")
    await anna.bad("CHECK")


async def test_noop_and_check_announce_the_news(house: MailServer) -> None:
    one, two = await house.login(mailbox="INBOX"), await house.login()
    await fill(two, 1)
    assert await one.ok("NOOP") == [b"* 1 EXISTS", b"* 1 RECENT"]
    await fill(two, 1)
    assert await one.ok("CHECK") == [b"* 2 EXISTS", b"* 2 RECENT"]
    assert await one.ok("NOOP") == []


async def test_select_again_reads_only_what_changed(alice: Client) -> None:
    await fill(alice, 5)
    await alice.ok("SELECT INBOX")
    await alice.ok("STORE 2,4 +FLAGS.SILENT (\\Deleted $Done)")
    await alice.ok("EXPUNGE")
    await alice.ok("STORE 1 +FLAGS.SILENT (\\Flagged)")
    await fill(alice, 1)
    assert b"* 4 EXISTS" in await alice.ok("SELECT INBOX")
    assert await alice.ok("FETCH 1:* (UID FLAGS)") == [
        b"* 1 FETCH (UID 1 FLAGS (\\Flagged))",
        b"* 2 FETCH (UID 3 FLAGS ())",
        b"* 3 FETCH (UID 5 FLAGS ())",
        b"* 4 FETCH (UID 6 FLAGS ())",
    ]
