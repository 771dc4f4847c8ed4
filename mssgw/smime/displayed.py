"""What is shown of a signed text beyond what was signed, or not by every reader: remarks beside a signature that holds.

A hospital's letter with a logo from its web site is ordinary, so this takes no `pass` away; but who acts on a text has to know that
a part of it can be another one tomorrow, or is not on the screen.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from mssgw.core.body import Body
from mssgw.protocol import mime
from mssgw.protocol.mime import Part, html
from mssgw.smime.errors import Reason

_HTML = frozenset(("text/html", "application/xhtml+xml"))
_AMP = "text/x-amp-html"  # loads by its very design; a reader that knows it prefers it to the other alternatives
# U+202A to 202E, U+2066 to 2069: some write what follows from right to left.
_REVERSED = re.compile(rb"\xe2(?:\x80[\xaa-\xae]|\x81[\xa6-\xa9])|&#(?:0*(?:823[4-8]|829[4-7])|x0*(?:202[a-e]|206[6-9]))", re.IGNORECASE)
_ELSEWHERE = (b"x-mozilla-external-attachment-url", b"x-mozilla-cloud-part")  # Thunderbird loads the attachment from there
_ODD_NAME = re.compile("[\x00-\x1f\x7f\u202a-\u202e\u2066-\u2069]")  # "a<U+202E>fdp.exe" is shown as "aexe.pdf"
_ENCODED = re.compile(rb"^(?:begin(?:-base64)? [0-7]{3,4} \S|=ybegin )", re.MULTILINE)  # a file among the lines, which some cut out


def remarks(body: Body, root: Part) -> Iterator[Reason]:
    """Of the texts of the signed entity `root`, forwarded messages included. Each reason once."""
    found: set[Reason] = set()
    for part in root.walk():
        for reason in _of_header(part):
            if reason not in found:
                found.add(reason)
                yield reason
        if part.media.startswith("text/") or part.media in _HTML:
            for reason in _of_text(body, part, root):
                if reason not in found:
                    found.add(reason)
                    yield reason


def _of_header(part: Part) -> Iterator[Reason]:
    if any(part.fields.get(name) for name in _ELSEWHERE):
        yield Reason.REMOTE
    if (name := part.filename) and _ODD_NAME.search(name):
        yield Reason.HIDDEN


def _of_text(body: Body, part: Part, root: Part) -> Iterator[Reason]:
    text = b"".join(mime.decoded_chunks(body, part, 4 * html.MOST))
    if _REVERSED.search(text) or _ENCODED.search(text):
        yield Reason.HIDDEN
    if part.media == _AMP:
        yield Reason.REMOTE
    if part.media in _HTML and not _is_file(part, root):
        if html.loads(text):
            yield Reason.REMOTE
        if html.hides(text):
            yield Reason.HIDDEN


def _is_file(part: Part, root: Part) -> bool:
    """A page sent as a file is not part of the text; people open it on their own."""
    shown = part.disposition
    return part is not root and shown is not None and shown.value == b"attachment"
