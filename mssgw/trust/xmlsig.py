"""XML signatures, exactly of the one shape that the national list has. The rest of XMLDSig is refused.

signxml verifies; before it, this module looks at the shape, so that a second, moved or wrapped signature, another
reference, an injected transform, an HMAC or a DTD is refused by name. What is returned is not the document that came
in but the tree signxml made from the canonical octets it has verified.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Final, TypeAlias

from cryptography import x509
from lxml import etree
from signxml.algorithms import DigestAlgorithm, SignatureMethod
from signxml.exceptions import InvalidInput, SignXMLException
from signxml.verifier import SignatureConfiguration, XMLVerifier

from mssgw.core.errors import MailError
from mssgw.core.texts import message
from mssgw.pki.certificates import MAX_OCTETS as MAX_CERTIFICATE
from mssgw.trust.faults import Fault, refusal, spoken

Element: TypeAlias = etree._Element
_DSIG: Final = "{http://www.w3.org/2000/09/xmldsig#}"
_TRANSFORMS: Final = ["http://www.w3.org/2000/09/xmldsig#enveloped-signature", "http://www.w3.org/2001/10/xml-exc-c14n#"]
_PACKED: Final = ((b"\x1f\x8b", "gzip"), (b"PK\x03\x04", "zip"), (b"BZh", "bzip2"), (b"\xfd7zXZ", "xz"))
_START: Final = re.compile(rb"<(?:[\w.-]+:)?ListeBlancheMSSante[\s>]")
_END: Final = re.compile(rb"</(?:[\w.-]+:)?ListeBlancheMSSante\s*>")
_SHAPE: Final = {  # element -> its children, in order
    "Signature": ["SignedInfo", "SignatureValue", "KeyInfo"],
    "SignedInfo": ["CanonicalizationMethod", "SignatureMethod", "Reference"],
    "Reference": ["Transforms", "DigestMethod", "DigestValue"],
    "Transforms": ["Transform", "Transform"],
    "KeyInfo": ["X509Data"],
    "X509Data": ["X509Certificate"],
}


def verified(octets: bytes, root_tag: str, methods: frozenset[str], digests: frozenset[str]) -> tuple[Element, bytes]:
    """(the verified tree, the DER of the certificate it was verified with). Raises NotTrusted."""
    certificate = _certificate(_parse(octets, root_tag), methods, digests)
    try:
        signer = x509.load_der_x509_certificate(certificate)
    except ValueError as error:
        raise _bad("its certificate can't be read") from error
    expected = SignatureConfiguration(
        require_x509=True,
        location="./",
        expect_references=1,
        # Dates and issuer of the certificate are judged by trust.paths, at the right time; here it is only a key.
        verification_time=signer.not_valid_before_utc,
        signature_methods=frozenset(SignatureMethod(method) for method in methods),
        digest_algorithms=frozenset(DigestAlgorithm(digest) for digest in digests),
    )
    try:
        result = XMLVerifier().verify(octets, x509_cert=signer, expect_config=expected)
    except InvalidInput as error:
        raise _bad(spoken(str(error), 160)) from error
    except (SignXMLException, etree.LxmlError, ValueError, TypeError) as error:
        raise _bad(_said(error)) from error
    if isinstance(result, list) or result.signed_xml is None or result.signed_xml.tag != root_tag:
        raise _bad("it does not cover the whole list")
    if result.signed_xml.find(f".//{_DSIG}Signature") is not None:
        raise _bad("a signature is left inside what it covers")
    return result.signed_xml, certificate


def _said(error: Exception) -> str:
    text = str(error)
    if "Digest mismatch" in text:
        return "the content was changed after it was signed (digest mismatch)"
    if "Signature verification failed" in text or not text:
        return "the signature value is not of this content under the certificate it carries"
    return spoken(text, 160)


def _bad(what: str) -> MailError:
    return refusal(Fault.SIGNATURE, what=what)


def _parse(octets: bytes, root_tag: str) -> Element:
    if packed := next((name for start, name in _PACKED if octets.startswith(start)), ""):
        raise refusal(Fault.NOT_A_LIST, what=message("trust.list.packed", how=packed))
    if not octets.strip():
        raise refusal(Fault.NOT_A_LIST, what=message("trust.list.empty"))
    if b"<!DOCTYPE" in octets:
        raise refusal(Fault.NOT_A_LIST, what=message("trust.list.doctype"))
    parser = etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        dtd_validation=False,
        huge_tree=False,
        remove_comments=False,
        remove_pis=False,
    )
    try:
        root = etree.fromstring(octets, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        if _START.search(octets, 0, 4096) and not _END.search(octets, max(len(octets) - 4096, 0)):
            raise refusal(Fault.NOT_A_LIST, what=message("trust.list.cut", octets=len(octets))) from error
        raise refusal(Fault.NOT_A_LIST, what=message("trust.list.not-xml", why=spoken(str(error), 120))) from error
    if root.getroottree().docinfo.internalDTD is not None:
        raise refusal(Fault.NOT_A_LIST, what=message("trust.list.doctype"))
    if root.tag != root_tag:
        raise refusal(Fault.NOT_A_LIST, what=message("trust.list.root", found=spoken(str(root.tag), 120), wanted=root_tag))
    return root


def _certificate(root: Element, methods: frozenset[str], digests: frozenset[str]) -> bytes:
    """The signer's certificate, from the one signature of the one shape."""
    everywhere = list(root.iter(f"{_DSIG}Signature"))
    if len(everywhere) != 1:
        raise _bad("there is none" if not everywhere else f"there are {len(everywhere)} signatures, expected one")
    signature = everywhere[0]
    if signature.getparent() is not root:
        raise _bad("the signature is not a child of the root element")
    for name, children in _SHAPE.items():
        _require_children(signature, name, children)
    return _checked(signature, methods, digests)


def _require_children(signature: Element, name: str, expected: list[str]) -> None:
    for element in signature.iter(_DSIG + name):
        found = [str(child.tag).removeprefix(_DSIG) for child in element if isinstance(child.tag, str)]
        if found != expected:
            raise _bad(f"{name} holds {spoken(', '.join(found) or 'nothing', 120)}; expected {', '.join(expected)}")


def _checked(signature: Element, methods: frozenset[str], digests: frozenset[str]) -> bytes:
    reference = signature.find(f"{_DSIG}SignedInfo/{_DSIG}Reference")
    if reference is None or reference.attrib.items() != [("URI", "")]:
        raise _bad('its reference is not the whole document (URI="")')
    transforms = [_algorithm(each) for each in reference.iter(f"{_DSIG}Transform")]
    if transforms != _TRANSFORMS or any(len(each) for each in reference.iter(f"{_DSIG}Transform")):
        raise _bad(f"its transforms are {spoken(', '.join(transforms), 160)}; expected enveloped-signature, xml-exc-c14n")
    for name, allowed in (("CanonicalizationMethod", {_TRANSFORMS[1]}), ("SignatureMethod", methods), ("DigestMethod", digests)):
        for element in signature.iter(_DSIG + name):
            if _algorithm(element) not in allowed or len(element):
                raise _bad(f"{name} {spoken(_algorithm(element), 80)} is not accepted")
    text = signature.findtext(f"{_DSIG}KeyInfo/{_DSIG}X509Data/{_DSIG}X509Certificate") or ""
    if len(text) > 2 * MAX_CERTIFICATE:
        raise _bad("its certificate is too large")
    try:
        return base64.b64decode("".join(text.split()), validate=True)  # CR included: Java on Windows writes &#13;
    except (binascii.Error, ValueError) as error:
        raise _bad("its certificate is not base64") from error


def _algorithm(element: Element) -> str:
    return str(element.get("Algorithm", ""))
