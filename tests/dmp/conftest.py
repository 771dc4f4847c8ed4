"""Fixtures of the DMP tests: keys, actors, a running simulator with its patients, clients."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from dmp_connector.client import Call, Dmp
from dmp_connector.model import AccessMode, Actor, AuthenticationMode, Code, Ins, Practitioner, Structure
from dmp_connector.settings import DmpSettings
from dmp_connector.signer import FileSigner
from dmp_connector.simulator import Simulator, SimulatorConfig
from dmp_connector.simulator.people import demo_patients
from dmp_connector.simulator.server import in_thread
from dmp_connector.store import StoreKeys
from tests.dmp.nodes import ACTORS, RPPS, STRUCTURE, write_node
from tests.dmp.pki import Leaf, Root

STORE_KEYS = StoreKeys(b"k" * 32)


@dataclass(frozen=True)
class Keys:
    """Everything that has a private key, as files."""

    directory: Path
    root: Root
    server: Leaf
    tls: Leaf
    seal: Leaf

    def path(self, name: str) -> Path:
        return self.directory / name


@pytest.fixture(scope="session")
def dmp_keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    directory = tmp_path_factory.mktemp("dmp-pki")
    root = Root()
    keys = Keys(directory, root, root.issue("localhost", server=True), root.issue("CLIENT"), root.issue("CACHET", signature=True))
    (directory / "ca.pem").write_bytes(root.pem)
    for name, leaf in (("server", keys.server), ("tls", keys.tls), ("seal", keys.seal)):
        leaf.write(directory, name)
    return keys


@pytest.fixture(scope="session")
def dmp_signer(dmp_keys: Keys) -> FileSigner:
    return FileSigner.load(dmp_keys.path("seal.pem"), dmp_keys.path("seal.key"))


def practitioner(**changes: object) -> Practitioner:
    doctor = Practitioner(
        RPPS, "MARTIN", "JEANNE", Code("10", "1.2.250.1.71.1.2.7", "Médecin"),
        Code("SM26", "1.2.250.1.71.4.2.5", "Qualifié en médecine générale (SM)"),
    )  # fmt: skip
    return replace(doctor, **changes)  # type: ignore[arg-type]


def structure(**changes: object) -> Structure:
    return replace(Structure(STRUCTURE, "HOPITAL TEST", Code("SA07", "1.2.250.1.71.4.2.4", "Cabinet individuel")), **changes)  # type: ignore[arg-type]


@pytest.fixture
def doctor() -> Actor:
    """A doctor by card."""
    return Actor(practitioner(), structure(), AuthenticationMode.DIRECT, datetime.now(UTC))


class Clock:
    """Wall time plus what a test adds."""

    def __init__(self) -> None:
        self.offset = timedelta(0)

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.offset


@dataclass
class Running:
    """A simulator that listens, and how to reach it."""

    simulator: Simulator
    settings: DmpSettings
    clock: Clock
    signer: FileSigner

    def ins(self, name: str) -> Ins:
        return next(Ins(p.ins, p.oid) for p in self.simulator.config.patients if p.name == name)

    def record(self, name: str):
        return self.simulator.world.records[self.ins(name).value]


class Front:
    """The one server of a run, which takes a fifth of a second to stop; behind it stands the simulator of the test."""

    def __init__(self, config: SimulatorConfig) -> None:
        self.config = config
        self.behind: Simulator | None = None

    async def __call__(self, scope, receive, send) -> None:
        if self.behind is None:
            raise RuntimeError("no test is running")
        await self.behind(scope, receive, send)


@pytest.fixture(scope="session")
def dmp_front(dmp_keys: Keys) -> Iterator[tuple[Front, int]]:
    """The server and its port."""
    front = Front(_config(dmp_keys))
    with in_thread(front) as port:
        yield front, port


@pytest.fixture
def dmp_config(dmp_keys: Keys) -> SimulatorConfig:
    return _config(dmp_keys)


def _config(dmp_keys: Keys) -> SimulatorConfig:
    return SimulatorConfig(
        port=0,
        certificate=dmp_keys.path("server.pem"),
        key=dmp_keys.path("server.key"),
        client_anchors=dmp_keys.path("ca.pem"),
        patients=demo_patients(RPPS, STRUCTURE),
        regulation_structures=("10B0000015",),
        inactive_structures=("10BINACTIVE",),
    )


@pytest.fixture
def dmp_running(dmp_keys: Keys, dmp_signer: FileSigner, dmp_config: SimulatorConfig, dmp_front: tuple[Front, int]) -> Iterator[Running]:
    """A DMP of the test's own, with its patients as they were made."""
    front, port = dmp_front
    clock = Clock()
    front.behind = simulator = Simulator(dmp_config, now=clock)
    settings = DmpSettings(
        url=f"https://127.0.0.1:{port}/si-dmp-server/v2/services",
        anchors=dmp_keys.path("ca.pem"),
        certificate=dmp_keys.path("tls.pem"),
        key=dmp_keys.path("tls.key"),
        legacy_dossier_management=True,
    )
    yield Running(simulator, settings, clock, dmp_signer)
    front.behind = None


@pytest_asyncio.fixture
async def dmp(dmp_running: Running) -> AsyncIterator[Dmp]:
    async with Dmp(dmp_running.settings, dmp_running.signer, now=dmp_running.clock) as client:
        yield client


@pytest.fixture
def call_of(dmp_running: Running, doctor: Actor) -> Callable[..., Call]:
    """call_of("NAME", mode=..., actor=...) -> Call for a test patient."""

    def make(name: str, *, mode: AccessMode = AccessMode.NORMAL, actor: Actor | None = None) -> Call:
        return Call(actor or doctor, dmp_running.ins(name), mode)

    return make


@pytest.fixture
def reconfigured(dmp_config: SimulatorConfig) -> Callable[..., SimulatorConfig]:
    return lambda **changes: msgspec.structs.replace(dmp_config, **changes)


@pytest.fixture
def write_config(tmp_path: Path, dmp_running: Running) -> Callable[..., Path]:
    """write_config(legacy_dossier_management=False, ...) -> the configuration file of a node with this DMP."""

    def write(actors: dict[str, dict[str, Any]] | None = None, **changes: Any) -> Path:
        settings, keys = dmp_running.settings, dmp_running.settings.certificate.parent
        dmp = {
            "url": settings.url,
            "anchors": str(settings.anchors),
            "certificate": str(settings.certificate),
            "key": f"file:{settings.key}",
            "insi_url": settings.url.split("/si-dmp-server")[0] + "/insi",
            "insi_authorisation": "IDAM",
            "legacy_dossier_management": True,
            "regulation_structures": ["10B0000015"],
            **changes,
        }
        signing = {"certificate": str(keys / "seal.pem"), "key": f"file:{keys / 'seal.key'}"}
        return write_node(tmp_path, dmp, actors or ACTORS, signing)

    return write
