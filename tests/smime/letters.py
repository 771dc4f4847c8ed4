"""Messages that tests send. All content is invented."""

from __future__ import annotations

import os

import pybase64

from mssgw.core.body import Body
from tests.smime.people import ALICE, BOB


def letter(text: str = "Bonjour,\r\n\r\nVoici le compte rendu.\r\n", *, sender: str = ALICE, to: str = BOB, extra: str = "") -> Body:
    return Body.of(
        (
            f"From: Alice Martin <{sender}>\r\nTo: <{to}>\r\nSubject: XDM/1.0/DDM+Compte rendu\r\nDate: Fri, 20 Nov 2026 10:30:00 +0100\r\n"
            f"Message-ID: <1@alpha.mssante.test>\r\nX-MSS-NIL: DEV000001\r\nX-MSS-INS: O\r\n{extra}MIME-Version: 1.0\r\n"
            f"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n{text}"
        ).encode()
    )


def attachment(size: int, *, sender: str = ALICE, to: str = BOB) -> Body:
    """A message with one binary attachment of about `size` octets on the wire."""
    lines = pybase64.encodebytes(os.urandom(size * 57 // 78)).replace(b"\n", b"\r\n")
    return Body.of(
        f"From: <{sender}>\r\nTo: <{to}>\r\nSubject: document\r\nMIME-Version: 1.0\r\n"
        'Content-Type: multipart/mixed; boundary="frontier"\r\n\r\n--frontier\r\nContent-Type: text/plain\r\n\r\nci-joint\r\n--frontier\r\n'
        'Content-Type: application/zip; name="IHE_XDM.ZIP"\r\nContent-Transfer-Encoding: base64\r\n\r\n'.encode()
        + (lines or b"\r\n")
        + b"--frontier--\r\n"
    )
