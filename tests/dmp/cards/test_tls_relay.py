"""Mutual TLS with the key of the token: stunnel and the pkcs11 engine against a server that asks for a certificate."""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import ssl
import subprocess
import sys
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from dmp_connector.card.pkcs11 import Pkcs11CardReader
from dmp_connector.card.tls_relay import RelayDown, RelaySettings, TlsRelay
from dmp_connector.errors import BadSettings, CardUnreadable

from .conftest import RELAY_TOOLS, SOFTHSM, until

PEM = serialization.Encoding.PEM


@asynccontextmanager
async def server(tmp_path, ca, host="dmp.test"):
    """Answers each HTTP request with the subject of the client's certificate; closes handshakes without one."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    certificate = ca.issue(name, key.public_key(), until=datetime.now(UTC) + timedelta(days=9), host=host)
    chain, anchors = tmp_path / "server.pem", tmp_path / "anchors.pem"
    secret = key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    chain.write_bytes(certificate.public_bytes(PEM) + secret)
    anchors.write_bytes(ca.certificate.public_bytes(PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    context.load_verify_locations(anchors)
    context.verify_mode = ssl.CERT_REQUIRED

    async def answer(reader, writer):
        try:
            await reader.readuntil(b"\r\n\r\n")
            subject = str(writer.get_extra_info("peercert")["subject"]).encode()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(subject), subject))
            await writer.drain()
            await reader.read()
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass
        finally:
            writer.close()

    listener = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    try:
        yield listener.sockets[0].getsockname()[1], anchors
    finally:
        listener.close()


def relay_of(cps, tmp_path, port, anchors, **changes):
    with Pkcs11CardReader(SOFTHSM) as reader:
        serial = reader.see().serial
    certificate = tmp_path / "authentication.pem"
    certificate.write_bytes(cps.authentication.public_bytes(PEM))
    settings = RelaySettings(SOFTHSM, serial, "a020", certificate, "dmp.test", port, anchors, connect=f"127.0.0.1:{port}")
    return TlsRelay(replace(settings, **changes), cps.pin)


async def ask(relay) -> bytes:
    reader, writer = await asyncio.open_unix_connection(relay.url.removeprefix("unix:"))
    try:
        writer.write(b"POST / HTTP/1.1\r\nHost: dmp.test\r\n\r\n")
        await writer.drain()
        head = await reader.readuntil(b"\r\n\r\n")
        size = int(head.split(b"Content-Length: ")[1].split(b"\r\n")[0])
        return await reader.readexactly(size)
    finally:
        writer.close()


@pytest.mark.peer(*RELAY_TOOLS)
async def test_the_server_sees_the_cards_certificate(cps, tmp_path, ca):
    async with server(tmp_path, ca) as (port, anchors), relay_of(cps, tmp_path, port, anchors) as relay:
        relay.require_running()
        assert b"899700367909" in await ask(relay)


@pytest.mark.peer(*RELAY_TOOLS)
async def test_a_server_of_another_name_is_refused(cps, tmp_path, ca):
    async with server(tmp_path, ca, host="other.test") as (port, anchors), relay_of(cps, tmp_path, port, anchors) as relay:
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await ask(relay)


@pytest.mark.peer(*RELAY_TOOLS)
async def test_after_close_the_socket_is_gone_and_connections_are_cut(cps, tmp_path, ca):
    async with server(tmp_path, ca) as (port, anchors):
        relay = relay_of(cps, tmp_path, port, anchors)
        await relay.start()
        local = Path(relay.url.removeprefix("unix:"))
        reader, writer = await asyncio.open_unix_connection(local)
        await relay.close()
        with pytest.raises(RelayDown):
            relay.require_running()
        with suppress(ConnectionResetError):
            assert await reader.read() == b""
        with pytest.raises(OSError):  # noqa: PT011 - which one depends on the moment
            await asyncio.open_unix_connection(local)
        writer.close()
        assert relay.pin == ""
        assert not local.parent.exists()


@pytest.mark.peer(*RELAY_TOOLS)
async def test_only_the_owner_reaches_the_relay(cps, tmp_path, ca):
    async with server(tmp_path, ca) as (port, anchors), relay_of(cps, tmp_path, port, anchors) as relay:
        assert modes(relay) == (0o600, 0o700)
        assert not listening_on_the_loopback(relay)


def modes(relay) -> tuple[int, int]:
    local = Path(relay.url.removeprefix("unix:"))
    return local.stat().st_mode & 0o777, local.parent.stat().st_mode & 0o777


def listening_on_the_loopback(relay) -> set[str]:
    """Sockets of stunnel in state LISTEN (0A), proc(5)."""
    mine = {os.readlink(f) for f in Path(f"/proc/{relay._process.pid}/fd").iterdir() if f.is_symlink()}
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {f"socket:[{row[9]}]" for row in rows if row[3] == "0A"} & mine


@pytest.mark.peer(*RELAY_TOOLS)
async def test_a_relay_that_dies_is_started_again(cps, tmp_path, ca):
    async with server(tmp_path, ca) as (port, anchors), relay_of(cps, tmp_path, port, anchors) as relay:
        first = relay._process
        first.kill()
        async with asyncio.timeout(20):
            while relay._process is first or b"899700367909" not in await _try(relay):  # noqa: ASYNC110 - another process decides
                await asyncio.sleep(0)
        assert relay.running


async def _try(relay) -> bytes:
    try:
        return await ask(relay)
    except (OSError, asyncio.IncompleteReadError):
        return b""


_KILLED = """
import asyncio, os, pickle, signal, sys
from dmp_connector.card.tls_relay import TlsRelay
async def main():
    relay = TlsRelay(pickle.load(sys.stdin.buffer), sys.argv[1])
    await relay.start()
    print(relay._process.pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""


@pytest.mark.peer(*RELAY_TOOLS)
def test_a_relay_does_not_outlive_a_program_that_is_killed(cps, tmp_path):
    """Regression: stunnel went on at its port, logged in to the card."""
    (tmp_path / "anchors.pem").write_bytes(cps.authentication.public_bytes(PEM))
    relay = relay_of(cps, tmp_path, 1, tmp_path / "anchors.pem")
    program = [sys.executable, "-c", _KILLED, cps.pin]
    ran = subprocess.run(program, input=pickle.dumps(relay.settings), stdout=subprocess.PIPE, timeout=60, check=False)
    assert ran.returncode == -signal.SIGKILL
    until(lambda: not alive(int(ran.stdout)), "the end of stunnel")


def alive(pid: int) -> bool:
    """Not gone and not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.peer(*RELAY_TOOLS)
async def test_a_wrong_pin_is_a_sentence_and_no_relay(cps, tmp_path, ca):
    async with server(tmp_path, ca) as (port, anchors):
        relay = relay_of(cps, tmp_path, port, anchors)
        relay.pin = "0000"
        with pytest.raises(CardUnreadable):
            await relay.start()
        assert "0000" not in relay.last_words


@pytest.mark.peer(*RELAY_TOOLS)
async def test_a_setting_cannot_smuggle_in_an_option(cps, tmp_path, ca):
    relay = relay_of(cps, tmp_path, 1, tmp_path / "anchors.pem", host="dmp.test\nverifyChain = no")
    with pytest.raises(BadSettings):
        await relay.start()
