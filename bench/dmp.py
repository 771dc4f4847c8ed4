"""Speed of the DMP connector on one core. `python bench/dmp.py [--seconds N]`.

submit   metadata + VIHF + XAdES + MTOM of a 1 MB document: the bytes of a whole TD2.1 request (goal: 40/s)
parse    an ITI-18 answer of 1,000 entries, from bytes to values (goal: under 0.3 s)
calls    TD0.2 over mutual TLS against the simulator in the same process, one after the other
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import sys
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from dmp_connector.client import Call, Dmp
from dmp_connector.ebxml import names, write
from dmp_connector.ebxml.read import read_registry
from dmp_connector.model import (
    Actor,
    AuthenticationMode,
    Author,
    AvailabilityStatus,
    Code,
    Document,
    DocumentEntry,
    Dtm,
    Ins,
    Institution,
    Person,
    Practitioner,
    Structure,
    SubmissionSet,
)
from dmp_connector.settings import DmpSettings, Limits
from dmp_connector.signer import FileSigner
from dmp_connector.simulator import Simulator, SimulatorConfig
from dmp_connector.simulator.people import demo_patients
from dmp_connector.simulator.server import in_thread
from dmp_connector.wire import soap
from dmp_connector.wire.xml import serialise
from tests.dmp.pki import Root

DOCTOR = Practitioner(
    "899700367909", "MARTIN", "JEANNE", Code("10", "1.2.250.1.71.1.2.7", "Médecin"), Code("SM26", "1.2.250.1.71.4.2.5", "Générale (SM)")
)
STRUCTURE = Structure("10B0073160", "HOPITAL TEST", Code("SA07", "1.2.250.1.71.4.2.4", "Cabinet individuel"))


def scene(directory: Path) -> tuple[DmpSettings, FileSigner, SimulatorConfig]:
    root = Root()
    (directory / "ca.pem").write_bytes(root.pem)
    root.issue("localhost", server=True).write(directory, "server")
    certificate, key = root.issue("CLIENT").write(directory, "tls")
    seal = root.issue("CACHET", signature=True)
    config = SimulatorConfig(
        port=0, certificate=directory / "server.pem", key=directory / "server.key", client_anchors=directory / "ca.pem",
        patients=demo_patients(DOCTOR.id, STRUCTURE.id),
    )  # fmt: skip
    settings = DmpSettings("https://127.0.0.1:1/si-dmp-server/v2/services", directory / "ca.pem", certificate, key)
    return settings, FileSigner(seal.certificate, seal.key), config


def entry(ins: Ins, number: int) -> DocumentEntry:
    now = Dtm.of(datetime.now(UTC))
    author = Author(Person.of(DOCTOR), Institution.of(STRUCTURE), ("Médecin traitant",), ("G15_10/SM26^Médecin^1.2.250.1.213.1.1.4.5",))
    return DocumentEntry(
        unique_id=f"1.2.250.1.213.1.1.9.{number}", patient=ins, title=f"Compte rendu numéro {number}",
        type=Code("11488-4", "2.16.840.1.113883.6.1", "Compte rendu de consultation"),
        class_code=Code("10", "1.2.250.1.213.1.1.4.1", "Compte rendu"),
        format=Code("urn:ihe:iti:xds-sd:pdf:2008", "1.3.6.1.4.1.19376.1.2.3", "PDF"),
        created=now, authors=(author,), facility=STRUCTURE.sector,
        practice=Code("AMBULATOIRE", "1.2.250.1.213.1.1.4.9", "Ambulatoire"),
        service_start=now, service_stop=now, legal_authenticator=author.person, source_patient_id=ins.cx,
        source_patient_info=("PID-5|PATIENT^MARIE^^^^^L", "PID-7|19790328", "PID-8|F"), comments="commentaire",
    )  # fmt: skip


def submit(settings: DmpSettings, signer: FileSigner, ins: Ins, seconds: float) -> dict[str, float]:
    dmp = Dmp(settings, signer)
    call = Call(Actor(DOCTOR, STRUCTURE, AuthenticationMode.DIRECT, datetime.now(UTC)), ins)
    pdf = base64.b64encode(os.urandom(750_000))
    content = b'<ClinicalDocument xmlns="urn:hl7-org:v3"><nonXMLBody><text>' + pdf + b"</text></nonXMLBody></ClinicalDocument>"
    done, start, wall = 0, time.process_time(), time.perf_counter()
    size = 0
    while time.process_time() - start < seconds:
        document = Document(entry(ins, done), content)
        content_type = Code("07", "1.2.250.1.213.2.2", "Consultation")
        submission = SubmissionSet(dmp.new_oid(), settings.system_oid, ins, content_type, document.entry.authors[0], document.entry.created)
        payload, parts = dmp.submission_payload(submission, [document])
        _, body = dmp.compose(settings.url, "urn:ihe:iti:2007:ProvideAndRegisterDocumentSet-b", call, payload, parts, soap.new_message_id())
        size = len(body)
        done += 1
    cpu, elapsed = time.process_time() - start, time.perf_counter() - wall
    asyncio.run(dmp.aclose())
    return {"per_second_of_cpu": round(done / cpu, 1), "per_second": round(done / elapsed, 1), "bytes": size}


def parse(ins: Ins) -> dict[str, float]:
    objects = write.rim(None, "RegistryObjectList")
    registry_side = {"status": AvailabilityStatus.APPROVED, "version": "1", "repository_id": "1.2.3", "hash": "ab" * 20, "size": 1000}
    for number in range(1000):
        one = replace(entry(ins, number), logical_id=f"urn:uuid:{number}", **registry_side)  # type: ignore[arg-type]
        objects.append(write.extrinsic_object(one, f"urn:uuid:{number}"))
    answer = write.etree.Element(f"{{{names.QUERY}}}AdhocQueryResponse", {"status": f"{names.STATUS}Success"}, nsmap=names.NSMAP)
    answer.append(objects)
    body = soap.compose(serialise(answer), action="urn:ihe:iti:2007:RegistryStoredQueryResponse")
    times = []
    for _ in range(5):
        start = time.process_time()
        envelope = soap.read("application/soap+xml", body, Limits())
        assert envelope.payload is not None
        found = read_registry(envelope.payload)
        times.append(time.process_time() - start)
        assert len(found.entries) == 1000
    return {"seconds": round(sorted(times)[2], 3), "bytes": len(body)}


async def calls(settings: DmpSettings, signer: FileSigner, ins: Ins, count: int) -> dict[str, float]:
    call = Call(Actor(DOCTOR, STRUCTURE, AuthenticationMode.DIRECT, datetime.now(UTC)), ins)
    async with Dmp(settings, signer) as dmp:
        await dmp.td02_existence(call)
        start = time.perf_counter()
        for _ in range(count):
            await dmp.td02_existence(call)
        return {"milliseconds": round((time.perf_counter() - start) / count * 1000, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3.0, help="CPU seconds for `submit`")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        settings, signer, config = scene(Path(folder))
        ins = Ins(config.patients[0].ins, config.patients[0].oid)
        result = {"submit": submit(settings, signer, ins, options.seconds), "parse": parse(ins)}
        with in_thread(Simulator(config)) as port:
            reachable = replace(settings, url=f"https://127.0.0.1:{port}/si-dmp-server/v2/services")
            result["calls"] = asyncio.run(calls(reachable, signer, ins, 30))
    print(json.dumps(result, indent=2))
    held = result["submit"]["per_second_of_cpu"] >= 40 and result["parse"]["seconds"] < 0.3
    sys.exit(0 if held else 1)


if __name__ == "__main__":
    main()
