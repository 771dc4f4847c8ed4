"""The French of what the connector says in detail: one catalogue for the whole package.

A detail is written in English where it is raised, because it also goes to the log; a user reads it through here.
`{}` stands for a piece that is filled in; a piece that is itself a known detail is turned too. What is not in the
catalogue (words of a server, of libxml2, of a card driver) passes as it is: nobody may invent what they said.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Final

CATALOGUE: Final[dict[str, str]] = {
    "an activity of the card is not in the known form": "une situation d'exercice de la carte n'a pas la forme connue",
    "an activity of the card has no structure": "une situation d'exercice de la carte n'a pas de structure",
    "cut data object on the card": "donnée tronquée sur la carte",
    "the card's certificate has no identifier": "le certificat de la carte n'a pas d'identifiant",
    "the card has {} activities; number {} was asked for": "la carte a {} situations d'exercice ; la n° {} est demandée",
    "the card's certificate cannot be read": "le certificat de la carte est illisible",
    "the profession in the card's certificate cannot be read": "la profession du certificat de la carte est illisible",
    "certificate valid until {}": "certificat valable jusqu'au {}",
    "certificate valid from {}": "certificat valable à partir du {}",
    "the card left its reader": "la carte a quitté son lecteur",
    "PKCS#11 module {} is not installed": "le module PKCS#11 {} n'est pas installé",
    "the module sees no reader": "le module ne voit aucun lecteur",
    "no reader holds a professional card": "aucun lecteur ne contient de carte professionnelle",
    "{} professional cards: say which reader": "{} cartes professionnelles : indiquez le lecteur (card_reader)",
    "the PIN is locked": "le code porteur est bloqué",
    "the card is no longer in its reader": "la carte n'est plus dans son lecteur",
    "the card module ended: {}": "le module de la carte s'est arrêté : {}",
    "no reader named {} is connected": "aucun lecteur nommé {} n'est branché",
    "the PC/SC service (pcscd) does not answer": "le service PC/SC (pcscd) ne répond pas",
    "no reader is connected": "aucun lecteur détecté",
    "the card did not answer": "la carte n'a pas répondu",
    "no card in {}": "pas de carte dans {}",
    "pyscard is not installed: pip install mssgw[card]": "pyscard n'est pas installé : pip install mssgw[card]",
    "stunnel did not start: {}": "stunnel n'a pas démarré : {}",
    "{} is not installed (package stunnel4)": "{} n'est pas installé (paquet stunnel4)",
    "the token refused the PIN of the TLS relay: {}": "la carte a refusé le code porteur du relais TLS : {}",
    "the OpenSSL engine pkcs11 is not installed (package libengine-pkcs11-openssl)":
        "le moteur OpenSSL pkcs11 n'est pas installé (paquet libengine-pkcs11-openssl)",
    "stunnel did not start in time": "stunnel n'a pas démarré à temps",
    "TLS relay: {} has characters that a stunnel configuration cannot carry":
        "relais TLS : {} contient des caractères interdits dans une configuration stunnel",
    "the card's data are too long": "les données de la carte sont trop longues",
    "the card has no beneficiary, or two of one rank": "la carte n'a pas de bénéficiaire, ou en a deux de même rang",
    "this beneficiary has no number of her own on the card; ask INSi":
        "ce bénéficiaire n'a pas de numéro propre sur la carte ; interrogez INSi",
    "no beneficiary of rank {} on this card": "pas de bénéficiaire de rang {} sur cette carte",
    "the Vitale program sees no reader": "le programme Vitale ne voit aucun lecteur",
    "no Vitale card in the reader": "pas de carte Vitale dans le lecteur",
    "the Vitale program ended with status {}": "le programme Vitale s'est terminé avec le code {}",
    "the card's data are not in the known form ({})": "les données de la carte n'ont pas la forme connue : {}",
    "the card's data are not JSON": "les données de la carte ne sont pas du JSON",
    "the field {} of the card is missing": "le champ {} de la carte est absent",
    "the field {} of the card cannot be read": "le champ {} de la carte est illisible",
    "this is not a Vitale card we can read": "ce n'est pas une carte Vitale que nous savons lire",
    "the Vitale program {} is not installed": "le programme Vitale {} n'est pas installé",
    "the Vitale program gave no answer": "le programme Vitale n'a pas répondu",
    "the card answered {}": "la carte a répondu {}",
    "{} needs the INS of the patient": "{} : l'INS du patient est nécessaire",
    "{} without document": "{} : aucun document",
    "{} needs the entryUUID of the document: find it first (TD3.1)":
        "{} : recherchez d'abord le document (TD3.1), son entryUUID est nécessaire",
    "TD0.5 needs a family name": "TD0.5 : un nom de famille est nécessaire",
    "{}: the data are about another patient than the call": "{} : les données concernent un autre patient que l'appel",
    "code table {}.json in {}: name, version and date are required":
        "table de codes {}.json dans {} : nom, version et date sont obligatoires",
    "code table {}.json: concepts are lists of code, system and label ({})":
        "table de codes {}.json : chaque concept est une liste code, système, libellé ({})",
    "include {} does not exist": "l'inclusion {} n'existe pas",
    "phase {} is not there": "la phase {} est absente",
    "more than {} includes": "plus de {} inclusions",
    "an include cannot be the root": "une inclusion ne peut pas être la racine",
    "{}: pattern {} is-a {}, which is not there": "{} : le motif {} est un {}, qui est absent",
    "rule {} extends itself": "la règle {} s'étend elle-même",
    "abstract rule {} is not there": "la règle abstraite {} est absente",
    "code table {}.json in {}: {}": "table de codes {}.json dans {} : {}",
    "{}: an https address is needed": "{} : une adresse https est nécessaire",
    "relay: http://127.0.0.1:PORT expected": "relay : http://127.0.0.1:PORT attendu",
    "certificate and key are given together": "le certificat et la clé se donnent ensemble",
    "either certificate and key, or the relay that holds a card's key":
        "soit un certificat et sa clé, soit le relais qui détient la clé d'une carte",
    "trace writes patient data: in production it needs trace_in_production, which is audited":
        "la trace écrit des données de patients : en production elle demande le réglage trace_in_production, qui est audité",
    "vihf.lifetime_seconds: 1 to 28800": "vihf.lifetime_seconds : de 1 à 28800",
    "service_urls: no service {}; known: {}": "service_urls : pas de service {} ; connus : {}",
    "the signature key does not belong to the certificate": "la clé de signature n'est pas celle du certificat",
    "{}: an RSA key is needed": "{} : une clé RSA est nécessaire",
    "the signing certificate cannot be read": "le certificat de signature est illisible",
    "the store has version {}, this program knows version {}": "le registre local a la version {}, ce programme connaît la version {}",
    "another document was already deposited under this uniqueId": "un autre document a déjà été déposé sous cet identifiant",
    "store: {}": "registre local : {}",
    "store: sqlite or postgresql": "registre local : sqlite ou postgresql",
    "validation kit: {} is not a folder": "kit de validation : {} n'est pas un dossier",
    "the identifier is not a qualified INS (NIR or NIA)": "l'identifiant n'est pas un INS qualifié (NIR ou NIA)",
    "an INS for tests or demonstrations is refused in production (EX_GEN-1430)":
        "un INS de test ou de démonstration est refusé en production (EX_GEN-1430)",
    "15 characters expected: 13 of the number (digits, 2A or 2B) and 2 key digits":
        "15 caractères attendus : les 13 du numéro (chiffres, 2A ou 2B) et les 2 de la clé",
    "EX_GEN-1430": "EX_GEN-1430",
    "{} bytes of HL7 v2 where {} are allowed": "{} octets de HL7 v2, {} au plus",
    "not an HL7 v2 message: it does not begin with MSH": "ce n'est pas un message HL7 v2 : il ne commence pas par MSH",
    "the delimiters of MSH are not five different signs": "les séparateurs de MSH ne sont pas cinq signes différents",
    "no PID segment": "pas de segment PID",
    "PID-3 holds no INS": "PID-3 ne contient pas d'INS",
    "{}: neither an acknowledgement nor a business feedback": "{} : ni un acquittement ni un retour métier",
    "a ZAM message without ACK_ observation": "un message ZAM sans observation ACK_",
    "no OBX holds a document": "aucun OBX ne contient de document",
    "ZFA: {}": "ZFA : {}",
    "the document of the HL7 v2 message is not base64": "le document du message HL7 v2 n'est pas du base64",
    "PID-3: {}": "PID-3 : {}",
    "PID-7: not a date": "PID-7 : ce n'est pas une date",
    "not a date and time in HL7 form: {}": "ce n'est pas une date et heure au format HL7 : {}",
    "not a date: {}": "ce n'est pas une date : {}",
    "{} bytes where the metadata say {}": "{} octets, alors que les métadonnées annoncent {}",
    "the content does not have the hash the metadata say": "le contenu n'a pas l'empreinte annoncée par les métadonnées",
    "METADATA.XML: {}": "METADATA.XML : {}",
    "{} submission sets in one METADATA.XML": "{} lots de soumission dans un même METADATA.XML",
    "names are not in upper case": "les noms ne sont pas en majuscules",
    "the separator between folder and file was lost": "le séparateur entre dossier et fichier est perdu",
    "no IHE_XDM folder": "pas de dossier IHE_XDM",
    "the tree lies under an extra folder": "l'arborescence est sous un dossier de trop",
    "a document has no hash or no size": "un document n'a pas d'empreinte ou de taille",
    "a document has no URI": "un document n'a pas d'URI",
    "a document's name differs in case from its URI": "le nom d'un document diffère de son URI par la casse",
    "a document was found by its name only": "un document n'a été retrouvé que par son nom",
    "doubtful identity, traits that differ: {}": "identité douteuse, traits qui diffèrent : {}",
    "given names": "prénoms",
    "birth date": "date de naissance",
    "sex": "sexe",
    "birth place": "lieu de naissance",
    "{}, {}": "{}, {}",
    "{} bytes of XML where {} are allowed": "{} octets de XML, {} au plus",
    "a DTD is not accepted": "une DTD n'est pas acceptée",
    "No such file or directory": "ce fichier ou ce répertoire n'existe pas",
    "Permission denied": "pas le droit d'y écrire",
    "File exists": "ce fichier existe déjà",
    "Not a directory": "ce n'est pas un répertoire",
    "No space left on device": "le disque est plein",
    "Read-only file system": "le disque est en lecture seule",
    "nested too deep": "imbriqué trop profondément",
    "a text or an attribute is too long": "un texte ou un attribut trop long",
    "nested deeper than {}": "imbriqué sur plus de {} niveaux",
    "only UTF-8 is accepted": "ce n'est pas du XML en UTF-8",
    "not well-formed XML: {}": "ce n'est pas du XML bien formé : {}",
    "not readable as XML: {}": "illisible comme XML : {}",
    "birth name": "nom de naissance",
    "first given name": "premier prénom",
    "list of given names": "liste des prénoms",
    "{} is missing": "{} est absent",
    "{} is missing ({}{})": "{} : absent ({}{})",
    "{} ({}) is missing": "{} ({}) est absent",
    "is missing": "est absent",
    "{} must not be a nullFlavor": "{} ne doit pas être un nullFlavor",
    "{} must be {}": "{} doit valoir {}",
    "must be FR": "doit valoir FR",
    "must be 2.16.840.1.113883.1.3 / POCD_HD000040": "doit valoir 2.16.840.1.113883.1.3 / POCD_HD000040",
    "the template of the document model is missing": "le modèle du document (templateId) est absent",
    "{} is obligatory for an unstructured body": "{} est obligatoire pour un corps non structuré",
    "must be N, R or V; masking belongs in the XDS metadata": "doit valoir N, R ou V ; le masquage se dit dans les métadonnées XDS",
    "must have the form ll-CC, e.g. fr-FR": "doit avoir la forme ll-CC, par exemple fr-FR",
    "must be a positive integer": "doit être un entier positif",
    "patient/birthplace has no place": "patient/birthplace n'a pas de place",
    "patient/{} is missing": "patient/{} est absent",
    "a document is about one patient": "un document concerne un seul patient",
    "two INS in one document": "deux INS dans un même document",
    "birth place (COG code in birthplace/place/addr/county) is missing":
        "lieu de naissance absent (code COG dans birthplace/place/addr/county)",
    "id@root must be one of {}": "id@root doit être l'un de {}",
    "serviceEvent is missing": "serviceEvent est absent",
    "effectiveTime/low is missing": "effectiveTime/low est absent",
    "standardIndustryClassCode is missing": "standardIndustryClassCode est absent",
    "effectiveTime is missing": "effectiveTime est absent",
    "the document has no body": "le document n'a pas de corps",
    "the key does not match the number": "la clé ne correspond pas au numéro",
    "typeCode must be RPLC": "typeCode doit valoir RPLC",
    "only the qualifiers BR and CL are allowed (RNIV)": "seuls les qualificatifs BR et CL sont permis (RNIV)",
    "time is missing": "time est absent",
    "id is missing": "id est absent",
    "encompassingEncounter is missing": "encompassingEncounter est absent",
    "associatedEntity@classCode must be PROV or AGNT": "associatedEntity@classCode doit valoir PROV ou AGNT",
    "statusCode must be completed": "statusCode doit valoir completed",
    "classCode must be one of {}": "classCode doit être l'un de {}",
    "exactly one of value and nullFlavor is needed": "il faut soit value, soit nullFlavor",
    "unknown use": "use inconnu",
    "assignedPerson/name/family is missing": "assignedPerson/name/family est absent",
    "signatureCode must be S": "signatureCode doit valoir S",
    "assignedEntity/id@root must be 1.2.250.1.71.4.2.1": "assignedEntity/id@root doit valoir 1.2.250.1.71.4.2.1",
    "assignedEntity/id is missing": "assignedEntity/id est absent",
    "a document carries no script (EX_2.1-1115)": "un document ne contient pas de script (EX_2.1-1115)",
    "a document carries no external link (EX_2.1-1115)": "un document ne contient pas de lien vers l'extérieur (EX_2.1-1115)",
    "the device's {} is missing": "{} de l'appareil est absent",
}


def french(detail: str, depth: int = 3) -> str:
    """The detail in French, or unchanged. `depth`: pieces inside pieces, at most."""
    exact = CATALOGUE.get(detail)
    if exact is not None or not depth:
        return exact or detail
    for pattern, wording in _patterns():
        if found := pattern.fullmatch(detail):
            return wording.format(*(french(piece, depth - 1) for piece in found.groups()))
    return detail


@cache
def _patterns() -> tuple[tuple[re.Pattern[str], str], ...]:
    """Those with pieces, the longest wording first: the most particular one speaks."""
    with_pieces = sorted((k for k in CATALOGUE if "{}" in k), key=lambda k: -len(k))
    return tuple((re.compile("(.*?)".join(map(re.escape, k.split("{}"))), re.DOTALL), CATALOGUE[k]) for k in with_pieces)
