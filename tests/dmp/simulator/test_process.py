"""The simulator as a program, and under thousands of mutated requests: none finds a bug."""

from __future__ import annotations

import random
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from lxml import etree

from dmp_connector.client import Call, Dmp, FindDocuments
from dmp_connector.ebxml import query
from dmp_connector.errors import BadSettings
from dmp_connector.hl7v3 import names, write
from dmp_connector.hl7v3.common import Frame
from dmp_connector.model import Actor, Document, Ins
from dmp_connector.proof import vihf
from dmp_connector.settings import DmpSettings, Software, VihfSettings
from dmp_connector.signer import FileSigner
from dmp_connector.simulator import Simulator, SimulatorConfig, load
from dmp_connector.wire import mtom, soap
from dmp_connector.wire.xml import serialise
from tests.dmp.client.test_documents import CDA, entry_of, submission_of
from tests.dmp.client.test_dossiers import administrative
from tests.dmp.conftest import Keys

TOML = """
port = {port}
certificate = "server.pem"
key = "server.key"
client_anchors = "ca.pem"

[[patients]]
ins = "279035121518989"
name = "PATIENT"
given = "MARIE"
birth_date = 1979-03-28
sex = "F"
authorisation = "VALIDE"
documents = 2
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def program(dmp_keys: Keys) -> Iterator[int]:
    """Runs the simulator as a process and yields its port; afterwards its standard error must be free of tracebacks."""
    port = free_port()
    file = dmp_keys.path("simulator.toml")
    file.write_text(TOML.format(port=port), "utf-8")
    process = subprocess.Popen([sys.executable, "-m", "dmp_connector.simulator", "--config", str(file)], stderr=subprocess.PIPE)
    try:
        _wait_for(port, process)
        yield port
    finally:
        process.terminate()
        _, errors = process.communicate(timeout=15)
    assert b"Traceback" not in errors


@pytest.mark.asyncio
async def test_the_program_serves_and_ends(program: int, dmp_keys: Keys, dmp_signer: FileSigner, doctor: Actor) -> None:
    settings = DmpSettings(
        url=f"https://127.0.0.1:{program}/si-dmp-server/v2/services",
        anchors=dmp_keys.path("ca.pem"),
        certificate=dmp_keys.path("tls.pem"),
        key=dmp_keys.path("tls.key"),
    )
    async with Dmp(settings, dmp_signer) as dmp:
        dossier = await dmp.td02_existence(Call(doctor, Ins("279035121518989", "1.2.250.1.213.1.4.10")))
    assert dossier.state.value == "ACTIVE"


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    """Connecting blocks until the kernel has a listener: retried while the process lives."""
    for _ in range(400):
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        with socket.socket() as probe:
            probe.settimeout(0.05)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.05)
    pytest.fail("the simulator does not come up")


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (("port", "porto"), "porto"),
        (('sex = "F"', ""), "sex"),
        (("1979-03-28", '"soon"'), "birth_date"),
        (('ins = "', "ins = ["), "simulator.toml"),
    ],
)
def test_a_bad_file_is_named_with_its_field(tmp_path: Path, change: tuple[str, str], word: str) -> None:
    file = tmp_path / "simulator.toml"
    file.write_text(TOML.format(port=1).replace(*change), "utf-8")
    with pytest.raises(BadSettings, match=word):
        load(file)
    run = subprocess.run(
        [sys.executable, "-m", "dmp_connector.simulator", "--config", str(file)], capture_output=True, timeout=20, check=False
    )
    assert run.returncode == 2
    assert b"Traceback" not in run.stderr


def broken(data: bytes) -> bytes:
    """Mostly well-formed damage: elements lost, doubled or renamed, attributes and texts replaced; sometimes bytes."""
    root = etree.fromstring(data)
    for _ in range(random.randint(1, 4)):
        element = random.choice(list(root.iter()))
        parent = element.getparent()
        match random.randrange(6):
            case 0 if parent is not None:
                parent.remove(element)
            case 1 if parent is not None:
                parent.append(etree.fromstring(etree.tostring(element)))
            case 2 if element.attrib:
                element.set(random.choice(list(element.attrib)), random.choice(RUBBISH))
            case 3 if element.attrib:
                del element.attrib[random.choice(list(element.attrib))]
            case 4:
                element.text = random.choice(RUBBISH)
            case _:
                element.tag = f"{{{etree.QName(element).namespace}}}other"
    wire = bytearray(serialise(root))
    if random.random() < 0.1:
        wire[random.randrange(len(wire))] = random.randrange(32, 127)
    return bytes(wire)


RUBBISH = ["", "x", "-1", "99999999999999999999", "2026-99-99", "'", "(", "urn:uuid:x", "^^^&&^", "\u00e9" * 300, "20261345", "true"]


def test_no_bug_under_mutation(
    dmp_config: SimulatorConfig, dmp_keys: Keys, dmp_signer: FileSigner, doctor: Actor, caplog: pytest.LogCaptureFixture
) -> None:
    """600 requests, each broken at a few places of its unsigned part: refusals and answers, never a bug of ours."""
    simulator = Simulator(dmp_config)
    person = simulator.config.patients[0]
    ins = Ins(person.ins, person.oid)
    call = Call(doctor, ins)
    settings = DmpSettings("https://127.0.0.1:1/x", dmp_keys.path("ca.pem"), dmp_keys.path("tls.pem"), dmp_keys.path("tls.key"))
    dmp = Dmp(settings, dmp_signer)
    frame = Frame("1.2.3", "t", "1.2.4", "DMP", "D", datetime.now(UTC))
    submission, parts = dmp.submission_payload(submission_of(dmp, call), [Document(entry_of(call, "1.2.3.4"), CDA)])
    requests = [
        ("patients", "urn:hl7-org:v3:PRPA_IN201307UV02", write.demographics_query(ins, names.Reason.EXISTENCE, frame), []),
        (
            "patients",
            "urn:hl7-org:v3:PRPA_IN201314UV02",
            write.modify_request(administrative(ins), doctor, frame),
            [],
        ),
        ("registry", "urn:ihe:iti:2007:RegistryStoredQuery", query.find_documents(ins, FindDocuments()), []),
        ("repository", "urn:ihe:iti:2007:ProvideAndRegisterDocumentSet-b", submission, parts),
    ]
    random.seed(6)
    peer = dmp_keys.tls.certificate.public_bytes(_der())
    statuses = set()
    for round_ in range(600):
        service, action, payload, binaries = requests[round_ % len(requests)]
        body = broken(serialise(payload))
        assertion = vihf.assertion(call, dmp_signer, Software(), VihfSettings(), datetime.now(UTC))
        envelope = soap.compose(body, action=action, assertion=assertion)
        media_type, wire = mtom.encode(envelope, binaries, action) if binaries else (soap.content_type(action), envelope)
        status, _, answer = simulator.handle(f"/si-dmp-server/v2/services/{service}", media_type, wire, peer)
        assert b"SIMInternalError" not in answer, caplog.text[-3000:]
        statuses.add(status)
    assert statuses == {200, 500}


def _der():
    from cryptography.hazmat.primitives.serialization import Encoding

    return Encoding.DER
