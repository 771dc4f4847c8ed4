"""Verifies Signature01: the signature itself, and the digest of every document that its manifest names."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from lxml import etree
from signxml.algorithms import DigestAlgorithm, SignatureMethod
from signxml.exceptions import InvalidInput
from signxml.exceptions import InvalidSignature as SignatureRefused
from signxml.verifier import SignatureConfiguration, XMLVerifier

from dmp_connector.errors import BadAnswer, BadDocument
from dmp_connector.model.documents import Document
from dmp_connector.proof.dsig import DS, INCLUSIVE_WITH_COMMENTS
from dmp_connector.texts import message
from dmp_connector.wire.xml import parse

_RULES = SignatureConfiguration(
    require_x509=True,
    expect_references=2,
    signature_methods=frozenset({SignatureMethod.RSA_SHA256, SignatureMethod.RSA_SHA1}),
    digest_algorithms=frozenset({DigestAlgorithm.SHA256, DigestAlgorithm.SHA1}),
)
_HASHES = {"http://www.w3.org/2001/04/xmlenc#sha256": "sha256", "http://www.w3.org/2000/09/xmldsig#sha1": "sha1"}


def verify_submission(content: bytes, set_unique_id: str, documents: Sequence[Document]) -> x509.Certificate:
    """The signer's certificate, whose trust the caller decides. Raises BadDocument naming what does not hold."""
    try:
        root = parse(content)
    except BadAnswer as error:
        raise BadDocument(message("words", words=f"illisible ({error})")) from error
    text = "".join((root.findtext(f".//{{{DS}}}X509Certificate") or "").split())
    try:  # IHE DSG puts text into SignatureProperty, which the schema of XML-DSig does not know: no schema check
        certificate = x509.load_der_x509_certificate(base64.b64decode(text, validate=True))
        results = XMLVerifier().verify(content, x509_cert=certificate, id_attribute="Id", expect_config=_RULES, validate_schema=False)
    except (SignatureRefused, InvalidInput, InvalidSignature, ValueError, etree.LxmlError) as error:
        raise BadDocument(message("words", words=f"elle ne tient pas ({type(error).__name__})")) from error
    signed = [result.signed_xml for result in (results if isinstance(results, list) else [results])]
    manifest = next((element for element in signed if element is not None and element.tag == f"{{{DS}}}Manifest"), None)
    if manifest is None:
        raise BadDocument(message("words", words="elle ne couvre pas le manifeste"))
    digests: dict[str, tuple[str | None, str, bool]] = {}
    for reference in manifest.findall(f"{{{DS}}}Reference"):
        method = reference.find(f"{{{DS}}}DigestMethod")
        algorithm = _HASHES.get(method.get("Algorithm", "")) if method is not None else None
        transforms = [t.get("Algorithm") for t in reference.iter(f"{{{DS}}}Transform")]
        if transforms not in ([], [INCLUSIVE_WITH_COMMENTS]):
            raise BadDocument(message("words", words="elle transforme les documents autrement qu'en forme canonique"))
        digests[reference.get("URI", "")] = (algorithm, reference.findtext(f"{{{DS}}}DigestValue") or "", bool(transforms))
    if f"urn:oid:{set_unique_id}" not in digests:
        raise BadDocument(message("words", words="elle ne nomme pas le lot"))
    for document in documents:
        algorithm, value, canonical = digests.get(f"urn:oid:{document.entry.unique_id}", (None, "", False))
        if algorithm is None:
            raise BadDocument(message("words", words=f"elle ne nomme pas {document.entry.unique_id}"))
        octets = _canonical(document.content) if canonical else document.content
        digest = base64.b64encode(hashlib.new(algorithm, octets, usedforsecurity=False).digest()).decode()
        if not hmac.compare_digest(digest, "".join(value.split())):
            raise BadDocument(message("words", words=f"l'empreinte de {document.entry.unique_id} diffère"))
    return certificate


def _canonical(content: bytes) -> bytes:
    try:
        root = parse(content, max_bytes=len(content), max_depth=1000, huge_text=True)
    except BadAnswer as error:
        raise BadDocument(message("words", words=f"un document annoncé en XML est illisible ({error})")) from error
    return etree.tostring(root.getroottree(), method="c14n", with_comments=True)
