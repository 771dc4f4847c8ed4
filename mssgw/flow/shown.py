"""What a reader sees of a verdict: a keyword that mail programs can colour, and a short part on top where the domain wants it.

The part stands beside what was signed, never inside; it moves a signature that stood at the root one level down, so that a
program which checks signatures only there no longer finds it. That is why keywords are the default.
"""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Final, Literal

from mssgw.core.address import Address
from mssgw.core.body import Body, BodyWriter
from mssgw.core.message import Headers
from mssgw.core.texts import Language
from mssgw.flow.head import Head
from mssgw.smime.entity import is_structural
from mssgw.smime.opening import Opened
from mssgw.smime.verdict import SignatureStatus, Verdict
from mssgw.store import Transaction, certificates

Show = Literal["keyword", "banner", "none"]

SIGNED: Final = "$Signed"
DOUBTFUL: Final = "$SignatureDoubtful"


def keywords(verdict: Verdict, show: Show) -> frozenset[str]:
    """The IMAP keywords (RFC 3501 2.3.2) of a message with this verdict; none for mail without a signature."""
    if show == "none" or verdict.signature is SignatureStatus.NONE:
        return frozenset()
    return frozenset((SIGNED,)) if verdict.valid else frozenset((DOUBTFUL,))


def with_banner(body: Body, head: Head, verdict: Verdict, language: Language, spool: Path) -> Body:
    """The message with the sentence of the verdict as its first part. Copies: call it in a thread for large messages."""
    own = head.headers.without(lambda field: is_structural(field) or not field.name)
    structural = Headers(tuple(field for field in head.headers if is_structural(field) and field.name != "mime-version"))
    boundary = f"=_mssgw_{os.urandom(12).hex()}"
    text = base64.encodebytes(f"{verdict.banner(language)}\n".encode()).replace(b"\n", b"\r\n")
    writer = BodyWriter(spool)
    try:
        writer.write(bytes(own))
        writer.write(
            f'MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="{boundary}"\r\n\r\n--{boundary}\r\n'
            "Content-Type: text/plain; charset=utf-8\r\nContent-Disposition: inline\r\nContent-Transfer-Encoding: base64\r\n\r\n".encode()
        )
        writer.write(text + f"--{boundary}\r\n".encode() + bytes(structural) + b"\r\n")
        for start in range(head.size, body.size, 65536):
            writer.write(body.read(start, 65536))
        writer.write(f"\r\n--{boundary}--\r\n".encode())
    except BaseException:
        writer.abort()
        raise
    return writer.finish()


def learn(tx: Transaction, opened: Opened) -> None:
    """Remember what a valid signature showed, for answers (RFC 8551 2.5.2, 3.6)."""
    author = Address.parse(opened.verdict.from_address)
    for der in opened.certificates:
        certificates.add(tx, author, der, "mail", tx.now)
    if opened.capabilities is not None:
        certificates.set_capabilities(tx, author, opened.capabilities, tx.now)
