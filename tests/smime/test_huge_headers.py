"""What a stranger writes into a header costs time that grows with its length, and no faster."""

from __future__ import annotations

import time

import pytest

from mssgw.core.message import Headers
from mssgw.protocol import mime
from mssgw.smime.judging import claim_of

SECONDS = 1.0  # of CPU; each of these takes hundredths of one, and some would go on for ever where a pattern may try again
VALUES = {
    "a long word beside the address": b'"' + b"a" * 24_000 + b'" <a@b.test>',
    "many authors and a comma too many": b"<a@b.test>, " * 26,
    "many signs": b'"' + b"a@" * 12_000 + b'" <a@b.test>',
    "many comments": b"a@b.test " + b"(a)" * 8_000,
    "many brackets": b'"' + b"( " * 12_000 + b'" <a@b.test>',
    "many quotes": b'"a" ' * 6_000 + b"<a@b.test>",
    "many escapes": b'"' + b"\\a" * 12_000 + b'" <a@b.test>',
    "many blanks": b'"' + b" " * 24_000 + b'" <a@b.test>',
    "many encoded words": b"=?utf-8?q?a?= " * 2_000 + b"<a@b.test>",
    "words that do not end": b"=?utf-8?q?" * 2_400,
    "many angles": b"<" * 24_000,
}


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES.keys())
def test_a_huge_from_is_judged_in_time_that_grows_with_its_length(value: bytes) -> None:
    raw = b"From: " + value + b"\r\nContent-Type: text/plain\r\n\r\nBonjour\r\n"
    begun = time.process_time()
    claim_of(Headers.parse(raw), None)
    mime.ambiguity(raw, mime.parse(raw))
    assert time.process_time() - begun < SECONDS
