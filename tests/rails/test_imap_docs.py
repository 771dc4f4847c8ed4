"""docs/imap.md names what the server takes, offers and answers, no more and no less: all from the declarations in the code."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import pytest

import mssgw.imapd.connection  # noqa: F401  loads the commands
from mssgw.core.errors import Deferred, MailError, NotAllowed, NotFound, PeerGone, Refused
from mssgw.flow.mailboxes import AlreadyExists, HasChildren, UseTaken, Vanished
from mssgw.imapd.registry import State, capabilities, command, commands, no_arguments
from mssgw.imapd.replies import Code, no_of
from mssgw.protocol.mime import TooComplex
from mssgw.store.mailboxes import OverQuota
from tests.rails.agree import agree

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "imap.md").read_text(encoding="utf-8")
SOURCES = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "mssgw" / "imapd").rglob("*.py"))
OFFERED = {  # in clear, under TLS, after login
    (True, True, True): "always",
    (True, True, False): "before login",
    (False, False, True): "after login",
    (True, False, False): "before TLS",
    (False, True, False): "under TLS, before login",
}


def rows(heading: str) -> list[list[str]]:
    """The cells of the table in a section, without its head."""
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def offered(*, tls: bool, account: bool) -> set[str]:
    session = SimpleNamespace(
        wire=SimpleNamespace(tls=tls), account=SimpleNamespace() if account else None, service=SimpleNamespace(append_limit=1)
    )
    return {re.sub(r"^APPENDLIMIT=1$", "APPENDLIMIT", word) for word in capabilities(session).split()}  # type: ignore[arg-type]


def test_commands() -> None:
    documented = [f"{name} ({state})" for state, names in rows("Commands") for name in names.split(", ")]
    agree("docs/imap.md, Commands", documented, [f"{one.name} ({one.state.value})" for one in commands()])


def test_capabilities() -> None:
    clear, stranger, member = offered(tls=False, account=False), offered(tls=True, account=False), offered(tls=True, account=True)
    expected = [f"{word} ({OFFERED[word in clear, word in stranger, word in member]})" for word in clear | stranger | member]
    agree("docs/imap.md, Capabilities", [f"{row[0]} ({row[1]})" for row in rows("Capabilities")], expected)


def test_response_codes() -> None:
    agree("docs/imap.md, Response codes", [code for row in rows("Response codes") for code in row[0].split(", ")], Code)


@pytest.mark.parametrize("code", Code)
def test_response_code_is_sent(code: Code) -> None:
    assert f"Code.{code.name}" in SOURCES


def test_a_command_is_declared_once() -> None:
    with pytest.raises(ValueError, match="NOOP is declared twice"):
        command("NOOP", no_arguments, State.ANY)(None)  # type: ignore[arg-type]


def test_every_error_has_its_code() -> None:  # RFC 5530
    codes = {
        Deferred: Code.UNAVAILABLE,
        Refused: Code.CANNOT,
        NotAllowed: Code.NOPERM,
        NotFound: Code.NONEXISTENT,
        PeerGone: Code.UNAVAILABLE,
        MailError: Code.UNAVAILABLE,
        AlreadyExists: Code.ALREADYEXISTS,
        HasChildren: Code.HASCHILDREN,
        UseTaken: Code.USEATTR,
        Vanished: Code.EXPUNGEISSUED,
        TooComplex: Code.LIMIT,
        OverQuota: Code.OVERQUOTA,
    }
    assert {kind: no_of(kind()).code for kind in codes} == codes
