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
    "smime.receipt": {
        "fr": "C'est un accusé de réception signé (RFC 2634), pas un message.",
        "en": "It is a signed receipt (RFC 2634), not a message.",
    },
    "smime.reason.signed-content-no-message": {
        "fr": "Ce qui est signé n'est pas un message (un horodatage, ou un autre type de contenu).",
        "en": "What is signed is no message (a time stamp, or another type of content).",
    },
    "smime.unfit.purpose": {
        "fr": "Le certificat de {subject} est fait pour {purposes}, pas pour le courrier (emailProtection).",
        "en": "The certificate of {subject} is for {purposes}, not for mail (emailProtection).",
    },
    "smime.unfit.sign": {
        "fr": "Le certificat de {subject} ne permet pas de signer (usage ou type de clé).",
        "en": "The certificate of {subject} does not allow signatures (usage or kind of its key).",
    },
    "smime.unfit.encrypt": {
        "fr": "Le certificat de {subject} ne permet pas de chiffrer pour lui (usage ou type de clé).",
        "en": "The certificate of {subject} does not allow encryption to it (usage or kind of its key).",
    },
    "smime.doubt.author": {
        "fr": "ATTENTION : l'expéditeur {author} n'est pas dans le certificat de {subject} ; les lecteurs ne le reconnaîtront pas "
        "comme signataire, sauf si un annuaire les relie.",
        "en": "WARNING: the sender {author} is not in the certificate of {subject}; readers will not take the signer for the sender, "
        "unless a directory links them.",
    },
    "smime.doubt.no-author": {
        "fr": "ATTENTION : le message n'a pas un expéditeur unique (From) ; rien ne le reliera à {subject}.",
        "en": "WARNING: the message has no single sender (From); nothing will link it to {subject}.",
    },
    "smime.anchors.kind": {
        "fr": "{path} : ni un fichier ni un répertoire ; --anchors attend des certificats d'autorité",
        "en": "{path}: neither a file nor a directory; --anchors takes certificates of authorities",
    },
    "smime.anchors.none": {
        "fr": "{path} : aucun certificat dedans ; --anchors attend celui de l'autorité racine, en PEM ou DER",
        "en": "{path}: no certificate in it; --anchors takes that of the root authority, PEM or DER",
    },
    "smime.anchors.no-root": {
        "fr": "{path} : aucune autorité racine dedans ; --anchors attend le certificat de la racine (autosigné), pas celui d'un "
        "signataire ni d'une autorité intermédiaire seule",
        "en": "{path}: no root authority in it; --anchors takes the certificate of the root (self-signed), not that of a signer, "
        "nor of an intermediate authority alone",
    },
    "smime.token": {
        "fr": "{name} : les commandes mssgw smime ne lisent pas de clé dans un token, seulement dans un fichier ; c'est le nœud qui signe "
        "avec un token ([[domain]] key)",
        "en": "{name}: the commands mssgw smime take no key in a token, only one in a file; it is the node that signs with a token "
        "([[domain]] key)",
    },
    "cli.directory.ENOENT": {"fr": "ce répertoire n'existe pas", "en": "there is no such directory"},
    "smime.none": {"fr": "Message ni signé ni chiffré par S/MIME.", "en": "Message neither signed nor encrypted with S/MIME."},
    "smime.signature.valid": {"fr": "Signature valide de l'expéditeur : {who}.", "en": "Valid signature of the sender: {who}."},
    "smime.signature.unbound": {
        "fr": "Signature correcte de {who}, mais rien ne relie ce signataire à l'adresse de l'expéditeur.",
        "en": "Correct signature of {who}, but nothing links this signer to the sender's address.",
    },
    "smime.signature.inside": {
        "fr": "Signature correcte de {who}, mais l'expéditeur signé est quelqu'un d'autre, que certains logiciels affichent.",
        "en": "Correct signature of {who}, but the sender under the signature is somebody else, whom some programs show.",
    },
    "smime.signature.nobody": {
        "fr": "Signature correcte de {who} ; le message ne nomme aucun expéditeur, donc rien ne lui a été rattaché.",
        "en": "Correct signature of {who}; the message names no sender, so nothing was bound to this signer.",
    },
    "smime.signature.but": {
        "fr": "Signature correcte de {who}, mais le message n'est pas accepté comme le sien. {why}",
        "en": "Correct signature of {who}, but the message is not taken as theirs. {why}",
    },
    "smime.signature.unverified": {
        "fr": "SIGNATURE REFUSÉE. {why} Ne vous fiez pas au contenu du message.",
        "en": "SIGNATURE REFUSED. {why} Do not rely on the content of the message.",
    },
    "smime.certificates": {
        "fr": "Le fichier ne contient que des certificats ; il n'est ni signé ni chiffré.",
        "en": "It holds certificates only; it is neither signed nor encrypted.",
    },
    "smime.unjudged": {
        "fr": "Le message n'a pas pu être contrôlé. {why}",
        "en": "The message could not be checked. {why}",
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
    "smime.reason.malformed": {
        "fr": "Le message S/MIME est abîmé, coupé ou mal formé.",
        "en": "The S/MIME message is damaged, cut off or malformed.",
    },
    "smime.reason.limit": {
        "fr": "Le message dépasse ce qui est lu (taille, profondeur, nombre de signataires ou de parties).",
        "en": "The message is beyond what is read (size, depth, number of signers or parts).",
    },
    "smime.reason.unsupported-algorithm": {
        "fr": "Algorithme ou structure non pris en charge.",
        "en": "Algorithm or structure not supported.",
    },
    "smime.reason.weak-algorithm": {
        "fr": "Algorithme ou clé trop faible pour être cru.",
        "en": "Algorithm or key too weak to be believed.",
    },
    "smime.reason.no-signer": {
        "fr": "Structure de signature sans aucun signataire : rien n'est signé.",
        "en": "A signature structure without any signer: nothing is signed.",
    },
    "smime.reason.signer-certificate-missing": {
        "fr": "Le certificat du signataire n'est pas dans le message.",
        "en": "The signer's certificate is not in the message.",
    },
    "smime.reason.content-altered": {"fr": "Le contenu a été modifié après la signature.", "en": "The content was changed after signing."},
    "smime.reason.signature-wrong": {
        "fr": "La signature n'est pas celle de la clé de ce certificat.",
        "en": "The signature was not made by the key of this certificate.",
    },
    "smime.reason.signed-attributes-wrong": {
        "fr": "Les attributs signés manquent ou se contredisent.",
        "en": "The signed attributes are missing or contradict each other.",
    },
    "smime.reason.content-confusion": {
        "fr": "La signature peut désigner deux contenus différents.",
        "en": "The signature could be about two different contents.",
    },
    "smime.reason.certificate-not-trusted": {
        "fr": "Le certificat du signataire n'est pas reconnu.",
        "en": "The signer's certificate is not trusted.",
    },
    "smime.reason.trust-not-decidable-now": {
        "fr": "Le certificat du signataire ne peut pas être contrôlé pour le moment.",
        "en": "The signer's certificate can't be checked for now.",
    },
    "smime.reason.certificate-usage": {
        "fr": "Le certificat n'est pas fait pour cet usage.",
        "en": "The certificate is not made for this use.",
    },
    "smime.reason.certificate-malformed": {
        "fr": "Le certificat du signataire est mal formé : une adresse y contient des caractères interdits.",
        "en": "The signer's certificate is malformed: an address in it has forbidden characters.",
    },
    "smime.reason.signers-differ": {
        "fr": "Plusieurs signataires, qui ne sont pas tous du même avis ou de la même valeur.",
        "en": "Several signers who do not all agree or do not all hold.",
    },
    "smime.reason.from-not-signer": {
        "fr": "L'expéditeur affiché n'est pas le signataire, ou aucun n'est affiché.",
        "en": "The sender shown is not the signer, or none is shown.",
    },
    "smime.reason.several-from": {
        "fr": "Le message affiche plusieurs expéditeurs, ou un expéditeur illisible.",
        "en": "The message shows several senders, or one that can't be read.",
    },
    "smime.reason.sender-not-signer": {
        "fr": "Le champ Sender signé nomme quelqu'un d'autre que le signataire.",
        "en": "The Sender field under the signature names somebody else than the signer.",
    },
    "smime.reason.protected-headers-differ": {
        "fr": "Des champs de l'en-tête ont été modifiés après la signature.",
        "en": "Header fields were changed after signing.",
    },
    "smime.reason.signing-time-far-off": {
        "fr": "La date de signature est à plus de 24 h de l'heure du contrôle.",
        "en": "The signing time is more than 24 h from the time of this check.",
    },
    "smime.reason.protected-part-inside-unprotected-message": {
        "fr": "Une partie signée ou chiffrée se trouve dans un message qui ne l'est pas ; elle reste fermée.",
        "en": "A signed or encrypted part stands in a message that is neither; it stays closed.",
    },
    "smime.reason.no-key-for-this-message": {
        "fr": "Le message est chiffré, mais pas pour cette clé.",
        "en": "The message is encrypted, but not to this key.",
    },
    "smime.reason.undecryptable": {"fr": "Le message n'a pas pu être déchiffré.", "en": "The message could not be decrypted."},
    "smime.reason.encryption-without-integrity": {
        "fr": "Le chiffrement (CBC) ne protège pas contre les modifications, et aucune signature à l'intérieur ne le fait.",
        "en": "The encryption (CBC) does not protect against changes, and no signature inside it does.",
    },
    "smime.field.from": {"fr": "De", "en": "From"},
    "smime.field.to": {"fr": "À", "en": "To"},
    "smime.field.cc": {"fr": "Copie", "en": "Cc"},
    "smime.field.subject": {"fr": "Objet", "en": "Subject"},
    "smime.field.date": {"fr": "Date", "en": "Date"},
    "smime.field.sender": {"fr": "Émetteur", "en": "Sender"},
    "smime.field.reply-to": {"fr": "Répondre à", "en": "Reply-To"},
    "smime.changed": {
        "fr": "ATTENTION : le champ « {field} » a été modifié après la signature ; la valeur signée est « {value} ».",
        "en": 'WARNING: the field "{field}" was changed after signing; the signed value is "{value}".',
    },
    "smime.added": {
        "fr": "ATTENTION : le champ « {field} » a été ajouté après la signature ; rien de tel n'est signé.",
        "en": 'WARNING: the field "{field}" was added after signing; nothing like it is signed.',
    },
    "smime.outside": {
        "fr": "Le certificat de {subject} est valable du {start} au {end} ; il ne l'est pas à la date demandée, le {asked}.",
        "en": "The certificate of {subject} is valid from {start} to {end}; it is not at the date asked for, {asked}.",
    },
    "smime.doubt.purpose": {
        "fr": "ATTENTION : le certificat de {subject} est fait pour {purposes}, pas pour le courrier (emailProtection) ; "
        "les lecteurs peuvent refuser le message.",
        "en": "WARNING: the certificate of {subject} is for {purposes}, not for mail (emailProtection); readers may refuse the message.",
    },
    "smime.doubt.expired": {
        "fr": "ATTENTION : le certificat de {subject} a expiré le {end} ; les lecteurs refuseront le message.",
        "en": "WARNING: the certificate of {subject} expired on {end}; readers will refuse the message.",
    },
    "smime.doubt.not-yet-valid": {
        "fr": "ATTENTION : le certificat de {subject} n'est valable qu'à partir du {start}.",
        "en": "WARNING: the certificate of {subject} is valid only from {start}.",
    },
    "smime.not-encrypted": {
        "fr": "Le message n'est pas chiffré ; rien n'est écrit.",
        "en": "The message is not encrypted; nothing is written.",
    },
    "smime.not-a-message": {
        "fr": "{file} : ce n'est pas un message, il ne commence pas par un en-tête. Pour un texte seul, mettez devant lui une ligne vide.",
        "en": "{file}: this is no message, it does not begin with a header. For a bare text, put an empty line before it.",
    },
    "smime.doubt.authority": {
        "fr": "ATTENTION : le certificat de {subject} est celui d'une autorité, pas d'une personne ni d'un service.",
        "en": "WARNING: the certificate of {subject} is an authority's, not a person's or a service's.",
    },
    "smime.empty-message": {"fr": "{file} : le message est vide.", "en": "{file}: the message is empty."},
    "cli.file.ENOENT": {"fr": "ce fichier n'existe pas", "en": "there is no such file"},
    "cli.file.EACCES": {"fr": "pas le droit de lire ou d'écrire ce fichier", "en": "no permission to read or write this file"},
    "cli.file.EISDIR": {"fr": "c'est un répertoire, pas un fichier", "en": "this is a directory, not a file"},
    "cli.file.ENOTDIR": {"fr": "ce n'est pas un répertoire", "en": "this is not a directory"},
    "cli.file.ENOSPC": {"fr": "le disque est plein", "en": "the disk is full"},
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
    "trust.fault.no-tls": {
        "fr": "Il faut d'abord STARTTLS : les opérateurs MSSanté se parlent en TLS mutuel.",
        "en": "STARTTLS comes first: MSSante operators talk over mutual TLS.",
    },
    "trust.fault.no-certificate": {
        "fr": "Le serveur n'a présenté aucun certificat pendant l'établissement de TLS.",
        "en": "The server presented no certificate in the TLS handshake.",
    },
    "trust.fault.unreadable": {"fr": "Le certificat est illisible ({what}).", "en": "The certificate can't be read ({what})."},
    "trust.fault.foreign-ca": {
        "fr": "Le certificat a été émis par {issuer}, qui n'est pas une autorité reconnue ici.",
        "en": "The certificate was issued by {issuer}, which is no authority trusted here.",
    },
    "trust.fault.bad-signature": {
        "fr": "Le certificat prétend venir de {issuer}, mais ne porte pas sa signature.",
        "en": "The certificate claims to be issued by {issuer}, but its signature is not from it.",
    },
    "trust.fault.expired": {
        "fr": "Le certificat de {subject} a expiré le {end} ; c'est à son titulaire de le renouveler.",
        "en": "The certificate of {subject} expired on {end}; its holder has to renew it.",
    },
    "trust.fault.not-yet-valid": {
        "fr": "Le certificat de {subject} n'est valable qu'à partir du {start}.",
        "en": "The certificate of {subject} is valid only from {start}.",
    },
    "trust.fault.revoked": {
        "fr": "Le certificat de {subject} a été révoqué le {when}.",
        "en": "The certificate of {subject} was revoked on {when}.",
    },
    "trust.fault.revocation-unknown": {
        "fr": "On ne peut pas encore savoir si le certificat de {subject} est révoqué : données de révocation absentes ou périmées.",
        "en": "Can't tell yet whether the certificate of {subject} is revoked: no fresh revocation data.",
    },
    "trust.fault.wrong-usage": {
        "fr": "Le certificat de {subject} n'est pas fait pour cet usage ({what}).",
        "en": "The certificate of {subject} may not be used for this ({what}).",
    },
    "trust.fault.wrong-policy": {
        "fr": "Le certificat de {subject} n'est pas de la classe voulue ici ({what}).",
        "en": "The certificate of {subject} is of another class than needed here ({what}).",
    },
    "trust.fault.weak": {
        "fr": "Le certificat de {subject} est trop faible ({what}).",
        "en": "The certificate of {subject} is too weak ({what}).",
    },
    "trust.fault.malformed": {
        "fr": "Le certificat de {subject} ne respecte pas la RFC 5280 ({what}).",
        "en": "The certificate of {subject} breaks RFC 5280 ({what}).",
    },
    "trust.fault.unlisted": {
        "fr": "{domain} n'est pas dans la liste blanche MSSanté du {listed}.",
        "en": "{domain} is not on the MSSante whitelist of {listed}.",
    },
    "trust.fault.cn-differs": {
        "fr": "Le certificat n'est pas celui qui est inscrit pour {domain} ({what}).",
        "en": "The certificate is not the one listed for {domain} ({what}).",
    },
    "trust.fault.dn-differs": {
        "fr": "Le certificat n'est pas celui qui est inscrit pour {domain} ({what}).",
        "en": "The certificate is not the one listed for {domain} ({what}).",
    },
    "trust.fault.other-domain": {
        "fr": "{subject} est un opérateur inscrit, mais pas pour {domain}.",
        "en": "{subject} is a listed operator, but not of {domain}.",
    },
    "trust.fault.unlisted-peer": {
        "fr": "{subject} n'est pas un opérateur inscrit dans la liste blanche.",
        "en": "{subject} is not a listed operator.",
    },
    "trust.fault.no-list": {
        "fr": "Aucune liste blanche vérifiée pour le moment : le nœud n'en a pas encore obtenu.",
        "en": "No verified whitelist here yet.",
    },
    "trust.fault.list-too-old": {
        "fr": "La liste blanche est trop ancienne pour faire confiance à quelqu'un.",
        "en": "The whitelist here is too old to trust anyone by it.",
    },
    "trust.fault.list-signature": {
        "fr": "La signature de la liste ne tient pas ({what}).",
        "en": "The list's signature does not hold ({what}).",
    },
    "trust.fault.not-a-list": {"fr": "Ce n'est pas une liste blanche ({what}).", "en": "This is not a whitelist ({what})."},
    "trust.fault.list-signer": {
        "fr": "{subject} n'a pas le droit de signer la liste ({what}).",
        "en": "{subject} may not sign the list ({what}).",
    },
    "trust.fault.list-rollback": {
        "fr": "La liste du {listed} est plus ancienne que celle en vigueur, du {force}.",
        "en": "The list of {listed} is older than the one in force, of {force}.",
    },
    "trust.fault.list-shrunk": {
        "fr": "La liste du {listed} a perdu {lost} domaines sur {total} : elle attend « mssgw trust accept ».",
        "en": "The list of {listed} lost {lost} of {total} domains: it waits for `mssgw trust accept`.",
    },
    "trust.show.failing": {
        "fr": "ATTENTION : {url} échoue depuis {failures} essai(s), la dernière fois le {at} ({problem}) ; prochain essai le {next}.",
        "en": "WARNING: {url} failed {failures} time(s), last at {at} ({problem}); next try at {next}.",
    },
    "trust.show.stale-crl": {
        "fr": "ATTENTION : la liste de révocation de {authority} est périmée depuis le {end}.",
        "en": "WARNING: the CRL of {authority} is stale since {end}.",
    },
    "trust.show.old-list": {
        "fr": "ATTENTION : la liste n'a plus été confirmée depuis {hours} h ; au-delà de {most} h, plus personne n'est cru.",
        "en": "WARNING: the list was last confirmed {hours} h ago; beyond {most} h nobody is trusted.",
    },
    "trust.show.too-old": {
        "fr": "La liste en vigueur a été confirmée pour la dernière fois le {at}, il y a plus de {most} h : plus "
        "personne n'est cru ; voir « mssgw trust override ».",
        "en": "The list in force was last confirmed {at}, more than {most} h ago: nobody is trusted; see `mssgw trust override`.",
    },
    "trust.show.no-list": {
        "fr": "Aucune liste en vigueur : le nœud n'en a pas encore obtenu.",
        "en": "No list in force: the node has not fetched one yet.",
    },
    "trust.no-certificate": {"fr": "pas de certificat dans ce fichier", "en": "no certificate in it"},
    "trust.override": {
        "fr": "L'âge de la liste ne compte pas jusqu'au {until}.",
        "en": "The age of the list does not count until {until}.",
    },
    "trust.override.none": {
        "fr": "La dérogation est levée : l'âge de la liste compte de nouveau.",
        "en": "The override is taken back: the age of the list counts again.",
    },
    "trust.accepted": {
        "fr": "Acceptée : la liste du {date}, sans {lost} domaines sur {total}.",
        "en": "Accepted: the list of {date}, without {lost} of {total} domains.",
    },
    "trust.nothing-waits": {"fr": "Aucune liste n'attend de décision.", "en": "No list waits for a word."},
    "trust.nothing-imported": {"fr": "Rien n'a été importé.", "en": "Nothing imported."},
    "trust.matched": {
        "fr": "{domain} : de confiance, {operator} (révocation : {revocation})",
        "en": "{domain}: trusted, {operator} (revocation: {revocation})",
    },
    "trust.no-difference": {"fr": "aucune différence", "en": "no difference"},
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
    "dmp.no-table": {"fr": "{file} : il n'y a pas de table [dmp]", "en": "{file}: there is no [dmp] table"},
    "dmp.no-actor": {
        "fr": "{file} : aucun [[dmp_actor]] n'a l'adresse {address}",
        "en": "{file}: no [[dmp_actor]] has the address {address}",
    },
    "dmp.answer": {"fr": "Répondez oui ou non.", "en": "Answer oui (yes) or non (no)."},
    "dmp.ask.authorise": {
        "fr": "{name}, né(e) le {born} : le patient, informé, a-t-il donné son accord à la consultation de son DMP ?",
        "en": "{name}, born {born}: has the patient, informed, agreed to the consultation of the DMP?",
    },
    "dmp.ask.bris_de_glace": {
        "fr": "Le patient est hors d'état d'exprimer sa volonté et sa santé est exposée à un risque immédiat : ouvrir en bris de glace ?",
        "en": "The patient cannot express a will and is at immediate risk: open in bris de glace?",
    },
    "dmp.ask.centre_15": {
        "fr": "Régulation médicale d'un appel pour ce patient : ouvrir son DMP en mode centre 15 ?",
        "en": "Medical regulation of a call for this patient: open the DMP in mode centre 15?",
    },
    "dmp.ask.close": {
        "fr": "{name}, né(e) le {born} : le patient demande-t-il la fermeture de son DMP ?",
        "en": "{name}, born {born}: does the patient ask for the DMP to be closed?",
    },
    "dmp.ask.reopen": {
        "fr": "{name}, né(e) le {born} : le patient consent-il à la réouverture de son DMP ?",
        "en": "{name}, born {born}: does the patient consent to the reopening of the DMP?",
    },
    "dmp.ask.oppose": {
        "fr": "{name}, né(e) le {born} : le patient demande-t-il, en sa présence, cette opposition à l'accès en urgence ?",
        "en": "{name}, born {born}: does the patient, being present, ask for this opposition to emergency access?",
    },
    "dmp.ask.lift": {
        "fr": "{name}, né(e) le {born} : le patient demande-t-il, en sa présence, la levée de son opposition à l'accès en urgence ?",
        "en": "{name}, born {born}: does the patient, being present, ask that the opposition to emergency access be lifted?",
    },
    "dmp.ask.create": {
        "fr": "{patient}, né(e) le {born}, consent-il (elle) à la création de son DMP ?",
        "en": "Does {patient}, born {born}, consent to the creation of a DMP?",
    },
    "dmp.ask.visible": {
        "fr": "Rendre ce document visible est définitif. Continuer ?",
        "en": "Making this document visible cannot be undone. Go on?",
    },
    "dmp.sending": {"fr": "Envoi au DMP", "en": "Sending to the DMP"},
    "dmp.receiving": {"fr": "Réception du DMP", "en": "Receiving from the DMP"},
    "dmp.ask.file": {
        "fr": "Déposer « {file} » dans le DMP de {person} ?",
        "en": "File {file} into the DMP of {person}?",
    },
    "dmp.for": {"fr": "Patient : {person}", "en": "Patient: {person}"},
    "dmp.kept": {
        "fr": "Rien n'est perdu : {count} dépôt(s) de ce patient sont gardés ; `mssgw dmp resume --as {address}` les achève, sans doublon.",
        "en": "Nothing is lost: {count} deposit(s) of this patient are kept; `mssgw dmp resume --as {address}` finishes them, never twice.",
    },
    "dmp.filed": {"fr": "Déposé pour {person} : {id}  {title}", "en": "Filed for {person}: {id}  {title}"},
    "dmp.filed-before": {
        "fr": "Déjà déposé le {at} pour {person} : {id}  {title}. Rien n'a été envoyé (--again en fait un nouveau document PDF).",
        "en": "Filed already on {at} for {person}: {id}  {title}. Nothing was sent (--again makes a new document of a PDF).",
    },
    "dmp.sent": {"fr": "envoyé", "en": "sent"},
    "dmp.no-deposit": {"fr": "Aucun dépôt en attente.", "en": "No deposit is pending."},
    "dmp.no-document": {"fr": "Aucun document.", "en": "No document."},
    "dmp.no-dossier": {"fr": "Aucun dossier.", "en": "No dossier."},
    "dmp.nobody": {"fr": "Personne ne correspond.", "en": "Nobody fits."},
    "dmp.no-professional": {"fr": "Aucun professionnel.", "en": "No professional."},
    "dmp.no-trace": {"fr": "Aucune trace.", "en": "No row."},
    "dmp.opposed-centre-15": {"fr": "OPPOSITION à l'accès du centre 15", "en": "OPPOSED to access by centre 15"},
    "dmp.nothing-to-change": {"fr": "rien à modifier", "en": "nothing to change"},
    "dmp.modified": {"fr": "Données administratives modifiées.", "en": "Administrative data changed."},
    "dmp.modified.already": {"fr": "C'est déjà ainsi, rien n'est envoyé.", "en": "It is so already, nothing was sent."},
    "dmp.masked": {"fr": "Masqué aux professionnels : {id}", "en": "Masked to professionals: {id}"},
    "dmp.masked.already": {
        "fr": "Déjà masqué aux professionnels, rien n'est envoyé : {id}",
        "en": "Masked to professionals already, nothing was sent: {id}",
    },
    "dmp.visible.professionals": {"fr": "Visible des professionnels : {id}", "en": "Visible to professionals: {id}"},
    "dmp.visible.professionals.already": {
        "fr": "Déjà visible des professionnels, rien n'est envoyé : {id}",
        "en": "Visible to professionals already, nothing was sent: {id}",
    },
    "dmp.visible.patient": {"fr": "Visible du patient : {id}", "en": "Visible to the patient: {id}"},
    "dmp.visible.patient.already": {
        "fr": "Déjà visible du patient, rien n'est envoyé : {id}",
        "en": "Visible to the patient already, nothing was sent: {id}",
    },
    "dmp.visible.representatives": {"fr": "Visible des représentants légaux : {id}", "en": "Visible to legal representatives: {id}"},
    "dmp.visible.representatives.already": {
        "fr": "Déjà visible des représentants légaux, rien n'est envoyé : {id}",
        "en": "Visible to legal representatives already, nothing was sent: {id}",
    },
    "dmp.archived": {"fr": "Archivé : {id}", "en": "Archived: {id}"},
    "dmp.archived.already": {"fr": "Déjà archivé, rien n'est envoyé : {id}", "en": "Archived already, nothing was sent: {id}"},
    "dmp.unarchived": {"fr": "Désarchivé : {id}", "en": "Brought back from the archive: {id}"},
    "dmp.unarchived.already": {"fr": "N'est pas archivé, rien n'est envoyé : {id}", "en": "Not archived, nothing was sent: {id}"},
    "dmp.deleted": {"fr": "Supprimé : {id}", "en": "Deleted: {id}"},
    "dmp.closed-consultations": {"fr": "Consultations fermées : {count}", "en": "Consultations closed: {count}"},
    "dmp.enter-closes": {"fr": "Entrée pour fermer (ou Ctrl-C).", "en": "Enter closes it (or Ctrl-C)."},
    "dmp.interrupted.asked": {"fr": "Interrompu ; rien n'a été envoyé.", "en": "Interrupted; nothing was sent."},
    "dmp.interrupted": {
        "fr": "Interrompu ; ce qui a été fait se lit par mssgw dmp audit.",
        "en": "Interrupted; what was done is told by mssgw dmp audit.",
    },
    "dmp.interrupted.resume": {"fr": "La création se reprend par --resume {id}.", "en": "The creation goes on with --resume {id}."},
    "dmp.consultation-closed": {"fr": "Consultation fermée : {by}.", "en": "Consultation closed: {by}."},
    "dmp.by.hand": {"fr": "par vous", "en": "by you"},
    "dmp.by.time": {"fr": "fin de la durée permise", "en": "its time was over"},
    "dmp.by.card removed": {"fr": "carte retirée", "en": "card removed"},
    "dmp.announcement.begun": {
        "fr": "Non visible du patient (consultation d'annonce, CSP R1111-53) : il en est informé le {told}, le document "
        "devient visible le {visible}. Après l'annonce : mssgw dmp show {id} --to patient",
        "en": "Not visible to the patient (consultation d'annonce, CSP R1111-53): told on {told}, visible by itself on "
        "{visible}. Once announced: mssgw dmp show {id} --to patient",
    },
    "dmp.announcement.due": {
        "fr": "Rappel (CSP R1111-53) : {count} document(s) que le patient ne voit pas encore ; faites l'annonce (mssgw dmp announcements).",
        "en": "Reminder (CSP R1111-53): {count} document(s) the patient does not see yet; announce them (mssgw dmp announcements).",
    },
    "dmp.announcement.dates": {
        "fr": "le patient est informé le {told}, visible le {visible}",
        "en": "the patient is told on {told}, visible on {visible}",
    },
    "dmp.announcement.none": {"fr": "Aucun document en attente d'annonce.", "en": "No document waits to be announced."},
    "dmp.create.presented": {
        "fr": "Le DMP conserve vos documents de santé. Vous choisissez qui le consulte, masquez ce que vous voulez, le fermez "
        "quand vous voulez ; chaque accès est tracé.",
        "en": "The DMP keeps your health documents. You choose who consults it, mask what you want, close it when you want; "
        "each access is traced.",
    },
    "dmp.create.resumed": {
        "fr": "Reprise de la création {id} : {patient}, né(e) le {born}.",
        "en": "The creation {id} goes on: {patient}, born {born}.",
    },
    "dmp.create.1": {
        "fr": "1/5 Identité qualifiée par la carte Vitale et INSi : {patient}, né(e) le {born}.",
        "en": "1/5 Identity qualified by the Vitale card and INSi: {patient}, born {born}.",
    },
    "dmp.create.2": {
        "fr": "2/5 DMP présenté au patient : {patient}, né(e) le {born}.",
        "en": "2/5 The DMP was presented to the patient: {patient}, born {born}.",
    },
    "dmp.create.3": {
        "fr": "3/5 Consentement enregistré : {patient}, né(e) le {born}.",
        "en": "3/5 Consent recorded: {patient}, born {born}.",
    },
    "dmp.create.4": {
        "fr": "4/5 DMP créé : {patient}, né(e) le {born} (création {id}).",
        "en": "4/5 DMP created: {patient}, born {born} (creation {id}).",
    },
    "dmp.create.account.refused": {
        "fr": "Le DMP a refusé l'accès web du patient (voir mssgw dmp audit) ; le DMP est créé.",
        "en": "The DMP refused the patient's web account (see mssgw dmp audit); the DMP was created.",
    },
    "dmp.create.letter.lost": {
        "fr": "Le DMP est créé, mais la lettre de confirmation n'a pas été écrite ({why}). Refaites la dernière étape : "
        "--resume {id} -o FICHIER.",
        "en": "The DMP was created, but the letter of confirmation was not written ({why}). Do the last step again: --resume {id} -o FILE.",
    },
    "dmp.create.5.letter": {
        "fr": "5/5 Confirmation de {patient}, né(e) le {born} : {file}, à remettre ou à poster par vos soins.",
        "en": "5/5 Confirmation of {patient}, born {born}: {file}, for you to hand over or to post.",
    },
    "dmp.create.5.email": {
        "fr": "5/5 Confirmation de {patient}, né(e) le {born} : {file}, à envoyer par vos soins à {to} avec le texte ci-dessous "
        "(mssgw dmp n'envoie pas de courriel).",
        "en": "5/5 Confirmation of {patient}, born {born}: {file}, for you to send to {to} with the text above "
        "(mssgw dmp sends no e-mail).",
    },
    "dmp.card.other": {
        "fr": "Cette carte est celle de {seen} ; {address} est {wanted}.",
        "en": "This card is that of {seen}; {address} is {wanted}.",
    },
}


def text(key: str, language: Language = "fr", **values: object) -> str:
    return TEXTS[key][language].format(**values)
