"""What a reader sees of a verdict: a keyword that mail programs can colour; and what is remembered of a valid signature."""

from __future__ import annotations

from typing import Final, Literal

from mssgw.core.address import Address
from mssgw.smime.opening import Opened
from mssgw.smime.verdict import SignatureStatus, Verdict
from mssgw.store import Transaction, certificates

Show = Literal["keyword", "banner", "none"]

SIGNED: Final = "$Signed"
SEALED: Final = "$SignedBySeal"
DOUBTFUL: Final = "$SignatureDoubtful"
OURS: Final = frozenset((SIGNED, SEALED, DOUBTFUL))
"""What only the node says of a message: a client neither sets nor removes them, for colleagues read a shared mailbox too."""


def keywords(verdict: Verdict, show: Show) -> frozenset[str]:
    """The IMAP keywords (RFC 3501 2.3.2) of a message with this verdict; none for mail without a signature."""
    if show == "none" or verdict.signature is SignatureStatus.NONE:
        return frozenset()
    if not verdict.valid:
        return frozenset((DOUBTFUL,))
    return frozenset((SEALED if verdict.sealed else SIGNED,))


def learn(tx: Transaction, opened: Opened) -> None:
    """Remember what a valid signature showed, for answers (RFC 8551 2.5.2, 2.5.3)."""
    author = Address.parse(opened.verdict.from_address)
    for der in opened.certificates:
        certificates.add(tx, author, der, "mail", tx.now)
    if opened.capabilities is not None:
        certificates.set_capabilities(tx, author, opened.capabilities, tx.now)
