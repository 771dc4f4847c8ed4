"""STORE and UID STORE. RFC 3501 6.4.6."""

from __future__ import annotations

import pytest

from tests.imap.conftest import MailServer, fill
from tests.imap.dialogue import Client


async def test_add_remove_replace(alice: Client) -> None:
    await fill(alice, 2)
    await alice.ok("EXAMINE INBOX")
    await alice.ok("SELECT Sent")
    await alice.ok("SELECT INBOX")
    await alice.play("""
        C: a1 STORE 1 FLAGS (\\Seen \\Flagged)
        S: * 1 FETCH (UID 1 FLAGS (\\Flagged \\Recent \\Seen))
        S: a1 OK *
        C: a2 STORE 1 +FLAGS \\Answered $Forwarded
        S: * FLAGS {{.*}}$Forwarded)
        S: * 1 FETCH (UID 1 FLAGS ($Forwarded \\Answered \\Flagged \\Recent \\Seen))
        S: a2 OK *
        C: a3 UID STORE 1 -FLAGS (\\seen)
        S: * 1 FETCH (UID 1 FLAGS ($Forwarded \\Answered \\Flagged \\Recent))
        S: a3 OK *
        C: a4 STORE 1 FLAGS ()
        S: * 1 FETCH (UID 1 FLAGS (\\Recent))
        S: a4 OK *
        C: a5 STORE 1:2 +FLAGS.SILENT (\\Seen)
        S! * {{\\d+}} FETCH *
        S: a5 OK *
        C: a6 STORE 2 +FLAGS ($FORWARDED)
        S: * 2 FETCH (UID 2 FLAGS ($Forwarded \\Recent \\Seen))
        S: a6 OK *
    """)


async def test_unchanged_flags_are_sent_too(alice: Client) -> None:
    await fill(alice, 1)
    await alice.ok("SELECT INBOX")
    await alice.ok("STORE 1 +FLAGS (\\Seen)")
    assert await alice.ok("STORE 1 +FLAGS (\\Seen)") == [b"* 1 FETCH (UID 1 FLAGS (\\Recent \\Seen))"]


@pytest.mark.parametrize(
    "wrong",
    [
        "STORE 1 FLAG (\\Seen)",
        "STORE 1 +FLAGS",
        "STORE 1 *FLAGS (\\Seen)",
        "STORE 2 FLAGS (\\Seen)",
        "STORE 1 FLAGS (\\Seen",
        "STORE 1 FLAGS.LOUD (\\Seen)",
        "STORE x FLAGS (\\Seen)",
    ],
)
async def test_what_is_not_a_store_is_bad(anna: Client, wrong: str) -> None:
    await fill(anna, 1)
    await anna.ok("SELECT INBOX")
    await anna.bad(wrong)


async def test_flags_no_client_may_set(anna: Client) -> None:
    await fill(anna, 1)
    await anna.ok("SELECT INBOX")
    await anna.no("STORE 1 +FLAGS (\\Recent)", "CANNOT")
    await anna.no("STORE 1 +FLAGS (\\Invented)", "CANNOT")
    assert await anna.ok("UID STORE 77 +FLAGS (\\Seen)") == []


async def test_the_other_session_is_informed_silent_or_not(house: MailServer) -> None:
    one = await house.login()
    await fill(one, 2)
    await one.ok("SELECT INBOX")
    two = await house.login(mailbox="INBOX")
    await one.ok("STORE 1 +FLAGS.SILENT (\\Flagged)")
    assert await two.ok("NOOP") == [b"* 1 FETCH (UID 1 FLAGS (\\Flagged))"]
    await two.ok("STORE 1:2 +FLAGS.SILENT (\\Seen)")
    assert await one.ok("NOOP") == [b"* 1 FETCH (UID 1 FLAGS (\\Flagged \\Recent \\Seen))", b"* 2 FETCH (UID 2 FLAGS (\\Recent \\Seen))"]
    assert await two.ok("NOOP") == []
