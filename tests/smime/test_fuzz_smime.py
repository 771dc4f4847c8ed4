"""Fuzzing what comes from outside: CMS, BER, base64, MIME around them. No crash, bounded time and memory.

Short by default. `MSSGW_FUZZ=long` goes on for minutes (tests/fuzz.py) and also watches every single call: under a second
of CPU and under 200 MB.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator
from functools import cache

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mssgw import smime
from mssgw.core.address import Address
from mssgw.core.body import Body
from mssgw.pki import der
from mssgw.smime import receipts
from mssgw.smime.cms import capabilities, decrypting, ess, legacy, recipients, verifying
from mssgw.smime.cms.decrypting import Reading
from mssgw.smime.cms.enveloped import encrypt
from mssgw.smime.cms.signed import Signer
from mssgw.smime.directories import ldap, ldap_messages
from mssgw.smime.errors import SmimeError
from mssgw.smime.keys import certificates
from mssgw.smime.opening import Opened, open_now
from mssgw.smime.wire import oids
from mssgw.smime.wire.algorithms import MADE
from mssgw.smime.wire.armour import decode
from mssgw.smime.wire.ber import BerError, Stream
from tests.fuzz import LONG, examples, watched
from tests.smime.forge import ENTITY, clear, compressed, enveloped, opaque
from tests.smime.people import ALICE, BOB, NOW, Authority, Person
from tests.smime.test_receipts import Asking, history, one_value, request

SHORT = settings(max_examples=examples(150), deadline=None, suppress_health_check=list(HealthCheck))
LARGEST = 1 << 20  # octets
AUTHORITY = Authority()


@cache
def person(kind: str, address: str) -> Person:
    return AUTHORITY.issue(kind, address, number=1 if address == BOB else 0)


@cache
def asking() -> bytes:
    """Signed, with a request for a receipt and the history of a mailing list."""
    signer = Asking(
        person("rsa", ALICE).identity,
        (oids.RECEIPT_REQUEST, one_value(request())),
        (oids.ML_EXPANSION_HISTORY, one_value(history(b"\x80\x00"))),
    )
    before, after = signer.opaque(len(ENTITY), hashlib.sha256(ENTITY).digest(), NOW)
    return before + ENTITY + after


@cache
def asked_for() -> receipts.Signed:
    return receipts.parse(asking())


@cache
def seeds() -> tuple[bytes, ...]:
    """CMS of every kind, definite and indefinite."""
    found = [Signer(person(kind, ALICE).identity).sign(hashlib.sha256(ENTITY).digest(), NOW) for kind in ("rsa", "p256")]
    before, after = Signer(person("rsa", ALICE).identity).opaque(len(ENTITY), hashlib.sha256(ENTITY).digest(), NOW)
    found.append(before + ENTITY + after)
    for kind in ("rsa", "p256", "mlkem768"):
        for cipher in ("aes256-gcm", "aes256-cbc"):
            out: list[bytes] = []
            way = recipients.recipient(person(kind, BOB).certificate, oaep=True, experimental=True)
            encrypt([ENTITY], len(ENTITY), [way], MADE[cipher], out.append)
            found.append(b"".join(out))
    found.append(compressed(ENTITY))
    for oid, parameters, key in (
        (oids.RC2_CBC, der.sequence(der.integer(160), der.octets(bytes(8))), b"12345"),
        (oids.DES_EDE3_CBC, der.octets(bytes(8)), bytes(range(24))),
    ):
        found.append(enveloped(person("rsa", BOB), oids.ENVELOPED_DATA, oid, parameters, key, bytes(range(96))))
    found += [asking(), receipts.make(asked_for(), person("rsa", BOB).identity, NOW)]
    return (*found, *map(_loosened, found))


def _loosened(data: bytes) -> bytes:
    """The same with indefinite lengths on the outer levels."""

    def level(at: int, end: int, depth: int) -> bytes:
        out = b""
        for tag, _, start, stop in der.split(data, at, end, 1000):
            inner = data[start:stop]
            if tag & 0x20 and depth:
                out += bytes((tag, 0x80)) + level(start, stop, depth - 1) + b"\0\0"
            else:
                out += der.header(tag, len(inner)) + inner
        return out

    return level(0, len(data), 4)


def mutated(data: bytes, draw: random.Random) -> bytes:
    """A few changes of the kinds that break parsers."""
    for _ in range(draw.randint(1, 4)):
        if not data:
            return data
        at = draw.randrange(len(data))
        what = draw.randrange(7)
        if what == 0:
            data = data[:at] + bytes((draw.randrange(256),)) + data[at + 1 :]
        elif what == 1:
            data = data[:at] + data[at + draw.randint(1, 40) :]
        elif what == 2:
            data = data[:at] + draw.randbytes(draw.randint(1, 20)) + data[at:]
        elif what == 3:
            data = data[:at]
        elif what == 4:
            odd = (b"\x80", b"\x84\xff\xff\xff\xff", b"\x30\x80", b"\x24\x80", b"\0\0", b"\xff", b"\x1f")
            data = data[:at] + draw.choice(odd) + data[at + 1 :]
        elif what == 5:
            end = min(len(data), at + draw.randint(1, 300))
            data = data[:end] + data[at:end] * draw.randint(1, 5) + data[end:]
        else:
            other = draw.choice(seeds())
            data = data[:at] + other[draw.randrange(len(other)) :]
        if draw.random() < 0.02:  # few octets many times over
            data = (data[:at] + data[at : at + draw.randint(1, 50)] * draw.choice((1000, 20_000)) + data[at:])[:LARGEST]
    return data


def open_it(body: Body) -> Opened:
    readers = [person(kind, BOB).identity for kind in ("rsa", "p256", "mlkem768")]
    return open_now(body, readers, AUTHORITY.validate, NOW, reading=Reading(legacy=True, experimental=True))


def one_message(draw: random.Random) -> None:
    """Any CMS in any wrapping: an answer, never an exception; and never valid unless what was signed is what is read."""
    cms = mutated(draw.choice(seeds()), draw)
    body = draw.choice((opaque(cms), opaque(cms, binary=True), clear(ENTITY, cms)))
    if draw.random() < 0.3:
        body = Body.of(mutated(body.read(), draw))
    got = open_it(body)
    got.verdict.results("mx").encode("ascii")
    assert got.verdict.banner("fr")
    assert got.verdict.to_json()
    if got.verdict.valid and got.verdict.layers[-1] != "receipt":
        assert b"Bonjour" in got.readable.read()


def one_stream(draw: random.Random) -> None:
    data = mutated(draw.choice(seeds()), draw) if draw.random() < 0.8 else draw.randbytes(draw.randint(0, 200))
    for work in (
        lambda: Stream([data]).element(),
        lambda: list(Stream(_cut(data, draw)).octets()),
        lambda: der.split(data, 0, len(data)),
        lambda: verifying.read(Stream(_cut(data, draw)), lambda _: None),
        lambda: capabilities.read(data),
        lambda: decrypting.decrypt(lambda: Stream(_cut(data, draw)), [person("rsa", BOB).identity], lambda: lambda _: None),
        lambda: _receipt(data),
        lambda: ess.read_request(data),
        lambda: ess.read_history(data),
        lambda: legacy.read_rc2(data),
        lambda: _directory(data),
    ):
        try:
            work()
        except (SmimeError, der.DerError):
            continue


def _receipt(data: bytes) -> None:
    one = receipts.parse(data)
    receipts.requested(one)
    receipts.history(one)
    receipts.verify(one, asked_for())


def _directory(data: bytes) -> None:
    """The octets as the value of an entry, and as a server's answer."""
    for work in (ldap._read, ldap_messages.frame, ldap_messages.read):
        try:
            work(data)
        except (SmimeError, der.DerError, ldap_messages.LdapError):
            continue


def one_certificate(draw: random.Random) -> None:
    data = mutated(person(draw.choice(("rsa", "p256")), ALICE).der, draw)
    try:
        found = certificates.Certificate(data)
        for look in (
            lambda: found.public_key,
            lambda: found.addresses,
            lambda: found.key_id,
            found.require_signing_use,
            found.require_encryption_use,
            lambda: found.name,
            lambda: found.issuer_name,
        ):
            try:
                look()
            except SmimeError:
                continue
    except SmimeError:
        return


def _cut(data: bytes, draw: random.Random) -> Iterator[bytes]:
    at = 0
    while at < len(data):
        step = draw.randint(1, 50)
        yield data[at : at + step]
        at += step


@pytest.mark.parametrize("work", [one_message, one_stream, one_certificate])
def test_fuzz(work: Callable[[random.Random], None]) -> None:
    if not LONG:
        SHORT(given(seed=st.integers(0, 1 << 64))(lambda seed: work(random.Random(seed))))()
        return
    print(watched(work))


@SHORT
@given(st.binary(max_size=400), st.integers(1, 50))
def test_fuzz_base64(data: bytes, step: int) -> None:
    """Whatever comes is decoded or refused; what we made is decoded as it was, however it is cut."""
    import contextlib

    from mssgw.smime.wire.armour import Armour

    with contextlib.suppress(SmimeError):
        list(decode(data[at : at + step] for at in range(0, len(data), step)))
    out: list[bytes] = []
    armour = Armour(out.append)
    for at in range(0, len(data), step):
        armour.write(data[at : at + step])
    armour.close()
    letters = b"".join(out)
    assert all(len(line) <= 76 for line in letters.split(b"\r\n"))
    assert b"".join(decode(letters[at : at + step] for at in range(0, len(letters), step))) == data


@SHORT
@given(st.binary(max_size=2000))
def test_fuzz_any_message(data: bytes) -> None:
    assert open_it(Body.of(data)).readable is not None


@SHORT
@given(st.binary(max_size=600), st.booleans())
def test_fuzz_whatever_is_submitted_leaves_readable(data: bytes, header: bool) -> None:
    """Any octets as a message: signed, encrypted, and read back as something valid."""
    from mssgw.smime.protecting import protect_now

    body = Body.of((f"From: <{ALICE}>\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n".encode() if header else b"") + data)
    bob = person("rsa", BOB)
    to = Address.parse(BOB)
    policy = smime.Policy("always", "always", again=True)
    found = {to: [smime.Candidate(bob.der, "file")]}
    for copy in protect_now(body, [to], policy, NOW, person("rsa", ALICE).identity, found, AUTHORITY.validate):
        got = open_now(copy.body, [bob.identity], AUTHORITY.validate, NOW)
        assert got.verdict.signature is smime.SignatureStatus.VALID, got.verdict


def test_the_loosened_seeds_are_good_ber() -> None:
    for data in seeds():
        stream = Stream([data])
        assert stream.element()
        stream.finish()
    with pytest.raises(BerError):
        Stream([seeds()[-1][:-1]]).element()
