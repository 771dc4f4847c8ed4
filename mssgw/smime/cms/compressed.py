"""CompressedData, read only (RFC 3274): one level, zlib, with limits on ratio and size (docs/reference/crypto.md 9.22)."""

from __future__ import annotations

import zlib

from mssgw.pki import der
from mssgw.smime.cms.enveloped import Write
from mssgw.smime.errors import Reason, SmimeError
from mssgw.smime.wire import oids
from mssgw.smime.wire.algorithms import read_identifier
from mssgw.smime.wire.ber import Stream

MAX_RATIO = 100
FREE = 1024 * 1024  # octets below which the ratio does not matter
_STEP = 256 * 1024


def inflate(stream: Stream, write: Write, most: int) -> None:
    """Write the content of a CompressedData. Raises SmimeError, BerError; what was written is then to be dropped."""
    stream.enter(der.SEQUENCE)
    if stream.element(64) != oids.COMPRESSED_DATA:
        raise SmimeError(Reason.MALFORMED, "not CompressedData")
    stream.enter(0xA0)
    stream.enter(der.SEQUENCE)
    stream.element(16)  # version
    if read_identifier(stream.element(64))[0] != oids.ZLIB:
        raise SmimeError(Reason.UNSUPPORTED, "compression other than zlib")
    stream.enter(der.SEQUENCE)
    stream.element(64)  # content type
    stream.enter(0xA0)
    _inflate(stream, write, most)
    for _ in range(4):
        stream.leave()
    stream.leave()
    stream.finish()


def _inflate(stream: Stream, write: Write, most: int) -> None:
    engine = zlib.decompressobj()
    taken = made = 0
    try:
        for piece in stream.octets():
            chunk = bytes(piece)
            taken += len(chunk)
            while chunk:
                plain = engine.decompress(chunk, _STEP)
                chunk = engine.unconsumed_tail
                made += len(plain)
                if made > most or made > FREE + MAX_RATIO * taken:
                    raise SmimeError(Reason.LIMIT, "decompressed content is too large")
                write(plain)
                if engine.eof:
                    break
    except zlib.error as error:
        raise SmimeError(Reason.MALFORMED, "compressed content is damaged") from error
    if not engine.eof:
        raise SmimeError(Reason.MALFORMED, "compressed content is cut off")
    if engine.unused_data:
        raise SmimeError(Reason.MALFORMED, "octets follow the compressed content")
