"""A real IMAP server on loopback, accounts with mailboxes, and clients connected to it."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from mssgw import store as store_package
from mssgw.core.address import Address
from mssgw.core.config import Config
from mssgw.core.config.base import Listen
from mssgw.core.config.clients import Imap
from mssgw.core.errors import NotAllowed
from mssgw.imapd import Servers, Service, serve
from mssgw.store import Store, accounts
from tests.imap.dialogue import Client

MESSAGE = (
    b"Date: Mon, 7 Feb 1994 21:52:25 -0800 (PST)\r\nFrom: Fred Foobar <foobar@blurdybloop.example>\r\nSubject: afternoon meeting\r\n"
    b"To: mooch@owatagu.example\r\nMessage-Id: <B27397-0100000@blurdybloop.example>\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: TEXT/PLAIN; CHARSET=US-ASCII\r\n\r\nHello Joe, do you think we can meet at 3:30 tomorrow?\r\n"
)


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for localhost, by name and address (a bare machine resolves no name), and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(IPv4Address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(True, 0), True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("imap-tls") / "localhost.pem"
    path.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path


@pytest.fixture
def client_tls(certificate: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificate))


@pytest.fixture
def server_tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


class MailServer:
    """The server, its store and its accounts: alice, bob, and the organisation radio of which alice is a member."""

    def __init__(self, store: Store, servers: Servers, config: Config, tls: ssl.SSLContext) -> None:
        self.store, self.servers, self.config, self.tls = store, servers, config, tls
        self.plain, self.implicit = servers.addresses
        self.clients: list[Client] = []

    async def stranger(self, *, tls: bool = True) -> Client:
        """A connection that has read the greeting."""
        client = await Client.connect(self.implicit if tls else self.plain, self.tls if tls else None)
        self.clients.append(client)
        assert (await client.response()).startswith(b"* OK ")
        return client

    async def login(self, name: str = "alice", mailbox: str | None = None) -> Client:
        client = await self.stranger()
        await client.ok(f"LOGIN {name}@alpha.mssante.test secret")
        if mailbox:
            await client.ok(f"SELECT {mailbox}")
        return client


def service_of(config: Config, store: Store, tls: ssl.SSLContext) -> Service:
    async def login(username: str, password: str, *, protocol: str, peer: str) -> accounts.Account:
        assert protocol == "imap"
        assert peer == "127.0.0.1"
        account = await store.read(lambda rx: accounts.by_address(rx, Address.parse(username)) if "@" in username else None)
        if account is None or password not in ("secret", 'se"c\\ret é') or account.status is not accounts.Status.ACTIVE:
            raise NotAllowed("Wrong user name or password", code=535, enhanced="5.7.8")
        return account

    return Service(config, store, login, lambda: tls)


def with_imap(config: Config, **more: int) -> Config:
    listen = (Listen("127.0.0.1", 0),)
    return msgspec.structs.replace(config, imap=Imap(listen=listen, listen_tls=listen, **more))


@pytest.fixture
async def house(store: Store, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> AsyncIterator[MailServer]:
    async for made in _house(store, server_tls, client_tls):
        yield made


@pytest.fixture
async def small_house(sqlite_store: Store, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> AsyncIterator[MailServer]:
    """On SQLite only: for what doesn't look at the engine."""
    async for made in _house(sqlite_store, server_tls, client_tls):
        yield made


async def _house(store: Store, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> AsyncIterator[MailServer]:
    def people(tx: store_package.Transaction) -> None:
        alice = accounts.add(tx, accounts.NewAccount(Address.parse("alice@alpha.mssante.test")))
        accounts.add(tx, accounts.NewAccount(Address.parse("bob@alpha.mssante.test")))
        radio = accounts.add(tx, accounts.NewAccount(Address.parse("radio@alpha.mssante.test"), accounts.Kind.ORG))
        accounts.add_member(tx, radio.id, alice.id)

    await store.write(people)
    config = with_imap(store.config)
    servers = await serve(service_of(config, store, server_tls))
    made = MailServer(store, servers, config, client_tls)
    yield made
    for client in made.clients:
        await client.close()
    await servers.stop(0)


@pytest.fixture
async def alice(house: MailServer) -> Client:
    """Logged in, on both engines."""
    return await house.login()


@pytest.fixture
async def anna(small_house: MailServer) -> Client:
    """Alice, on SQLite only."""
    return await small_house.login()


Fill = Callable[[Client, int], Awaitable[None]]


async def fill(client: Client, count: int, mailbox: str = "INBOX") -> None:
    """Append numbered messages."""
    for number in range(1, count + 1):
        answer = await client.append(mailbox, MESSAGE.replace(b"afternoon", b"number %d" % number))
        assert answer.startswith(b"OK [APPENDUID"), answer
