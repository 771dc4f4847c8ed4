"""SOAP 1.2 with WS-Addressing: envelopes written as bytes, answers read, faults turned into errors. Pure.

The envelope is composed as text around the signed assertion, which is inserted byte for byte: nothing
re-serialises what a signature covers.
"""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from xml.sax.saxutils import escape

from lxml import etree

from dmp_connector.errors import BadAnswer, Refused, refusal
from dmp_connector.settings import Limits
from dmp_connector.texts import message
from dmp_connector.wire import mtom
from dmp_connector.wire.xml import parse, serialise

SOAP12 = "http://www.w3.org/2003/05/soap-envelope"
SOAP11 = "http://schemas.xmlsoap.org/soap/envelope/"
WSA = "http://www.w3.org/2005/08/addressing"
WSSE = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"
ANONYMOUS = f"{WSA}/anonymous"
MEDIA_TYPE = "application/soap+xml"


@dataclass(frozen=True, slots=True)
class Envelope:
    """A SOAP message as read: the payload element, WS-Addressing facts, security header, binary parts."""

    payload: etree._Element | None
    action: str
    message_id: str
    relates_to: str
    to: str
    security: etree._Element | None
    parts: dict[str, mtom.Part]


def new_message_id() -> str:
    """A random wsa:MessageID."""
    return f"urn:uuid:{uuid.uuid4()}"


def compose(
    payload: etree._Element | bytes,
    *,
    action: str,
    to: str = "",
    message_id: str = "",
    relates_to: str = "",
    assertion: bytes = b"",
    headers: bytes = b"",
) -> bytes:
    """An envelope in UTF-8. `assertion`: signed VIHF as bytes; `headers`: further header blocks as bytes."""
    pieces = [
        f'<?xml version="1.0" encoding="UTF-8"?><soap:Envelope xmlns:soap="{SOAP12}" xmlns:wsa="{WSA}"><soap:Header>'
        f"<wsa:MessageID>{escape(message_id or new_message_id())}</wsa:MessageID>",
    ]
    if to:
        pieces.append(f"<wsa:To>{escape(to)}</wsa:To>")
    pieces.append(f'<wsa:Action soap:mustUnderstand="true">{escape(action)}</wsa:Action>')
    if relates_to:
        pieces.append(f"<wsa:RelatesTo>{escape(relates_to)}</wsa:RelatesTo>")
    else:
        pieces.append(f"<wsa:ReplyTo><wsa:Address>{ANONYMOUS}</wsa:Address></wsa:ReplyTo>")
    head = "".join(pieces).encode()
    if assertion:
        head += f'<wsse:Security xmlns:wsse="{WSSE}" soap:mustUnderstand="true">'.encode() + assertion + b"</wsse:Security>"
    body = payload if isinstance(payload, bytes) else serialise(payload)
    return head + headers + b"</soap:Header><soap:Body>" + body + b"</soap:Body></soap:Envelope>"


def content_type(action: str) -> str:
    """The content type of SOAP 1.2 with its action (RFC 3902)."""
    return f'{MEDIA_TYPE}; charset=UTF-8; action="{action}"'


def read(media_type: str, body: bytes, limits: Limits) -> Envelope:
    """A message of the other side, plain or MTOM. Raises BadAnswer or HostileXml; faults are not raised here."""
    parts: dict[str, mtom.Part] = {}
    if mtom.is_multipart(media_type):
        body, parts = mtom.decode(media_type, body, max_parts=limits.parts)
    root = parse(body, max_bytes=limits.xml_bytes, max_depth=limits.xml_depth)
    ns = etree.QName(root).namespace
    if etree.QName(root).localname != "Envelope" or ns not in (SOAP12, SOAP11):
        raise BadAnswer(message("soap.not-soap-envelope"))
    payloads = root.findall(f"{{{ns}}}Body/*")
    if len(payloads) > 1:
        raise BadAnswer(message("soap.more-than-one-element-soap"))
    header = root.find(f"{{{ns}}}Header")
    return Envelope(
        payload=payloads[0] if payloads else None,
        action=_header_text(header, "Action"),
        message_id=_header_text(header, "MessageID"),
        relates_to=_header_text(header, "RelatesTo"),
        to=_header_text(header, "To"),
        security=header.find(f"{{{WSSE}}}Security") if header is not None else None,
        parts=parts,
    )


def _header_text(header: etree._Element | None, name: str) -> str:
    found = header.find(f"{{{WSA}}}{name}") if header is not None else None
    return (found.text or "").strip() if found is not None else ""


@dataclass(frozen=True, slots=True)
class Fault:
    """A SOAP fault as sent. `code`: Sender, Receiver ...; `subcodes`: outermost first, local names."""

    code: str
    subcodes: tuple[str, ...]
    text: str
    detail_code: str = ""
    detail: str = ""

    def error(self) -> Refused:
        """The most specific code decides: a DMP code anywhere, the detail's, the innermost subcode, the code."""
        spoken = _DMP_CODE.search(" ".join((*self.subcodes, self.detail_code, self.detail, self.text)))
        code = spoken[0] if spoken else self.detail_code or (self.subcodes[-1] if self.subcodes else self.code)
        return refusal(_KNOWN_TEXTS.get(self.text, code), self.text, context=self.detail)


_DMP_CODE = re.compile(r"\b(?:DMP(?!Ok)[A-Z]\w{2,60}|XDS[A-Z]\w{2,60})")
# Real servers send these as text without a code (docs/reference/dmp.md 1.6).
_KNOWN_TEXTS = {"Not a valid signature certificate": "DMPInvalidCertificate"}


def read_fault(payload: etree._Element | None) -> Fault | None:
    """The fault in a payload, SOAP 1.2 or 1.1; None when it is an ordinary answer."""
    if payload is None or etree.QName(payload).localname != "Fault":
        return None
    ns = etree.QName(payload).namespace
    if ns == SOAP11:
        return Fault(_local(payload.findtext("faultcode")), (), payload.findtext("faultstring") or "", *_detail(payload.find("detail")))
    subcodes: list[str] = []
    node = payload.find(f"{{{ns}}}Code/{{{ns}}}Subcode")
    while node is not None and len(subcodes) < 10:
        subcodes.append(_local(node.findtext(f"{{{ns}}}Value")))
        node = node.find(f"{{{ns}}}Subcode")
    text = " ".join((payload.findtext(f"{{{ns}}}Reason/{{{ns}}}Text") or "").split())
    code = _local(payload.findtext(f"{{{ns}}}Code/{{{ns}}}Value"))
    return Fault(code, tuple(subcodes), text, *_detail(payload.find(f"{{{ns}}}Detail")))


def _detail(detail: etree._Element | None) -> tuple[str, str]:
    """(first `code` attribute, all text) of a fault detail."""
    if detail is None:
        return "", ""
    codes = [value for node in detail.iter() if isinstance(node.tag, str) and (value := node.get("code"))]
    return (codes[0] if codes else ""), " ".join(" ".join(str(t) for t in detail.itertext()).split())[:2000]


def _local(name: str | None) -> str:
    return (name or "").strip().rpartition(":")[2]


def compose_fault(code: str, subcode: str, text: str, *, relates_to: str = "", action: str = f"{WSA}/soap/fault") -> bytes:
    """A SOAP 1.2 fault envelope (the simulator's side). `subcode` is a QName in the wsse or soap prefix, or a bare code."""
    name = subcode if ":" in subcode else f"soap:{subcode}"
    fault = (
        f'<soap:Fault xmlns:wsse="{WSSE}"><soap:Code><soap:Value>soap:{code}</soap:Value>'
        f"<soap:Subcode><soap:Value>{escape(name)}</soap:Value></soap:Subcode></soap:Code>"
        f'<soap:Reason><soap:Text xml:lang="fr">{escape(text)}</soap:Text></soap:Reason></soap:Fault>'
    )
    return compose(fault.encode(), action=action, relates_to=relates_to)
