"""curl imaps://: list, fetch, search, append."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.peers.imap_house import MESSAGE, MailServer, certificate, client_tls, fill, run, server_tls, small_house

__all__ = ["certificate", "client_tls", "server_tls", "small_house"]


@pytest.mark.peer("curl")
async def test_curl_fetches_searches_and_appends(small_house: MailServer, certificate: Path, tmp_path: Path) -> None:
    await fill(await small_house.login(), 2)
    base = f"imaps://localhost:{small_house.implicit[1]}"
    curl = ["curl", "-sS", "--cacert", str(certificate), "-u", "alice@alpha.mssante.test:secret"]
    assert '"INBOX"' in await run(*curl, base, home=tmp_path)
    assert await run(*curl, f"{base}/INBOX;UID=2", home=tmp_path) == MESSAGE.replace(b"afternoon", b"number 2").decode()
    assert (await run(*curl, f"{base}/INBOX?SUBJECT%20number", home=tmp_path)).split() == ["*", "SEARCH", "1", "2"]
    (tmp_path / "new.eml").write_bytes(MESSAGE)
    await run(*curl, "-T", "new.eml", f"{base}/Drafts", home=tmp_path)
    assert (await run(*curl, f"{base}/Drafts;UID=1;SECTION=TEXT", home=tmp_path)).startswith("Hello Joe")
    starttls = ["curl", "-sS", "--ssl-reqd", *curl[2:]]
    assert "INBOX" in await run(*starttls, f"imap://localhost:{small_house.plain[1]}", home=tmp_path)
    await run("curl", "-sS", "--cacert", str(certificate), "-u", "alice@alpha.mssante.test:wrong", base, home=tmp_path, wanted=67)
