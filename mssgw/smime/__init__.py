"""S/MIME: sign, encrypt, verify, decrypt (RFC 8551, 5652, 5083). A pure engine over Body and Key.

    protect(body, recipients, policy, now, signer=..., lookup=..., validate=...) -> the messages that leave
    open(body, readers, validate, now, directory=...) -> what goes into the mailbox, and the Verdict

Certificates are judged by `pki.judgement.Validate`, injected; recipients' certificates come from `Lookup`, injected.
"""

from mssgw.smime.cms.capabilities import Capabilities
from mssgw.smime.cms.decrypting import Reading
from mssgw.smime.directories.binding import Binding, Directory, no_directory
from mssgw.smime.directories.candidate import Candidate, Lookup, no_lookup
from mssgw.smime.errors import KeyUnavailable, NoCertificate, Reason, SmimeError
from mssgw.smime.keys.certificates import Certificate, certificate
from mssgw.smime.keys.key import FileKey, Identity, Key, SoftKey, identity, load_certificates
from mssgw.smime.opening import Opened, open
from mssgw.smime.places import key_at
from mssgw.smime.protecting import Policy, Protected, protect
from mssgw.smime.verdict import EncryptionStatus, SignatureStatus, SignerVerdict, Verdict

__all__ = [
    "Binding",
    "Candidate",
    "Capabilities",
    "Certificate",
    "Directory",
    "EncryptionStatus",
    "FileKey",
    "Identity",
    "Key",
    "KeyUnavailable",
    "Lookup",
    "NoCertificate",
    "Opened",
    "Policy",
    "Protected",
    "Reading",
    "Reason",
    "SignatureStatus",
    "SignerVerdict",
    "SmimeError",
    "SoftKey",
    "Verdict",
    "certificate",
    "identity",
    "key_at",
    "load_certificates",
    "no_directory",
    "no_lookup",
    "open",
    "protect",
]
