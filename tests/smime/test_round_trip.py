"""A message goes out protected and comes in readable: the two entry points of the flow, together."""

from __future__ import annotations

import itertools

import pytest

from mssgw import smime
from mssgw.core.address import Address
from mssgw.core.body import Body
from mssgw.core.errors import Deferred
from mssgw.pki import der
from mssgw.protocol import mime
from mssgw.smime.cms import capabilities
from mssgw.smime.wire import oids
from mssgw.smime.wire.algorithms import AES256_GCM, MADE, OAEP_SHA256, identifier
from tests.smime.letters import attachment, letter
from tests.smime.people import ALICE, BOB, NOW, Authority, Person

TO = (Address.parse(BOB),)
ALWAYS = smime.Policy(sign="always", encrypt="always")


def known(*people: Person, stated: bytes | None = None) -> smime.Lookup:
    async def lookup(who: Address) -> list[smime.Candidate]:
        return [smime.Candidate(one.der, "file", stated) for one in people if who in one.certificate.addresses]

    return lookup


def content_of(body: Body) -> list[bytes]:
    """The decoded leaves, signatures left out: what a reader sees."""
    root = mime.parse(body)
    return [
        b"".join(mime.decoded_chunks(body, part))
        for part in root.walk()
        if not part.children and not part.message and "signature" not in part.media
    ]


@pytest.mark.parametrize(
    ("signs", "reads", "stated"),
    [
        *itertools.product(("rsa", "p256", "p384", "ed25519"), ("rsa", "p256", "p384", "x25519"), (True, False)),
        ("brainpool256", "brainpool512", True),
        ("brainpool512", "brainpool256", False),
    ],
)
async def test_signed_and_encrypted(authority: Authority, signs: str, reads: str, stated: bool) -> None:  # RFC 5753, 8418, 8419, 8551 2.5.2
    alice, bob = authority.issue(signs, ALICE), authority.issue(reads, BOB, number=1)
    offered = capabilities.own(bob.certificate) if stated else None
    (sent,) = await smime.protect(
        letter("Résumé très court.\r\n"),
        TO,
        ALWAYS,
        NOW,
        signer=alice.identity,
        lookup=known(bob, stated=offered),
        validate=authority.validate,
    )
    assert sent.signed
    assert sent.cipher == ("aes256-gcm" if stated else "aes256-cbc")
    raw = sent.body.read()
    assert raw.isascii()
    assert b"Subject: XDM/1.0/DDM+Compte rendu" in raw
    assert b"X-MSS-INS: O" in raw
    assert b"court" not in raw

    got = await smime.open(sent.body, [bob.identity], authority.validate, NOW)
    assert got.verdict.valid, got.verdict
    assert got.verdict.reasons == ()
    assert got.verdict.binding is smime.Binding.CERTIFICATE
    assert got.verdict.layers == ("encrypted", "signed")
    assert content_of(got.readable) == ["Résumé très court.\r\n".encode()]
    assert got.readable.read().startswith(b"From: Alice Martin")


@pytest.mark.parametrize("opaque", [False, True])
@pytest.mark.parametrize("pss", [False, True])
async def test_signed_only(authority: Authority, alice: Person, opaque: bool, pss: bool) -> None:  # RFC 4055, 4056
    policy = smime.Policy(sign="always", encrypt="never", pss=pss, opaque=opaque)
    (sent,) = await smime.protect(letter(), TO, policy, NOW, signer=alice.identity, validate=authority.validate)
    got = await smime.open(sent.body, [], authority.validate, NOW)
    assert got.verdict.valid
    assert got.verdict.layers == ("opaque-signed" if opaque else "signed",)
    assert got.verdict.signers[0].algorithm == ("pss-sha256" if pss else "rsa-sha256")
    assert content_of(got.readable) == content_of(letter())


@pytest.mark.parametrize("cipher", ["aes256-gcm", "aes256-cbc"])
@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 57, 70_000, 1_000_000])
async def test_sizes(authority: Authority, alice: Person, bob: Person, cipher: str, size: int) -> None:
    original = attachment(size)
    policy = smime.Policy(sign="always", encrypt="always", cipher=cipher)
    (sent,) = await smime.protect(original, TO, policy, NOW, signer=alice.identity, lookup=known(bob), validate=authority.validate)
    assert sent.cipher == cipher
    got = await smime.open(sent.body, [bob.identity], authority.validate, NOW)
    assert got.verdict.valid
    assert content_of(got.readable) == content_of(original)


async def test_unsigned_cbc_is_flagged(authority: Authority, bob: Person) -> None:
    policy = smime.Policy(sign="never", encrypt="always", cipher="aes256-cbc")
    (sent,) = await smime.protect(letter(), TO, policy, NOW, signer=None, lookup=known(bob), validate=authority.validate)
    got = await smime.open(sent.body, [bob.identity], authority.validate, NOW)
    assert got.verdict.encryption is smime.EncryptionStatus.DECRYPTED
    assert smime.Reason.UNAUTHENTICATED in got.verdict.reasons


async def test_no_certificate_under_always_names_the_recipient(authority: Authority, alice: Person) -> None:
    with pytest.raises(smime.NoCertificate, match=r"550 5\.7\.5 .*bob\.durand@beta\.mssante\.test"):
        await smime.protect(letter(), TO, ALWAYS, NOW, signer=alice.identity, lookup=known(), validate=authority.validate)


async def test_no_certificate_when_possible_is_signed_only(authority: Authority, alice: Person) -> None:
    (sent,) = await smime.protect(letter(), TO, smime.Policy(), NOW, signer=alice.identity, lookup=known(), validate=authority.validate)
    assert (sent.signed, sent.encrypted) == (True, False)


async def test_directory_down(authority: Authority, alice: Person) -> None:
    async def down(_who: Address) -> list[smime.Candidate]:
        raise Deferred(detail="directory does not answer")

    for policy in (ALWAYS, smime.Policy()):
        with pytest.raises(Deferred):
            await smime.protect(letter(), TO, policy, NOW, signer=alice.identity, lookup=down, validate=authority.validate)


async def test_a_certificate_that_cannot_be_judged_now_is_not_a_missing_one(authority: Authority, alice: Person, bob: Person) -> None:
    """Regression: while no CRL could be had, mail under `when-possible` left signed only, and nobody was informed."""

    def no_crl(_der: bytes, _purpose: object, _at: object) -> object:
        raise Deferred(detail="revocation data too old")

    with pytest.raises(Deferred, match="too old"):
        await smime.protect(letter(), TO, smime.Policy(), NOW, signer=alice.identity, lookup=known(bob), validate=no_crl)


async def test_a_broken_key_never_sends_unsigned(authority: Authority, alice: Person, tmp_path) -> None:
    from mssgw.core.config.base import Secret

    broken = smime.identity([alice.certificate], smime.FileKey(Secret("file", str(tmp_path / "gone.key"))), NOW)
    for policy in (smime.Policy(sign="always"), smime.Policy(sign="when-possible")):
        with pytest.raises(smime.KeyUnavailable) as caught:
            await smime.protect(letter(), TO, policy, NOW, signer=broken, validate=authority.validate)
        assert caught.value.reply.code == 451
    (tmp_path / "gone.key").write_bytes(alice.key_pem())
    (sent,) = await smime.protect(letter(), TO, smime.Policy(), NOW, signer=broken, validate=authority.validate)
    assert sent.signed


async def test_sign_always_without_a_key(authority: Authority) -> None:
    with pytest.raises(smime.KeyUnavailable):
        await smime.protect(letter(), TO, smime.Policy(sign="always"), NOW, signer=None, validate=authority.validate)


async def test_nothing_to_do_leaves_the_message_alone(authority: Authority) -> None:
    original = letter()
    (sent,) = await smime.protect(original, TO, smime.Policy(), NOW, signer=None, validate=authority.validate)
    assert sent.body is original


async def test_copies(authority: Authority, alice: Person) -> None:
    """Recipients share a copy when their cipher is the same and the header names them; nobody learns of a hidden recipient."""
    people = {who: authority.issue("rsa", f"{who}@beta.mssante.test", number=number) for number, who in enumerate(("a", "b", "c", "d"), 1)}
    modern = capabilities.own(people["a"].certificate)

    async def lookup(who: Address) -> list[smime.Candidate]:
        if who.local not in people:
            return []
        return [smime.Candidate(people[who.local].der, "mail", modern if who.local in "ab" else None)]

    to = tuple(Address.parse(f"{who}@beta.mssante.test") for who in ("a", "b", "c", "d", "none"))
    message = letter(to="a@beta.mssante.test>, <b@beta.mssante.test>, <c@beta.mssante.test>, <none@beta.mssante.test")
    sent = await smime.protect(message, to, smime.Policy(), NOW, signer=alice.identity, lookup=lookup, validate=authority.validate)
    assert [(tuple(str(one.local) for one in copy.recipients), copy.cipher) for copy in sent] == [
        (("a", "b"), "aes256-gcm"),
        (("c",), "aes256-cbc"),
        (("d",), "aes256-cbc"),
        (("none",), ""),
    ]
    for copy in sent:
        for who in copy.recipients:
            got = await smime.open(copy.body, [people[who.local].identity] if who.local in people else [], authority.validate, NOW)
            assert got.verdict.valid


async def test_undecryptable_is_delivered_as_it_is(authority: Authority, alice: Person, bob: Person) -> None:
    (sent,) = await smime.protect(letter(), TO, ALWAYS, NOW, signer=alice.identity, lookup=known(bob), validate=authority.validate)
    got = await smime.open(sent.body, [alice.identity], authority.validate, NOW)
    assert got.readable is sent.body
    assert got.verdict.encryption is smime.EncryptionStatus.NO_KEY
    assert got.verdict.results("mx.beta.mssante.test").startswith("mx.beta.mssante.test;\r\n smime=none (no-key-for-this-message)")


@pytest.mark.parametrize("cipher", sorted(MADE))
def test_every_cipher_is_read_back(bob: Person, cipher: str) -> None:  # RFC 3565, 5084
    from mssgw.smime.cms import decrypting, enveloped, recipients
    from mssgw.smime.wire import ber

    for oaep in (True, False):
        out: list[bytes] = []
        content = b"abcdef" * 20
        enveloped.encrypt([content[:50], content[50:]], 120, [recipients.recipient(bob.certificate, oaep=oaep)], MADE[cipher], out.append)
        for cut in (1, 7, 100_000):
            data = b"".join(out)
            plain: list[bytes] = []
            found = decrypting.decrypt(
                lambda data=data, cut=cut: ber.Stream(data[at : at + cut] for at in range(0, len(data), cut)),
                [bob.identity],
                lambda plain=plain: plain.append,
            )
            assert b"".join(plain) == content
            assert found.transport == ("rsa-oaep" if oaep else "rsa-v1.5")


@pytest.mark.parametrize(
    ("parameters", "oaep"),
    [(b"", False), (der.NULL, False), (der.sequence(), False), (OAEP_SHA256[13:], True), (b"\x30\x01\x05", False)],
    ids=range(5),
)
def test_oaep_is_used_when_the_recipient_names_the_one_we_make(parameters: bytes, oaep: bool) -> None:  # RFC 3560 5
    """A recipient that names the default parameters reads SHA-1, and what we make is SHA-256."""
    said = der.sequence(identifier(AES256_GCM.oid), identifier(oids.RSA_OAEP, parameters))
    assert capabilities.choose(capabilities.read(said)) == capabilities.Capabilities((AES256_GCM,), oaep)


def test_our_capabilities_name_both_sets_of_oaep_that_we_read(authority: Authority, bob: Person) -> None:
    said = capabilities.own(bob.certificate)
    assert OAEP_SHA256 in said
    assert identifier(oids.RSA_OAEP, der.sequence()) in said
    assert capabilities.read(said).oaep
