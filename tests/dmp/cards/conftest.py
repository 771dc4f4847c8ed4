"""A CPS on SoftHSM2, a Vitale in a virtual reader, and the PC/SC daemon around it; everything temporary."""

from __future__ import annotations

import fcntl
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from dmp_connector.card.cps import Activity, activity_object
from dmp_connector.simulator import Simulator, SimulatorConfig
from dmp_connector.simulator.people import demo_patients
from dmp_connector.simulator.server import in_thread
from tests.needs import package, peer, root

SOFTHSM = Path("/usr/lib/softhsm/libsofthsm2.so")
PIN = "1234"


CARD_TOOLS = ("softhsm2-util", "pkcs11-tool", str(SOFTHSM))
RELAY_TOOLS = ("stunnel4", "/usr/lib/x86_64-linux-gnu/engines-3/pkcs11.so")


def until(condition, what: str, seconds: float = 20.0):
    """Ask again until the answer is yes; the deadline only ends a hang."""
    end = time.monotonic() + seconds
    pause = threading.Event()
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        pause.wait(0.02)
    pytest.fail(f"{what}: not within {seconds} s")


@dataclass(frozen=True)
class Ca:
    key: rsa.RSAPrivateKey
    certificate: x509.Certificate

    def issue(
        self, subject: x509.Name, key: rsa.RSAPublicKey, *, until: datetime, profession: int | None = None, host: str = ""
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.certificate.subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(min(now, until) - timedelta(days=1))
            .not_valid_after(until)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=False)
        )
        if profession is not None:
            value = bytes((0x02, 0x01, profession))
            builder = builder.add_extension(x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.250.1.71.1.2.7"), value), critical=False)
        if host:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
            builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        return builder.sign(self.key, hashes.SHA256())


@pytest.fixture(scope="session")
def ca() -> Ca:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "TEST AC PERSONNES")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=400))
        .not_valid_after(now + timedelta(days=400))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return Ca(key, certificate)


@dataclass(frozen=True)
class Token:
    folder: Path
    pin: str
    authentication: x509.Certificate
    signature: x509.Certificate

    def pull(self) -> None:
        """Remove the token while the module has it open."""
        self.folder.rename(self.folder.with_suffix(".pulled"))


def person() -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "FR"),
            x509.NameAttribute(NameOID.TITLE, "Médecin"),
            x509.NameAttribute(NameOID.GIVEN_NAME, "JEANNE"),
            x509.NameAttribute(NameOID.SURNAME, "MARTIN"),
            x509.NameAttribute(NameOID.COMMON_NAME, "899700367909"),
        ]
    )


def provision(
    folder: Path, ca: Ca, monkeypatch, *, subject: x509.Name | None = None, valid: timedelta = timedelta(days=365), label: str = "CPS"
) -> Token:
    """A token as a CPS shows itself: two keys, public and private data objects. Made by SoftHSM's and OpenSC's own tools."""
    tokens = folder / "tokens"
    tokens.mkdir(parents=True)
    inserted(folder, monkeypatch)
    run("softhsm2-util", "--init-token", "--free", "--label", label, "--so-pin", "12345678", "--pin", PIN)
    certificates = {}
    for name, key_id in (("authentication", "a020"), ("signature", "a010")):
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        until_ = datetime.now(UTC) + valid
        certificate = ca.issue(subject or person(), key.public_key(), until=until_, profession=10)
        certificates[name] = certificate
        key_file, certificate_file = folder / f"{name}.key", folder / f"{name}.der"
        key_file.write_bytes(
            key.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption())
        )
        certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.DER))
        tool("--write-object", str(key_file), "--type", "privkey", "--id", key_id, "--label", name, "--usage-sign")
        tool("--write-object", str(certificate_file), "--type", "cert", "--id", key_id, "--label", name)
    objects = {
        "CPS_INFO_PS": b"\x30\x10CPS3 INFO PSSM26",
        "CPS_ACTIVITY_01_PS": activity_object(Activity("Cabinet Martin", "499700367909006", "SA07")),
    }
    objects["CPS_ACTIVITY_03_PS"] = activity_object(Activity("CHU Exemple", "1750000001", "SA01"))  # numbers may be missing
    for name, value in objects.items():
        path = folder / name
        path.write_bytes(value)
        private = ("--private",) if "ACTIVITY" in name else ()
        tool("--write-object", str(path), "--type", "data", "--label", name, "--application-label", name, *private)
    return Token(next(tokens.iterdir()), PIN, certificates["authentication"], certificates["signature"])


def inserted(folder: Path, monkeypatch) -> None:
    """From here on the module finds the tokens of this folder."""
    config = folder / "softhsm2.conf"
    config.write_text(f"directories.tokendir = {folder / 'tokens'}\nobjectstore.backend = file\nlog.level = ERROR\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(config))


def run(*command: str) -> str:
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr or ran.stdout
    return ran.stdout


def tool(*arguments: str) -> str:
    return run("pkcs11-tool", "--module", str(SOFTHSM), "--login", "--pin", PIN, *arguments)


@pytest.fixture(scope="session")
@peer(*CARD_TOOLS)
def made(tmp_path_factory: pytest.TempPathFactory, ca: Ca) -> Token:
    """The doctor's card, which takes seconds to make; each test has a copy."""
    with pytest.MonkeyPatch.context() as patch:
        return provision(tmp_path_factory.mktemp("card") / "cps", ca, patch)


@pytest.fixture
def cps(tmp_path: Path, made: Token, monkeypatch) -> Token:
    folder = tmp_path / "cps"
    shutil.copytree(made.folder.parent, folder / "tokens")
    inserted(folder, monkeypatch)
    return replace(made, folder=folder / "tokens" / made.folder.name)


VITALE = {
    "kind": "test",
    "serial": "VT0001",
    "beneficiaries": [
        {
            "nir": "279035121518989",
            "rank": 1,
            "birth_name": "PAT-TROIS",
            "used_name": "PAT-TROIS",
            "given": "DOMINIQUE",
            "birth_date": "1979-03-28",
            "sex": "F",
        },
        {"nir": "", "rank": 2, "birth_name": "PAT-TROIS", "given": "LÉA", "birth_date": "2015-06-01", "sex": "F"},
    ],
}


@pytest.fixture(scope="session")
@peer("pcscd", "/usr/lib/pcsc/drivers/serial/libifdvpcd.so")
@package("smartcard")
@root()
def pcscd() -> Iterator[None]:
    """The real daemon with the virtual reader's driver, ours alone: ended by its own process id."""
    with (Path(tempfile.gettempdir()) / "mssgw-tests-pcscd.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one virtual reader per machine: test runs take turns
        yield from _daemon()


def _daemon() -> Iterator[None]:
    if Path("/run/pcscd/pcscd.comm").exists() and _answers():
        yield
        return
    daemon = subprocess.Popen(["pcscd", "--foreground", "--error"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: daemon.poll() is not None or _answers(), "pcscd")
        if daemon.poll() is not None:
            pytest.skip("pcscd does not start here")
        yield
    finally:
        daemon.terminate()
        with suppress(subprocess.TimeoutExpired):
            daemon.wait(10)


def _answers() -> bool:
    from dmp_connector.card.readers import slots
    from dmp_connector.errors import NoReader

    try:
        slots()
    except NoReader:
        return False
    with suppress(OSError), socket.create_connection(("127.0.0.1", 0x8C7B), timeout=1):
        return True
    return False


@pytest.fixture
def simulator(cps, ca, tmp_path: Path):
    """A DMP that trusts the authority of the card, and shows a certificate of the same authority."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    certificate = ca.issue(name, key.public_key(), until=datetime.now(UTC) + timedelta(days=9), host="localhost")
    (tmp_path / "server.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (tmp_path / "server.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    (tmp_path / "ca.pem").write_bytes(ca.certificate.public_bytes(serialization.Encoding.PEM))
    config = SimulatorConfig(
        port=0,
        certificate=tmp_path / "server.pem",
        key=tmp_path / "server.key",
        client_anchors=tmp_path / "ca.pem",
        patients=demo_patients("899700367909"),
    )
    running = Simulator(config)
    with in_thread(running) as port:
        yield running, port
