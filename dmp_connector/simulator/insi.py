"""The identity teleservice: by Vitale card and by traits, over the same persons as the DMP."""

from __future__ import annotations

import re
from xml.sax.saxutils import escape

from lxml import etree

from dmp_connector.insi import RESULT, WITH_CARD, WITHOUT_CARD
from dmp_connector.model.people import InsKind, Patient, register_name
from dmp_connector.proof.practitioner import BILLING
from dmp_connector.proof.vihf import SAML
from dmp_connector.simulator.gate import GateRefused
from dmp_connector.simulator.world import World

_PRODUCTION = {InsKind.NIR_TEST.value: InsKind.NIR.value}
"""INSi names a NIR by the OID of production on the test platform too."""
BAM, LPS = "urn:siram:bam:ctxbam", "urn:siram:lps:ctxlps"


class InsiService:
    """The INSi teleservice over the patients of the simulation. `accepted`: authorisation numbers."""

    def __init__(self, world: World, accepted: tuple[str, ...]) -> None:
        self._world, self._accepted = world, accepted

    def answer(self, payload: etree._Element, header: etree._Element | None) -> bytes:
        """RESULTAT as bytes. Raises GateRefused (siram/desir) for a bad context."""
        number = (header.findtext(f"{{{LPS}}}ContexteLPS/{{{LPS}}}LPS/{{{LPS}}}IDAM") if header is not None else "") or ""
        if header is None or header.find(f"{{{BAM}}}ContexteBAM") is None or not number:
            raise GateRefused("SIMBadContext", "En-tête ContexteBAM ou ContexteLPS absent")
        if self._accepted and number not in self._accepted:
            raise GateRefused("siram_100", "L'accès par ce progiciel au service n'est pas autorisé")
        if payload.tag == f"{{{WITHOUT_CARD}}}RECSANSVITALE":
            found = self._by_traits(payload)
        elif payload.tag == f"{{{WITH_CARD}}}RECVITALE":
            found = self._by_card(payload)
        else:
            raise GateRefused("SIMBadContext", "Requête inconnue")
        return _result(found)

    def require_card(self, claims: etree._Element) -> None:
        """The signed assertion of a card: whose, and how the holder bills. Raises GateRefused."""
        name = claims.find(f"{{{SAML}}}Subject/{{{SAML}}}NameID")
        said = {a.get("Name"): a.findtext(f"{{{SAML}}}AttributeValue") for a in claims.iter(f"{{{SAML}}}Attribute")}
        if name is None or name.get("NameQualifier") != "CPS" or not name.text or not said.get(BILLING):
            raise GateRefused("SIMBadContext", "Assertion sans porteur de CPS ou sans identifiantFacturation")

    def _by_traits(self, payload: etree._Element) -> list[Patient]:
        asked = {etree.QName(e).localname: (e.text or "").strip() for e in payload}
        for name in ("NomNaissance", "Prenom"):
            if not re.fullmatch(r"[A-Z'](?:[A-Z -]|'(?![ ']))*", asked.get(name, "")):
                raise GateRefused("SIMBadTraits", f"{name} : capitales sans accent, blanc, tiret ou apostrophe attendus")
        return [p for p in self._persons() if _fits(p, asked)]

    def _by_card(self, payload: etree._Element) -> list[Patient]:
        ns = f"{{{WITH_CARD}}}"
        own = payload.findtext(f"{ns}MatriculeIndividu/{ns}NumIdentifiant") or payload.findtext(f"{ns}MatriculeOD/{ns}NumIdentifiant")
        birth = "".join(c for c in payload.findtext(f"{ns}DateNaissance") or "" if c.isdigit())
        return [p for p in self._persons() if p.ins.body == (own or "")[:13] and birth in (f"{p.birth_date:%Y%m%d}", "")]

    def _persons(self) -> list[Patient]:
        return [record.data.patient for record in self._world.records.values()]


def _fits(person: Patient, asked: dict[str, str]) -> bool:
    return (
        register_name(person.birth_name) == asked.get("NomNaissance")
        and asked.get("Prenom", "") in register_name(person.given_names).split()
        and asked.get("Sexe") == person.sex.value
        and asked.get("DateNaissance") == person.birth_date.isoformat()
        and asked.get("LieuNaissance", person.birth_place) == person.birth_place
    )


def _result(found: list[Patient]) -> bytes:
    code, label = [("01", "Aucune identite trouvee"), ("00", "OK"), ("02", "Plusieurs identites trouvees")][min(len(found), 2)]
    person = ""
    if len(found) == 1:
        one = found[0]
        person = (
            f"<INDIVIDU><INSACTIF><IdIndividu><NumIdentifiant>{one.ins.body}</NumIdentifiant><Cle>{one.ins.key}</Cle></IdIndividu>"
            f"<OID>{_PRODUCTION.get(one.ins.oid, one.ins.oid)}</OID></INSACTIF><TIQ><NomNaissance>{escape(one.birth_name)}</NomNaissance>"
            f"<ListePrenom>{escape(one.given_names)}</ListePrenom><Sexe>{one.sex.value}</Sexe>"
            f"<DateNaissance>{one.birth_date.isoformat()}</DateNaissance><LieuNaissance>{escape(one.birth_place or '')}</LieuNaissance>"
            "</TIQ></INDIVIDU>"
        )
    return f'<RESULTAT xmlns="{RESULT}"><CR><CodeCR>{code}</CodeCR><LibelleCR>{label}</LibelleCR></CR>{person}</RESULTAT>'.encode()
