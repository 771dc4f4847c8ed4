"""Three persons with a token each: unlocked for a session, pulled, back. Their mail waits meanwhile, nobody else's does (SoftHSM)."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mssgw import smime
from mssgw.core.address import Address
from mssgw.core.body import Body
from mssgw.core.config.smime import Smime
from mssgw.flow.enrolment import Owner, in_token
from mssgw.flow.keyring import StoreKeys
from mssgw.flow.resources import Resources
from mssgw.flow.submission import Submission
from mssgw.node.pins import Pins
from mssgw.node.unlocking import Outcome, Unlocking, unlock
from mssgw.smime import places
from mssgw.smime.errors import Lock, TokenLocked
from mssgw.smime.keys.certificates import certificate
from mssgw.smime.keys.tokens import Token, TokenPlace
from mssgw.smime.opening import open_now
from mssgw.store import Store, accounts, audit, identities, queue
from mssgw.store.accounts import Account, NewAccount
from tests.flow.conftest import HERE, FakeTrust, checked, client_of, rcpt
from tests.smime.people import NOW, Authority, Person
from tests.smime.test_tokens import MODULE

pytestmark = pytest.mark.peer("softhsm2-util", "/usr/lib/softhsm/libsofthsm2.so" if MODULE is None else str(MODULE))
NAMES = ("jeanne", "paul", "luc")
TO = "durand@beta.mssante.test"


def reference(name: str) -> str:
    return f"pkcs11:token={name};object=sign?module-path={MODULE}"


@pytest.fixture
def tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    home = tmp_path / "hsm"
    (home / "tokens").mkdir(parents=True)
    config = home / "softhsm2.conf"
    config.write_text(f"directories.tokendir = {home / 'tokens'}\nobjectstore.backend = file\nlog.level = ERROR\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(config))
    yield home / "tokens"
    for token in places._tokens.values():
        token.close()
    places._tokens.clear()


@pytest.fixture
def pins() -> Iterator[Pins]:
    memory = os.memfd_create("pins")
    yield Pins(memory)
    os.close(memory)


def util(*arguments: str) -> None:
    subprocess.run(["softhsm2-util", *arguments], check=True, capture_output=True)


def provision(tokens: Path, directory: Path, name: str, who: Person) -> Path:
    before = set(tokens.iterdir())
    util("--init-token", "--free", "--label", name, "--pin", f"{name}1234", "--so-pin", "12345678")
    (place,) = set(tokens.iterdir()) - before
    (directory / f"{name}.pem").write_bytes(who.key_pem())
    util("--import", str(directory / f"{name}.pem"), "--token", name, "--label", "sign", "--id", "01", "--pin", f"{name}1234")
    return place


@pytest.fixture
async def three(sqlite_store: Store, tokens: Path, tmp_path: Path) -> dict[str, tuple[Account, Path]]:
    """Each account with its token's directory; the PIN is the name and 1234."""
    found: dict[str, tuple[Account, Path]] = {}
    authority = Authority()
    await sqlite_store.require_key(HERE)
    for number, name in enumerate(NAMES):
        who = authority.issue("rsa", f"{name}@{HERE}", number=number)
        place = provision(tokens, tmp_path, name, who)

        def take_in(tx, name=name, who=who):
            account = accounts.add(tx, NewAccount(Address(name, HERE)))
            new = in_token(Owner.of(tx, account), [who.certificate], reference(name), NOW, kind=None, retired=False)
            identities.add(tx, account, new, "test")
            return account

        found[name] = (await sqlite_store.write(take_in), place)
    return found


@pytest.fixture
def submission(resources: Resources, sqlite_store: Store) -> Submission:
    authority = Authority()
    protection = replace(
        resources.protection,
        policies={HERE: smime.Policy("when-possible", "never")},
        keys=StoreKeys(sqlite_store, Smime()),
        validate=authority.validate,
    )
    return Submission(replace(resources, protection=protection), FakeTrust())


async def send(submission: Submission, account: Account) -> str:
    from mssgw.protocol.smtp import MailFrom

    transaction = await submission.begin(client_of(account), MailFrom(account.address))
    await transaction.recipient(rcpt(TO))
    letter = f"From: {account.address}\r\nTo: {TO}\r\nSubject: x\r\n\r\nhello\r\n".encode()
    return await transaction.accept(checked(letter))


async def signer_of(store: Store, trace: str) -> str:
    message = await store.read(lambda rx: queue.show(rx, trace))
    body = await store.blobs.read(message.deliveries[0].content)
    (one,) = open_now(Body.of(body.read()), [], Authority().validate, NOW).verdict.signers
    return one.subject


async def test_pulled_it_waits_and_back_it_goes(
    sqlite_store: Store, sqlite_config, submission: Submission, three: dict[str, tuple[Account, Path]], pins: Pins
) -> None:
    data = sqlite_config.node.data
    workers = Unlocking(data, Smime, pins)
    await workers.start()
    try:
        for account, _ in three.values():  # nobody has given a PIN yet
            with pytest.raises(TokenLocked):
                await send(submission, account)
        for name in NAMES:
            assert await asyncio.to_thread(unlock, data, reference(name), f"{name}1234") == Outcome(1, 1)
        for name, (account, _) in three.items():
            trace = await send(submission, account)
            assert f"{name}@{HERE}" in str(account.address)
            (row,) = [
                one for one in await sqlite_store.read(lambda rx, trace=trace: audit.find(rx, trace=trace)) if one.what == "submitted"
            ]
            assert row.facts["signer_kind"] == "person"
            assert row.facts["signer"] == await signer_of(sqlite_store, trace)
            (held,) = await sqlite_store.read(lambda rx, account=account: identities.of_account(rx, account.id))
            assert row.facts["signer_serial"] == certificate(held.der).serial_hex

        jeanne, place = three["jeanne"]
        place.rename(place.parent.parent / "pulled")
        with pytest.raises(TokenLocked) as caught:
            await send(submission, jeanne)
        assert caught.value.reply.code == 451
        assert "jeanne" in caught.value.reply.text
        assert "put it back" in caught.value.reply.text
        assert await send(submission, three["paul"][0])  # the others go on

        (place.parent.parent / "pulled").rename(place)
        with pytest.raises(TokenLocked):  # the session is over: the PIN is needed again, and was kept nowhere
            await send(submission, jeanne)
        refused = await asyncio.to_thread(unlock, data, reference("jeanne"), "wrong-pin")
        assert (refused.unlocked, "PinIncorrect" in refused.refused) == (0, True)
        assert await asyncio.to_thread(unlock, data, reference("jeanne"), "jeanne1234") == Outcome(1, 1)
        assert await send(submission, jeanne)
    finally:
        await workers.stop()


async def test_nobody_listens(sqlite_config, pins: Pins) -> None:
    """A worker that was killed leaves its socket: it counts as none, and goes."""
    data = sqlite_config.node.data
    left = Unlocking(data, Smime, pins)
    await left.start()
    assert left._server
    left._server.close()
    await left._server.wait_closed()
    assert unlock(data, reference("jeanne"), "1234") == Outcome(0, 0)
    assert not list((data / "run").iterdir())


async def test_the_socket_is_its_owner_s_alone(sqlite_config, pins: Pins) -> None:
    data = sqlite_config.node.data
    workers = Unlocking(data, Smime, pins)
    await workers.start()
    try:
        (path,) = (data / "run").iterdir()
        assert path.stat().st_mode & 0o777 == 0o600
        assert (data / "run").stat().st_mode & 0o777 == 0o700
        assert path.name == f"unlock-{os.getpid()}.sock"
    finally:
        await workers.stop()


async def test_a_pin_refused_to_one_session_is_offered_by_no_other(
    sqlite_store: Store, three: dict[str, tuple[Account, Path]], pins: Pins
) -> None:
    """A card's key wants the PIN at each use. Changed by another program, each worker's session would have spent one try."""
    assert MODULE is not None
    place = TokenPlace(MODULE, "jeanne", None)
    first, second = Token(place), Token(place)  # of two workers
    try:
        for one in (first, second):
            one.unlock("jeanne1234", pins.sessions(place))
        pins.keep(place, "jeanne1234")
        with first._lock:
            first._failed("PinIncorrect", Lock.PIN)  # what its module answered to the next signature
        assert pins.known() == []  # no worker started later has it
        with pytest.raises(TokenLocked) as caught:
            second.require_session()
        assert caught.value.lock is Lock.PIN
        assert second.worker_pid is None
        second.unlock("jeanne1234", pins.sessions(place))
        pins.keep(place, "jeanne1234")
        second.require_session()
    finally:
        first.close()
        second.close()
