"""A card that signs, seen by OpenSC through pcscd: its tools use it, and our keys do; pulled, exchanged, blocked, without a daemon."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding

from dmp_connector.card.simulated import VirtualCard
from mssgw.smime.errors import KeyUnavailable, TokenLocked
from mssgw.smime.keys.tokens import Pkcs11Key, Token, TokenPlace
from mssgw.smime.wire.algorithms import SIGNATURES
from tests.peers.piv import PivCard, Slot
from tests.peers.readers import MODULE, Readers, run, shown, until
from tests.smime.people import Authority, Person

pytestmark = [pytest.mark.slow, pytest.mark.peer(str(MODULE), "pkcs11-tool")]
PIN, NAME = "482913", "899700367909"
SIGN = b"\x02"  # OpenSC's identifier of the slot 9C
SCHEME = {"rsa": SIGNATURES["rsa-sha256"], "p256": SIGNATURES["ecdsa-sha256"]}


@dataclass
class Holder:
    """A card and who it is of."""

    applet: PivCard
    person: Person
    kind: str

    def key(self, token: Token) -> Pkcs11Key:
        return Pkcs11Key(token, self.person.certificate, identifier=SIGN)


def holder(number: int, *, kind: str = "rsa", name: str = NAME, pin: str = PIN) -> Holder:
    """Each number is another card; its serial number follows from its certificates."""
    authority = Authority()
    authentication = authority.issue("rsa", cn=name, number=number)
    signature = authority.issue(kind, cn=name, number=number + 1)
    keys = {Slot.AUTHENTICATION: (authentication.key, authentication.cert), Slot.SIGNATURE: (signature.key, signature.cert)}
    return Holder(PivCard(pin, keys), signature, kind)


@dataclass
class Desk:
    """A reader with somebody's card in it, and the token as the node knows it."""

    readers: Readers
    owner: Holder
    card: VirtualCard
    token: Token

    def sign(self, owner: Holder | None = None) -> bytes:
        """Raises KeyUnavailable."""
        owner = owner or self.owner
        return owner.key(self.token).sign(b"signed attributes", SCHEME[owner.kind])

    def insert(self, owner: Holder) -> None:
        self.card.pull()
        self.card = self.readers.insert(owner.applet)


@pytest.fixture
def desk(readers: Readers, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    yield from _desk(readers, monkeypatch, holder(60))


def _desk(readers: Readers, monkeypatch: pytest.MonkeyPatch, owner: Holder) -> Iterator[Desk]:
    monkeypatch.setenv("PCSCLITE_CSOCK_NAME", str(readers.socket))
    found = Desk(readers, owner, readers.insert(owner.applet), Token(TokenPlace(MODULE, NAME, None)))
    yield found
    found.token.close()
    found.card.pull()


def opensc(readers: Readers, *arguments: str) -> str:
    return run("pkcs11-tool", "--module", str(MODULE), *arguments, environment=readers.environment)


@pytest.mark.parametrize("kind", ["rsa", "p256"])
def test_opensc_lists_its_keys_and_signs(readers: Readers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    owner = holder(60, kind=kind)
    message, made = tmp_path / "message", tmp_path / "signature"
    message.write_bytes(b"Compte rendu.")
    with readers.insert(owner.applet):
        listed = opensc(readers, "--login", "--pin", PIN, "--list-objects")
        assert "always authenticate" in listed.partition("SIGN key")[2].partition("Object")[0]
        mechanism = {"rsa": "SHA256-RSA-PKCS", "p256": "ECDSA-SHA256"}[kind]
        options = ("--mechanism", mechanism, *(() if kind == "rsa" else ("--signature-format", "openssl")))
        opensc(readers, "--login", "--pin", PIN, "--sign", "--id", "02", *options, "--input-file", str(message), "--output-file", str(made))
    public = owner.person.key.public_key()
    if isinstance(public, ec.EllipticCurvePublicKey):
        public.verify(made.read_bytes(), message.read_bytes(), ec.ECDSA(hashes.SHA256()))
    else:
        public.verify(made.read_bytes(), message.read_bytes(), padding.PKCS1v15(), hashes.SHA256())
    assert owner.applet.signed == 1


@pytest.mark.parametrize("kind", ["rsa", "p256"])
def test_a_key_that_asks_for_the_pin_at_each_use_gets_the_session_s(readers: Readers, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    for desk in _desk(readers, monkeypatch, holder(60, kind=kind)):
        with pytest.raises(TokenLocked):
            desk.sign()
        desk.token.unlock(PIN)
        logins = len(desk.owner.applet.verified)
        for count in range(1, 4):
            assert desk.sign()  # which verifies what the card made
            assert len(desk.owner.applet.verified) == logins + count


def test_two_sessions_use_one_card_at_the_same_time(desk: Desk) -> None:
    """Each worker of a node has one: between the PIN and the signature of one the other must not come."""
    second = Desk(desk.readers, desk.owner, desk.card, Token(desk.token.place))
    with ThreadPoolExecutor(2) as threads:
        for one in (desk, second):
            one.token.unlock(PIN)
        made = [threads.submit(one.sign) for _ in range(10) for one in (desk, second)]
        assert all(one.result() for one in made)
    second.token.close()
    assert desk.sign()
    assert desk.owner.applet.signed == 21


def test_a_pulled_card_ends_the_session_before_any_mail_asks(desk: Desk) -> None:
    desk.token.unlock(PIN)
    worker = desk.token.worker_pid
    desk.card.pull()
    until(lambda: desk.token.locked, "the session's end")
    assert not Path(f"/proc/{worker}").exists()  # with the PIN that it held
    desk.insert(desk.owner)
    tried = list(desk.owner.applet.verified)
    with pytest.raises(TokenLocked, match=NAME) as caught:
        desk.sign()
    assert caught.value.reply.code == 451
    assert desk.owner.applet.verified == tried  # nobody gave the PIN again
    desk.token.unlock(PIN)
    assert desk.sign()


def test_a_card_that_is_back_before_anybody_looked_is_locked(desk: Desk) -> None:
    desk.token.unlock(PIN)
    with not_looking(desk):
        desk.insert(desk.owner)
    with pytest.raises(TokenLocked):
        desk.sign()


@pytest.mark.parametrize("serial", [False, True], ids=["label", "serial"])
def test_another_person_s_card_of_the_same_label_is_never_given_the_pin_of_a_session(desk: Desk, serial: bool) -> None:
    other = holder(62, pin="771203")
    if serial:
        desk.token = Token(TokenPlace(MODULE, NAME, None, shown(desk.readers).serial))
    desk.token.unlock(PIN)
    with not_looking(desk):
        desk.insert(other)
    for _ in range(3):
        with pytest.raises(TokenLocked):
            desk.sign()
    assert not other.applet.verified
    if serial:  # nor the PIN that is typed, when the reference has the number of the card
        with pytest.raises(TokenLocked, match="NoSuchToken"):
            desk.token.unlock(PIN)
        assert not other.applet.verified
    else:  # and a card that takes the PIN does not sign for another
        desk.token.unlock("771203")
        with pytest.raises(KeyUnavailable, match="does not fit the certificate"):
            desk.sign()


def test_a_card_pulled_while_it_signs(desk: Desk) -> None:
    desk.token.unlock(PIN)
    desk.owner.applet.before_signing = desk.card.pull
    with pytest.raises(TokenLocked):
        desk.sign()
    desk.owner.applet.before_signing = lambda: None
    desk.insert(desk.owner)
    with pytest.raises(TokenLocked):
        desk.sign()
    desk.token.unlock(PIN)
    assert desk.sign()


def test_a_daemon_that_is_killed_ends_the_session_and_nothing_else(desk: Desk) -> None:
    desk.token.unlock(PIN)
    assert desk.sign()
    desk.readers.kill()
    with pytest.raises(TokenLocked):
        desk.sign()
    with pytest.raises(TokenLocked, match="absent"):
        desk.token.unlock(PIN)
    desk.readers.start()
    desk.insert(desk.owner)
    desk.token.unlock(PIN)
    assert desk.sign()


def test_an_unlock_spends_one_try_and_never_the_last(desk: Desk) -> None:
    for tried in (1, 2):
        with pytest.raises(TokenLocked, match="PinIncorrect"):
            desk.token.unlock("000000")
        assert len(desk.owner.applet.verified) == tried
    for pin in ("000000", PIN):
        with pytest.raises(TokenLocked, match="counts wrong PINs"):
            desk.token.unlock(pin)
    assert desk.owner.applet.tries == 1


def test_a_blocked_card_is_said_to_be_blocked(desk: Desk) -> None:
    desk.owner.applet.tries = 0
    with pytest.raises(TokenLocked, match="blocked"):
        desk.token.unlock(PIN)
    assert not desk.owner.applet.verified


def test_a_pin_that_is_changed_meanwhile_is_tried_once(desk: Desk) -> None:
    """By the holder, with another program: the session's PIN is wrong from then on, and the card counts."""
    desk.token.unlock(PIN)
    assert desk.sign()
    before = len(desk.owner.applet.verified)
    desk.owner.applet.pin = "555444"
    for _ in range(3):
        with pytest.raises(TokenLocked):
            desk.sign()
    assert len(desk.owner.applet.verified) == before + 1
    desk.token.unlock("555444")
    assert desk.sign()


@contextmanager
def not_looking(desk: Desk) -> Iterator[None]:
    """The session's process sees nothing of what happens here."""
    worker = desk.token.worker_pid
    assert worker
    os.kill(worker, signal.SIGSTOP)
    yield
    os.kill(worker, signal.SIGCONT)
