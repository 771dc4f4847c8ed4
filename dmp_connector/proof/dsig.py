"""XML-DSig by hand: the parts VIHF and XAdES share. Pure but for the signer.

We build the canonical form ourselves and sign exactly those bytes; verification belongs to others
(`signxml` in the simulator, `xmlsec1` in the tests).
"""

from __future__ import annotations

import base64
import copy
import hashlib
from typing import Any

from lxml import etree

from dmp_connector.signer import Algorithm, Signer

DS = "http://www.w3.org/2000/09/xmldsig#"
EXCLUSIVE = "http://www.w3.org/2001/10/xml-exc-c14n#"
INCLUSIVE_WITH_COMMENTS = "http://www.w3.org/TR/2001/REC-xml-c14n-20010315#WithComments"
ENVELOPED = f"{DS}enveloped-signature"


def ds(name: str, text: str | None = None, **attributes: str) -> etree._Element:
    """A new element of XML Signature."""
    element = etree.Element(f"{{{DS}}}{name}", attributes, nsmap={"ds": DS})
    element.text = text
    return element


def canonical(element: etree._Element, method: str) -> bytes:
    """Canonical bytes of a subtree. Inclusive forms render every namespace in scope at the apex (C14N 4.7), which
    lxml forgets for a subtree: we set the apex up with them."""
    if method != EXCLUSIVE:
        in_scope: Any = element.nsmap
        apex = etree.Element(element.tag, {str(k): str(v) for k, v in element.attrib.items()}, nsmap=in_scope)
        apex.text = element.text
        apex.extend([copy.deepcopy(child) for child in element])
        element = apex
    return etree.tostring(
        element, method="c14n", exclusive=method == EXCLUSIVE, with_comments=method == INCLUSIVE_WITH_COMMENTS, with_tail=False
    )


def digest(data: bytes, algorithm: Algorithm) -> str:
    """The digest of `data`, base64."""
    return base64.b64encode(hashlib.new(algorithm.hashlib_name, data, usedforsecurity=False).digest()).decode()


def reference(uri: str, digest_value: str, algorithm: Algorithm, *transforms: str, type_: str = "") -> etree._Element:
    """ds:Reference with its transforms, digest method and value."""
    element = ds("Reference", **({"Type": type_} if type_ else {}), URI=uri)
    if transforms:
        holder = ds("Transforms")
        holder.extend([ds("Transform", Algorithm=name) for name in transforms])
        element.append(holder)
    element.append(ds("DigestMethod", Algorithm=algorithm.digest))
    element.append(ds("DigestValue", digest_value))
    return element


def signed_info(method: str, algorithm: Algorithm, *references: etree._Element) -> etree._Element:
    """SignedInfo. `method`: the URI of its canonicalisation."""
    element = ds("SignedInfo")
    element.append(ds("CanonicalizationMethod", Algorithm=method))
    element.append(ds("SignatureMethod", Algorithm=algorithm.value))
    element.extend(references)
    return element


def sign_enveloped(element: etree._Element, algorithm: Algorithm, signer: Signer) -> None:
    """Sign a SAML assertion: ds:Signature right after saml:Issuer, over its ID (SAML Core 5.4). Blocks while the key signs."""
    value = digest(canonical(element, EXCLUSIVE), algorithm)
    signature = ds("Signature")
    signature.append(signed_info(EXCLUSIVE, algorithm, reference(f"#{element.get('ID')}", value, algorithm, ENVELOPED, EXCLUSIVE)))
    element.insert(1, signature)
    complete(signature, EXCLUSIVE, algorithm, signer)


def complete(signature: etree._Element, method: str, algorithm: Algorithm, signer: Signer) -> None:
    """Sign the ds:SignedInfo inside `signature` where it stands; SignatureValue and KeyInfo follow it."""
    info = signature[0]
    value = base64.b64encode(signer.sign(canonical(info, method), algorithm)).decode()
    key_info, data = ds("KeyInfo"), ds("X509Data")
    data.append(ds("X509Certificate", base64.b64encode(signer.certificate).decode()))
    key_info.append(data)
    signature.insert(1, ds("SignatureValue", value))
    signature.insert(2, key_info)
