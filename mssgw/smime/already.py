"""What a client did to a message before it came to us: read from the content, never from its Content-Type.

A Content-Type is only a claim: mail once left in clear under `encrypt = "always"` because it was called
application/pkcs7-mime. A message is encrypted when it is an EnvelopedData or AuthEnvelopedData from beginning to end, with readers and
a cipher that we would accept. It is signed when it verifies, leads to an anchor and is bound to From, as we require of incoming mail.
"""

from __future__ import annotations

import enum
from datetime import datetime

from mssgw.core.body import Body
from mssgw.core.message import Headers
from mssgw.pki import der
from mssgw.pki.judgement import Validate
from mssgw.protocol import mime
from mssgw.protocol.mime import MimeLimits, Part, TooComplex
from mssgw.smime.cms import decrypting
from mssgw.smime.directories.binding import Binding, Directory
from mssgw.smime.entity import Kind, kind_of
from mssgw.smime.errors import SmimeError
from mssgw.smime.opening import open_now
from mssgw.smime.wire import armour
from mssgw.smime.wire.ber import BerError, Stream
from mssgw.smime.wire.rope import STEP


class Already(enum.Enum):
    NOTHING = "nothing"
    SIGNED = "signed"
    ENCRYPTED = "encrypted"


def of_client(
    body: Body, structural: Headers, now: datetime, *, validate: Validate, directory: Directory, limits: MimeLimits = mime.DEFAULT_LIMITS
) -> Already:
    """What is true of an outgoing message; `structural` are its Content-* fields. Mail without such a label costs nothing."""
    label = bytes(structural).lower()
    if b"pkcs7" not in label and b"multipart/signed" not in label and b".p7" not in label:
        return Already.NOTHING
    try:
        root = mime.parse(body, limits)
    except TooComplex:
        return Already.NOTHING
    kind = kind_of(root)
    if kind is Kind.CMS and _hidden(body, root):
        return Already.ENCRYPTED
    if kind is Kind.PLAIN:
        return Already.NOTHING
    verdict = open_now(body, (), validate, now, directory, limits=limits).verdict
    return Already.SIGNED if verdict.valid and verdict.binding is not Binding.NONE else Already.NOTHING


def _hidden(body: Body, part: Part) -> bool:
    chunks = mime.raw_chunks(body, part.body_start, part.body_end, STEP)
    try:
        decrypting.require_hidden(Stream(armour.decode(chunks) if part.encoding == "base64" else mime.decoded_chunks(body, part)))
    except (SmimeError, BerError, der.DerError):
        return False
    return True
