"""The one catalogue of what people read: French first, English second.

`text(key, language, **values)`; a missing key is a bug and raises KeyError.
"""

from __future__ import annotations

from typing import Literal

Language = Literal["fr", "en"]

TEXTS: dict[str, dict[Language, str]] = {
    "web.title": {"fr": "Messagerie sécurisée de santé", "en": "Secure health mail"},
    "web.intro": {
        "fr": "Ce serveur échange des messages dans l'espace de confiance MSSanté, et nulle part ailleurs.",
        "en": "This server exchanges mail inside the MSSanté trust space, and nowhere else.",
    },
    "web.setup": {"fr": "Régler votre logiciel de messagerie", "en": "Set up your mail client"},
    "web.protocol": {"fr": "Usage", "en": "Purpose"},
    "web.server": {"fr": "Serveur", "en": "Server"},
    "web.port": {"fr": "Port", "en": "Port"},
    "web.security": {"fr": "Sécurité", "en": "Security"},
    "web.imap": {"fr": "Lire (IMAP)", "en": "Read (IMAP)"},
    "web.smtp": {"fr": "Envoyer (SMTP)", "en": "Send (SMTP)"},
    "web.login": {
        "fr": "Identifiant : votre adresse complète. Authentification : mot de passe normal.",
        "en": "User name: your whole address. Authentication: normal password.",
    },
    "web.autoconfig": {
        "fr": "Thunderbird trouve ces réglages tout seul.",
        "en": "Thunderbird finds these settings by itself.",
    },
    "smime.none": {"fr": "Message ni signé ni chiffré par S/MIME.", "en": "Message neither signed nor encrypted with S/MIME."},
    "smime.signature.valid": {"fr": "Signature valide de l'expéditeur : {who}.", "en": "Valid signature of the sender: {who}."},
    "smime.signature.unbound": {
        "fr": "Signature correcte de {who}, mais rien ne relie ce signataire à l'adresse de l'expéditeur.",
        "en": "Correct signature of {who}, but nothing links this signer to the sender's address.",
    },
    "smime.signature.invalid": {
        "fr": "SIGNATURE NON VALIDE : le message a pu être modifié. Ne vous fiez pas à son contenu.",
        "en": "INVALID SIGNATURE: the message may have been altered. Do not rely on its content.",
    },
    "smime.signature.untrusted": {
        "fr": "Signature de {who}, dont le certificat n'est pas reconnu.",
        "en": "Signature of {who}, whose certificate is not trusted.",
    },
    "smime.signature.undecided": {
        "fr": "Signature de {who} ; son certificat n'a pas pu être contrôlé pour le moment.",
        "en": "Signature of {who}; the certificate could not be checked for now.",
    },
    "smime.encryption.decrypted": {"fr": "Le message était chiffré.", "en": "The message was encrypted."},
    "smime.encryption.no-key": {
        "fr": "Message chiffré pour une clé que ce serveur ne détient pas ; il est remis tel quel.",
        "en": "Message encrypted to a key this server does not hold; it is delivered as it is.",
    },
    "smime.encryption.failed": {
        "fr": "Le message chiffré n'a pas pu être déchiffré ; il est remis tel quel. Demandez à l'expéditeur de le renvoyer.",
        "en": "The encrypted message could not be decrypted; it is delivered as it is. Ask the sender to send it again.",
    },
}


def text(key: str, language: Language = "fr", **values: object) -> str:
    return TEXTS[key][language].format(**values)
