from tests.imap.conftest import MESSAGE, House, fill
from tests.imap.dialogue import Client


async def test_walk_through(alice: Client) -> None:
    await fill(alice, 3)
    await alice.play("""
        C: a1 SELECT INBOX
        S: * 3 EXISTS
        S: * 3 RECENT
        S: * OK [UIDNEXT 4] *
        S: a1 OK [READ-WRITE] *
        C: a2 FETCH 1:* (FLAGS UID RFC822.SIZE)
        S: * 1 FETCH (FLAGS (\\Recent) UID 1 RFC822.SIZE *
        S: a2 OK *
        C: a3 FETCH 2 BODY[HEADER.FIELDS (Subject)]
        S: * 2 FETCH (BODY[HEADER.FIELDS (Subject)] {29}⏎Subject: number 2 meeting⏎⏎ FLAGS (\\Recent \\Seen))
        S: a3 OK *
        C: a4 STORE 1 +FLAGS (\\Deleted)
        S: * 1 FETCH (UID 1 FLAGS (\\Deleted \\Recent))
        S: a4 OK *
        C: a5 EXPUNGE
        S: * 1 EXPUNGE
        S: a5 OK *
        C: a6 SEARCH SUBJECT "number 3"
        S: * SEARCH 2
        S: a6 OK *
        C: a7 COPY 1:2 Archive
        S: a7 OK [COPYUID {{\\d+}} 2:3 1:2] *
        C: a8 LOGOUT
        S: * BYE *
        S: a8 OK *
        S: (end)
    """)


async def test_two(house: House) -> None:
    one, two = await house.login(mailbox="INBOX"), await house.login(mailbox="INBOX")
    one.send(b"i1 IDLE\r\n")
    assert await one.response() == b"+ idling"
    await two.append("INBOX", MESSAGE)
    assert await one.response() == b"* 1 EXISTS"
    assert await one.response() == b"* 1 RECENT"
    one.send(b"DONE\r\n")
    assert (await one.response()).startswith(b"i1 OK")
