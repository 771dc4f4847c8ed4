"""Write and sign whitelists as the national authority does, quirks included, of any size.

entries = [ListEntry("alpha.mssante.test", listed_name(alpha)), ...]
signed = sign(render(entries, generated_at), signer)
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from xml.sax.saxutils import escape

from lxml import etree
from signxml.algorithms import CanonicalizationMethod, DigestAlgorithm, SignatureConstructionMethod, SignatureMethod
from signxml.signer import XMLSigner

from mssgw.demo.pki import Credential

NAMESPACE = "https://listeblanche.mssante.fr/schema"
XMLDSIG = "http://www.w3.org/2000/09/xmldsig#"


@dataclass(frozen=True, slots=True)
class ListEntry:
    """One `<Domaine>`: a domain and the subject of one certificate of its operator."""

    domain: str
    name: str
    description: str = "Domaine de messagerie MSSanté de démonstration"
    responsible: str = "01 00 00 00 00, responsable@operateur.test"
    support: str = "01 00 00 00 00, support@operateur.test"
    updated: str = "2026-01-15T10:00:00Z"


def render(entries: Iterable[ListEntry], generated_at: datetime) -> bytes:
    """The unsigned list, four blanks deep like the real one."""
    parts = [
        f'<?xml version="1.0" encoding="UTF-8"?><ListeBlancheMSSante xmlns="{NAMESPACE}">\n'
        f"    <DateDeGeneration>{generated_at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}</DateDeGeneration>\n    <ListeDomaines>\n"
    ]
    parts.extend(
        f"        <Domaine>\n            <Nom>{escape(entry.domain)}</Nom>\n"
        f"            <Description>{escape(entry.description)}</Description>\n"
        f"            <DNCertificatOperateur>{escape(entry.name)}</DNCertificatOperateur>\n"
        f"            <ResponsableContact>{escape(entry.responsible)}</ResponsableContact>\n"
        f"            <SupportContact>{escape(entry.support)}</SupportContact>\n"
        f"            <DateMAJ>{entry.updated}</DateMAJ>\n        </Domaine>\n"
        for entry in entries
    )
    parts.append("    </ListeDomaines>\n</ListeBlancheMSSante>")
    return "".join(parts).encode()


def sign(
    xml: bytes,
    signer: Credential,
    *,
    carriage_returns: bool = True,
    method: SignatureMethod = SignatureMethod.RSA_SHA256,
    digest: DigestAlgorithm = DigestAlgorithm.SHA256,
) -> bytes:
    """Enveloped XML signature with one X509Certificate; base64 lines end in `&#13;` and LF, as Java on Windows writes them."""
    unsigned = etree.fromstring(xml, etree.XMLParser(resolve_entities=False, no_network=True))
    signing = XMLSigner(SignatureConstructionMethod.enveloped, method, digest, CanonicalizationMethod.EXCLUSIVE_XML_CANONICALIZATION_1_0)
    signing.namespaces = {None: XMLDSIG}  # type: ignore[dict-item]
    # A certificate as PEM, so that no chain goes into KeyInfo; the real list has the signer only.
    signed = signing.sign(unsigned, key=signer.key, cert=signer.pem.decode())
    text = etree.tostring(signed, xml_declaration=True, encoding="UTF-8")
    return _with_carriage_returns(text) if carriage_returns else text


def _with_carriage_returns(xml: bytes) -> bytes:
    """Break the base64 of signature and certificate into lines of 76; neither is covered by the signature."""

    def broken(found: re.Match[bytes]) -> bytes:
        packed = b"".join(found[2].split())
        return found[1] + b"&#13;\n".join(packed[at : at + 76] for at in range(0, len(packed), 76)) + found[3]

    return re.sub(rb"(<(?:SignatureValue|X509Certificate)>)([^<]*)(</)", broken, xml)


def quirky(count: int, *, seed: int = 1, suffix: str = "mssante.test") -> Iterator[ListEntry]:
    """`count` entries with every quirk of the real list: several subjects per domain, several domains per subject,
    duplicates, sub-domains, broken mark-up as text, spaces of all kinds, quotes, accents, fields of 255 characters."""
    chance = random.Random(seed)  # noqa: S311
    subjects = [_quirky_subject(number, chance) for number in range(max(1, count // 16))]
    for number in range(count):
        domain = f"etablissement-{number * 3 // 4}.{suffix}"
        if number % 13 == 0:
            domain = f"service.{domain}"
        subject = chance.choice(subjects)
        description = "é" * 255 if number % 97 == 0 else f"Domaine de l'établissement n°{number} <b>{'&' * (number % 3)}"
        entry = ListEntry(domain, subject, description, responsible="ResponsableContact>01 02" if number % 50 == 0 else "01, a@b.test")
        yield entry


def _quirky_subject(number: int, chance: random.Random) -> str:
    cn, ou = f"smtp-{number}.operateur.test", f"3{number:014d}"
    return chance.choice(
        [
            f"CN={cn},OU={ou},O=OPERATEUR {number},ST=Paris (75),C=FR",
            f'CN={cn},OU={ou},O="C.H. DE  VILLE-{number}",ST=Gironde (33),C=FR',
            f'CN={cn},OU={ou},O=CRLCC "PAUL {number}",ST=Bas-Rhin (67),C=FR',
            f"CN={cn}, OU={ou}, O=ÉTABLISSEMENT  D'HÉBERGEMENT {number}, ST=Paris(75), C=FR",
            f"CN={cn} ,OU={ou},O=HÔPITAL\u00a0N°{number},ST=Meurthe-et-Moselle (54),C=FR",
            f"CN={cn},OU={ou},O=GIP {number},L=Paris (75),C=FR",
        ]
    )
