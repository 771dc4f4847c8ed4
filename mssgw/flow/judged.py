"""Turns a message that was opened and judged into what mailboxes hold: findings on top, one copy for each way of showing them.

A banner stands beside what was signed, never inside; it moves a signature that stood at the root one level down, so that a
program which checks signatures only there no longer finds it. That is why keywords are the default.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from mssgw.core.address import Address
from mssgw.core.body import Body, BodyWriter
from mssgw.core.errors import MailError
from mssgw.core.message import Headers
from mssgw.core.texts import Language
from mssgw.flow.delivery import Box, Copy
from mssgw.flow.head import Head, on_top, replace
from mssgw.flow.resources import Resources
from mssgw.flow.shown import Show
from mssgw.protocol import mime
from mssgw.protocol.mime import MimeLimits
from mssgw.smime.entity import is_structural
from mssgw.smime.opening import Opened
from mssgw.smime.verdict import EncryptionStatus, Verdict

_OURS = ("authentication-results", "return-path")  # only we may add these fields here


def require_author_inside(
    opened: Opened, limits: MimeLimits, require: Callable[[Headers], None], hidden: Callable[[MailError], MailError]
) -> None:
    """Judge the author of a message that was opened: readers may show the protected copy of its header (RFC 9788).

    Raises what `require` does; of what was encrypted a refusal quotes nothing: then what `hidden` makes of it.
    """
    try:
        require(Head.read(opened.readable, limits).headers)
    except MailError as error:
        if opened.verdict.encryption is EncryptionStatus.NONE:
            raise
        raise hidden(error) from None


def readable_copies(
    resources: Resources,
    opened: Opened,
    boxes: Sequence[Box],
    sender: Address | None,
    proved: str,
    limits: MimeLimits,
    fields: Sequence[tuple[str, str]] = (),
) -> dict[Show, Copy]:
    """What goes into the boxes, by the way their domains show a verdict.

    `proved` is what the connection proved, a result of Authentication-Results; `fields` stand above the message's own. Blocks:
    for large messages call it in a thread.
    """
    hostname, language = resources.config.node.hostname, resources.config.node.language
    results = f"{opened.verdict.results(hostname)};\r\n {proved}"
    head = Head.read(opened.readable, limits)
    headers = on_top(head.headers.without(_OURS).prepend(*fields), sender, results)
    plain = replace(opened.readable, head, headers, resources.spool)
    copies: dict[Show, Copy] = {}
    for show in resources.local.wanted(boxes):
        if show == "banner" and opened.verdict.protected:
            shown = with_banner(plain, Head.read(plain, limits), opened.verdict, language, resources.spool)
        else:
            shown = plain
        copies[show] = Copy(shown, mime.summarise(shown, limits))
    return copies


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
