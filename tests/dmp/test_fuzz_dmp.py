"""Fuzzing what comes to the connector from outside: answers, documents, archives, messages, cards. They are read or refused.

Each reader gets real material with a few octets changed, moved, doubled or lost. Short by default; `MSSGW_FUZZ=long`
goes on for minutes and watches every call (tests/fuzz.py).
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmp_connector import habilitations, hl7v2, insi, xdm
from dmp_connector.card.cps import Activity, activity_object, parse_activity
from dmp_connector.card.vitale import parse_card
from dmp_connector.cda.metadata import describe
from dmp_connector.cda.narrative import to_html, to_layout
from dmp_connector.cda.read import read as read_cda
from dmp_connector.client import Dmp
from dmp_connector.ebxml.query import read_query
from dmp_connector.ebxml.read import read_registry, read_retrieved, require_success
from dmp_connector.errors import DmpError, Unavailable
from dmp_connector.hl7v3 import read as hl7v3
from dmp_connector.insi import Insi, InsiSettings
from dmp_connector.model import AccessMode, Actor, AuthenticationMode, Code, Document, Dtm, Ins, SubmissionSet
from dmp_connector.paper import pdf
from dmp_connector.paper.letters import letter
from dmp_connector.proof import vihf
from dmp_connector.proof.vihf import Call
from dmp_connector.settings import DmpSettings, Limits
from dmp_connector.signer import FileSigner
from dmp_connector.simulator import Simulator, SimulatorConfig
from dmp_connector.simulator.people import demo_patients
from dmp_connector.simulator.server import in_thread
from dmp_connector.simulator.signature import verify_submission
from dmp_connector.validate import check_header
from dmp_connector.validate.validator import SchematronWorker
from dmp_connector.wire import soap
from dmp_connector.wire.transport import Exchange
from tests.dmp.cards.conftest import VITALE
from tests.dmp.conftest import RPPS, STRUCTURE, Clock, Keys, Running, practitioner, structure
from tests.dmp.protocol.test_schemas import Recorder, everything, identities
from tests.fuzz import LONG, examples, watched
from tests.material import files
from tests.needs import package

SHORT = settings(max_examples=examples(120), deadline=None)
SEEDS = st.integers(0, 1 << 63)
SECONDS = 60.0
Message = tuple[str, bytes]  # Content-Type, body

_TOKENS = (
    b"", b"<", b">", b"&", b'"', b"'", b"&#0;", b"&lt;", b"<!--", b"<![CDATA[", b"<?x?>", b"xmlns:a='b'", b"\x00", b"\xff\xfe",
    b"\r\n\r\n", b"--", b"0", b"-1", b"9" * 400, b"1e9", b"NaN", b"20261399", b"00000000", b"2026-02-30T99:99:99Z",
    b"^^^&&ISO^", b"urn:uuid:", b"cid:", b"%00",
    b"\xd9\xa3", "é".encode(), b"M" * 5000, b"true", b"ACTIVE", b"urn:hl7-org:v3",
)  # fmt: skip


def damaged(content: bytes, source: random.Random) -> bytes:
    """One to four random changes."""
    found = bytearray(content)
    for _ in range(source.randint(1, 4)):
        at = source.randrange(len(found) + 1)
        end = min(len(found), at + int(source.expovariate(1 / 12)))
        match source.randrange(5):
            case 0:
                found[at:end] = source.choice(_TOKENS)
            case 1:
                del found[at:end]
            case 2:
                found[at:at] = found[at:end] * source.randint(1, 3)
            case 3:
                other = source.randrange(len(found) + 1)
                found[at:end] = found[other : other + end - at]
            case _:
                found[at:end] = source.randbytes(end - at)
    return bytes(found)


@pytest.fixture(scope="module")
def talk(dmp_keys: Keys, dmp_signer: FileSigner) -> dict[str, list[Message]]:
    """Requests and answers of a whole session: every transaction of the client and of INSi."""
    clock = Clock()
    simulator = Simulator(
        SimulatorConfig(
            port=0, certificate=dmp_keys.path("server.pem"), key=dmp_keys.path("server.key"), client_anchors=dmp_keys.path("ca.pem"),
            patients=demo_patients(RPPS, STRUCTURE), regulation_structures=("10B0000015",),
        ),
        now=clock,
    )  # fmt: skip
    with in_thread(simulator) as port:
        wanted = DmpSettings(
            url=f"https://127.0.0.1:{port}/si-dmp-server/v2/services", anchors=dmp_keys.path("ca.pem"), legacy_dossier_management=True,
            certificate=dmp_keys.path("tls.pem"), key=dmp_keys.path("tls.key"),
        )  # fmt: skip
        seen = asyncio.run(_session(Running(simulator, wanted, clock, dmp_signer)))
    return {"request": [request for _, request, _ in seen], "answer": [answer for _, _, answer in seen]}


async def _session(running: Running) -> list[tuple[str, Message, Message]]:
    recorder = Recorder(Exchange.of(running.settings))
    doctor = Actor(practitioner(), structure(), AuthenticationMode.DIRECT, datetime.now(UTC))

    def call_of(name: str, *, mode: AccessMode = AccessMode.NORMAL, actor: Actor | None = None) -> Call:
        return Call(actor or doctor, running.ins(name), mode)

    url = running.settings.url.replace("/si-dmp-server/v2/services", "/insi")
    async with Dmp(running.settings, running.signer, exchange=recorder) as dmp:
        await everything(dmp, running, call_of, doctor)
        await identities(Insi(InsiSettings(url, "IDAM-1", RPPS), recorder), running)
    return recorder.seen


def tried(*readers: Callable[[], object]) -> None:
    """Read or refused with an error of ours; anything else is a bug."""
    for reader in readers:
        try:
            reader()
        except DmpError:
            continue


def reads_any_message(messages: list[Message], source: random.Random) -> None:
    """MTOM, SOAP, and every reader of a payload on every payload, also where it does not belong."""
    media_type, whole = source.choice(messages)
    body = damaged(whole, source)
    if source.random() < 0.2:
        media_type = damaged(media_type.encode(), source).decode("latin-1")
    try:
        envelope = soap.read(media_type, body, Limits())
    except DmpError:
        return
    payload, ins = envelope.payload, Ins("279035121518989", "1.2.250.1.213.1.4.10")
    tried(lambda: soap.read_fault(payload), lambda: vihf.read(envelope.security[0]) if envelope.security is not None else None)
    if payload is None:
        return
    tried(
        lambda: hl7v3.read_dossier(payload, ins),
        lambda: hl7v3.read_administrative(payload, ins),
        lambda: hl7v3.read_candidates(payload),
        lambda: hl7v3.read_acceptance(payload),
        lambda: read_registry(payload),
        lambda: read_query(payload),
        lambda: read_retrieved(payload, envelope.parts),
        lambda: require_success(payload),
        lambda: habilitations.require_ok(payload),
        lambda: habilitations.read_authorisations(payload),
        lambda: habilitations.read_patient_list(payload),
        lambda: habilitations.read_access(payload),
        lambda: insi.read_answer(media_type, body),
        *(lambda part=part: verify_submission(part.content, "1.2.3", ()) for part in envelope.parts.values()),
    )


@SHORT
@given(seed=SEEDS)
def test_fuzz_answers(talk, seed: int) -> None:
    reads_any_message(talk["answer"], random.Random(seed))


@SHORT
@given(seed=SEEDS)
def test_fuzz_requests(talk, seed: int) -> None:
    """The simulator's side: envelopes, assertions, submissions, stored queries, signatures."""
    reads_any_message(talk["request"], random.Random(seed))


@pytest.mark.skipif(not LONG, reason="the long run: MSSGW_FUZZ=long")
def test_fuzz_messages_long(talk) -> None:
    def messages(source: random.Random) -> None:
        reads_any_message(talk[source.choice(("answer", "request"))], source)

    print(watched(messages, SECONDS))


@cache
def material() -> dict[str, tuple[bytes, ...]]:
    """By kind: documents, archives, HL7 v2 messages, cards, PDFs, INSi answers."""
    documents = tuple(p.read_bytes() for p in _files("dmp/testcontenucda-3.0/ExemplesCDA", ".xml") if p.stat().st_size < 300_000)
    archives = tuple(_archives(documents))
    hospital = tuple(p.read_bytes() for p in _files("dmp/hl7v2-exemples", ".er7", ".hl7") if p.stat().st_size < 300_000)
    return {
        "document": documents or (b"<ClinicalDocument xmlns='urn:hl7-org:v3'/>",),
        "archive": archives or (b"PK\x05\x06" + b"\x00" * 18,),
        "hl7v2": hospital or (b"MSH|^~\\&|",),
        "vitale": (json.dumps(VITALE).encode(),),
        "activity": (activity_object(Activity("CHU Exemple", "1750000001", "SA01")),),
        "pdf": (letter("Lettre", ["texte"], at=datetime(2026, 11, 22, tzinfo=UTC)),),
        "insi": tuple(p.read_bytes() for p in _files("dmp/tlsi-ins", ".xml")) or (b"<a/>",),
    }


def _files(folder: str, *endings: str) -> Iterator[Path]:
    return (path for path in files(folder) if path.suffix.lower() in endings)


def _archives(documents: tuple[bytes, ...]) -> Iterator[bytes]:
    for number, content in enumerate(documents[:4]):
        entry = describe(content)
        moment = Dtm.of(datetime(2026, 11, 22, tzinfo=UTC))
        submission = SubmissionSet(
            f"1.2.250.1.213.1.1.9.{number}", "1.2.250.1.213.1.1.9", entry.patient, Code("07", "1.2.250.1.213.2.2"), entry.authors[0], moment
        )
        yield xdm.write(submission, [Document(entry, content)], sender=xdm.Sender("JEANNE MARTIN", "HOPITAL TEST"))


def reads_any_file(source: random.Random) -> None:
    kind = source.choice(tuple(material()))
    content = damaged(source.choice(material()[kind]), source)
    match kind:
        case "document":
            tried(
                lambda: describe(content), lambda: check_header(read_cda(content)), lambda: to_html(read_cda(content)), lambda: to_layout(read_cda(content)),
                lambda: read_cda(content).embedded(),
            )  # fmt: skip
        case "archive":
            tried(lambda: xdm.read(content))
        case "hl7v2":
            tried(
                lambda: hl7v2.patient(hl7v2.parse(content)), lambda: hl7v2.will(hl7v2.parse(content)),
                lambda: hl7v2.feedback(hl7v2.parse(content)), lambda: hl7v2.transmission(hl7v2.parse(content)),
            )  # fmt: skip
        case "vitale":
            tried(lambda: parse_card(content))
        case "activity":
            tried(lambda: parse_activity(content))
        case "pdf":
            tried(lambda: pdf.require_pdfa1(content))
        case "insi":
            tried(lambda: insi.read_answer("application/soap+xml", content))


@SHORT
@given(seed=SEEDS)
def test_fuzz_files(seed: int) -> None:
    reads_any_file(random.Random(seed))


@pytest.fixture(scope="module")
@package("saxonche")
def schematrons(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SchematronWorker]:
    schema = tmp_path_factory.mktemp("sch") / "s.sch"
    schema.write_text(
        '<schema xmlns="http://purl.oclc.org/dsdl/schematron" queryBinding="xslt2"><pattern><rule context="*">'
        '<report test="true()"><name/> <value-of select="."/> <value-of select="@*"/></report></rule></pattern></schema>'
    )
    worker = SchematronWorker([schema])
    yield worker
    worker.close()


@settings(SHORT, max_examples=examples(4000) if LONG else 60)
@given(seed=SEEDS)
def test_fuzz_schematron(schematrons: SchematronWorker, seed: int) -> None:
    """The schema puts all of the document into its findings: what Saxon answers is read or refused, and the worker stays."""
    source = random.Random(seed)
    content = damaged(source.choice(material()["document"]), source)
    tried(lambda: schematrons.check(content))
    assert schematrons.check(b"<a b='&#233;&lt;'/>")[0].said.en == "a é<"


def test_a_document_saxon_cannot_judge_leaves_the_worker_warm(schematrons: SchematronWorker) -> None:
    """Regression: after each such document every schema was compiled again."""
    schematrons.check(b"<a/>")
    before = schematrons._child
    with pytest.raises(Unavailable):
        schematrons.check(b"<a")
    assert schematrons.check(b"<a/>")
    assert schematrons._child is before


@pytest.mark.skipif(not LONG, reason="the long run: MSSGW_FUZZ=long")
def test_fuzz_files_long() -> None:
    print(watched(reads_any_file, SECONDS))
