"""The SAML assertion by which a professional's card proves to INSi who asks (GIE SESAM-Vitale, SEL-MP-043 3.2).

It names the holder of the card and how he bills, nothing of the patient, and is signed for one call. It is no VIHF: the DMP takes none.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime

from lxml import etree

from dmp_connector.proof import dsig
from dmp_connector.proof.vihf import SAML, XS, XSI, instant
from dmp_connector.signer import Algorithm, Signer, subject_text
from dmp_connector.wire.xml import serialise

ISSUER_FORMAT = "urn:oasis:names:tc:SAML:1.1:nameid-format:X509SubjectName"
BILLING = "identifiantFacturation"


@dataclass(frozen=True, slots=True)
class CardHolder:
    """`id`: PS_IdNat. `billing_id`: number under which the health insurance is billed (AM; FINESS in a hospital). The others "" for unsaid:
    `speciality`: code of the health insurance (AMO), wanted of doctors; `sector`: of activity.
    """

    id: str
    billing_id: str
    speciality: str = ""
    sector: str = ""


def assertion(holder: CardHolder, signer: Signer, now: datetime, algorithm: Algorithm = Algorithm.RSA_SHA256) -> bytes:
    """Signed, ready for wsse:Security. Blocks while the key signs."""
    facts = {"ID": f"_{uuid.uuid4()}", "IssueInstant": instant(now), "Version": "2.0"}
    root = etree.Element(f"{{{SAML}}}Assertion", facts, nsmap={"saml2": SAML, "xsi": XSI, "xs": XS})
    etree.SubElement(root, f"{{{SAML}}}Issuer", {"Format": ISSUER_FORMAT}).text = subject_text(signer.certificate)
    subject = etree.SubElement(root, f"{{{SAML}}}Subject")
    etree.SubElement(subject, f"{{{SAML}}}NameID", {"NameQualifier": "CPS"}).text = holder.id
    statement = etree.SubElement(root, f"{{{SAML}}}AttributeStatement")
    for name, value in ((BILLING, holder.billing_id), ("codeSpecialiteAMO", holder.speciality), ("secteurActivite", holder.sector)):
        if value:
            attribute = etree.SubElement(statement, f"{{{SAML}}}Attribute", {"Name": name})
            etree.SubElement(attribute, f"{{{SAML}}}AttributeValue", {f"{{{XSI}}}type": "xs:string"}).text = value
    dsig.sign_enveloped(root, algorithm, signer)
    return serialise(root)
