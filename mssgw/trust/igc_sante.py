"""Facts about IGC-Santé, the PKI of MSSanté: its nine authorities, by fingerprint, and where it publishes.

Computed from the certificates themselves. The certificates are not here: `mssgw trust import-anchors` loads them
from a file, a p7b or the official address, and what it loads counts only if its fingerprint stands here.
`config/trust/igc-sante.toml` shows the same table; a test compares.
"""

from __future__ import annotations

from typing import Final

CHAIN_URL: Final = "http://igc-sante.esante.gouv.fr/AC/Chaine_de_certification-IGC-Sante.p7b"
PRODUCTION_ARC: Final = "1.2.250.1.213.1.7.1."  # policies of production certificates
TEST_ARC: Final = "1.2.250.1.213.1.7.2."

PRODUCTION: Final[dict[str, str]] = {
    "2d9e22ca19f777c6b745257c723ecb8df3c35fa6f1f6ec36b83600c97346967f": "AC RACINE IGC-SANTE ELEMENTAIRE",
    "5891815e864506c662afb32f8de5b8de38bffa1af721780b69e19a0c050386c3": "AC RACINE IGC-SANTE STANDARD",
    "53d30a19570826bde0c0762501f1f1c7a659f976c6c023123df5239df34a4eea": "AC RACINE IGC-SANTE FORT",
    "d834ee5b40686b73573f60547bf6052c6d404d942a5665cdb2c0b9137b5d27b2": "AC IGC-SANTE ELEMENTAIRE ORGANISATIONS",
    "19c1eaeab477b6fbc233cda3b53fbdbc3f4e9bf6cf6973e46f7dfaef89c06c6c": "AC IGC-SANTE ELEMENTAIRE PERSONNES",
    "c0520a2b14fb68836a807bf86ab2b3e07d1b6061d91bc9c7b86a6f8de4b5638e": "AC IGC-SANTE STANDARD ORGANISATIONS",
    "6c339ebcb3e1b0102b143c9694225c2a4ab2ef6fedf7d364da8db305e7f7d997": "AC IGC-SANTE STANDARD PERSONNES",
    "23f69674002d1dd4b018baecd908dc92687942bb48e5140ff895e2f56bc49c0d": "AC IGC-SANTE FORT ORGANISATIONS",
    "38284e4f6107456e70c7439c85da7d564d0fe1fe1a968c9eb6d43e1fc0d63c3a": "AC IGC-SANTE FORT PERSONNES",
}

# Read in certificates; the addresses of the other intermediates are learned from the first certificate of each.
CRL_URLS: Final = (
    "http://igc-sante.esante.gouv.fr/CRL/ACR-EL.crl",
    "http://igc-sante.esante.gouv.fr/CRL/ACR-ST.crl",
    "http://igc-sante.esante.gouv.fr/CRL/ACR-FO.crl",
    "http://igc-sante.esante.gouv.fr/CRL/ACI-EL-ORG.crl",
    "http://igc-sante.esante.gouv.fr/CRL/ACI-FO-PP.crl",
)
