"""LIST, LSUB, STATUS, NAMESPACE, CREATE, DELETE, RENAME, SUBSCRIBE. RFC 3501 6.3; RFC 2342, 3348, 5258, 5819, 6154."""

from __future__ import annotations

import pytest

from tests.imap.conftest import MailServer, fill
from tests.imap.dialogue import Client


def names(untagged: list[bytes]) -> list[str]:
    return [line.split(b' "/" ')[1].decode().strip('"') for line in untagged if line.startswith((b"* LIST", b"* LSUB"))]


@pytest.fixture
async def tree(anna: Client) -> Client:
    for name in ("a/b/c", "a/d", "Projet", "x*y"):
        await anna.ok(f'CREATE "{name}"')
    await anna.ok("DELETE a")
    return anna


@pytest.mark.parametrize(
    ("reference", "pattern", "expected"),
    [
        ("", "a*", ["a", "a/b", "a/b/c", "a/d"]),
        ("", "a/%", ["a/b", "a/d"]),
        ("", "%/%", ["Partag&AOk-/radio@alpha.mssante.test", "a/b", "a/d"]),
        ("a/", "%", ["a/b", "a/d"]),
        ("", "inbox", ["INBOX"]),
        ("", "iNbOx%", ["INBOX"]),
        ("", "Pro%", ["Projet"]),
        ("", "%c", []),
        ("", "*c", ["a/b/c"]),
        ("", "a/b/c", ["a/b/c"]),
        ("", "nothing", []),
        ("", "x*y", ["x*y"]),
        ("", "*%*%*%*d", ["a/d"]),
        ("Partag&AOk-/", "*/INBOX", ["Partag&AOk-/radio@alpha.mssante.test/INBOX"]),
    ],
)
async def test_list_patterns(tree: Client, reference: str, pattern: str, expected: list[str]) -> None:
    assert names(await tree.ok(f'LIST "{reference}" "{pattern}"')) == expected


async def test_list_attributes(tree: Client) -> None:
    await tree.play("""
        C: a1 LIST "" "%"
        S: * LIST (\\HasNoChildren) "/" "INBOX"
        S: * LIST (\\HasNoChildren \\Archive) "/" "Archive"
        S: * LIST (\\HasNoChildren \\Sent) "/" "Sent"
        S: * LIST (\\Noselect \\HasChildren) "/" "a"
        S: a1 OK *
        C: a2 LIST "" ""
        S: * LIST (\\Noselect) "/" ""
        S: a2 OK *
        C: a3 LIST "Partag&AOk-/x" ""
        S: * LIST (\\Noselect) "/" "Partag&AOk-/"
        S: a3 OK *
    """)


async def test_list_extended(tree: Client) -> None:
    await tree.ok("SUBSCRIBE a/b")
    await tree.ok("SUBSCRIBE gone")
    await tree.play("""
        C: a1 LIST (SUBSCRIBED) "" "*"
        S: * LIST (\\Subscribed \\HasChildren) "/" "a/b"
        S: * LIST (\\NonExistent \\Noselect \\Subscribed \\HasNoChildren) "/" "gone"
        S: a1 OK *
        C: a2 LIST (SUBSCRIBED RECURSIVEMATCH) "" "a"
        S: * LIST (\\NonExistent \\Noselect \\HasChildren) "/" "a" ("CHILDINFO" ("SUBSCRIBED"))
        S: a2 OK *
        C: a3 LIST (SPECIAL-USE) "" ("S*" "D*") RETURN (SUBSCRIBED CHILDREN STATUS (MESSAGES UNSEEN))
        S: * LIST (\\Subscribed \\HasNoChildren \\Drafts) "/" "Drafts"
        S: * STATUS "Drafts" (MESSAGES 0 UNSEEN 0)
        S: * LIST (\\Subscribed \\HasNoChildren \\Sent) "/" "Sent"
        S: * STATUS "Sent" (MESSAGES 0 UNSEEN 0)
        S: a3 OK *
        C: a4 LIST (RECURSIVEMATCH) "" "*"
        S: a4 BAD *
        C: a5 LIST (NOVELTY) "" "*"
        S: a5 BAD *
        C: a6 LIST "" "*" RETURN ()
        S: a6 OK *
    """)


async def test_lsub(tree: Client) -> None:
    await tree.ok("SUBSCRIBE a/b/c")
    assert b'* LSUB (\\Noselect) "/" "a"' in await tree.ok('LSUB "" "%"')
    assert names(await tree.ok('LSUB "" "a*"')) == ["a/b/c"]
    await tree.ok("DELETE a/b/c")
    assert await tree.ok('LSUB "" "a/*"') == [b'* LSUB () "/" "a/b/c"']  # RFC 3501 6.3.9
    await tree.ok("UNSUBSCRIBE a/b/c")
    assert await tree.ok('LSUB "" "a*"') == []


async def test_create_makes_superiors_and_refuses_nonsense(alice: Client) -> None:
    await alice.ok("CREATE one/two/three")
    assert names(await alice.ok('LIST "" "one*"')) == ["one", "one/two", "one/two/three"]
    await alice.ok("CREATE Folder/")
    await alice.no("CREATE Folder", "ALREADYEXISTS")
    await alice.no("CREATE inbox", "ALREADYEXISTS")
    for wrong in (
        '""',
        "/x",
        "x//y",
        '"tab\there"',
        "caf&",
        "&AGE-",
        "x&bad",
        '"' + "y" * 1001 + '"',
        "/".join("abcdefghijklmnopqrstuvwxyz"),
    ):
        await alice.no(f"CREATE {wrong}", "CANNOT")
    await alice.no("CREATE Favoris (USE (\\Archive))", "USEATTR")
    await alice.ok("DELETE Archive")
    await alice.ok("CREATE Favoris (USE (\\Archive))")
    assert b'* LIST (\\HasNoChildren \\Archive) "/" "Favoris"' in await alice.ok('LIST "" Favoris')
    await alice.no("CREATE Z (USE (\\Invented))", "USEATTR")


async def test_names_in_modified_utf7(alice: Client) -> None:
    await alice.ok("CREATE &AMk-t&AOk-/R&AOk-sum&AOk-s")
    assert names(await alice.ok('LIST "" "&AMk-t&AOk-/*"')) == ["&AMk-t&AOk-/R&AOk-sum&AOk-s"]
    await alice.ok("CREATE {13+}\r\n&2D3eAA- &- b")
    assert names(await alice.ok('LIST "" "* b"')) == ["&2D3eAA- &- b"]
    await alice.no('CREATE "d\xe9j\xe0"'.encode())


async def test_delete(house: MailServer) -> None:
    alice = await house.login()
    await alice.no("DELETE INBOX", "NOPERM")
    await alice.no("DELETE nowhere", "NONEXISTENT")
    await alice.ok("CREATE a/b")
    await alice.ok("DELETE a")  # inferiors stay, RFC 3501 6.3.4
    assert names(await alice.ok('LIST "" "a*"')) == ["a", "a/b"]
    await alice.no("SELECT a", "NONEXISTENT")
    await alice.ok("SELECT a/b")
    await alice.ok("DELETE a/b")  # our own selected mailbox: we leave it
    await alice.bad("CHECK")


async def test_a_level_with_mailboxes_below_it_is_not_deleted(alice: Client) -> None:
    """RFC 3501 6.3.4: an error, in whatever state, and nothing goes."""
    await alice.ok("CREATE a/b")
    await alice.ok("DELETE a")
    await alice.no("DELETE a", "HASCHILDREN")
    await alice.ok("SELECT INBOX")
    await alice.no("DELETE a", "HASCHILDREN")
    await alice.no("DELETE nowhere", "NONEXISTENT")
    assert names(await alice.ok('LIST "" "a*"')) == ["a", "a/b"]


async def test_deleted_and_made_again_has_another_uidvalidity(alice: Client) -> None:  # RFC 3501 2.3.1.1
    await alice.ok("CREATE x")
    (before,) = await alice.ok("STATUS x (UIDVALIDITY)")
    await alice.ok("DELETE x")
    await alice.ok("CREATE x")
    assert [before] != await alice.ok("STATUS x (UIDVALIDITY)")


async def test_rename(alice: Client) -> None:
    await alice.ok("CREATE old/below")
    await fill(alice, 2, "old/below")
    await alice.ok("RENAME old new/home")
    assert names(await alice.ok('LIST "" "new*"')) == ["new", "new/home", "new/home/below"]
    assert await alice.ok("STATUS new/home/below (MESSAGES)") == [b'* STATUS "new/home/below" (MESSAGES 2)']
    await alice.no("RENAME nowhere x", "NONEXISTENT")
    await alice.no("RENAME new Sent", "ALREADYEXISTS")
    await alice.no("RENAME new new/below", "CANNOT")


async def test_rename_inbox_moves_its_messages(alice: Client) -> None:  # RFC 3501 6.3.5
    await alice.ok("CREATE INBOX/inferior")
    await fill(alice, 2)
    await alice.ok("RENAME INBOX Old-mail")
    assert await alice.ok("STATUS Old-mail (MESSAGES)") == [b'* STATUS "Old-mail" (MESSAGES 2)']
    assert await alice.ok("STATUS inbox (MESSAGES)") == [b'* STATUS "INBOX" (MESSAGES 0)']
    assert names(await alice.ok('LIST "" "INBOX*"')) == ["INBOX", "INBOX/inferior"]


async def test_status(alice: Client) -> None:  # RFC 8438
    await fill(alice, 3)
    await alice.ok("SELECT INBOX")
    await alice.ok("STORE 1 +FLAGS.SILENT (\\Seen)")
    await fill(alice, 1)
    await alice.ok("UNSELECT")
    (answer,) = await alice.ok("STATUS INBOX (MESSAGES RECENT UIDNEXT UIDVALIDITY UNSEEN SIZE APPENDLIMIT)")
    assert answer.startswith(b'* STATUS "INBOX" (MESSAGES 4 RECENT 0 UIDNEXT 5 UIDVALIDITY ')
    assert b" UNSEEN 3 SIZE " in answer
    await alice.no("STATUS nowhere (MESSAGES)", "NONEXISTENT")
    for wrong in ("STATUS INBOX", "STATUS INBOX ()", "STATUS INBOX (NOTHING)", "STATUS INBOX MESSAGES"):
        await alice.bad(wrong)
    await fill(alice, 2, "Sent")
    assert await alice.ok("STATUS Sent (RECENT)") == [b'* STATUS "Sent" (RECENT 2)']


async def test_namespace(anna: Client) -> None:
    assert await anna.ok("NAMESPACE") == [b'* NAMESPACE (("" "/")) NIL (("Partag&AOk-/" "/"))']
