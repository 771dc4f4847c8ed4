"""The server: one POST, one action, one answer, over mutual TLS. A plain ASGI application on uvicorn.

Every request passes: TLS certificate -> size -> SOAP -> gate (VIHF) -> service -> journal. Services run one at
a time in a thread, because `World` has no locks.
"""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

import uvicorn
from lxml import etree
from uvicorn.protocols.http.h11_impl import H11Protocol

from dmp_connector import habilitations as own
from dmp_connector.ebxml import names
from dmp_connector.errors import BadAnswer, HostileXml, Refused, RegistryRefused
from dmp_connector.insi import BY_TRAITS, BY_VITALE
from dmp_connector.proof.vihf import SAML
from dmp_connector.settings import Limits
from dmp_connector.simulator import memory
from dmp_connector.simulator.config import SimulatorConfig
from dmp_connector.simulator.documents import DocumentService
from dmp_connector.simulator.gate import Gate, GateRefused, Visitor
from dmp_connector.simulator.gdp import Gdp
from dmp_connector.simulator.insi import InsiService
from dmp_connector.simulator.rights_service import RightsService, refused
from dmp_connector.simulator.seed import seed_documents
from dmp_connector.simulator.world import Trace, World
from dmp_connector.wire import mtom, soap
from dmp_connector.wire.xml import serialise

BASE = "/si-dmp-server/v2/services"
INSI = "/insi"
REPOSITORY = "1.2.250.1.213.4.1.1.1.2"
_SUITES = "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-CHACHA20-POLY1305:ECDHE-RSA-AES256-SHA384"
_MAX_REQUEST = 90 * 1024 * 1024

_QUESTIONS = frozenset(
    {
        "urn:hl7-org:v3:PRPA_IN201307UV02",
        "urn:hl7-org:v3:PRPA_IN201308UV02",
        "urn:hl7-org:v3:PRPA_IN201305UV02",
        "urn:ihe:iti:pdqv3:2007:PDQSupplier_Service:findCandidatesQuery",
        "urn:ihe:iti:2007:RegistryStoredQuery",
        "urn:ihe:iti:2007:RetrieveDocumentSet",
        own.LIST_AUTHORISATIONS,
        own.PATIENT_LIST,
    }
)
_log = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Handler = Callable[[soap.Envelope, etree._Element, Visitor], "tuple[bytes, list[mtom.Part]]"]


class Simulator:
    """World, gate and services of one simulated DMP; also the ASGI application."""

    def __init__(self, config: SimulatorConfig, *, now: Callable[[], datetime] | None = None) -> None:
        self.config = config
        self.now = now or (lambda: datetime.now(UTC))
        self.world = World(config.patients, self.now)
        self.gate = Gate(config, self.now)
        gdp = Gdp(self.world, legacy=config.legacy_dossier_management, authorisation_days=config.authorisation_days)
        rights = RightsService(self.world, legacy=config.legacy_dossier_management, authorisation_days=config.authorisation_days)
        documents = DocumentService(self.world, self.gate, REPOSITORY)
        self._insi = InsiService(self.world, config.idam)
        self._lock = threading.Lock()
        kept = memory.load(config.state) if config.state else {}
        for person in config.patients:
            if person.ins not in kept:
                seed_documents(self.world.records[person.ins], person, REPOSITORY, self.now())
        self.world.records.update(kept)
        self._routes: dict[tuple[str, str], Handler] = {
            ("patients", "urn:hl7-org:v3:PRPA_IN201307UV02"): _plain(gdp.demographics),
            ("patients", "urn:hl7-org:v3:PRPA_IN201308UV02"): _plain(gdp.demographics),
            ("patients", "urn:hl7-org:v3:PRPA_IN201311UV02"): _plain(gdp.create),
            ("patients", "urn:hl7-org:v3:PRPA_IN201314UV02"): _plain(gdp.revise),
            ("patientsPDQ", "urn:ihe:iti:pdqv3:2007:PDQSupplier_Service:findCandidatesQuery"): _plain(gdp.candidates),
            ("patientsPDQ", "urn:hl7-org:v3:PRPA_IN201305UV02"): _plain(gdp.candidates),
            ("habilitations", own.SET_AUTHORISATION): _plain(rights.set_authorisation),
            ("habilitations", own.LIST_AUTHORISATIONS): _plain(rights.list_authorisations),
            ("patientsSpecific", own.PATIENT_LIST): _plain(rights.patient_list),
            ("patientsSpecific", own.CREATE_ACCESS): _plain(rights.create_access),
            ("patientsSpecific", own.UPDATE_OTP): _plain(rights.update_otp),
            ("patientsSpecific", own.UNBLOCK_ACCESS): _plain(rights.unblock),
            ("repository", "urn:ihe:iti:2007:ProvideAndRegisterDocumentSet-b"): (
                lambda envelope, payload, visitor: (serialise(documents.submit(payload, envelope.parts, visitor)), [])
            ),
            ("repository", "urn:ihe:iti:2007:RetrieveDocumentSet"): lambda _, payload, visitor: _with_parts(documents, payload, visitor),
            ("registry", "urn:ihe:iti:2007:RegistryStoredQuery"): _plain(documents.query),
            ("registry", "urn:ihe:iti:2010:UpdateDocumentSet"): _plain(documents.update),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI: POST only; everything else is 404 or 405."""
        if scope["type"] != "http":
            return
        path = str(scope["path"])
        if scope["method"] != "POST":
            await _reply(send, 405, "text/plain", b"POST")
            return
        body = await _body(receive)
        if body is None:
            await _reply(send, 413, "text/plain", b"too large")
            return
        headers = {key.decode("latin-1").lower(): content.decode("latin-1") for key, content in scope["headers"]}
        status, media_type, answer = await asyncio.to_thread(
            self.handle, path, headers.get("content-type", ""), body, scope.get("peer_certificate")
        )
        await _reply(send, status, media_type, answer)

    def handle(self, path: str, media_type: str, body: bytes, peer: bytes | None) -> tuple[int, str, bytes]:
        """(HTTP status, Content-Type, body) of one request. Never raises on what a client can send."""
        try:
            envelope = soap.read(media_type, body, Limits(answer_bytes=_MAX_REQUEST))
        except (BadAnswer, HostileXml) as error:
            return self._fault("Sender", "SIMBadMessage", str(error))
        if envelope.payload is None:
            return self._fault("Sender", "SIMBadMessage", "empty body", envelope)
        with self._lock:
            if path == INSI:
                return self._identity(envelope, envelope.payload, peer)
            return self._service(path, envelope, envelope.payload, peer, mtom.is_multipart(media_type))

    def _service(
        self, path: str, envelope: soap.Envelope, payload: etree._Element, peer: bytes | None, multipart: bool
    ) -> tuple[int, str, bytes]:
        service = path.removeprefix(BASE + "/") if path.startswith(BASE + "/") else ""
        handler = self._routes.get((service, envelope.action))
        visitor = None
        try:
            visitor = self.gate.admit(envelope.security, peer)
            if handler is None:
                raise GateRefused("wsa:ActionNotSupported", f"{service}: {envelope.action}")
            answer, parts = handler(envelope, payload, visitor)
        except GateRefused as error:
            self._journal(visitor, envelope.action, error.subcode)
            return self._fault("Sender", error.subcode, error.text, envelope, multipart=service == "repository")
        except Refused as error:
            self._journal(visitor, envelope.action, error.code)
            return self._refusal(service, envelope, payload, error)
        except BadAnswer as error:
            self._journal(visitor, envelope.action, "SIMBadMessage")
            return self._fault("Sender", "SIMBadMessage", str(error), envelope, multipart=service == "repository")
        except Exception:  # a bug of ours must not look like a refusal of the DMP
            _log.exception("simulator: %s %s", service, envelope.action)
            return self._fault("Receiver", "SIMInternalError", "simulator bug, see its log", envelope)
        self._journal(visitor, envelope.action, "OK")
        if self.config.state and envelope.action not in _QUESTIONS:
            memory.save(self.config.state, self.world.records)
        return self._success(envelope, answer, parts, multipart=service == "repository")

    def _success(self, envelope: soap.Envelope, answer: bytes, parts: list[mtom.Part], *, multipart: bool) -> tuple[int, str, bytes]:
        named = re.match(rb"<(?:\w+:)?(PRPA_IN\d+UV02)\b", answer)  # an answer of HL7 V3 is the action, the others are a Response
        action = f"urn:hl7-org:v3:{named[1].decode()}" if named else f"{envelope.action}Response"
        body = soap.compose(answer, action=action, relates_to=envelope.message_id)
        return (200, *mtom.encode(body, parts, action)) if multipart else (200, soap.content_type(action), body)

    def _refusal(self, service: str, envelope: soap.Envelope, payload: etree._Element, error: Refused) -> tuple[int, str, bytes]:
        """Each family refuses in its own form: registry response, status, or fault (docs/reference/dmp.md 1.6)."""
        if isinstance(error, RegistryRefused):
            return self._success(envelope, registry_failure(error, payload), [], multipart=service == "repository")
        if service in ("habilitations", "patientsSpecific"):
            local = f"{etree.QName(payload).localname}Response"
            namespace = own.RIGHTS if service == "habilitations" else own.PATIENTS
            return self._success(envelope, serialise(refused(namespace, local, error)), [], multipart=False)
        return self._fault("Sender", error.code, error.text, envelope, multipart=service == "repository")

    def _fault(
        self, code: str, subcode: str, text: str, envelope: soap.Envelope | None = None, *, multipart: bool = False
    ) -> tuple[int, str, bytes]:
        action = f"{soap.WSA}/soap/fault"
        body = soap.compose_fault(code, subcode, text, relates_to=envelope.message_id if envelope else "", action=action)
        return (500, *mtom.encode(body, [], action)) if multipart else (500, soap.content_type(action), body)

    def _identity(self, envelope: soap.Envelope, payload: etree._Element, peer: bytes | None) -> tuple[int, str, bytes]:
        if envelope.action not in (BY_TRAITS, BY_VITALE):
            return self._fault("Sender", "wsa:ActionNotSupported", envelope.action, envelope)
        try:
            if peer is None:
                raise GateRefused("desir_560", "certificat absent")
            for assertion in envelope.security.findall(f"{{{SAML}}}Assertion") if envelope.security is not None else ():
                self._insi.require_card(self.gate.signed(assertion))
            body = self._insi.answer(payload, payload.getroottree().getroot().find(f"{{{soap.SOAP12}}}Header"))
        except GateRefused as error:
            return self._fault("Sender", error.subcode, error.text, envelope)
        return self._success(envelope, body, [], multipart=False)

    def _journal(self, visitor: Visitor | None, action: str, outcome: str) -> None:
        record = self.world.find(visitor.ins) if visitor and visitor.ins else None
        if record is not None and visitor is not None:
            what = action.rpartition(":")[2]
            record.journal.append(Trace(self.now(), visitor.id, visitor.structure, visitor.mode.value, what, outcome))


def _plain(service: Callable[[etree._Element, Visitor], etree._Element]) -> Handler:
    return lambda _, payload, visitor: (serialise(service(payload, visitor)), [])


def _with_parts(documents: DocumentService, payload: etree._Element, visitor: Visitor) -> tuple[bytes, list[mtom.Part]]:
    answer, parts = documents.retrieve(payload, visitor)
    return serialise(answer), parts


def registry_failure(error: RegistryRefused, payload: etree._Element) -> bytes:
    """The failure in the form the request's transaction answers with."""
    errors = etree.Element(f"{{{names.RS}}}RegistryErrorList", nsmap=names.NSMAP)
    for one in error.errors:
        attributes = {"codeContext": one.context, "errorCode": one.code, "severity": one.severity}
        etree.SubElement(errors, f"{{{names.RS}}}RegistryError", attributes)
    status = {"status": f"{names.STATUS}Failure"}
    match etree.QName(payload).localname:
        case "AdhocQueryRequest":
            root = etree.Element(f"{{{names.QUERY}}}AdhocQueryResponse", status, nsmap=names.NSMAP)
            root.append(errors)
            etree.SubElement(root, f"{{{names.RIM}}}RegistryObjectList")
        case "RetrieveDocumentSetRequest":
            root = etree.Element(f"{{{names.XDSB}}}RetrieveDocumentSetResponse", nsmap=names.NSMAP)
            etree.SubElement(root, f"{{{names.RS}}}RegistryResponse", status).append(errors)
        case _:
            root = etree.Element(f"{{{names.RS}}}RegistryResponse", status, nsmap=names.NSMAP)
            root.append(errors)
    return serialise(root)


async def _body(receive: Receive) -> bytes | None:
    pieces, size = [], 0
    while True:
        message = await receive()
        piece = message.get("body", b"")
        size += len(piece)
        if size > _MAX_REQUEST or message["type"] == "http.disconnect":
            return None
        pieces.append(piece)
        if not message.get("more_body"):
            return b"".join(pieces)


async def _reply(send: Send, status: int, media_type: str, body: bytes) -> None:
    headers = [(b"content-type", media_type.encode("latin-1")), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class _PeerProtocol(H11Protocol):
    """Hands the client's certificate to the application: uvicorn itself does not."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        tls = transport.get_extra_info("ssl_object")
        peer = tls.getpeercert(binary_form=True) if tls else None
        inner: Any = self.app

        async def with_peer(scope: Scope, receive: Receive, send: Send) -> None:
            scope["peer_certificate"] = peer
            await inner(scope, receive, send)

        self.app = with_peer


class _Server(uvicorn.Server):
    """Sets the event `listening` when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    @property
    def port(self) -> int:
        return int(self.servers[0].sockets[0].getsockname()[1])


def server(simulator: Simulator) -> _Server:
    """A uvicorn server for the simulator: mutual TLS, the suites of the LPS front, no access log."""
    config = simulator.config
    settings = uvicorn.Config(
        simulator,
        host=config.host,
        port=config.port,
        http=_PeerProtocol,
        ws="none",
        lifespan="off",
        loop="asyncio",
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_keep_alive=30,
        ssl_certfile=str(config.certificate),
        ssl_keyfile=str(config.key),
        ssl_ca_certs=str(config.client_anchors),
        ssl_cert_reqs=ssl.CERT_REQUIRED,
        ssl_ciphers=_SUITES,
    )
    settings.load()
    if settings.ssl is not None:
        settings.ssl.minimum_version = ssl.TLSVersion.TLSv1_2
        settings.ssl.num_tickets = 0
    return _Server(settings)


async def serve(simulator: Simulator) -> None:
    """Listen until cancelled or signalled."""
    with suppress(asyncio.CancelledError):
        await server(simulator).serve()


@contextmanager
def in_thread(simulator: Simulator) -> Iterator[int]:
    """Serve in a thread of its own while the block runs; yields the port (config.port 0: a free one)."""
    running = server(simulator)
    thread = threading.Thread(target=running.run, name="dmp-simulator", daemon=True)
    thread.start()
    if not running.listening.wait(10):
        raise OSError("the simulator does not come up")
    try:
        yield running.port
    finally:
        running.should_exit = True
        thread.join(10)
