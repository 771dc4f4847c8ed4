"""STARTTLS, implicit TLS and AUTH: what is offered when, and what an attacker in the middle gets."""

from __future__ import annotations

import base64
import ssl

import pytest

from mssgw.core.errors import Deferred, NotAllowed

JEANNE = base64.b64encode(b"\0jeanne\0secret").decode()


class Login:
    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []
        self.error: BaseException | None = None

    async def __call__(self, username: str, password: str, *, protocol: str, peer: str) -> str:
        self.seen.append((protocol, peer))
        if self.error:
            raise self.error
        if (username, password) != ("jeanne", "secret"):
            raise NotAllowed("User name or password is wrong", code=535, enhanced="5.7.8")
        return "the account"


@pytest.fixture
def login() -> Login:
    return Login()


async def test_starttls_then_everything_again(start, connect, client_tls, flow) -> None:
    client = await connect(await start(tls_required=True))
    assert "STARTTLS" in (await client.hello()).lines
    assert str(await client.say("MAIL FROM:<a@b.fr>")) == "530 5.7.0 Start TLS first: issue STARTTLS"
    await client.start_tls(client_tls)
    assert (await client.say("MAIL FROM:<a@b.fr>")).code == 503  # RFC 3207 4.2: EHLO is forgotten
    assert "STARTTLS" not in (await client.say("EHLO client.test")).lines
    assert (await client.say("STARTTLS")).code == 503
    await client.envelope()
    assert (await client.message()).code == 250
    origin = flow.accepted[0].client
    assert origin.tls.version == "TLSv1.3"
    assert origin.keyword == "ESMTPS"
    assert origin.certificate is None


async def test_a_port_may_say_what_to_show(start, connect) -> None:
    client = await connect(await start(tls_required=True, certificate_hint="STARTTLS first, with your certificate"))
    await client.hello()
    assert str(await client.say("MAIL FROM:<a@b.fr>")) == "530 5.7.0 STARTTLS first, with your certificate"


async def test_commands_behind_starttls_are_not_obeyed(start, connect, client_tls, flow) -> None:
    """CVE-2011-0411, CVE-2024-34083: what was injected in clear must not be taken for what came in TLS."""
    client = await connect(await start())
    await client.hello()
    await client.send(b"STARTTLS\r\nEHLO evil.test\r\nMAIL FROM:<evil@x.fr>\r\nRCPT TO:<c@d.fr>\r\nDATA\r\n")
    assert (await client.reply()).code == 220
    await client.upgrade(client_tls)
    assert (await client.say("MAIL FROM:<a@b.fr>")).code == 503
    assert (await client.say("EHLO client.test")).code == 250
    assert (await client.say("RCPT TO:<c@d.fr>")).code == 503


async def test_what_was_sent_before_tls_is_forgotten(start, connect, client_tls) -> None:
    client = await connect(await start())
    await client.hello()
    await client.envelope()
    await client.start_tls(client_tls)
    await client.say("EHLO client.test")
    assert (await client.say("DATA")).code == 503


async def test_the_context_is_asked_for_at_each_handshake(start, connect, client_tls, server_tls) -> None:
    asked = []
    servers = await start(tls=lambda: asked.append(1) or server_tls)
    for _ in range(2):
        client = await connect(servers)
        await client.hello()
        await client.start_tls(client_tls)
    assert len(asked) == 2


async def test_a_client_certificate_reaches_the_flow(start, connect, client_tls, server_tls, certificate, flow) -> None:
    server_tls.verify_mode = ssl.CERT_OPTIONAL
    server_tls.load_verify_locations(certificate)
    client_tls.load_cert_chain(certificate)
    client = await connect(await start())
    await client.hello()
    await client.start_tls(client_tls)
    await client.say("EHLO client.test")
    await client.envelope()
    await client.message()
    shown = flow.accepted[0].client
    assert shown.certificate == ssl.PEM_cert_to_DER_cert(certificate.read_text().partition("-----BEGIN PRIVATE")[0])
    assert len(shown.tls.fingerprint) == 64


async def test_garbage_instead_of_a_handshake_hurts_nobody_else(start, connect, client_tls) -> None:
    servers = await start()
    other = await connect(servers)
    await other.hello()
    client = await connect(servers)
    await client.hello()
    assert (await client.say("STARTTLS")).code == 220
    await client.send(b"GET / HTTP/1.1\r\n\r\n")
    await client.ended()
    assert (await other.say("NOOP")).code == 250


async def test_implicit_tls(start, connect, client_tls, flow) -> None:  # RFC 8314
    client = await connect(await start(implicit_tls=True), ssl=client_tls, server_hostname="mx.alpha.mssante.test")
    assert "STARTTLS" not in (await client.hello()).lines
    await client.envelope()
    assert (await client.message()).code == 250


async def test_large_content_over_tls(start, connect, client_tls, flow) -> None:
    content = b"Subject: x\r\n\r\n" + b"".join(b"%072d\r\n" % number for number in range(20_000))
    client = await connect(await start(implicit_tls=True), ssl=client_tls, server_hostname="mx.alpha.mssante.test")
    await client.hello()
    for _ in range(2):
        await client.envelope()
        assert (await client.message(content)).code == 250
    assert all(accepted.content == content for accepted in flow.accepted)


# --- AUTH -----------------------------------------------------------------------------------------------------------------


@pytest.fixture
async def secured(start, connect, client_tls, login):
    """A client on a submission port, after STARTTLS and EHLO."""
    client = await connect(await start(name="submission", login=login, tls_required=True))
    await client.hello()
    await client.start_tls(client_tls)
    assert "AUTH PLAIN LOGIN" in (await client.say("EHLO client.test")).lines
    return client


async def test_auth_only_under_tls(start, connect, login) -> None:  # RFC 4954 4; ECO.1.0.1
    client = await connect(await start(name="submission", login=login, tls_required=True))
    assert not any(line.startswith("AUTH") for line in (await client.hello()).lines)
    assert str(await client.say(f"AUTH PLAIN {JEANNE}")).startswith("538 5.7.11")
    assert not login.seen


async def test_nothing_without_login(secured) -> None:
    assert str(await secured.say("MAIL FROM:<a@b.fr>")).startswith("530 5.7.0")


async def test_plain_at_once_and_asked(secured, flow, login) -> None:
    assert str(await secured.say("AUTH PLAIN")) == "334 "
    assert (await secured.say(JEANNE)).code == 235
    assert login.seen == [("smtp", "127.0.0.1")]
    await secured.envelope()
    await secured.message()
    assert flow.accepted[0].client.account == "the account"
    assert flow.accepted[0].client.keyword == "ESMTPSA"
    assert (await secured.say(f"AUTH PLAIN {JEANNE}")).code == 503


async def test_plain_with_initial_response(secured) -> None:
    assert (await secured.say(f"AUTH plain {JEANNE}")).code == 235


async def test_login(secured) -> None:
    assert str(await secured.say("AUTH LOGIN")) == "334 VXNlcm5hbWU6"
    assert str(await secured.say(base64.b64encode(b"jeanne").decode())) == "334 UGFzc3dvcmQ6"
    assert (await secured.say(base64.b64encode(b"secret").decode())).code == 235


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("AUTH", 504),
        ("AUTH CRAM-MD5", 504),
        ("AUTH PLAIN !!!", 501),
        ("AUTH PLAIN =", 501),
        ("AUTH PLAIN AGplYW5uZQ==", 501),
        ("AUTH PLAIN " + base64.b64encode(b"\0jeanne\0wrong").decode(), 535),
    ],
)
async def test_wrong_auth(secured, line, code) -> None:
    assert (await secured.say(line)).code == code
    assert (await secured.say("MAIL FROM:<a@b.fr>")).code == 530


async def test_cancelled_auth(secured) -> None:
    await secured.say("AUTH LOGIN")
    assert str(await secured.say("*")).startswith("501 5.7.0")
    assert (await secured.say(f"AUTH PLAIN {JEANNE}")).code == 235


async def test_three_failures_end_the_connection(secured) -> None:
    wrong = base64.b64encode(b"\0jeanne\0wrong").decode()
    for _ in range(3):
        assert (await secured.say(f"AUTH PLAIN {wrong}")).code == 535
    assert await secured.ended() == b""


async def test_throttled(secured, login) -> None:
    login.error = Deferred("Too many failed logins, wait five minutes", code=454, enhanced="4.7.0")
    assert str(await secured.say(f"AUTH PLAIN {JEANNE}")).startswith("454 4.7.0")


async def test_no_auth_within_a_transaction_or_where_it_is_not_offered(secured, start, connect) -> None:
    await secured.say(f"AUTH PLAIN {JEANNE}")
    other = await connect(await start())
    await other.hello()
    assert str(await other.say(f"AUTH PLAIN {JEANNE}")).startswith("502 5.5.1")
