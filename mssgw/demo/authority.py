"""The demo's national authority: publishes the signed list and the CRLs and answers OCSP, over plain HTTP.

    publish(directory, entries, signer)                  the PKI was saved there before
    python -m mssgw.demo.authority --directory DIR --listen 127.0.0.1:22000

It serves /listeblanchemssante.xml, /CRL/<authority>.crl, /AC/<authority>.cer and POST /ocsp, with ETag,
Last-Modified and 304. Tests run it in their own loop (`async with Authority(pki) as authority`) and make it
misbehave, for one resource or for all ("*"); a demo reads this from `behaviour.json` in its directory:

    {"list": "gone", "crl": "stale", "ocsp": "slow", "*": "throttled"}

gone         the connection is closed without an answer
slow         an octet now and then, for ever
wrong        200 with a page of HTML (as a captive portal or a firewall answers)
throttled    403 with a page of HTML (as the real host answers after some requests)
stale        what was current ten days ago: a list, a CRL, an answer that has run out
broken       the right thing with one octet changed
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import json
import os
import signal
import socket
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from types import TracebackType
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp

from mssgw.core.clock import Clock, SystemClock
from mssgw.demo.pki import Authority as Issuer
from mssgw.demo.pki import Credential, Pki
from mssgw.demo.whitelist import ListEntry, render, sign

__all__ = ["Authority", "ListEntry", "publish"]

Behaviour = Literal["well", "gone", "slow", "wrong", "throttled", "stale", "broken"]
LIST_NAME = "listeblanchemssante.xml"
CRL_LIFE = timedelta(days=3)
OCSP_LIFE = timedelta(hours=12)
STALE = timedelta(days=10)
_PAGE = b"<html><body>Request unsuccessful. Incapsula incident ID: 0-0</body></html>"


def publish(directory: Path, entries: Iterable[ListEntry], signer: Credential, generated_at: datetime | None = None) -> bytes:
    """Sign a list and put it where the authority serves it from. Returns the list."""
    signed = sign(render(entries, generated_at or datetime.now(UTC)), signer)
    temporary = directory / f".{LIST_NAME}"
    temporary.write_bytes(signed)
    temporary.replace(directory / LIST_NAME)
    return signed


def make_crl(issuer: Issuer, now: datetime, *, life: timedelta = CRL_LIFE, number: int | None = None, extra: Iterable[int] = ()) -> bytes:
    """A complete CRL of an authority. `extra`: serial numbers revoked beside those of the PKI, to make it large."""
    now = now.replace(microsecond=0)
    revoked = [_entry(serial, at) for serial, at in issuer.revoked.items()] + [_entry(serial, now) for serial in extra]
    certificate = issuer.credential.certificate
    ski = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    extensions: list[x509.Extension[x509.ExtensionType]] = []
    # `add_revoked_certificate` copies the list each time; the constructor takes it whole.
    builder = x509.CertificateRevocationListBuilder(certificate.subject, now, now + life, extensions, revoked)
    builder = builder.add_extension(x509.CRLNumber(issuer.crl_number if number is None else number), critical=False)
    builder = builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(ski), critical=False)
    return builder.sign(issuer.credential.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def _entry(serial: int, at: datetime) -> x509.RevokedCertificate:
    return x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(at.replace(microsecond=0)).build()


def make_answer(pki: Pki, request: bytes, now: datetime, *, life: timedelta = OCSP_LIFE, responder: Credential | None = None) -> bytes:
    """The OCSP answer about the one certificate of a request, signed by its authority or a delegated responder."""
    asked = ocsp.load_der_ocsp_request(request)
    now = now.replace(microsecond=0)
    for issuer in pki.authorities.values():
        certificate = issuer.credential.certificate
        if _key_hash(certificate, asked.hash_algorithm) != asked.issuer_key_hash:
            continue
        revoked = issuer.revoked.get(asked.serial_number)
        builder = ocsp.OCSPResponseBuilder().add_response_by_hash(
            issuer_name_hash=asked.issuer_name_hash,
            issuer_key_hash=asked.issuer_key_hash,
            serial_number=asked.serial_number,
            algorithm=asked.hash_algorithm,
            cert_status=ocsp.OCSPCertStatus.REVOKED if revoked else ocsp.OCSPCertStatus.GOOD,
            this_update=now,
            next_update=now + life,
            revocation_time=revoked,
            revocation_reason=None,
        )
        signer = responder or issuer.credential
        builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, signer.certificate)
        if responder:
            builder = builder.certificates([responder.certificate])
        return builder.sign(signer.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
    unauthorized = ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.UNAUTHORIZED)
    return unauthorized.public_bytes(serialization.Encoding.DER)


def _key_hash(certificate: x509.Certificate, algorithm: hashes.HashAlgorithm) -> bytes:
    wanted = ocsp.OCSPRequestBuilder().add_certificate(certificate, certificate, algorithm).build()
    return wanted.issuer_key_hash


@dataclass(slots=True)
class _Served:
    content: bytes
    kind: str
    modified: datetime


@dataclass
class Authority:
    """The server. `signed_list` and the PKI are read at each request, so that tests can change them meanwhile."""

    pki: Pki
    signed_list: bytes = b""
    clock: Clock = field(default_factory=SystemClock)
    directory: Path | None = None
    crl_life: timedelta = CRL_LIFE
    behaviour: dict[str, Behaviour] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)  # "GET /path", in order; "304 /path" for what was not sent again
    stale_list: bytes = b""
    _server: asyncio.Server | None = None
    _crls: dict[str, tuple[tuple[int, int, str], bytes, datetime]] = field(default_factory=dict)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def port(self) -> int:
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def list_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/{LIST_NAME}"

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Listen. With port 0, certificates issued afterwards carry the address that was found."""
        self._server = await asyncio.start_server(self._serve, host, port)
        if not port:
            self.pki.base_url = f"http://127.0.0.1:{self.port}"

    async def stop(self) -> None:
        if self._server:
            self._server.close()
            for task in tuple(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self._server.wait_closed()

    async def __aenter__(self) -> Authority:
        await self.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, stack: TracebackType | None) -> None:
        await self.stop()

    # -- one connection ------------------------------------------------------------------------------------------

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            async with asyncio.timeout(60):
                await self._answer(reader, writer)
        except (TimeoutError, asyncio.IncompleteReadError, ConnectionError, ValueError):
            pass  # a client that disconnects or sends nonsense does not matter to a demo
        finally:
            self._tasks.discard(task)
            with contextlib.suppress(ConnectionError):
                writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        line, *fields = head.split("\r\n")
        method, path, _ = line.split(" ", 2)
        headers = {name.lower(): value.strip() for name, _, value in (each.partition(":") for each in fields if each)}
        body = await reader.readexactly(min(int(headers.get("content-length", "0")), 65_536))
        self.requests.append(f"{method} {path}")
        manner = self._manner(path)
        if manner == "gone":
            return
        if manner in ("wrong", "throttled"):
            writer.write(_response(200 if manner == "wrong" else 403, _Served(_PAGE, "text/html", self.clock.now())))
            return await writer.drain()
        served = self._served(path, body, stale=manner == "stale")
        if served and manner == "broken":
            middle = len(served.content) // 2
            served.content = served.content[:middle] + bytes([served.content[middle] ^ 1]) + served.content[middle + 1 :]
        nothing = _response(404, _Served(b"", "text/plain", self.clock.now()))
        response = self._conditional(served, headers, path) if served else nothing
        if manner == "slow":
            await _drip(writer, response)
        else:
            writer.write(response)
            await writer.drain()

    def _manner(self, path: str) -> Behaviour:
        told = dict(self.behaviour)
        if self.directory:
            with contextlib.suppress(OSError, ValueError):
                told |= json.loads((self.directory / "behaviour.json").read_text())
        kind = "list" if path == f"/{LIST_NAME}" else "ocsp" if path.startswith("/ocsp") else path.split("/")[1].lower()
        return told.get(kind, told.get("*", "well"))

    def _conditional(self, served: _Served, headers: dict[str, str], path: str) -> bytes:
        if headers.get("if-none-match") == _etag(served.content):
            self.requests.append(f"304 {path}")
            return _response(304, _Served(b"", served.kind, served.modified), etag=_etag(served.content))
        return _response(200, served)

    # -- what is served ------------------------------------------------------------------------------------------

    def _served(self, path: str, body: bytes, *, stale: bool) -> _Served | None:
        now = self.clock.now() - (STALE if stale else timedelta())
        if path == f"/{LIST_NAME}":
            content = self.stale_list if stale and self.stale_list else self._list()
            return _Served(content, "application/xml", now) if content else None
        if path.startswith("/ocsp"):
            return _Served(make_answer(self.pki, body, now), "application/ocsp-response", now)
        kind, _, name = path.removeprefix("/").partition("/")
        issuer = self.pki.authorities.get(name.rpartition(".")[0])
        if issuer is None:
            return None
        if kind == "AC":
            return _Served(issuer.credential.certificate.public_bytes(serialization.Encoding.DER), "application/pkix-cert", self.pki.made)
        return self._crl(issuer, now, stale=stale) if kind == "CRL" else None

    def _list(self) -> bytes:
        if self.directory:
            with contextlib.suppress(OSError):
                return (self.directory / LIST_NAME).read_bytes()
        return self.signed_list

    def _crl(self, issuer: Issuer, now: datetime, *, stale: bool) -> _Served:
        """A new CRL when somebody was revoked, or every day (the real ones: every morning at seven)."""
        if stale:
            return _Served(make_crl(issuer, now, life=self.crl_life, number=max(0, issuer.crl_number - 1)), "application/pkix-crl", now)
        state = len(issuer.revoked), int(now.timestamp() // 86_400), f"{self.crl_life}"
        held = self._crls.get(issuer.name)
        if held is None or held[0] != state:
            issuer.crl_number = max(issuer.crl_number + 1, int(now.timestamp()))
            held = self._crls[issuer.name] = state, make_crl(issuer, now, life=self.crl_life), now
        return _Served(held[1], "application/pkix-crl", held[2])


def _etag(content: bytes) -> str:
    return f'"{hashlib.sha256(content).hexdigest()[:32]}"'


def _response(status: int, served: _Served, etag: str = "") -> bytes:
    reason = {200: "OK", 304: "Not Modified", 403: "Forbidden", 404: "Not Found"}[status]
    return (
        f"HTTP/1.1 {status} {reason}\r\nContent-Type: {served.kind}\r\nContent-Length: {len(served.content)}\r\n"
        f"ETag: {etag or _etag(served.content)}\r\nLast-Modified: {format_datetime(served.modified.astimezone(UTC), usegmt=True)}\r\n"
        f"Connection: close\r\n\r\n"
    ).encode() + served.content


async def _drip(writer: asyncio.StreamWriter, response: bytes) -> None:
    for octet in response:
        writer.write(bytes([octet]))
        await writer.drain()
        await asyncio.sleep(1)


# -- as a process --------------------------------------------------------------------------------------------------


async def _run(directory: Path, host: str, port: int) -> None:
    authority = Authority(Pki.load(directory), directory=directory)
    await authority.start(host, port)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    _notify(b"READY=1")
    watcher = asyncio.create_task(_reload(authority, directory))
    await stop.wait()
    watcher.cancel()
    await authority.stop()


async def _reload(authority: Authority, directory: Path) -> None:
    """Revocations that another process saved."""
    path = directory / "pki.json"
    seen = path.stat().st_mtime_ns
    while True:
        await asyncio.sleep(1)
        if (now := path.stat().st_mtime_ns) != seen:
            seen, authority.pki = now, Pki.load(directory)


def _notify(message: bytes) -> None:
    if address := os.environ.get("NOTIFY_SOCKET"):  # sd_notify(3)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as there:
            there.connect(address.replace("@", "\0", 1) if address.startswith("@") else address)
            there.send(message)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m mssgw.demo.authority", description="The national authority of a demo.")
    parser.add_argument("--directory", type=Path, required=True, help="where `Pki.save` and `publish` wrote")
    parser.add_argument("--listen", default="127.0.0.1:22000", help="host:port")
    arguments = parser.parse_args()
    host, _, port = arguments.listen.rpartition(":")
    asyncio.run(_run(arguments.directory, host, int(port)))


if __name__ == "__main__":
    main()
