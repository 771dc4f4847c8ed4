"""Internals of asyncio and aiosmtpd that we rely on. If one of these fails after an update, read smtpd/connection.py first."""

from __future__ import annotations

import asyncio
import inspect

from aiosmtpd.smtp import SMTP

from mssgw.core.address import Domain
from mssgw.core.config.node import Limits
from mssgw.smtpd.port import Port, Profile
from mssgw.smtpd.session import SmtpSession


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
    for name in (
        "_handle_client",
        "_reset_timeout",
        "_timeout_cb",
        "push",
        "handle_exception",
        "smtp_MAIL",
        "smtp_RCPT",
        "smtp_DATA",
        "smtp_EHLO",
        "smtp_STARTTLS",
        "smtp_AUTH",
        "connection_made",
        "connection_lost",
        "eof_received",
    ):
        assert callable(getattr(SMTP, name))
    assert "SMTP.command_size_limit" in inspect.getsource(SMTP)


async def test_our_connection_has_what_the_methods_of_aiosmtpd_use(flow) -> None:
    limits = Limits()
    profile = Profile("relay", "mx", Domain("d.fr"), limits, lambda: None, flow.begin)  # type: ignore[arg-type, return-value]
    ours = vars(SmtpSession(Port(profile), asyncio.get_running_loop()))
    inherited = [
        getattr(SMTP, name)
        for name in vars(SMTP)
        if name
        in (
            "connection_made",
            "connection_lost",
            "_cb_client_connected",
            "_set_rset_state",
            "_set_post_data_state",
            "_create_session",
            "_create_envelope",
            "__del__",
        )
    ]
    assert len(inherited) == 8
    theirs = set(vars(SMTP(None, loop=asyncio.get_running_loop(), hostname="mx")))
    used = {name for method in inherited for name in method.__code__.co_names} & theirs
    assert used - {"_reader", "_writer", "_handle_hooks", "_tls_handshake_okay"} <= set(ours)  # set later, or in STARTTLS of aiosmtpd only


def test_no_verb_of_aiosmtpd_is_left_as_it_is() -> None:
    verbs = {name for name in dir(SmtpSession) if name.startswith("smtp_")}
    known = ["HELO", "EHLO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "BDAT", "RSET", "NOOP", "VRFY", "EXPN", "HELP", "QUIT"]
    assert verbs == {f"smtp_{verb}" for verb in known}
    assert all(getattr(SmtpSession, verb) is not getattr(SMTP, verb, None) for verb in verbs)
