"""SMTP ports on real sockets, on both event loops, with a flow that the test controls."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from mssgw.core.address import Domain
from mssgw.core.config.base import Listen
from mssgw.core.config.node import Limits
from mssgw.smtpd.port import Profile
from mssgw.smtpd.server import Endpoint, Servers, serve
from tests.smtp.dialogue import Dialogue, Flow

HOST = "mx.alpha.mssante.test"


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> dict[str, Any]:
    """Every dialogue runs on both loops: their TLS and flow control differ."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate and its key, both in one file."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    path.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path


@pytest.fixture
def server_tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@pytest.fixture
def client_tls(certificate: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificate))


@pytest.fixture
def flow() -> Flow:
    return Flow()


@pytest.fixture
async def start(flow: Flow, server_tls: ssl.SSLContext, tmp_path: Path) -> AsyncIterator[Callable[..., Awaitable[Servers]]]:
    """Start one port; named arguments override its profile."""
    running: list[Servers] = []

    async def start_port(*, implicit_tls: bool = False, limits: Limits | None = None, **changes: Any) -> Servers:
        given: dict[str, Any] = {
            "name": "relay",
            "hostname": HOST,
            "domain": Domain("alpha.mssante.test"),
            "limits": limits or Limits(),
            "tls": lambda: server_tls,
            "begin": flow.begin,
            "spool": tmp_path,
            "tls_required": False,
            **changes,
        }
        servers = await serve([Endpoint(Profile(**given), Listen("127.0.0.1", 0), implicit_tls)])
        running.append(servers)
        return servers

    yield start_port
    flow.may_commit.set()
    for servers in running:
        await servers.stop(0)


@pytest.fixture
async def connect() -> AsyncIterator[Callable[..., Awaitable[Dialogue]]]:
    opened: list[Dialogue] = []

    async def open_dialogue(servers: Servers, **named: Any) -> Dialogue:
        dialogue = await Dialogue.open(servers.addresses[0], **named)
        opened.append(dialogue)
        return dialogue

    yield open_dialogue
    for dialogue in opened:
        await dialogue.close()
