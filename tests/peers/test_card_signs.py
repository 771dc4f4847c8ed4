"""A whole node with two workers and three persons' keys: one on a card behind pcscd and OpenSC, two in SoftHSM.

The card is pulled: its owner's mail waits with a sentence, that of the others goes. It is back and unlocked: the mail goes, and
`openssl cms` finds in it the certificate of the card.
"""

from __future__ import annotations

import json
import os
import smtplib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import make_msgid
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from dmp_connector.card.simulated import VirtualCard
from mssgw.demo.pki import CPS_SIGN, Credential, Pki
from tests.peers.piv import PivCard, Slot
from tests.peers.readers import MODULE, Readers, shown
from tests.smime.test_tokens import MODULE as SOFTHSM
from tests.world import World, free_base, until

pytestmark = [pytest.mark.slow, pytest.mark.peer("softhsm2-util", str(MODULE), "openssl")]
PASSWORD, PIN = "Mot-de-passe-9", "482913"
DOMAIN, TO = "alpha.mssante.test", "paul.durand@beta.mssante.test"


@dataclass(frozen=True)
class Professional:
    local: str
    given: str
    surname: str
    number: str

    @property
    def address(self) -> str:
        return f"{self.local}@{DOMAIN}"

    def credential(self, pki: Pki) -> Credential:
        return pki.person(None, given=self.given, surname=self.surname, identifier=self.number, profile=CPS_SIGN)


CLAIRE = Professional("claire.moreau", "Claire", "Moreau", "899700367909")
MARC = Professional("marc.faure", "Marc", "Faure", "899700245667")
SOPHIE = Professional("sophie.roux", "Sophie", "Roux", "899700366778")


def util(*arguments: str) -> None:
    subprocess.run(["softhsm2-util", *arguments], check=True, capture_output=True, timeout=60)


@dataclass
class House:
    """The node, and what stands on the desks around it."""

    world: World
    readers: Readers
    certificates: dict[Professional, Credential]
    applet: PivCard
    card: VirtualCard

    def verb(self, *words: str, given: str = "") -> subprocess.CompletedProcess[str]:
        config = ("--config", str(self.world.path(self.world.operator("alpha")["config"])))
        command = [sys.executable, "-m", "mssgw", *words, *config]
        environment = {**os.environ, "LANGUAGE": "en"}
        return subprocess.run(command, input=given, capture_output=True, text=True, check=False, timeout=120, env=environment)

    def done(self, *words: str, given: str = "") -> str:
        ran = self.verb(*words, given=given)
        assert ran.returncode == 0, ran.stderr + ran.stdout
        return ran.stdout

    def unlock(self, who: Professional, pin: str = PIN) -> None:
        answer = json.loads(self.done("identity", "unlock", who.address, "--pin-stdin", "--json", given=pin + "\n"))
        assert answer["workers"] == 2

    def send(self, who: Professional) -> str:
        """The Message-ID. Raises smtplib.SMTPDataError."""
        letter = EmailMessage()
        letter["From"], letter["To"], letter["Subject"] = who.address, TO, "Compte rendu"
        letter["Message-ID"] = make_msgid(domain=DOMAIN)
        letter.set_content("Bonjour, voici le compte rendu.\n")
        place = self.world.operator("alpha")["submission"]
        with smtplib.SMTP(place["host"], place["port"], timeout=60) as client:
            client.starttls(context=self.world.tls())
            client.login(who.address, PASSWORD)
            client.send_message(letter)
        return str(letter["Message-ID"])

    def received(self, message_id: str) -> bytes:
        """As beta's reader gets it."""

        def found() -> bytes | None:
            with self.world.reader() as client:
                numbers = client.search(None, "HEADER", "Message-ID", f'"{message_id}"')[1][0].split()
                return client.fetch(numbers[0].decode(), "(BODY.PEEK[])")[1][0][1] if numbers else None  # type: ignore[index]

        octets = until("the mail at beta", found)
        assert isinstance(octets, bytes)
        return octets

    def signer(self, message_id: str, place: Path) -> x509.Certificate:
        """Whose signature `openssl cms` verifies."""
        (place / "mail").write_bytes(self.received(message_id))
        command = ["openssl", "cms", "-verify", "-in", str(place / "mail"), "-CAfile", str(self.world.path("pki/igc.pem"))]
        command += ["-purpose", "any", "-signer", str(place / "signer.pem"), "-out", str(place / "text")]
        ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert ran.returncode == 0, ran.stderr
        assert b"voici le compte rendu" in (place / "text").read_bytes()
        return x509.load_pem_x509_certificate((place / "signer.pem").read_bytes())


@pytest.fixture
def house(readers: Readers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    (tmp_path / "hsm").mkdir()
    (tmp_path / "softhsm2.conf").write_text(f"directories.tokendir = {tmp_path / 'hsm'}\nobjectstore.backend = file\nlog.level = ERROR\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(tmp_path / "softhsm2.conf"))
    monkeypatch.setenv("PCSCLITE_CSOCK_NAME", str(readers.socket))
    world = World(tmp_path / "demo", free_base(), ("--workers", "2")).start()
    try:
        world.path("alpha/recipients/beta.mssante.test.pem").unlink()  # signed alone: openssl is to see what the card made
        yield from _with_people(world, readers, tmp_path)
    finally:
        world.stop()


def _with_people(world: World, readers: Readers, place: Path) -> Iterator[House]:
    pki = Pki.load(world.path("authority"))
    certificates = {who: who.credential(pki) for who in (CLAIRE, MARC, SOPHIE)}
    other = CLAIRE.credential(pki)
    keys = {Slot.AUTHENTICATION: _on_card(other), Slot.SIGNATURE: _on_card(certificates[CLAIRE])}
    applet = PivCard(PIN, keys)
    found = House(world, readers, certificates, applet, readers.insert(applet))
    try:
        for who, credential in certificates.items():
            name = f"{who.given} {who.surname}"
            account = ("account", "add", who.address, "--name", name, "--rpps", who.number, "--password-stdin")
            found.done(*account, given=PASSWORD + "\n")
            certificate, key = credential.write(place, who.local)
            if who is CLAIRE:
                reference = f"{shown(readers).reference};id=02?module-path={MODULE}"
            else:
                util("--init-token", "--free", "--label", who.local, "--pin", PIN, "--so-pin", "12345678")
                util("--import", str(key), "--token", who.local, "--label", "sign", "--id", "01", "--pin", PIN)
                reference = f"pkcs11:token={who.local};object=sign?module-path={SOFTHSM}"
            key.unlink()
            arguments = ("--token", reference, "--kind", "signing", "--pin-stdin")
            found.done("identity", "add", who.address, str(certificate), *arguments, given=PIN + "\n")
        yield found
    finally:
        found.card.pull()


def _on_card(one: Credential) -> tuple[rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, x509.Certificate]:
    return one.key, one.certificate


def test_pulled_its_owner_waits_and_back_the_mail_goes_signed_by_the_card(house: House, tmp_path: Path) -> None:
    for who in (CLAIRE, MARC, SOPHIE):
        with pytest.raises(smtplib.SMTPDataError) as refused:  # nobody has given a PIN yet
            house.send(who)
        assert refused.value.smtp_code == 451
        house.unlock(who)
    before = house.applet.signed
    for who in (CLAIRE, MARC, SOPHIE):
        assert house.signer(house.send(who), tmp_path) == house.certificates[who].certificate
    assert house.applet.signed == before + 1

    house.card.pull()
    with pytest.raises(smtplib.SMTPDataError) as refused:
        house.send(CLAIRE)
    assert refused.value.smtp_code == 451
    said = refused.value.smtp_error.decode()
    assert "(CLAIRE MOREAU) is not unlocked" in said
    assert "put it back, run mssgw identity unlock, and send again" in said
    for who in (MARC, SOPHIE):
        assert house.signer(house.send(who), tmp_path) == house.certificates[who].certificate
    locked = house.verb("identity", "unlock", CLAIRE.address, "--pin-stdin", "--json", given=PIN + "\n")
    assert locked.returncode == 1
    assert "is in no reader" in json.loads(locked.stdout)["reason"]
    until("smime.token_locked in the log", lambda: "smime.token_locked" in house.world.path("log/alpha.log").read_text())

    house.card = house.readers.insert(house.applet)
    with pytest.raises(smtplib.SMTPDataError):
        house.send(CLAIRE)
    tries = len(house.applet.verified)
    wrong = house.verb("identity", "unlock", CLAIRE.address, "--pin-stdin", "--json", given="000000\n")
    assert "counts tries" in json.loads(wrong.stdout)["reason"]
    assert len(house.applet.verified) == tries + 1  # of two workers one has tried it
    house.unlock(CLAIRE)
    assert house.signer(house.send(CLAIRE), tmp_path) == house.certificates[CLAIRE].certificate
