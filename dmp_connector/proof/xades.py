"""The signature of a submission: Signature01, a detached XAdES per IHE DSG (docs/reference/dmp.md 3.5).

A ds:Manifest names every document by `urn:oid:<uniqueId>` with its digest, and the submission set; the
signature covers the manifest and the signed properties. As in real messages, an XML document is digested in
canonical form with comments and has a transform for it; anything else is digested as its bytes.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from cryptography import x509
from lxml import etree

from dmp_connector.errors import BadAnswer, BadDocument
from dmp_connector.model.code import Code
from dmp_connector.model.documents import NORMAL, Author, Document, DocumentEntry, Dtm, Person, SubmissionSet, Visibility
from dmp_connector.proof import dsig
from dmp_connector.signer import Algorithm, Signer, issuer_text
from dmp_connector.texts import message
from dmp_connector.wire.xml import parse, serialise

XADES: Final = "http://uri.etsi.org/01903/v1.1.1#"
SOURCE_PURPOSE: Final = "1.2.840.10065.1.12.1.14"
CLASS: Final = Code("urn:oid:1.3.6.1.4.1.19376.1.2.1.1.1", "URN", "Digital Signature")
TYPE: Final = Code("E1762", "ASTM", "Full Document")
FORMAT: Final = Code("http://www.w3.org/2000/09/xmldsig#", "URN", "Default Signature Style")
EVENT: Final = Code(SOURCE_PURPOSE, "1.2.840.10065.1.12", "Source")
_UNSIGNED_SET: Final = "AA=="  # the set itself has no bytes: samples digest it so


def signature_document(
    submission: SubmissionSet,
    documents: Sequence[Document],
    signer: Signer,
    algorithm: Algorithm,
    now: datetime,
    *,
    unique_id: str,
    canonical: bool = True,
) -> Document:
    """Signature01: signed content and its entry. `documents` is not empty; facility and practice come from the first.

    Raises BadDocument when a document declared as XML is not.
    """
    content = sign(submission, documents, signer, algorithm, now, canonical=canonical)
    first = documents[0].entry
    person = submission.author.person or Person("", "")
    moment = Dtm.of(now)
    entry = DocumentEntry(
        unique_id=unique_id,
        patient=submission.patient,
        title="Source",
        type=TYPE,
        class_code=CLASS,
        format=FORMAT,
        created=moment,
        authors=(Author(person, submission.author.institution, specialties=submission.author.specialties),),
        facility=first.facility,
        practice=first.practice,
        service_start=moment,
        service_stop=moment,
        confidentiality=(NORMAL, Visibility.MASKED.as_code, Visibility.HIDDEN_FROM_PATIENT.as_code),
        language="art",
        legal_authenticator=person,
        source_patient_id=first.source_patient_id or submission.patient.cx,
        source_patient_info=first.source_patient_info,
        events=(EVENT,),
    )
    return Document(entry.describing(content), content)


def sign(
    submission: SubmissionSet, documents: Sequence[Document], signer: Signer, algorithm: Algorithm, now: datetime, *, canonical: bool = True
) -> bytes:
    """The detached signature as bytes. `canonical=False` digests XML documents as their bytes too."""
    signature = dsig.ds("Signature", Id=f"_{uuid.uuid4()}")
    target = f"#{signature.get('Id')}"
    manifest = dsig.ds("Manifest", Id="IHEManifest")
    manifest.append(dsig.reference(f"urn:oid:{submission.unique_id}", _UNSIGNED_SET, algorithm))
    manifest.extend([_document_reference(document, algorithm, canonical=canonical) for document in documents])
    properties = _qualifying_properties(target, signer.certificate, algorithm, now)
    for child in (_purpose(target), manifest, properties):
        holder = dsig.ds("Object")
        holder.append(child)
        signature.append(holder)
    signed = properties[0]
    method = dsig.INCLUSIVE_WITH_COMMENTS
    info = dsig.signed_info(
        method,
        algorithm,
        _covering("#IHEManifest", manifest, algorithm, f"{dsig.DS}Manifest"),
        _covering("#S0-SignedProperties", signed, algorithm, f"{XADES}SignedProperties"),
    )
    signature.insert(0, info)
    dsig.complete(signature, method, algorithm, signer)
    return serialise(signature)


def _document_reference(document: Document, algorithm: Algorithm, *, canonical: bool) -> etree._Element:
    uri, content = f"urn:oid:{document.entry.unique_id}", document.content
    if canonical and document.entry.mime_type == "text/xml":
        try:
            root = parse(content, max_bytes=len(content), max_depth=1000, huge_text=True)
        except BadAnswer as error:
            raise BadDocument(message("at", place=document.entry.unique_id, what=error.detail)) from error
        content = etree.tostring(root.getroottree(), method="c14n", with_comments=True)
        return dsig.reference(uri, dsig.digest(content, algorithm), algorithm, dsig.INCLUSIVE_WITH_COMMENTS)
    return dsig.reference(uri, dsig.digest(content, algorithm), algorithm)


def _covering(uri: str, element: etree._Element, algorithm: Algorithm, type_: str) -> etree._Element:
    """A reference to a part of the signature itself. Without transform the default is inclusive C14N (XML-DSig 4.3.3.2)."""
    data = dsig.canonical(element, dsig.INCLUSIVE_WITH_COMMENTS)
    return dsig.reference(uri, dsig.digest(data, algorithm), algorithm, dsig.INCLUSIVE_WITH_COMMENTS, type_=type_)


def _purpose(target: str) -> etree._Element:
    properties = dsig.ds("SignatureProperties")
    properties.append(dsig.ds("SignatureProperty", SOURCE_PURPOSE, Id="purposeOfSignature", Target=target))
    return properties


def _qualifying_properties(target: str, certificate: bytes, algorithm: Algorithm, now: datetime) -> etree._Element:
    leaf = x509.load_der_x509_certificate(certificate)
    root = etree.Element(f"{{{XADES}}}QualifyingProperties", {"Target": target}, nsmap={"xades": XADES, "ds": dsig.DS})
    signed = etree.SubElement(root, f"{{{XADES}}}SignedProperties", {"Id": "S0-SignedProperties"})
    own = etree.SubElement(signed, f"{{{XADES}}}SignedSignatureProperties")
    _text(own, "SigningTime", now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
    cert = etree.SubElement(etree.SubElement(own, f"{{{XADES}}}SigningCertificate"), f"{{{XADES}}}Cert")
    cert_digest = etree.SubElement(cert, f"{{{XADES}}}CertDigest")
    etree.SubElement(cert_digest, f"{{{XADES}}}DigestMethod", {"Algorithm": algorithm.digest})
    _text(cert_digest, "DigestValue", dsig.digest(certificate, algorithm))
    serial = etree.SubElement(cert, f"{{{XADES}}}IssuerSerial")
    serial.append(dsig.ds("X509IssuerName", issuer_text(certificate)))
    serial.append(dsig.ds("X509SerialNumber", str(leaf.serial_number)))
    policy = etree.SubElement(own, f"{{{XADES}}}SignaturePolicyIdentifier")
    etree.SubElement(policy, f"{{{XADES}}}SignaturePolicyImplied")
    etree.SubElement(signed, f"{{{XADES}}}SignedDataObjectProperties")
    return root


def _text(parent: etree._Element, name: str, text: str) -> None:
    etree.SubElement(parent, f"{{{XADES}}}{name}").text = text
