"""Signed receipts (RFC 2634) with `openssl cms`, both directions: it asks and we answer, we ask and it answers."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from mssgw.core.address import Address
from mssgw.core.body import Body
from mssgw.pki import der
from mssgw.smime import receipts
from mssgw.smime.cms import ess
from mssgw.smime.errors import Reason, SmimeError
from mssgw.smime.receipts import Signed
from mssgw.smime.wire import oids
from tests.peers.smime_matrix import ENTITY, Workplace, run
from tests.smime.people import ALICE, BOB, NOW
from tests.smime.test_receipts import CONTENT, Asking, names, one_value, request

pytestmark = pytest.mark.peer("openssl")
ASKING = ["-receipt_request_all", "-receipt_request_to", ALICE]


@pytest.fixture
def workplace(tmp_path: Path) -> Workplace:
    return Workplace.at(tmp_path)


def asks(workplace: Workplace, *options: str) -> tuple[Signed, Path]:
    """A message of Alice's that openssl signed, as we read it and as a file."""
    _, cert, key = workplace.person("rsa", ALICE)
    path = workplace.path / "asks.eml"
    run(
        "openssl",
        "cms",
        "-sign",
        "-in",
        workplace.file("in", ENTITY),
        "-signer",
        cert,
        "-inkey",
        key,
        "-out",
        path,
        "-from",
        ALICE,
        *options,
    )
    return receipts.of_message(Body.of(path.read_bytes())), path


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        (ASKING, "all"),
        ([*ASKING, "-nodetach"], "all"),
        (["-receipt_request_first", "-receipt_request_to", ALICE], "first-tier"),
        (["-receipt_request_from", BOB, "-receipt_request_to", ALICE], (Address.parse(BOB),)),
    ],
    ids=["all", "opaque", "first", "from"],
)
def test_we_read_its_requests(workplace: Workplace, options: list[str], wanted: object) -> None:
    original, path = asks(workplace, *options)
    found = receipts.requested(original)
    assert found
    assert (found.wanted_from, found.to) == (wanted, (Address.parse(ALICE),))
    assert ess.receivers(found, None, Address.parse(BOB)) == found.to
    shown = workplace.opened(path.read_bytes()).verdict
    assert shown.valid
    assert shown.signers[0].receipt_request == found


@pytest.mark.parametrize("kind", ["rsa", "p256"])
@pytest.mark.parametrize("options", [[], ["-nodetach"], ["-md", "sha384"]], ids=str)
def test_it_verifies_our_receipt(workplace: Workplace, kind: str, options: list[str]) -> None:
    original, path = asks(workplace, *ASKING, *options)
    bob, *_ = workplace.person(kind)
    made = workplace.file("receipt.der", receipts.make(original, bob.identity, NOW))
    run(
        "openssl",
        "cms",
        "-verify_receipt",
        made,
        "-rctform",
        "DER",
        "-CAfile",
        workplace.path / "ca.pem",
        "-attime",
        str(int(NOW.timestamp())),
        "-in",
        path,
    )


def test_it_refuses_our_receipt_for_another_message(workplace: Workplace) -> None:
    first, path = asks(workplace, *ASKING)
    kept = workplace.file("first.eml", path.read_bytes())
    second, _ = asks(workplace, *ASKING)  # the same text, signed again with another identifier
    bob, *_ = workplace.person("rsa")
    for original, fits in ((first, True), (second, False)):
        made = workplace.file("receipt.der", receipts.make(original, bob.identity, NOW))
        done = run(
            "openssl",
            "cms",
            "-verify_receipt",
            made,
            "-rctform",
            "DER",
            "-CAfile",
            workplace.path / "ca.pem",
            "-attime",
            str(int(NOW.timestamp())),
            "-in",
            kept,
            ok=False,
        )
        assert (done.returncode == 0) is fits, done.stderr


@pytest.mark.parametrize("options", [[], ["-nodetach"]], ids=str)
@pytest.mark.parametrize("kind", ["rsa", "p256"])
def test_we_verify_its_receipt(workplace: Workplace, kind: str, options: list[str]) -> None:
    original, path = asks(workplace, *ASKING, *options)
    bob, cert, key = workplace.person(kind)
    made = run("openssl", "cms", "-sign_receipt", "-in", path, "-signer", cert, "-inkey", key, "-outform", "DER", "-nocerts").stdout
    receipt = receipts.parse(made)
    assert receipts.verify(receipt, original, [bob.certificate]).signer.certificate == bob.certificate
    another, _ = asks(workplace, *ASKING, *options)
    with pytest.raises(SmimeError) as caught:
        receipts.verify(receipt, another, [bob.certificate])
    assert caught.value.reason is Reason.CONFUSION


def test_it_answers_what_we_ask(workplace: Workplace) -> None:
    alice, *_ = workplace.person("rsa", ALICE)
    asking = Asking(alice.identity, (oids.RECEIPT_REQUEST, one_value(request(wanted=der.tlv(0xA1, names(BOB))))))
    before, after = asking.opaque(len(CONTENT), hashlib.sha256(CONTENT).digest(), NOW)
    message = workplace.file("asks.der", before + CONTENT + after)
    _, cert, key = workplace.person("rsa")
    shown = run(
        "openssl",
        "cms",
        "-verify",
        "-in",
        message,
        "-inform",
        "DER",
        "-receipt_request_print",
        "-CAfile",
        workplace.path / "ca.pem",
        "-attime",
        str(int(NOW.timestamp())),
        "-purpose",
        "smimesign",
        "-out",
        workplace.path / "out",
    )
    assert BOB.encode() in shown.stdout + shown.stderr
    answer = ("openssl", "cms", "-sign_receipt", "-signer", cert, "-inkey", key, "-outform", "DER")
    made = run(*answer, "-in", message, "-inform", "DER").stdout
    assert receipts.verify(receipts.parse(made), receipts.parse(message.read_bytes())).identifier == b"number 1"
