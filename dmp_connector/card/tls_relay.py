"""Mutual TLS with a key that cannot leave its card: a supervised stunnel at a private socket.

Source: docs/reference/dmp.md 8.3, docs/reference/crypto.md 5.

Python's `ssl` takes keys from files only. stunnel with OpenSSL's pkcs11 engine takes them from the token; the
client speaks plain HTTP to a Unix socket and stunnel carries it, verified against our anchors and the DMP's
host name. The socket is 0600 in a directory of 0700: other users of the workstation cannot reach it. The
configuration, PIN included, goes over stunnel's standard input: never on disk, never in argv.

Supervised: started and checked before the first call, restarted a few times when it dies, ended with the
session, when the card leaves, or when this program is killed; then every connection is cut and the socket is gone.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import re
import shutil
import signal
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

from dmp_connector.errors import BadSettings, CardRemoved, CardUnreadable, NotAllowed, Unavailable
from dmp_connector.texts import message

ENGINES = (
    Path("/usr/lib/x86_64-linux-gnu/engines-3/pkcs11.so"),
    Path("/usr/lib/aarch64-linux-gnu/engines-3/pkcs11.so"),
    Path("/usr/lib64/engines-3/pkcs11.so"),
)
# LPS front v4 of 10/07/2025 (docs/reference/dmp.md 1.1); TLS 1.2.
_CIPHERS = "ECDHE-RSA-CHACHA20-POLY1305:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-SHA384"
_START_SECONDS = 20.0
_RESTARTS = 3
_PLAIN = re.compile(r"[\w./:,=%;~ -]*")


class RelayDown(NotAllowed):
    """The relay ended and may not be started again: card gone, or too many restarts."""

    key = "error.relay-down"


@dataclass(frozen=True, slots=True)
class RelaySettings:
    """`module`: PKCS#11 library. `serial`: of the token. `key_id`: CKA_ID of the authentication key, hex.

    `host`, `port`: the DMP. `anchors`: PEM of the authorities its certificate must come from.
    """

    module: Path
    serial: str
    key_id: str
    certificate: Path
    host: str
    port: int
    anchors: Path
    connect: str = ""  # other address to connect to; the name to verify stays `host`
    stunnel: str = "stunnel4"
    engine: Path | None = None
    security_level: int = 2


@dataclass
class TlsRelay:
    """`async with TlsRelay(settings, pin) as relay: DmpSettings(relay=relay.url, ...)`."""

    settings: RelaySettings
    pin: str = field(repr=False)
    _process: asyncio.subprocess.Process | None = field(default=None, init=False, repr=False)
    _supervisor: asyncio.Task[None] | None = field(default=None, init=False, repr=False)
    _folder: Path | None = field(default=None, init=False)
    _closed: bool = field(default=False, init=False)
    _log: list[str] = field(default_factory=list, init=False, repr=False)

    async def __aenter__(self) -> TlsRelay:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def url(self) -> str:
        """What `DmpSettings.relay` wants."""
        return f"unix:{self._socket}"

    @property
    def _socket(self) -> Path:
        if self._folder is None:
            raise RelayDown(log="not started")
        return self._folder / "relay"

    @property
    def running(self) -> bool:
        """Whether the relay's process is alive and not closed by us."""
        return self._process is not None and self._process.returncode is None and not self._closed

    @property
    def last_words(self) -> str:
        """The end of stunnel's log, for the doctor. It names no secret."""
        return " | ".join(self._log[-5:])

    def towards(self, url: str) -> TlsRelay:
        """Another relay with the same key, to another host (INSi). Not started. Raises BadSettings."""
        self.require_running()
        address = urlsplit(url)
        if address.scheme != "https" or not address.hostname:
            raise BadSettings(message("card.tls-relay-https-address-needed", url=url))
        return TlsRelay(replace(self.settings, host=address.hostname, port=address.port or 443, connect=""), self.pin)

    async def start(self) -> None:
        """Start and wait until it listens. Raises BadSettings (not installed), CardUnreadable (the token refused)."""
        if self._closed:
            raise RelayDown(log="closed")
        self._folder = _private_folder()
        try:
            await self._launch()
        except BaseException:
            self._forget()
            raise
        self._supervisor = asyncio.create_task(self._supervise(), name="tls relay")

    async def close(self) -> None:
        """End stunnel: every connection is cut. The PIN is forgotten."""
        self._closed = True
        self.pin = ""
        supervisor, self._supervisor = self._supervisor, None
        if supervisor is not None:
            supervisor.cancel()
            with suppress(asyncio.CancelledError):
                await supervisor
        await self._kill()
        self._forget()

    def _forget(self) -> None:
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def require_running(self) -> None:
        """Raise RelayDown."""
        if not self.running:
            raise RelayDown(log=self.last_words or "not running")

    async def _launch(self) -> None:
        program = shutil.which(self.settings.stunnel)
        if program is None:
            raise BadSettings(message("card.not-installed-package-stunnel4", stunnel=self.settings.stunnel))
        self._socket.unlink(missing_ok=True)  # of one that died
        self._process = await asyncio.create_subprocess_exec(
            program,
            "-fd",
            "0",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            umask=0o177,  # stunnel makes the socket: 0600
            preexec_fn=_end_with_us,
        )
        stdin = self._process.stdin
        if stdin is None:
            raise AssertionError("a pipe is asked for above")
        stdin.write(self.configuration().encode())
        stdin.close()
        await self._listening(self._process)

    async def _listening(self, process: asyncio.subprocess.Process) -> None:
        """Read the log until stunnel reports that it is up; its end before that is a refusal by the token or the engine."""
        if process.stderr is None:
            raise AssertionError("a pipe is asked for above")
        try:
            async with asyncio.timeout(_START_SECONDS):
                while line := await process.stderr.readline():
                    self._note(line)
                    if b"Configuration successful" in line:
                        return
        except TimeoutError as error:
            await self._kill()
            raise CardUnreadable(message("card.stunnel-did-not-start-time")) from error
        await process.wait()
        words = self.last_words
        if "pin" in words.lower():
            raise CardUnreadable(message("card.token-refused-pin-tls-relay", words=words))
        raise CardUnreadable(message("card.stunnel-did-not-start", words=words))

    def _note(self, line: bytes) -> None:
        text = line.decode("utf-8", "replace").strip()
        if text and (not self.pin or self.pin not in text):
            self._log.append(text[:200])
            del self._log[:-50]

    async def _supervise(self) -> None:
        for _ in range(_RESTARTS + 1):
            process = self._process
            if process is None or process.stderr is None:
                return
            while line := await process.stderr.readline():
                self._note(line)
            await process.wait()
            if self._closed:
                return
            try:
                await self._launch()
            except (CardUnreadable, BadSettings, Unavailable):
                break
        self._closed = True

    async def _kill(self) -> None:
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            process.kill()
            await process.wait()

    def configuration(self) -> str:
        """stunnel.conf(5). Raises BadSettings: a value that could smuggle in another option, or no engine."""
        s = self.settings
        engine = s.engine or next((e for e in ENGINES if e.is_file()), None)
        if engine is None:
            raise BadSettings(message("card.openssl-engine-pkcs11-not-installed"))
        key_id = "".join(f"%{s.key_id[i : i + 2]}" for i in range(0, len(s.key_id), 2))
        values = {
            "engine": str(engine),
            "module": str(s.module),
            "pin": self.pin,
            "uri": f"pkcs11:serial={s.serial};id={key_id};type=private",
            "certificate": str(s.certificate),
            "anchors": str(s.anchors),
            "connect": s.connect or f"{s.host}:{s.port}",
            "host": s.host,
            "socket": str(self._socket),
        }
        for name, value in values.items():
            if not _PLAIN.fullmatch(value):
                raise BadSettings(message("card.tls-relay-characters-stunnel-configuration", name=name))
        return (
            "foreground = yes\nsyslog = no\ndebug = notice\n"
            f"engine = dynamic\nengineCtrl = SO_PATH:{values['engine']}\nengineCtrl = ID:pkcs11\n"
            "engineCtrl = LIST_ADD:1\nengineCtrl = LOAD\n"
            f"engineCtrl = MODULE_PATH:{values['module']}\nengineCtrl = PIN:{values['pin']}\nengineCtrl = INIT\n"
            "[dmp]\nclient = yes\n"
            f"accept = {values['socket']}\nconnect = {values['connect']}\n"
            f"engineId = pkcs11\nkey = {values['uri']}\ncert = {values['certificate']}\n"
            f"CAfile = {values['anchors']}\nverifyChain = yes\ncheckHost = {values['host']}\nsni = {values['host']}\n"
            f"sslVersion = TLSv1.2\nciphers = {_CIPHERS}\nsecurityLevel = {s.security_level}\n"
            "TIMEOUTconnect = 10\nTIMEOUTidle = 300\nretry = no\nsessionCacheSize = 1\n"
        )


_PR_SET_PDEATHSIG = 1  # prctl(2)
_libc = ctypes.CDLL(None)  # looked up here: after the fork nothing may be loaded


def _end_with_us() -> None:
    """Ends stunnel when this program is killed: otherwise it would go on using the card's key."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _private_folder() -> Path:
    """0700, and its name short enough for a socket (108 octets, unix(7)). Raises BadSettings."""
    for place in (os.environ.get("XDG_RUNTIME_DIR"), None, "/tmp"):  # noqa: S108 - the folder is private
        with suppress(OSError):
            folder = Path(tempfile.mkdtemp(prefix="dmp-", dir=place or None))
            if len(os.fsencode(folder)) < 90 and _PLAIN.fullmatch(str(folder)):
                return folder
            folder.rmdir()
    raise BadSettings(message("card.tls-relay-no-place-socket"))


__all__ = ["CardRemoved", "RelayDown", "RelaySettings", "TlsRelay"]
