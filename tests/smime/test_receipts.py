"""Signed receipts (RFC 2634 2): which are requested, which are due, which match. With openssl: tests/peers/test_openssl_receipts.py."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mssgw.core.address import Address
from mssgw.core.body import Body
from mssgw.pki import der
from mssgw.smime import receipts
from mssgw.smime.cms import ess, verifying
from mssgw.smime.cms.ess import ListPolicy, ReceiptRequest
from mssgw.smime.cms.signed import Signer
from mssgw.smime.errors import Reason, SmimeError
from mssgw.smime.keys.key import Identity
from mssgw.smime.opening import Opened, open_now
from mssgw.smime.receipts import Signed
from mssgw.smime.wire import oids
from mssgw.smime.wire.ber import Stream
from tests.fuzz import examples
from tests.peers.smime_matrix import mail
from tests.smime.forge import ENTITY, clear, plain_attributes, signed_data, signer_info
from tests.smime.people import ALICE, BOB, NOW, Authority, Person

ANNE = "anne@beta.mssante.test"
CONTENT = b"Content-Type: text/plain\r\n\r\nBonjour\r\n"


def names(*addresses: str) -> bytes:
    return der.sequence(*(der.tlv(0x81, one.encode()) for one in addresses))


def request(identifier: bytes = b"number 1", wanted: bytes = b"\x80\x01\x00", to: bytes | None = None) -> bytes:
    return der.sequence(der.octets(identifier), wanted, to if to is not None else der.sequence(names(ALICE)))


def history(*policies: bytes) -> bytes:
    identifier, moment = der.octets(b"key of a list"), der.tlv(der.GENERALIZED_TIME, b"20261120093000Z")
    return der.sequence(*(der.sequence(identifier, moment, policy) for policy in policies))


class Asking(Signer):
    """Signs with further attributes."""

    def __init__(self, who: Identity, *more: tuple[bytes, bytes]) -> None:
        self._more = more
        super().__init__(who)

    def _prepare_attributes(self, reads_with: Any) -> tuple[bytes, bytes, bytes, bool]:
        before, between, after, digest_first = super()._prepare_attributes(reads_with)
        return before, between, after + b"".join(der.sequence(oid, value) for oid, value in self._more), digest_first


def one_value(value: bytes) -> bytes:
    return der.tlv(der.SET, value)


def asking(who: Person, *more: tuple[bytes, bytes], content: bytes = CONTENT) -> Signed:
    before, after = Asking(who.identity, *more).opaque(len(content), hashlib.sha256(content).digest(), NOW)
    return receipts.parse(before + content + after)


def asked(who: Person, **given: Any) -> Signed:
    return asking(who, (oids.RECEIPT_REQUEST, one_value(request(**given))))


def refused(reason: Reason, call: Any, *arguments: Any) -> str:
    with pytest.raises(SmimeError) as caught:
        call(*arguments)
    assert caught.value.reason is reason
    return caught.value.detail


# --- requests -----------------------------------------------------------------------------------------------------------


def test_a_request_is_read(alice: Person) -> None:
    original = asked(alice, wanted=der.tlv(0xA1, names(BOB, ANNE)), to=der.sequence(names(ALICE), names(ALICE, "no address")))
    assert receipts.requested(original) == ReceiptRequest(
        b"number 1", (Address.parse(BOB), Address.parse(ANNE)), (Address.parse(ALICE),), 1
    )
    assert not verifying.signatures(original.cms)[0].problem
    assert receipts.requested(asking(alice)) is None


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\x05\x00",
        request(identifier=b""),
        request(identifier=b"x" * 1025),
        request(wanted=b"\x80\x01\x02"),
        request(wanted=b"\x81\x01\x00"),
        request(to=der.sequence()),
        request(to=der.sequence(*[names(ALICE)] * 17)),
        request(to=names(ALICE)),
        request() + b"\0",
        der.sequence(der.octets(b"x"), b"\x80\x01\x00"),
        request(to=der.sequence(der.sequence())),
    ],
    ids=range(12),
)
def test_a_wrong_request_is_refused(alice: Person, value: bytes) -> None:
    original = asking(alice, (oids.RECEIPT_REQUEST, one_value(value)))
    refused(Reason.ATTRIBUTES, receipts.requested, original)
    assert verifying.signatures(original.cms)[0].problem is Reason.ATTRIBUTES


@pytest.mark.parametrize(
    "more",
    [
        [(oids.RECEIPT_REQUEST, one_value(request()))] * 2,
        [(oids.RECEIPT_REQUEST, der.tlv(der.SET, request(), request()))],
        [(oids.RECEIPT_REQUEST, der.tlv(der.SET))],
    ],
    ids=["twice", "two values", "no value"],
)
def test_exactly_one_request_with_exactly_one_value(alice: Person, more: list[tuple[bytes, bytes]]) -> None:
    original = asking(alice, *more)
    refused(Reason.ATTRIBUTES, receipts.requested, original)
    assert verifying.signatures(original.cms)[0].problem is Reason.ATTRIBUTES


def test_signers_must_ask_for_the_same(alice: Person, bob: Person) -> None:
    one, other = asked(alice), asked(bob, identifier=b"number 2")
    infos = [der.inside(data, der.whole(data, der.SET), der.SET)[0] for data in (one.cms.signer_infos, other.cms.signer_infos)]
    one.cms.signer_infos = der.tlv(der.SET, one.cms.signer_infos[infos[0][1] :], other.cms.signer_infos[infos[1][1] :])
    refused(Reason.ATTRIBUTES, receipts.requested, one)


def opened(content: bytes, authority: Authority) -> Opened:
    return open_now(Body.of(mail(content)), [], authority.validate, NOW)


def test_the_verdict_shows_who_asks_for_a_receipt(authority: Authority, alice: Person) -> None:
    before, after = Asking(alice.identity, (oids.RECEIPT_REQUEST, one_value(request()))).opaque(
        len(CONTENT), hashlib.sha256(CONTENT).digest(), NOW
    )
    found = opened(before + CONTENT + after, authority)
    assert found.verdict.valid
    assert found.verdict.to_json()["signers"][0]["receipt_request"] == {"identifier": b"number 1".hex(), "from": "all", "to": [ALICE]}


def test_a_receipt_is_no_message(authority: Authority, alice: Person) -> None:
    """Its content is not MIME: it stays in its envelope, signed."""
    found = opened(receipts.make(asked(alice), alice.identity, NOW), authority)
    assert found.verdict.layers == ("receipt",)
    assert found.verdict.valid
    assert not found.unwrapped


def test_signed_content_of_another_kind_is_no_message(authority: Authority, alice: Person) -> None:
    """A time stamp or a list that somebody signed must not be shown as their mail."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(oids, "RECEIPT", oids.oid("1.2.840.113549.1.9.16.1.4"))  # TSTInfo
        made = receipts._sign(CONTENT, b"x" * 32, alice.identity, NOW)
    assert not verifying.signatures(receipts.parse(made).cms)[0].problem
    found = opened(made, authority)
    assert not found.verdict.valid
    assert found.verdict.reasons[0] is Reason.NO_MESSAGE
    assert not found.unwrapped


def test_a_signature_over_another_kind_of_content_is_not_one_over_a_part(authority: Authority, alice: Person) -> None:
    """Detached: what was signed as a receipt or a time stamp is not what stands beside it."""
    info = signer_info(alice, plain_attributes(ENTITY, content_type=oids.RECEIPT))
    for kind in (oids.DATA, oids.RECEIPT):
        found = open_now(clear(ENTITY, signed_data([info], [alice], content_type=kind)), [], authority.validate, NOW).verdict
        assert found.signature.value == "invalid"
    assert found.reasons == (Reason.NO_MESSAGE,)


# --- who is due one (RFC 2634 2.3) --------------------------------------------------------------------------------------

TO, LIST = (Address.parse(ALICE),), (Address.parse("list@beta.mssante.test"),)


@pytest.mark.parametrize(
    ("wanted", "policy", "due"),
    [
        ("all", None, TO),
        ("first-tier", None, TO),
        ((Address.parse(BOB.upper()),), None, TO),
        ((Address.parse(ANNE),), None, ()),
        ((), None, ()),
        ("all", ListPolicy(), TO),
        ("first-tier", ListPolicy(), ()),
        ("all", ListPolicy("none"), ()),
        ("all", ListPolicy("instead-of", LIST), LIST),
        ("all", ListPolicy("in-addition-to", LIST), TO + LIST),
        ("first-tier", ListPolicy("instead-of", LIST), ()),
        ((Address.parse(ANNE),), ListPolicy("in-addition-to", LIST), ()),
    ],
    ids=str,
)
def test_who_gets_a_receipt(wanted: Any, policy: ListPolicy | None, due: tuple[Address, ...]) -> None:
    assert ess.receivers(ReceiptRequest(b"x", wanted, TO), policy, Address.parse(BOB)) == due


@pytest.mark.parametrize(
    ("policies", "found"),
    [
        ([b""], ListPolicy()),
        ([b"\x80\x00", b""], ListPolicy()),
        ([b"", b"\x80\x00"], ListPolicy("none")),
        ([der.tlv(0xA1, names(str(LIST[0])))], ListPolicy("instead-of", LIST)),
        ([der.tlv(0xA2, names(str(LIST[0])))], ListPolicy("in-addition-to", LIST)),
    ],
    ids=str,
)
def test_the_last_list_decides(alice: Person, policies: list[bytes], found: ListPolicy) -> None:
    assert receipts.history(asking(alice, (oids.ML_EXPANSION_HISTORY, one_value(history(*policies))))) == found


@pytest.mark.parametrize(
    "value", [history(), history(*[b""] * 65), history(b"\x83\x00"), history(b"\x80\x01\x00"), b"\x05\x00"], ids=range(5)
)
def test_a_wrong_history_is_refused(alice: Person, value: bytes) -> None:
    refused(Reason.ATTRIBUTES, receipts.history, asking(alice, (oids.ML_EXPANSION_HISTORY, one_value(value))))


# --- receipts -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["rsa", "p256", "p384", "ed25519"])
def test_a_receipt_fits_its_message(authority: Authority, alice: Person, kind: str) -> None:
    original, bob = asked(alice), authority.issue(kind, BOB, number=1)
    receipt = receipts.parse(receipts.make(original, bob.identity, NOW))
    found = receipts.verify(receipt, original)
    assert found.signer.certificate == bob.certificate
    assert (found.number, found.identifier) == (0, b"number 1")


def test_a_receipt_for_another_message_is_refused(alice: Person, bob: Person) -> None:
    original, other = asked(alice), asked(alice, identifier=b"number 2")
    receipt = receipts.parse(receipts.make(original, bob.identity, NOW))
    assert "another signature" in refused(Reason.CONFUSION, receipts.verify, receipt, other)
    assert "not a signed receipt" in refused(Reason.CONFUSION, receipts.verify, original, original)


def forged(original: Signed, who: Person, **changed: bytes) -> Signed:
    """A receipt with a good signature over wrong content."""
    info = receipts._signer_infos(original.cms)[0]
    told = {
        "version": der.integer(1),
        "kind": oids.DATA,
        "identifier": der.octets(b"number 1"),
        "signature": der.octets(info.signature),
        "digest": info.attributes_digest,
        "after": b"",
    } | changed
    content = der.sequence(told["version"], told["kind"], told["identifier"], told["signature"], told["after"])
    return receipts.parse(receipts._sign(content, told["digest"], who.identity, NOW))


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"kind": oids.RECEIPT}, Reason.CONFUSION),
        ({"identifier": der.octets(b"number 2")}, Reason.CONFUSION),
        ({"signature": der.octets(b"x" * 256)}, Reason.CONFUSION),
        ({"digest": b"x" * 32}, Reason.ATTRIBUTES),
        ({"digest": b""}, Reason.ATTRIBUTES),
        ({"version": der.integer(2)}, Reason.MALFORMED),
        ({"after": der.NULL}, Reason.MALFORMED),
        ({"identifier": der.NULL}, Reason.MALFORMED),
    ],
    ids=str,
)
def test_the_content_of_a_receipt_must_be_right(alice: Person, bob: Person, changed: dict[str, bytes], reason: Reason) -> None:
    original = asked(alice)
    assert receipts.verify(forged(original, bob), original)
    refused(reason, receipts.verify, forged(original, bob, **changed), original)


def test_an_altered_receipt_is_refused(alice: Person, bob: Person) -> None:
    original = asked(alice)
    made = receipts.make(original, bob.identity, NOW)
    refused(Reason.DIGEST, receipts.verify, receipts.parse(made.replace(b"number 1", b"number 2", 1)), original)


def test_no_receipt_for_what_does_not_hold_or_asks_for_none(alice: Person, bob: Person) -> None:
    refused(Reason.ATTRIBUTES, receipts.make, asking(alice), bob.identity, NOW)
    altered = asked(alice)
    altered.cms.digests = {oid: hashlib.sha256(b"other").digest() for oid in altered.cms.digests}
    refused(Reason.DIGEST, receipts.make, altered, bob.identity, NOW)


def test_no_receipt_for_a_receipt(alice: Person, bob: Person) -> None:
    original = asked(alice)
    receipt = receipts.parse(receipts.make(original, bob.identity, NOW))
    refused(Reason.ATTRIBUTES, receipts.make, receipt, alice.identity, NOW)
    asking_for_more = asked(alice)
    asking_for_more.cms.content_type = oids.RECEIPT
    refused(Reason.ATTRIBUTES, receipts.requested, asking_for_more)


# --- fuzzing ------------------------------------------------------------------------------------------------------------


@settings(max_examples=examples(200), deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 3), st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), max_size=6))
def test_fuzz_receipts(which: int, changes: list[tuple[int, int]]) -> None:
    """Anything is read or refused; nothing changed in a receipt fits any more but what nobody signed."""
    authority = Authority()
    alice, bob = authority.issue("p256", ALICE), authority.issue("p256", BOB, number=1)
    original = asked(alice)
    changed = bytearray(
        (
            request(),
            history(b"\x80\x00"),
            receipts.make(original, bob.identity, NOW),
            der.sequence(der.integer(1), oids.DATA, der.octets(b"x"), der.octets(b"y")),
        )[which]
    )
    for at, octet in changes:
        changed[at % len(changed)] = octet
    for call in (
        ess.read_request,
        ess.read_history,
        receipts._read_receipt,
        lambda data: receipts.verify(receipts.parse(data), original),
        lambda data: verifying.read(Stream([data]), len),
    ):
        try:
            call(bytes(changed))
        except (SmimeError, der.DerError):
            continue
