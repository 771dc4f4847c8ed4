"""What we rely on inside asyncio and aiosmtpd. If one of these fails after an update, read smtpd/connection.py first."""

from __future__ import annotations

import asyncio
import inspect

from aiosmtpd.smtp import SMTP

from mssgw.smtpd.session import Session


async def test_the_stream_reader_keeps_its_octets_in_a_bytearray() -> None:
    reader = asyncio.StreamReader()
    reader.feed_data(b"abc")
    assert reader._buffer == bytearray(b"abc")  # type: ignore[attr-defined]
    assert reader._eof is False  # type: ignore[attr-defined]
    assert reader._paused is False  # type: ignore[attr-defined]
    assert list(inspect.signature(reader._wait_for_data).parameters) == ["func_name"]  # type: ignore[attr-defined]
    reader.feed_eof()
    assert reader._eof is True  # type: ignore[attr-defined]


def test_aiosmtpd_still_has_what_we_override() -> None:
    for name in ("_handle_client", "_reset_timeout", "_timeout_cb", "push", "handle_exception", "smtp_MAIL", "smtp_RCPT", "smtp_DATA",
                 "smtp_EHLO", "smtp_STARTTLS", "smtp_AUTH", "connection_made", "connection_lost", "eof_received"):
        assert callable(getattr(SMTP, name))
    assert "SMTP.command_size_limit" in inspect.getsource(SMTP)


def test_no_verb_of_aiosmtpd_is_left_as_it_is() -> None:
    verbs = {name for name in dir(Session) if name.startswith("smtp_")}
    known = ["HELO", "EHLO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "BDAT", "RSET", "NOOP", "VRFY", "EXPN", "HELP", "QUIT"]
    assert verbs == {f"smtp_{verb}" for verb in known}
    assert all(getattr(Session, verb) is not getattr(SMTP, verb, None) for verb in verbs)
