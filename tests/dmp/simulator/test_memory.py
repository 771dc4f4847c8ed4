"""What the simulator knows survives its end; a foreign file is refused by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from dmp_connector.client import Call, Dmp
from dmp_connector.errors import BadSettings
from dmp_connector.model import Actor, AuthorisationStatus, Ins
from dmp_connector.settings import DmpSettings
from dmp_connector.signer import FileSigner
from dmp_connector.simulator import Simulator, SimulatorConfig
from dmp_connector.simulator.server import in_thread
from tests.dmp.client.test_documents import CDA, submit
from tests.dmp.conftest import Keys


@pytest.mark.asyncio
async def test_a_second_start_continues(
    reconfigured: Callable[..., SimulatorConfig], dmp_keys: Keys, dmp_signer: FileSigner, doctor: Actor, tmp_path: Path
) -> None:
    config = reconfigured(state=tmp_path / "state.bin")
    person = next(p for p in config.patients if p.name == "NOUVEAU")
    call = Call(doctor, Ins(person.ins, person.oid))
    settings = DmpSettings(
        "https://127.0.0.1:1/x", dmp_keys.path("ca.pem"), certificate=dmp_keys.path("tls.pem"), key=dmp_keys.path("tls.key")
    )

    def at(port: int) -> DmpSettings:
        return replace(settings, url=f"https://127.0.0.1:{port}/si-dmp-server/v2/services")

    with in_thread(Simulator(config)) as port:
        async with Dmp(at(port), dmp_signer) as dmp:
            await dmp.td03_authorise(call, treating_doctor=True)
            entry = await submit(dmp, call)
            before = await dmp.td31a_find(call)
    assert (tmp_path / "state.bin").stat().st_mode & 0o777 == 0o600
    with in_thread(Simulator(config)) as port:
        async with Dmp(at(port), dmp_signer) as dmp:
            dossier = await dmp.td02_existence(call)
            assert (dossier.authorisation, dossier.treating_doctor) == (AuthorisationStatus.VALID, True)
            assert await dmp.td31a_find(call) == before
            (found,) = await dmp.td31a_by_unique_id(call, [entry.unique_id])
            (document,) = await dmp.td32_retrieve(call, [found])
            assert document.content == CDA
    simulator = Simulator(config)
    journal = simulator.world.records[person.ins].journal
    assert [line.what for line in journal][:2] == ["setAuthorization", "ProvideAndRegisterDocumentSet-b"]


def test_a_foreign_file_is_refused(reconfigured: Callable[..., SimulatorConfig], tmp_path: Path) -> None:
    (tmp_path / "state.bin").write_bytes(b"something else")
    with pytest.raises(BadSettings, match=r"state\.bin"):
        Simulator(reconfigured(state=tmp_path / "state.bin"))
