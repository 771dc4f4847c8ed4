"""What every call has in common: a fresh VIHF, the envelope, the exchange, the fault.

Order: sign the assertion (in a thread: it may be a card) -> compose -> post -> read -> the answer must relate
to our message -> a fault is raised as its error. After a lost answer a request is repeated only when that
changes nothing, and then with a new message id and a new assertion: each is good for one use.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from lxml import etree

from dmp_connector.errors import BadAnswer, BadInput, Unavailable
from dmp_connector.hl7v3.common import Frame
from dmp_connector.model.people import Ins
from dmp_connector.proof import vihf
from dmp_connector.proof.vihf import Call
from dmp_connector.settings import DmpSettings
from dmp_connector.signer import Signer
from dmp_connector.texts import message
from dmp_connector.wire import mtom, soap
from dmp_connector.wire.transport import Answer, Exchange, Progress

_IN_A_THREAD = 256 * 1024  # bytes from which an answer is read in a thread


class Caller:
    """Settings, key and connections of one DMP."""

    def __init__(
        self,
        settings: DmpSettings,
        signer: Signer,
        *,
        now: Callable[[], datetime] | None = None,
        exchange: Exchange | None = None,
    ) -> None:
        self.settings = settings
        self._signer = signer
        self._now = now or (lambda: datetime.now(UTC))
        self._exchange = exchange or Exchange.of(settings)

    def watch(self, received: Progress | None) -> None:
        """Set the function that is called with how much of an answer has come; None ends it."""
        self._exchange.received = received

    async def aclose(self) -> None:
        """Close the connections."""
        await self._exchange.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.aclose()

    async def _ask(
        self,
        td: str,
        service: str,
        action: str,
        call: Call,
        payload: etree._Element,
        *,
        parts: Sequence[mtom.Part] = (),
        idempotent: bool = True,
        progress: Progress | None = None,
    ) -> soap.Envelope:
        """Send one transaction; the answer's envelope. Raises Refused, Unavailable, BadAnswer, CardError."""
        action = self.settings.actions.others.get(td, action)
        try:
            return await self._ask_once(td, service, action, call, payload, parts, progress)
        except Unavailable as error:
            if not (error.sent and idempotent):
                raise
        return await self._ask_once(td, service, action, call, payload, parts, progress)

    async def _ask_once(
        self, td: str, service: str, action: str, call: Call, payload: etree._Element, parts: Sequence[mtom.Part], progress: Progress | None
    ) -> soap.Envelope:
        url = self.settings.service_url(service)
        message_id = soap.new_message_id()
        media_type, body = await asyncio.to_thread(self.compose, url, action, call, payload, parts, message_id)
        answer = await self._exchange.post(td, url, media_type, body, progress=progress)
        return await self._read(td, answer, message_id)

    def compose(
        self, url: str, action: str, call: Call, payload: etree._Element, parts: Sequence[mtom.Part], message_id: str
    ) -> tuple[str, bytes]:
        """(Content-Type, bytes) of a signed request. Blocks while the key signs."""
        settings = self.settings
        assertion = vihf.assertion(call, self._signer, settings.software, settings.vihf, self._now())
        envelope = soap.compose(payload, action=action, to=url, message_id=message_id, assertion=assertion)
        return mtom.encode(envelope, parts, action) if parts else (soap.content_type(action), envelope)

    async def _read(self, td: str, answer: Answer, message_id: str) -> soap.Envelope:
        limits = self.settings.limits
        if len(answer.body) > _IN_A_THREAD:
            envelope = await asyncio.to_thread(soap.read, answer.media_type, answer.body, limits)
        else:
            envelope = soap.read(answer.media_type, answer.body, limits)
        if fault := soap.read_fault(envelope.payload):
            raise fault.error()
        if envelope.relates_to and envelope.relates_to != message_id:
            raise BadAnswer(message("client.answer-belongs-another-message", td=td))
        return envelope

    def _frame(self) -> Frame:
        settings = self.settings
        return Frame(
            settings.system_oid,
            settings.software.name,
            settings.receiver_oid,
            settings.receiver_name,
            settings.processing_code,
            self._now(),
        )

    def new_oid(self) -> str:
        """An OID nobody used, below ours: at most 64 characters for a root of up to 38."""
        return f"{self.settings.system_oid}.{self._now():%y%m%d%H%M%S}.{1 + secrets.randbelow(10**11)}"


def payload_of(td: str, envelope: soap.Envelope) -> etree._Element:
    """The body of an answer. Raises BadAnswer naming the transaction: an empty one."""
    if envelope.payload is None:
        raise BadAnswer(message("client.empty-answer", td=td))
    return envelope.payload


def ins_of(td: str, call: Call) -> Ins:
    """The patient of a call that needs one. Raises BadInput."""
    if call.ins is None:
        raise BadInput(message("client.needs-ins-patient", td=td))
    return call.ins
