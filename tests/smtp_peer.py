"""A scripted SMTP server on loopback, and the throw-away certificates it shows."""

import asyncio
import datetime
import ssl
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from mssgw.core.body import Body
from mssgw.core.config.base import Secret
from mssgw.core.config.relay import Relay
from mssgw.core.envelope import Envelope, Origin, OriginKind, Recipient
from tests.fakes import address

CLOSE, SILENCE, CUT = object(), object(), object()  # answers that are no reply


def certificate(name, issuer=None):
    """(certificate, key), self-signed without an issuer."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer[0].subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(issuer[1] if issuer else key, hashes.SHA256())
    )
    return built, key


class Pki:
    def __init__(self, directory):
        self.ca = certificate("test root")
        self.ca_file = directory / "ca.pem"
        self.ca_file.write_bytes(self.ca[0].public_bytes(serialization.Encoding.PEM))
        self.files = {}
        self.der = {}
        for name in ("server", "client"):
            built, key = certificate(name, self.ca)
            file = directory / f"{name}.pem"
            private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
            file.write_bytes(built.public_bytes(serialization.Encoding.PEM) + private)
            self.files[name], self.der[name] = file, built.public_bytes(serialization.Encoding.DER)

    @classmethod
    def of(cls, directory):
        """One made before, from its files; enough for contexts."""
        found = cls.__new__(cls)
        found.ca_file = directory / "ca.pem"
        found.files = {name: directory / f"{name}.pem" for name in ("server", "client")}
        return found

    def server_context(self, *, require=True):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.files["server"])
        context.load_verify_locations(self.ca_file)
        context.verify_mode = ssl.CERT_REQUIRED if require else ssl.CERT_NONE
        return context

    def client_context(self, *, certificate=True):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.load_verify_locations(self.ca_file)
        if certificate:
            context.load_cert_chain(self.files["client"])
        return context


class FakeServer:
    """Answers each verb from `answers`: octets, CLOSE, SILENCE, CUT, or a list of those used in order (the last repeats)."""

    def __init__(self, context, *, offers=("PIPELINING", "SIZE 1000000", "8BITMIME", "SMTPUTF8", "DSN"), answers=None, starttls=True):
        self.context, self.offers, self.starttls = context, offers, starttls
        self.answers = {verb: list(given) if isinstance(given, list) else [given] for verb, given in (answers or {}).items()}
        self.sessions = []  # one list of command lines per connection
        self.messages = []  # content as it came, dots still doubled
        self.client_certificates = []
        self.after_starttls = b""  # injected in clear behind the 220
        self.handshakes = 0
        self.never_reads = False  # stops reading in the middle of the content

    async def __aenter__(self):
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=1 << 22)
        self.port = self.server.sockets[0].getsockname()[1]
        self.tasks = set()
        return self

    async def __aexit__(self, *_):
        self.server.close()
        for task in list(self.tasks):
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def _serve(self, reader, writer):
        task = asyncio.current_task()
        self.tasks.add(task)
        try:
            await self._session(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError, asyncio.CancelledError):
            pass
        finally:
            self.tasks.discard(task)
            writer.close()

    def _answer(self, verb, otherwise):
        given = self.answers.get(verb)
        if not given:
            return otherwise
        return given.pop(0) if len(given) > 1 else given[0]

    async def _say(self, writer, answer):
        """False when the session is over."""
        if answer is SILENCE:
            await asyncio.Event().wait()
        if answer is CUT:
            writer.transport.abort()
            return False
        if answer is CLOSE:
            return False
        writer.write(answer)
        await writer.drain()
        return not answer.startswith(b"421")

    async def _session(self, reader, writer):
        lines = []
        self.sessions.append(lines)
        secured = False
        if not await self._say(writer, self._answer("greeting", b"220 fake.test ESMTP\r\n")):
            return
        while line := await reader.readline():
            command = line.decode().rstrip("\r\n")
            lines.append(command)
            verb = command.partition(" ")[0].upper()
            if verb == "EHLO":
                words = [*self.offers] if secured or not self.starttls else [*self.offers, "STARTTLS"]
                rows = ["fake.test", *words]
                made = "".join(f"250{'-' if n < len(rows) - 1 else ' '}{row}\r\n" for n, row in enumerate(rows)).encode()
                if not await self._say(writer, self._answer("EHLO2" if secured else "EHLO", made)):
                    return
            elif verb == "STARTTLS":
                answer = self._answer("STARTTLS", b"220 go\r\n")
                if not await self._say(writer, answer if answer in (CLOSE, SILENCE, CUT) else answer + self.after_starttls):
                    return
                if answer.startswith(b"220"):
                    await writer.start_tls(self.context)
                    self.handshakes += 1
                    secured = True
                    self.client_certificates.append(writer.get_extra_info("ssl_object").getpeercert(binary_form=True))
            elif verb == "DATA":
                answer = self._answer("DATA", b"354 go\r\n")
                if not await self._say(writer, answer):
                    return
                if answer.startswith(b"354"):
                    early = self._answer("early", None)
                    if early is not None:
                        await reader.read(1)
                        await self._say(writer, early)
                        if self.never_reads:
                            writer.transport.pause_reading()
                            await asyncio.Event().wait()
                        while await reader.read(65536):
                            pass
                        return
                    content = await reader.readuntil(b"\r\n.\r\n") if await self._peek(reader) != b".\r\n" else await reader.readline()
                    self.messages.append(content)
                    if not await self._say(writer, self._answer("dot", b"250 2.0.0 queued as F1\r\n")):
                        return
            elif verb == "QUIT":
                await self._say(writer, b"221 bye\r\n")
                return
            elif not await self._say(writer, self._answer(verb, b"250 2.0.0 ok\r\n")):
                return

    async def _peek(self, reader):
        while len(reader._buffer) < 3:
            await reader._wait_for_data("peek")
        return bytes(reader._buffer[:3])


def relay_settings(**given):
    base = {"connect_seconds": 30, "command_seconds": 30, "block_seconds": 30, "data_seconds": 30}
    return Relay(certificate="unused.pem", key=Secret("file", "unused"), **{**base, **given})


def envelope(*recipients, sender="jeanne.martin@alpha.test", **given):
    made = tuple(one if isinstance(one, Recipient) else Recipient(address(one)) for one in recipients or ("paul@beta.test",))
    return Envelope(address(sender) if sender else None, made, Origin(OriginKind.LOCAL), **given)


BODY = Body.of(b"From: a@alpha.test\r\nSubject: x\r\n\r\nBonjour\r\n.dot\r\n")
