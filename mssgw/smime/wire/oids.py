"""Object identifiers of CMS and S/MIME, as DER with tag and length, and the names people know them by."""

from __future__ import annotations

from typing import Final

from mssgw.pki.der import oid

# Content types: RFC 5652, 5083, 3274
DATA: Final = oid("1.2.840.113549.1.7.1")
SIGNED_DATA: Final = oid("1.2.840.113549.1.7.2")
ENVELOPED_DATA: Final = oid("1.2.840.113549.1.7.3")
AUTH_ENVELOPED_DATA: Final = oid("1.2.840.113549.1.9.16.1.23")
COMPRESSED_DATA: Final = oid("1.2.840.113549.1.9.16.1.9")
RECEIPT: Final = oid("1.2.840.113549.1.9.16.1.1")  # RFC 2634 2.8
ZLIB: Final = oid("1.2.840.113549.1.9.16.3.8")

# Attributes: RFC 5652 11, 8551 2.5, 5035, 6211
CONTENT_TYPE: Final = oid("1.2.840.113549.1.9.3")
MESSAGE_DIGEST: Final = oid("1.2.840.113549.1.9.4")
SIGNING_TIME: Final = oid("1.2.840.113549.1.9.5")
SMIME_CAPABILITIES: Final = oid("1.2.840.113549.1.9.15")
SIGNING_CERTIFICATE: Final = oid("1.2.840.113549.1.9.16.2.12")
SIGNING_CERTIFICATE_V2: Final = oid("1.2.840.113549.1.9.16.2.47")
ALGORITHM_PROTECTION: Final = oid("1.2.840.113549.1.9.52")
ENCRYPTION_KEY_PREFERENCE: Final = oid("1.2.840.113549.1.9.16.2.11")
RECEIPT_REQUEST: Final = oid("1.2.840.113549.1.9.16.2.1")  # these three: RFC 2634
ML_EXPANSION_HISTORY: Final = oid("1.2.840.113549.1.9.16.2.3")
MSG_SIG_DIGEST: Final = oid("1.2.840.113549.1.9.16.2.5")

# Digests
SHA1: Final = oid("1.3.14.3.2.26")
SHA224: Final = oid("2.16.840.1.101.3.4.2.4")
SHA256: Final = oid("2.16.840.1.101.3.4.2.1")
SHA384: Final = oid("2.16.840.1.101.3.4.2.2")
SHA512: Final = oid("2.16.840.1.101.3.4.2.3")
MD5: Final = oid("1.2.840.113549.2.5")

# Signatures
RSA: Final = oid("1.2.840.113549.1.1.1")
RSA_PSS: Final = oid("1.2.840.113549.1.1.10")
RSA_SHA1: Final = oid("1.2.840.113549.1.1.5")
RSA_SHA256: Final = oid("1.2.840.113549.1.1.11")
RSA_SHA384: Final = oid("1.2.840.113549.1.1.12")
RSA_SHA512: Final = oid("1.2.840.113549.1.1.13")
ECDSA_SHA256: Final = oid("1.2.840.10045.4.3.2")
ECDSA_SHA384: Final = oid("1.2.840.10045.4.3.3")
ECDSA_SHA512: Final = oid("1.2.840.10045.4.3.4")
ED25519: Final = oid("1.3.101.112")
ML_DSA_44: Final = oid("2.16.840.1.101.3.4.3.17")
ML_DSA_65: Final = oid("2.16.840.1.101.3.4.3.18")
ML_DSA_87: Final = oid("2.16.840.1.101.3.4.3.19")
MGF1: Final = oid("1.2.840.113549.1.1.8")
P_SPECIFIED: Final = oid("1.2.840.113549.1.1.9")

# Key management: RFC 3560, 5753, 8418, 9629, 9936
RSA_OAEP: Final = oid("1.2.840.113549.1.1.7")
EC_PUBLIC_KEY: Final = oid("1.2.840.10045.2.1")
X25519: Final = oid("1.3.101.110")
ECDH_SHA1: Final = oid("1.3.133.16.840.63.0.2")
ECDH_SHA256: Final = oid("1.3.132.1.11.1")
ECDH_SHA384: Final = oid("1.3.132.1.11.2")
ECDH_SHA512: Final = oid("1.3.132.1.11.3")
ECDH_HKDF_SHA256: Final = oid("1.2.840.113549.1.9.16.3.19")
ECDH_HKDF_SHA384: Final = oid("1.2.840.113549.1.9.16.3.20")
ECDH_HKDF_SHA512: Final = oid("1.2.840.113549.1.9.16.3.21")
AES128_WRAP: Final = oid("2.16.840.1.101.3.4.1.5")
AES192_WRAP: Final = oid("2.16.840.1.101.3.4.1.25")
AES256_WRAP: Final = oid("2.16.840.1.101.3.4.1.45")
DES3_WRAP: Final = oid("1.2.840.113549.1.9.16.3.6")  # RFC 3370 4.3.1
ORI_KEM: Final = oid("1.2.840.113549.1.9.16.13.3")
ML_KEM_768: Final = oid("2.16.840.1.101.3.4.4.2")
ML_KEM_1024: Final = oid("2.16.840.1.101.3.4.4.3")
HKDF_SHA256: Final = oid("1.2.840.113549.1.9.16.3.28")

# Content encryption: RFC 3565, 5084
AES128_CBC: Final = oid("2.16.840.1.101.3.4.1.2")
AES192_CBC: Final = oid("2.16.840.1.101.3.4.1.22")
AES256_CBC: Final = oid("2.16.840.1.101.3.4.1.42")
AES128_GCM: Final = oid("2.16.840.1.101.3.4.1.6")
AES192_GCM: Final = oid("2.16.840.1.101.3.4.1.26")
AES256_GCM: Final = oid("2.16.840.1.101.3.4.1.46")
DES_EDE3_CBC: Final = oid("1.2.840.113549.3.7")
RC2_CBC: Final = oid("1.2.840.113549.3.2")
