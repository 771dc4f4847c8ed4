"""Keys in a token: SoftHSM, killed, moved away, brought back (docs/reference/crypto.md 9.33)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mssgw import smime
from mssgw.core.address import Address
from mssgw.core.config.base import Secret
from mssgw.core.config.smime import Smime
from mssgw.smime import places
from mssgw.smime.errors import KeyUnavailable, Undecryptable
from mssgw.smime.keys.tokens import Pkcs11Key, Token, TokenPlace
from mssgw.smime.wire.algorithms import SIGNATURES, pss_padding
from tests.smime.forge import ENTITY, opaque
from tests.smime.letters import letter
from tests.smime.people import ALICE, BOB, NOW, Authority, Person

MODULE = next(
    (one for one in (Path("/usr/lib/softhsm/libsofthsm2.so"), Path("/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so")) if one.exists()),
    None,
)
pytestmark = pytest.mark.peer("softhsm2-util", "/usr/lib/softhsm/libsofthsm2.so" if MODULE is None else str(MODULE))
PIN = "482913"


class Time:
    """A monotonic clock that only the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Hsm:
    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.tokens = directory / "tokens"
        self.tokens.mkdir()
        config = directory / "softhsm2.conf"
        config.write_text(f"directories.tokendir = {self.tokens}\nobjectstore.backend = file\nlog.level = ERROR\n")
        monkeypatch.setenv("SOFTHSM2_CONF", str(config))
        self.pin = directory / "pin"
        self.pin.write_text(PIN + "\n")
        self.directory, self.time = directory, Time()
        self._util("--init-token", "--free", "--label", "igc", "--pin", PIN, "--so-pin", "12345678")
        assert MODULE is not None
        self.token = Token(TokenPlace(MODULE, "igc", Secret("file", str(self.pin))), clock=self.time)

    def _util(self, *arguments: str) -> None:
        subprocess.run(["softhsm2-util", *arguments], check=True, capture_output=True)

    def load_for_agreement(self, who: Person, label: str, number: str) -> Pkcs11Key:
        """softhsm2-util imports elliptic keys for signatures only."""
        numbers = who.key.private_numbers()
        script = (
            "import sys, pkcs11; from pkcs11 import *\n"
            "module, pin, label, number, value, curve = sys.argv[1:]\n"
            "from pkcs11.util.ec import encode_named_curve_parameters as parameters\n"
            "with pkcs11.lib(module).get_token(token_label='igc').open(rw=True, user_pin=pin) as session:\n"
            "    session.create_object({Attribute.CLASS: ObjectClass.PRIVATE_KEY, Attribute.KEY_TYPE: KeyType.EC, Attribute.TOKEN: True,\n"
            "        Attribute.PRIVATE: True, Attribute.LABEL: label, Attribute.ID: bytes.fromhex(number), Attribute.DERIVE: True,\n"
            "        Attribute.SENSITIVE: True, Attribute.EC_PARAMS: parameters(curve), Attribute.VALUE: bytes.fromhex(value)})\n"
        )
        size = (who.key.key_size + 7) // 8
        subprocess.run(
            [
                sys.executable,
                "-c",
                script,
                str(MODULE),
                PIN,
                label,
                number,
                numbers.private_value.to_bytes(size, "big").hex(),
                who.key.curve.name,
            ],
            check=True,
            capture_output=True,
        )
        return Pkcs11Key(self.token, who.certificate, label=label, identifier=bytes.fromhex(number))

    def load(self, who: Person, label: str, number: str) -> Pkcs11Key:
        path = self.directory / f"{label}.pem"
        path.write_bytes(who.key_pem())
        self._util("--import", str(path), "--token", "igc", "--label", label, "--id", number, "--pin", PIN)
        return Pkcs11Key(self.token, who.certificate, label=label, identifier=bytes.fromhex(number))


@pytest.fixture
def hsm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hsm]:
    made = Hsm(tmp_path, monkeypatch)
    yield made
    made.token.close()


def sealed(key: Pkcs11Key, who: Person) -> smime.Identity:
    return smime.Identity(who.certificate, key)


@pytest.mark.parametrize("scheme", ["rsa-sha256", "rsa-sha512", "pss-sha256", "ecdsa-sha256"])
def test_signatures(hsm: Hsm, authority: Authority, scheme: str) -> None:  # RFC 8017 9.2
    who = authority.issue("p256" if scheme.startswith("ecdsa") else "rsa", ALICE)
    assert hsm.load(who, "mx", "01").sign(b"attributes", SIGNATURES[scheme])  # it verifies what it signs


def test_a_salt_longer_than_the_hash(hsm: Hsm, authority: Authority) -> None:
    """Regression: the signature had the hash's length of salt, whatever its parameters were."""
    scheme = replace(SIGNATURES["pss-sha256"], salt=64)
    who = authority.issue("rsa", ALICE)
    signature = hsm.load(who, "mx", "01").sign(b"attributes", scheme)
    who.key.public_key().verify(signature, b"attributes", pss_padding(scheme.digest, 64), scheme.digest.hash)


@pytest.mark.parametrize(("kind", "oaep"), [("rsa", False), ("p256", False), ("p384", False)])
def test_decryption(hsm: Hsm, authority: Authority, kind: str, oaep: bool) -> None:
    from tests.smime.test_attacks_on_encryption import hidden

    bob = authority.issue(kind, BOB, number=1)
    key = (hsm.load if kind == "rsa" else hsm.load_for_agreement)(bob, "reader", "02")
    from mssgw.smime.opening import open_now

    got = open_now(opaque(hidden(bob, "aes256-gcm", oaep=oaep)), [sealed(key, bob)], authority.validate, NOW)
    assert got.verdict.encryption is smime.EncryptionStatus.DECRYPTED
    assert ENTITY.split(b"\r\n\r\n")[1] in got.readable.read()


@pytest.mark.peer("openssl")
def test_oaep_with_sha1_is_all_softhsm_can_do(hsm: Hsm, authority: Authority, tmp_path: Path) -> None:  # RFC 3560
    """Any other hash is refused by its name, and is no fault of the token: it goes on."""
    from mssgw.core.body import Body
    from mssgw.smime.opening import Opened, open_now
    from tests.smime.test_attacks_on_encryption import hidden

    bob = authority.issue("rsa", BOB, number=1)
    key = hsm.load(bob, "reader", "02")
    cert, _ = bob.write(tmp_path, "bob")
    (tmp_path / "in").write_bytes(ENTITY)

    def encrypted(*options: str) -> Body:
        made = subprocess.run(
            ["openssl", "cms", "-encrypt", "-aes256", "-in", tmp_path / "in", "-recip", cert, "-keyopt", "rsa_padding_mode:oaep", *options],
            check=True,
            capture_output=True,
        ).stdout
        return Body.of(made)

    def opened(body: Body) -> Opened:
        return open_now(body, [sealed(key, bob)], authority.validate, NOW)

    assert ENTITY.split(b"\r\n\r\n")[1] in opened(encrypted()).readable.read()
    worker = hsm.token.worker_pid
    for body in (opaque(hidden(bob, "aes256-gcm", oaep=True)), encrypted("-keyopt", "rsa_oaep_md:sha1", "-keyopt", "rsa_mgf1_md:sha256")):
        found = opened(body).verdict
        assert found.reasons == (smime.Reason.UNSUPPORTED,)
        assert "which token igc can't do" in found.details[0]
    assert opened(encrypted()).verdict.encryption is smime.EncryptionStatus.DECRYPTED
    assert hsm.token.worker_pid == worker


def test_nobody_is_invited_to_use_oaep_for_a_token(hsm: Hsm, alice: Person) -> None:
    """Cards have no OAEP and SoftHSM only with SHA-1: mail that answers our capabilities must be readable here."""
    from mssgw.smime.cms import capabilities, verifying
    from mssgw.smime.cms.signed import Signer

    for key, invited in ((hsm.load(alice, "mx", "01"), False), (alice.identity.key, True)):
        content = verifying.parse_detached(Signer(smime.Identity(alice.certificate, key)).sign(bytes(32), NOW))
        content.digests = dict.fromkeys(content.digest_identifiers, bytes(32))
        (check,) = verifying.signatures(content)
        said = capabilities.stated(check.capabilities)
        assert said
        assert said.oaep is invited


def test_a_bad_ciphertext_is_no_fault_of_the_token(hsm: Hsm, bob: Person) -> None:
    key = hsm.load(bob, "reader", "02")
    assert key.sign(b"x", SIGNATURES["rsa-sha256"])
    worker = hsm.token.worker_pid
    with pytest.raises(Undecryptable):
        key.decrypt(bytes(256), None)
    assert hsm.token.worker_pid == worker


async def test_the_token_disappears_in_the_middle_of_500_signatures(hsm: Hsm, authority: Authority, alice: Person) -> None:
    """Its worker is killed, its directory moved away and back: nothing unsigned, nothing lost, work resumes."""
    who = sealed(hsm.load(alice, "mx", "01"), alice)
    away = hsm.tokens.with_name("elsewhere")
    waiting, sent, refused, unsigned = list(range(500)), [], 0, 0
    attempts, codes = 0, set()
    while waiting:
        attempts += 1
        assert attempts < 1000
        if attempts in (100, 350):
            os.kill(hsm.token.worker_pid or 0, signal.SIGKILL)
        if attempts == 200:
            hsm.tokens.rename(away)
            os.kill(hsm.token.worker_pid or 0, signal.SIGKILL)
        if attempts == 260:
            away.rename(hsm.tokens)
        if attempts > 260 or attempts % 7 == 0:
            hsm.time.now += 60  # the circuit closes in between
        number = waiting.pop(0)
        try:
            (copy,) = await smime.protect(
                letter(f"lettre {number}\r\n"),
                (Address.parse(BOB),),
                smime.Policy("when-possible", "never"),
                NOW,
                signer=who,
                validate=authority.validate,
            )
        except KeyUnavailable as error:
            codes.add(error.reply.code)
            refused += 1
            waiting.append(number)
            continue
        unsigned += not copy.signed
        sent.append((number, copy.body))
    assert unsigned == 0
    assert codes == {451}
    assert refused >= 60
    assert sorted(number for number, _ in sent) == list(range(500))
    for number, body in sent[::25]:
        got = await smime.open(body, [], authority.validate, NOW)
        assert got.verdict.valid
        assert f"lettre {number}".encode() in got.readable.read()


def test_a_wrong_pin_is_tried_once(hsm: Hsm, alice: Person) -> None:
    key = hsm.load(alice, "mx", "01")
    hsm.pin.write_text("000000")
    for _ in range(20):
        with pytest.raises(KeyUnavailable):
            key.sign(b"x", SIGNATURES["rsa-sha256"])
        hsm.time.now += 3600
    hsm.pin.write_text(PIN + " ")  # changed, and wrong again: the token counts tries, so its counter is read first
    with pytest.raises(KeyUnavailable):
        key.sign(b"x", SIGNATURES["rsa-sha256"])
    hsm.time.now += 3600
    hsm.pin.write_text(PIN + "\n\n")
    with pytest.raises(KeyUnavailable, match="log in once by hand"):
        key.sign(b"x", SIGNATURES["rsa-sha256"])


def test_while_the_circuit_is_open_no_worker_is_started(hsm: Hsm, alice: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    key = hsm.load(alice, "mx", "01")
    hsm.tokens.rename(hsm.tokens.with_name("elsewhere"))
    with pytest.raises(KeyUnavailable):
        key.sign(b"x", SIGNATURES["rsa-sha256"])
    monkeypatch.setattr(subprocess, "Popen", None)
    for _ in range(10):
        with pytest.raises(KeyUnavailable, match="next try later"):
            key.sign(b"x", SIGNATURES["rsa-sha256"])


def test_a_silent_module(hsm: Hsm, alice: Person) -> None:
    key = hsm.load(alice, "mx", "01")
    key.sign(b"x", SIGNATURES["rsa-sha256"])
    hsm.token._patience = 0.05
    os.kill(hsm.token.worker_pid or 0, signal.SIGSTOP)
    with pytest.raises(KeyUnavailable, match="silent"):
        key.sign(b"x", SIGNATURES["rsa-sha256"])
    hsm.token._patience = 10
    hsm.time.now += 60
    assert key.sign(b"x", SIGNATURES["rsa-sha256"])


def test_a_key_that_is_not_the_certificates(hsm: Hsm, authority: Authority, alice: Person) -> None:
    other = authority.issue("rsa", ALICE, number=7)
    key = hsm.load(alice, "mx", "01")
    with pytest.raises(KeyUnavailable, match="does not fit"):
        Pkcs11Key(hsm.token, other.certificate, label="mx").sign(b"x", SIGNATURES["rsa-sha256"])
    assert key.sign(b"x", SIGNATURES["rsa-sha256"])


def test_of_two_tokens_of_one_label_the_serial_number_tells_which(hsm: Hsm, alice: Person) -> None:  # RFC 7512 2.3
    key = hsm.load(alice, "mx", "01")
    script = "import sys, pkcs11; print(pkcs11.lib(sys.argv[1]).get_token(token_label='igc').serial.decode())"
    serial = subprocess.run([sys.executable, "-c", script, str(MODULE)], check=True, capture_output=True, text=True).stdout.strip()
    hsm._util("--init-token", "--free", "--label", "igc", "--pin", PIN, "--so-pin", "12345678")
    with pytest.raises(KeyUnavailable, match="MultipleTokensReturned"):
        key.sign(b"x", SIGNATURES["rsa-sha256"])
    settings = Smime(pkcs11_module=MODULE, pkcs11_pin=Secret("file", str(hsm.pin)))
    named = places.key_at(Secret("pkcs11", f"token=igc;serial={serial};object=mx"), alice.certificate, settings)
    try:
        assert named.sign(b"x", SIGNATURES["rsa-sha256"])
    finally:
        for token in places._tokens.values():
            token.close()
        places._tokens.clear()


def test_two_keys_of_one_label_are_not_guessed_between(hsm: Hsm, authority: Authority, alice: Person) -> None:  # RFC 7512
    other = authority.issue("rsa", ALICE, number=7)
    hsm.load(alice, "mx", "01")
    path = hsm.directory / "second.pem"
    path.write_bytes(other.key_pem())
    hsm._util("--import", str(path), "--token", "igc", "--label", "mx", "--id", "02", "--pin", PIN)
    with pytest.raises(KeyUnavailable, match="2 private keys"):
        Pkcs11Key(hsm.token, alice.certificate, label="mx").sign(b"x", SIGNATURES["rsa-sha256"])
    assert Pkcs11Key(hsm.token, alice.certificate, identifier=b"\1").sign(b"x", SIGNATURES["rsa-sha256"])
    with pytest.raises(KeyUnavailable, match="0 private keys"):
        Pkcs11Key(hsm.token, alice.certificate, label="nobody").sign(b"x", SIGNATURES["rsa-sha256"])


def test_the_pin_is_nowhere_but_in_the_worker(hsm: Hsm, alice: Person) -> None:
    hsm.load(alice, "mx", "01").sign(b"x", SIGNATURES["rsa-sha256"])
    process = Path(f"/proc/{hsm.token.worker_pid}")
    assert PIN.encode() not in (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
    assert PIN not in repr(hsm.token.place)
