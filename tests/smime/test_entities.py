"""What goes under a signature survives relays, keeps its content, and keeps its header (RFC 8551 3.1, RFC 9788)."""

from __future__ import annotations

import pytest

from mssgw import smime
from mssgw.core.address import Address
from mssgw.core.body import Body, BodyWriter
from mssgw.smime import entity
from mssgw.smime.entity import MAX_LINE
from mssgw.smime.opening import open_now
from mssgw.smime.protecting import protect_now
from tests.smime.letters import attachment, letter
from tests.smime.people import ALICE, BOB, NOW, Authority, Person
from tests.smime.test_round_trip import content_of

SIGN = smime.Policy("always", "never")


def made(authority: Authority, who: Person, body: Body, policy: smime.Policy = SIGN) -> bytes:
    return protect_now(body, (), policy, NOW, who.identity, {}, authority.validate)[0].body.read()


def message(content: bytes, kind: str = "text/plain; charset=utf-8", encoding: str = "8bit") -> Body:
    return Body.of(f"From: <{ALICE}>\r\nContent-Type: {kind}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n".encode() + content)


MIXED = (
    b"--o\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\xc3\xa9t\xc3\xa9\r\n"
    b"--o\r\nContent-Type: multipart/alternative; boundary=i\r\n\r\n--i\r\nContent-Type: text/html; charset=iso-8859-1\r\n"
    b"Content-Transfer-Encoding: 8bit\r\n\r\n<p>\xe9</p>\r\n--i--\r\n--o\r\nContent-Type: application/octet-stream\r\n"
    b"Content-Transfer-Encoding: binary\r\n\r\n\x00\x01\xff data\r\n--o--\r\n"
)


@pytest.mark.parametrize(
    "body",
    [
        message("Un été à Besançon\r\n".encode()),
        message(b"x" * 5000 + b"\r\n" + b"y" * MAX_LINE + b"\r\n", encoding="7bit"),
        message(b"blanks at the end   \r\n\ttab\t\r\nFrom here\r\n.\r\n..\r\n\xc3\xa9\r\n"),
        message(b"\x00\x01\x02\xff" * 1000, "application/octet-stream", "binary"),
        message(MIXED, "multipart/mixed; boundary=o"),
        message(b"no line end at all \xc3\xa9"),
    ],
    ids=range(6),
)
def test_what_relays_would_touch_is_encoded_first(authority: Authority, alice: Person, body: Body) -> None:
    raw = made(authority, alice, body)
    assert raw.isascii()
    assert all(len(line) <= MAX_LINE for line in raw.split(b"\r\n"))
    got = open_now(Body.of(raw), [], authority.validate, NOW)
    assert got.verdict.valid
    assert content_of(got.readable) == content_of(body)


def test_lines_without_carriage_return_get_one(authority: Authority, alice: Person) -> None:
    raw = made(authority, alice, Body.of(b"From: <alice.martin@alpha.mssante.test>\nContent-Type: text/plain\n\nun\ndeux\rtrois\r\n"))
    assert raw.count(b"\n") == raw.count(b"\r\n") == raw.count(b"\r")
    got = open_now(Body.of(raw), [], authority.validate, NOW)
    assert got.verdict.valid
    assert content_of(got.readable) == [b"un\r\ndeux\r\ntrois\r\n"]


def test_what_survives_is_not_touched() -> None:
    body = attachment(2_000_000)
    start = entity.header_end(body)
    assert entity.survives(body, start)
    out = entity.outgoing(body)
    assert b"".join(out.content.chunks()) == body.read(start)


@pytest.mark.parametrize("bad", [b"\n", b"\r", b"\r\r\n", b"\xe9", b"\0", b"z" * 999])
@pytest.mark.parametrize("at", [0, 70, 262_144 - 200, 262_144 - 1, 262_144, 262_145, 600_000])
def test_survival_is_judged_across_chunks(bad: bytes, at: int) -> None:
    data = b"Subject: x\r\n\r\n" + (b"a" * 70 + b"\r\n") * 10_000
    body = Body.of(data[: 14 + at] + bad + data[14 + at :])
    clean = bad == b"z" * 999 or (data[14 + at - 1 : 14 + at] == b"\r" and bad == b"\n" and data[14 + at : 14 + at + 1] != b"\n")
    assert entity.survives(body, 14) == (clean and bad != b"z" * 999)


@pytest.mark.parametrize("encrypt", [False, True])
def test_the_header_is_repeated_under_the_signature(authority: Authority, alice: Person, bob: Person, encrypt: bool) -> None:
    to = Address.parse(BOB)
    policy = smime.Policy("always", "always" if encrypt else "never")
    (copy,) = protect_now(letter(), [to], policy, NOW, alice.identity, {to: [smime.Candidate(bob.der, "file")]}, authority.validate)
    raw = copy.body.read()
    assert raw.count(b"Subject: XDM/1.0/DDM+Compte rendu\r\n") == (1 if encrypt else 2)  # in clear outside, because others route by it
    assert raw.count(b"X-MSS-INS: O\r\n") == (1 if encrypt else 2)
    got = open_now(
        Body.of(raw.replace(b"Subject: XDM/1.0/DDM+Compte rendu\r\n", b"Subject: autre chose\r\n", 1)),
        [bob.identity],
        authority.validate,
        NOW,
    )
    assert got.verdict.valid
    assert got.verdict.header_differences == ("subject",)
    assert b"\nSubject: XDM/1.0/DDM+Compte rendu\r\n" in got.readable.read().partition(b"\r\n\r\n")[0] + b"\r\n"


def test_without_header_protection(authority: Authority, alice: Person) -> None:
    raw = made(authority, alice, letter(), smime.Policy("always", "never", header_protection=False))
    assert raw.count(b"Subject:") == 1
    assert b"hp=" not in raw


def test_a_client_that_signed_is_not_signed_over(authority: Authority, alice: Person, bob: Person) -> None:
    signed = Body.of(made(authority, alice, letter()))
    to = Address.parse(BOB)
    found = {to: [smime.Candidate(bob.der, "file")]}
    (copy,) = protect_now(signed, [to], smime.Policy("always", "never"), NOW, bob.identity, {}, authority.validate)
    assert copy.body is signed
    (copy,) = protect_now(signed, [to], smime.Policy("always", "always"), NOW, bob.identity, found, authority.validate)
    got = open_now(copy.body, [bob.identity], authority.validate, NOW)
    assert got.verdict.layers == ("encrypted", "signed")
    assert got.verdict.valid
    (again,) = protect_now(copy.body, [to], smime.Policy("when-possible", "always"), NOW, bob.identity, found, authority.validate)
    assert again.body is copy.body
    (around,) = protect_now(copy.body, [to], smime.Policy("always", "always"), NOW, alice.identity, found, authority.validate)
    got = open_now(around.body, [bob.identity], authority.validate, NOW)
    assert got.verdict.layers == ("signed", "encrypted", "signed")
    assert got.verdict.valid


def test_ml_kem_beside_a_classic_reader(authority: Authority, alice: Person, bob: Person) -> None:  # RFC 9629, 9936
    quantum = authority.issue("mlkem768", "carla@beta.mssante.test", number=2)
    to = [Address.parse(BOB), Address.parse("carla@beta.mssante.test")]
    found = {to[0]: [smime.Candidate(bob.der, "file")], to[1]: [smime.Candidate(quantum.der, "file")]}
    with pytest.raises(smime.NoCertificate, match="carla"):
        protect_now(letter(), to, smime.Policy("always", "always"), NOW, alice.identity, found, authority.validate)
    policy = smime.Policy("always", "always", experimental=True)
    (copy,) = protect_now(letter(to=f"{BOB}>, <carla@beta.mssante.test"), to, policy, NOW, alice.identity, found, authority.validate)
    for reader in (bob, quantum):
        got = open_now(copy.body, [reader.identity], authority.validate, NOW, reading=smime.Reading(experimental=True))
        assert got.verdict.valid, got.verdict
    off = open_now(copy.body, [quantum.identity], authority.validate, NOW)
    assert off.verdict.encryption is smime.EncryptionStatus.NO_KEY


def test_a_spooled_message(authority: Authority, alice: Person, bob: Person) -> None:
    """Everything above through files, as large mail goes."""
    writer = BodyWriter()
    writer.write(attachment(3_000_000).read())
    body = writer.finish()
    assert not body.in_memory
    to = Address.parse(BOB)
    for opaque in (False, True):
        policy = smime.Policy("always", "always", cipher="aes256-gcm", opaque=opaque)
        (copy,) = protect_now(body, [to], policy, NOW, alice.identity, {to: [smime.Candidate(bob.der, "file")]}, authority.validate)
        assert not copy.body.in_memory
        got = open_now(copy.body, [bob.identity], authority.validate, NOW)
        assert got.verdict.valid
        assert content_of(got.readable) == content_of(body)
