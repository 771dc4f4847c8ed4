"""Codes and OIDs of the French profile of HL7 V3 (docs/reference/dmp.md 1.3, 1.5)."""

import enum

HL7 = "urn:hl7-org:v3"
XSI = "http://www.w3.org/2001/XMLSchema-instance"
INTERACTIONS = "2.16.840.1.113883.1.6"

REASONS = "1.2.250.1.213.1.1.4.11"
ATTENTION_KEYS = "1.2.250.1.213.4.1.2.6.1"
AUTHORISATION_VALUES = "1.2.250.1.213.4.1.2.6.2"
TREATING_DOCTOR_VALUES = "1.2.250.1.213.4.1.2.6.3"
OBSERVATIONS = "1.2.250.1.213.4.1.2.3"
INTERNET_ACCOUNT_SYSTEM = "1.2.250.1.213.4.1.2.9"
CLOSING_REASONS = "1.2.250.1.213.4.1.2.4"
CONTACT_KINDS = "1.2.250.1.213.4.1.2.5"
RELATIONS = "2.16.840.1.113883.5.111"
GENDERS = "2.16.840.1.113883.5.1"
NO_USED_NAME = "NON RENSEIGNE"  # sent for an unknown name of use, docs/reference/dmp.md 1.3

CONSENT_OPENING = "CONSENTEMENT_OUVERTURE_DMP"
CONSENT_REACTIVATION = "CONSENTEMENT_REACTIVATION_DMP"
OPPOSES_BRIS_DE_GLACE = "OPPOSITION_BRIS_DE_GLACE"
OPPOSES_CENTRE_15 = "OPPOSITION_ACCES_URGENCE"
ATTACHED_TO_MES = "RATTACHEMENT_ENS"
INTERNET_ACCOUNT = "COMPTE_INTERNET_OUVERT"
MATCH = "POURCENTAGE"
VITALE_CARD = "CARTE_SESAM_VITALE"

LABELS = {
    CONSENT_OPENING: "Consentement à l'ouverture du DMP",
    CONSENT_REACTIVATION: "Consentement à la réactivation du DMP",
    OPPOSES_BRIS_DE_GLACE: "Opposition au mode bris de glace",
    OPPOSES_CENTRE_15: "Opposition à l'accès au mode urgence",
    ATTACHED_TO_MES: "Rattachement à Mon espace santé",
    INTERNET_ACCOUNT: "Compte internet ouvert",
}


class Reason(enum.StrEnum):
    """controlActProcess/reasonCode."""

    EXISTENCE = "TEST_EXST"
    CREATE = "CREA_RD"
    REACTIVATE = "REAC"
    READ = "CNSLT_DATA"
    MODIFY = "MODIF_DATA"
    CLOSE = "FERM"

    @property
    def label(self) -> str:
        """The label that the guide gives to this reason."""
        return _REASON_LABELS[self.value]


_REASON_LABELS = {
    "TEST_EXST": "Test d'existence de dossier",
    "CREA_RD": "Création de dossier",
    "REAC": "Réactivation de dossier",
    "CNSLT_DATA": "Consultation des données de gestion de dossier",
    "MODIF_DATA": "Modification des données de gestion du dossier",
    "FERM": "Fermeture de dossier",
}
