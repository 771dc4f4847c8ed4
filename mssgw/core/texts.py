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
}


def text(key: str, language: Language = "fr", **values: object) -> str:
    return TEXTS[key][language].format(**values)
