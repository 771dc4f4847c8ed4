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
    "smime.file.empty": {"fr": "le fichier est vide", "en": "the file is empty"},
    "smime.file.too-large": {
        "fr": "le fichier dépasse 1 Mo ou 100 blocs ; ce n'est pas un fichier de clé ou de certificat",
        "en": "the file is over 1 MB or 100 blocks; that is no key or certificate file",
    },
    "smime.file.unknown-format": {
        "fr": "format inconnu : ni PEM, ni DER, ni PKCS#12, ni p7b",
        "en": "unknown format: neither PEM, DER, PKCS#12 nor p7b",
    },
    "smime.file.damaged": {"fr": "le fichier est abîmé ou coupé", "en": "the file is damaged or cut off"},
    "smime.file.unsupported": {
        "fr": "ce type de clé ou de chiffrement n'est pas utilisable ici ; une clé RSA ou EC convient",
        "en": "this kind of key or cipher is of no use here; an RSA or EC key is",
    },
    "smime.file.no-key": {"fr": "pas de clé privée dans ce fichier", "en": "no private key in this file"},
    "smime.file.no-certificate": {"fr": "pas de certificat dans ce fichier", "en": "no certificate in this file"},
    "smime.file.passphrase-missing": {
        "fr": "la clé est chiffrée : il faut sa phrase secrète (--passphrase-file, smime.key_passphrase)",
        "en": "the key is encrypted: its passphrase is needed (--passphrase-file, smime.key_passphrase)",
    },
    "smime.file.passphrase-wrong": {
        "fr": "la phrase secrète est fausse, ou le fichier est abîmé",
        "en": "the passphrase is wrong, or the file is damaged",
    },
    "smime.file.not-of-certificate": {
        "fr": "la clé privée n'est celle d'aucun des certificats donnés",
        "en": "the private key does not belong to the certificate: to none of those given",
    },
    "smime.file.weak": {
        "fr": "clé trop faible pour signer ou chiffrer ; --legacy permet encore de lire d'anciens messages",
        "en": "key too weak to sign or encrypt with; --legacy still reads old messages",
    },
    "dsn.failed.subject": {"fr": "Message non remis", "en": "Message not delivered"},
    "dsn.failed.intro": {
        "fr": "Votre message du {date} n'a pas été remis à ces destinataires. Il ne sera plus présenté :",
        "en": "Your message of {date} was not delivered to these recipients. It will not be tried again:",
    },
    "dsn.delayed.subject": {"fr": "Message retardé", "en": "Message delayed"},
    "dsn.delayed.intro": {
        "fr": "Votre message du {date} attend encore pour ces destinataires. Vous n'avez rien à faire : il sera présenté jusqu'au {until}.",
        "en": "Your message of {date} is still waiting for these recipients. You need not do anything: it will be tried until {until}.",
    },
    "dsn.relayed.subject": {"fr": "Message transmis", "en": "Message relayed"},
    "dsn.relayed.intro": {
        "fr": "Votre message du {date} a été transmis à l'opérateur de ces destinataires, qui ne confirme pas la remise :",
        "en": "Your message of {date} was handed to the operator of these recipients, which does not confirm delivery:",
    },
    "dsn.delivered.subject": {"fr": "Message remis", "en": "Message delivered"},
    "dsn.delivered.intro": {
        "fr": "Votre message du {date} est arrivé dans la boîte de ces destinataires :",
        "en": "Your message of {date} arrived in the mailboxes of these recipients:",
    },
    "dsn.said": {"fr": "Réponse de {host} : {reply}", "en": "Answer of {host}: {reply}"},
    "dsn.found": {"fr": "Raison : {reply}", "en": "Reason: {reply}"},
    "dsn.cut": {
        "fr": "L'en-tête de votre message est très long ; seul son début est joint.",
        "en": "The header of your message is very long; only its beginning is attached.",
    },
    "dsn.trace": {"fr": "Référence pour votre support : {trace}", "en": "Reference for your support: {trace}"},
    "dsn.why.1.1": {
        "fr": "Cette adresse n'existe pas. Vérifiez-la dans l'annuaire.",
        "en": "This address does not exist. Check it in the directory.",
    },
    "dsn.why.1.2": {
        "fr": "Ce domaine n'est pas dans l'espace de confiance MSSanté.",
        "en": "This domain is not in the MSSanté trust space.",
    },
    "dsn.why.2.1": {"fr": "Cette boîte est fermée ou suspendue.", "en": "This mailbox is closed or suspended."},
    "dsn.why.2.2": {"fr": "Cette boîte est pleine.", "en": "This mailbox is full."},
    "dsn.why.3.4": {
        "fr": "Le message est trop volumineux pour cet opérateur. Envoyez moins de pièces jointes à la fois.",
        "en": "The message is too large for this operator. Send fewer attachments at a time.",
    },
    "dsn.why.4.1": {"fr": "Le serveur de cet opérateur ne répond pas.", "en": "The server of this operator does not answer."},
    "dsn.why.4.7": {
        "fr": "L'opérateur n'a pas pu recevoir le message pendant tout le délai prévu.",
        "en": "The operator could not take the message during the whole time allowed.",
    },
    "dsn.why.7.5": {
        "fr": "L'identité du serveur de cet opérateur n'a pas pu être vérifiée ; rien ne lui a été envoyé.",
        "en": "The identity of this operator's server could not be verified; nothing was sent to it.",
    },
    "dsn.why.7.1": {"fr": "L'opérateur refuse ce message.", "en": "The operator refuses this message."},
}


def text(key: str, language: Language = "fr", **values: object) -> str:
    return TEXTS[key][language].format(**values)
