"""docs/imap.md names what the server offers and answers, no more and no less."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

from mssgw.core.errors import Deferred, MailError, NotAllowed, NotFound, PeerGone, Refused
from mssgw.flow.mailboxes import AlreadyExists, UseTaken, Vanished
from mssgw.imapd.replies import no_of
from mssgw.imapd.session import Session
from mssgw.protocol.mime import TooComplex
from mssgw.store.mailboxes import OverQuota

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "imap.md").read_text(encoding="utf-8")


def test_capabilities() -> None:
    session = Session(SimpleNamespace(tls=True), SimpleNamespace(append_limit=1))  # type: ignore[arg-type]
    session.account = SimpleNamespace()  # type: ignore[assignment]
    offered = {name.partition("=")[0] if name.startswith("APPENDLIMIT") else name for name in session.capabilities.split()}
    assert offered - {"IMAP4rev1"} == set(re.findall(r"^\| ([A-Z][A-Z0-9=+-]+) \|", PAGE, re.MULTILINE))


def test_response_codes() -> None:
    said = set()
    for path in (ROOT / "mssgw" / "imapd").glob("*.py"):
        text = path.read_text(encoding="utf-8")
        said |= set(
            re.findall(
                r'"(NONEXISTENT|TRYCREATE|ALREADYEXISTS|NOPERM|CANNOT|OVERQUOTA|LIMIT|TOOBIG|EXPUNGEISSUED|UNAVAILABLE'
                r"|AUTHENTICATIONFAILED|PRIVACYREQUIRED|BADCHARSET|USEATTR|SERVERBUG|INUSE|CONTACTADMIN)\b",
                text,
            )
        )
    section = PAGE.partition("## Response codes")[2].partition("##")[0]
    assert said == set(re.findall(r"\b[A-Z]{5,}\b", section)) - {"APPEND"}


def test_every_error_has_its_code() -> None:  # RFC 5530
    codes = {
        kind: no_of(kind()).code
        for kind in (Deferred, Refused, NotAllowed, NotFound, PeerGone, MailError, AlreadyExists, UseTaken, Vanished, TooComplex, OverQuota)
    }
    assert codes == {
        Deferred: "UNAVAILABLE",
        Refused: "CANNOT",
        NotAllowed: "NOPERM",
        NotFound: "NONEXISTENT",
        PeerGone: "UNAVAILABLE",
        MailError: "UNAVAILABLE",
        AlreadyExists: "ALREADYEXISTS",
        UseTaken: "USEATTR",
        Vanished: "EXPUNGEISSUED",
        TooComplex: "LIMIT",
        OverQuota: "OVERQUOTA",
    }
