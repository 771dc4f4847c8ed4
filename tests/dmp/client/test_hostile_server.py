"""A broken or hostile DMP: answers cut, exchanged, endless or of another form. Each ends in one of our errors, and nothing is done twice."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import replace

import pytest

from dmp_connector.client import Dmp
from dmp_connector.ebxml import names
from dmp_connector.errors import BadAnswer, DmpError, HostileXml, Refused, RegistryRefused, Unavailable
from dmp_connector.model import DocumentEntry
from dmp_connector.settings import Limits
from dmp_connector.wire import mtom, soap
from dmp_connector.wire.transport import Answer, Exchange
from tests.dmp.client.test_documents import entry_of, submit
from tests.dmp.client.test_transport import Scripted
from tests.dmp.conftest import Keys, Running

pytestmark = pytest.mark.asyncio
CDA = b"<ClinicalDocument xmlns='urn:hl7-org:v3'/>"


class Says(Exchange):
    """A transport that answers every request with `answer(request)`."""

    def __init__(self, answer: Callable[[str, bytes], Answer]) -> None:
        self._answer, self.asked = answer, []  # type: ignore[var-annotated]

    async def post(self, name, url, media_type, body, *, progress=None):
        self.asked.append(name)
        return self._answer(name, body)

    async def aclose(self) -> None:
        return


def retrieved(entry: DocumentEntry, *, cid: str = "0.2", parts: tuple[mtom.Part, ...] = (), times: int = 1) -> tuple[str, bytes]:
    """(Content-Type, body) of an ITI-43 answer."""
    one = (
        f"<x:DocumentResponse><x:RepositoryUniqueId>1.2</x:RepositoryUniqueId><x:DocumentUniqueId>{entry.unique_id}</x:DocumentUniqueId>"
        f'<x:mimeType>text/xml</x:mimeType><x:Document><xop:Include href="cid:{cid}"/></x:Document></x:DocumentResponse>'
    )
    body = (
        f'<x:RetrieveDocumentSetResponse xmlns:x="{names.XDSB}" xmlns:xop="{mtom.XOP}" xmlns:rs="{names.RS}">'
        f'<rs:RegistryResponse status="{names.STATUS}Success"/>{one * times}</x:RetrieveDocumentSetResponse>'
    )
    return mtom.encode(soap.compose(body.encode(), action="a"), parts or (mtom.Part("0.2", "text/xml", CDA),), "a")


def client(running: Running, answer: Callable[[str, bytes], Answer], **limits: int) -> Dmp:
    return Dmp(replace(running.settings, limits=Limits(**limits)), running.signer, exchange=Says(answer))  # type: ignore[arg-type]


@pytest.fixture
def entry(call_of) -> DocumentEntry:
    return entry_of(call_of("PATIENT"), "1.2.3.4").describing(CDA)


async def test_the_ordinary_answer_is_read(dmp_running: Running, call_of, entry) -> None:
    async with client(dmp_running, lambda _name, _body: Answer(200, *retrieved(entry))) as dmp:
        (document,) = await dmp.td32_retrieve(call_of("PATIENT"), [entry])
    assert document.content == CDA


async def test_an_mtom_answer_cut_anywhere(dmp_running: Running, call_of, entry) -> None:
    media_type, whole = retrieved(entry)
    for end in range(0, len(whole) - 4, 61):
        async with client(dmp_running, lambda _name, _body, end=end: Answer(200, media_type, whole[:end])) as dmp:
            with pytest.raises(BadAnswer):
                await dmp.td32_retrieve(call_of("PATIENT"), [entry])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"cid": "0.9"}, "missing"),
        ({"cid": "../../etc/passwd"}, "missing"),
        ({"parts": (mtom.Part("0.2", "text/xml", b"<other/>"),)}, "1.2.3.4"),
        ({"parts": (mtom.Part("0.2", "text/xml", CDA), mtom.Part("0.2", "text/xml", b"<other/>"))}, "two parts"),
        ({"parts": tuple(mtom.Part(f"0.{n}", "text/xml", CDA) for n in range(2, 300))}, "parts"),
    ],
)
async def test_parts_that_do_not_fit(dmp_running: Running, call_of, entry, changes: dict[str, object], said: str) -> None:
    async with client(dmp_running, lambda _name, _body: Answer(200, *retrieved(entry, **changes))) as dmp:  # type: ignore[arg-type]
        with pytest.raises(BadAnswer, match=said):
            await dmp.td32_retrieve(call_of("PATIENT"), [entry])


async def test_another_document_than_asked_for(dmp_running: Running, call_of, entry) -> None:
    other = replace(entry, unique_id="9.9.9")
    async with client(dmp_running, lambda _name, _body: Answer(200, *retrieved(other))) as dmp:
        with pytest.raises(BadAnswer, match="missing in the answer"):
            await dmp.td32_retrieve(call_of("PATIENT"), [entry])


async def test_more_xml_than_is_allowed(dmp_running: Running, call_of) -> None:
    body = soap.compose(b"<a>" + b"<b/>" * 50_000 + b"</a>", action="a")
    async with client(dmp_running, lambda _name, _body: Answer(200, soap.content_type("a"), body), xml_bytes=100_000) as dmp:
        with pytest.raises(HostileXml):
            await dmp.td02_existence(call_of("PATIENT"))


@pytest.mark.parametrize(
    "fault",
    [
        b'<s:Fault xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><faultcode>s:Server</faultcode><faultstring>DMPTombeEnPanne</faultstring>'
        b"</s:Fault>",
        b'<s:Fault xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Code><s:Value>s:Sender</s:Value><s:Subcode><s:Value>DMPTombeEnPanne'
        b"</s:Value></s:Subcode></s:Code><s:Reason><s:Text>non</s:Text></s:Reason></s:Fault>",
        b'<s:Fault xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Code><s:Value>s:Receiver</s:Value></s:Code><s:Detail>'
        b'<e code="DMPTombeEnPanne"/></s:Detail></s:Fault>',
    ],
)
async def test_faults_of_both_versions_with_codes_nobody_knows(dmp_running: Running, call_of, fault: bytes) -> None:
    ns = soap.SOAP11 if soap.SOAP11.encode() in fault else soap.SOAP12
    body = f'<e:Envelope xmlns:e="{ns}"><e:Body>'.encode() + fault + b"</e:Body></e:Envelope>"
    async with client(dmp_running, lambda _name, _body: Answer(500, "text/xml", body)) as dmp:
        with pytest.raises(Refused) as refused:
            await dmp.td02_existence(call_of("PATIENT"))
    assert (type(refused.value), refused.value.code) == (Refused, "DMPTombeEnPanne")


async def test_a_registry_error_nobody_knows_is_carried_through(dmp_running: Running, call_of) -> None:
    answer = (
        f'<rs:RegistryResponse xmlns:rs="{names.RS}" status="{names.STATUS}Failure"><rs:RegistryErrorList>'
        '<rs:RegistryError errorCode="DMPQuotaDepasse" codeContext="trop de documents" severity="x:Error"/></rs:RegistryErrorList>'
        "</rs:RegistryResponse>"
    )
    body = soap.compose(answer.encode(), action="a")
    async with client(dmp_running, lambda _name, _body: Answer(200, soap.content_type("a"), body)) as dmp:
        with pytest.raises(RegistryRefused) as refused:
            await submit(dmp, call_of("PATIENT"))
    assert (refused.value.code, refused.value.text) == ("DMPQuotaDepasse", "trop de documents")


async def test_an_answer_to_another_message(dmp_running: Running, call_of) -> None:
    body = soap.compose(b"<a/>", action="a", relates_to="urn:uuid:somebody-elses")
    async with client(dmp_running, lambda _name, _body: Answer(200, soap.content_type("a"), body)) as dmp:
        with pytest.raises(BadAnswer, match="another message"):
            await dmp.td02_existence(call_of("PATIENT"))


@pytest.mark.parametrize("body", [b"", b"\xff\xfe<\x00", b"<html><body>Erreur 500</body></html>", b"%PDF-1.4", b"{}"])
async def test_no_soap_at_all(dmp_running: Running, call_of, body: bytes) -> None:
    for attempt in ("td02_existence", "td16_professionals", "td31a_find"):
        async with client(dmp_running, lambda _name, _body: Answer(200, "application/soap+xml", body)) as dmp:
            with pytest.raises(DmpError):
                await getattr(dmp, attempt)(call_of("PATIENT"))


# -- a connection that breaks around a submission


class Breaks:
    """A proxy before the simulator that resets the connection, either when the request came or after the DMP acted."""

    def __init__(self, running: Running, *, delivers: bool) -> None:
        self._inner, self._delivers = Exchange.of(running.settings), delivers
        self.asked: list[str] = []

    async def post(self, name, url, media_type, body, *, progress=None):
        self.asked.append(name)
        if name in {"TD2.1", "TD2.2"} and self.asked.count(name) == 1:
            if self._delivers:
                await self._inner.post(name, url, media_type, body)
            raise Unavailable(f"{name}: ReadError connection reset by peer")
        return await self._inner.post(name, url, media_type, body, progress=progress)

    async def aclose(self) -> None:
        await self._inner.aclose()


@pytest.mark.parametrize("delivers", [True, False])
async def test_a_submission_whose_connection_broke_is_there_once_or_not_at_all(dmp_running: Running, call_of, delivers: bool) -> None:
    broken = Breaks(dmp_running, delivers=delivers)
    before = len(dmp_running.record("PATIENT").documents.documents)
    async with Dmp(dmp_running.settings, dmp_running.signer, exchange=broken) as dmp:  # type: ignore[arg-type]
        if delivers:
            await submit(dmp, call_of("PATIENT"))
        else:
            with pytest.raises(Unavailable):
                await submit(dmp, call_of("PATIENT"))
    assert broken.asked == ["TD2.1", "TD3.1b"]  # asked for, never sent twice
    assert len(dmp_running.record("PATIENT").documents.documents) == before + 2 * delivers  # the document and its signature


async def test_a_connection_reset_on_the_wire_is_no_traceback(dmp_running: Running, dmp_keys: Keys, call_of) -> None:
    class Resets(Scripted):
        async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(asyncio.IncompleteReadError, OSError):
                await reader.readuntil(b"\r\n\r\n")
            self.requests += 1
            writer.transport.abort()

    async with Resets(dmp_keys) as server, Dmp(replace(dmp_running.settings, url=server.url), dmp_running.signer) as dmp:
        with pytest.raises(Unavailable) as error:
            await submit(dmp, call_of("PATIENT"))
        assert error.value.sent
        assert server.requests == 3  # the submission once, the question about it twice
