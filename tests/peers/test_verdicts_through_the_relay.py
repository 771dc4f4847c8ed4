"""Each kind of the table "What `pass` never stands over" in docs/smime.md: sent to the relay port by another operator, read by IMAP."""

from __future__ import annotations

import base64
import imaplib
import os
import re
import signal
import smtplib
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import make_msgid

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from mssgw.core.body import Body
from mssgw.smime import files
from tests.smime.forge import clear, good
from tests.smime.people import Person
from tests.world import World, free_base, until

PETIT, MARTIN, DURAND = "paul.petit@gamma.mssante.test", "jeanne.martin@alpha.mssante.test", "paul.durand@beta.mssante.test"
ENTITY = b"Content-Type: text/plain; charset=utf-8\r\n\r\nBonjour, voici mes mots.\r\n"
KEYWORDS = {"$Signed", "$SignedBySeal", "$SignatureDoubtful"}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A demo of this file's own: its settings are changed. Alpha knows beta's seal from the whitelist alone."""
    house = World(tmp_path_factory.mktemp("verdicts") / "demo", free_base()).start()
    house.path("alpha/recipients/beta.mssante.test.pem").unlink()
    yield house
    house.stop()


def person(house: World, name: str) -> Person:
    certificate, key = (house.path(f"pki/{name}{suffix}").read_bytes() for suffix in (".pem", ".key"))
    return Person(load_pem_private_key(key, None), x509.load_pem_x509_certificate(certificate))


@dataclass(frozen=True)
class Read:
    """A message as IMAP shows it."""

    header: bytes
    text: bytes
    keywords: frozenset[str]

    @property
    def results(self) -> str:
        """Our Authentication-Results, unfolded."""
        found = re.findall(rb"(?im)^authentication-results:((?:.*\r\n)(?:[ \t].*\r\n)*)", self.header)
        assert len(found) == 1
        return re.sub(r"\s+", " ", found[0].decode()).strip()


def deliver(house: World, content: bytes, *, sender: str = PETIT, certificate: str = "peer-valid") -> None:
    """A session of SMTP with the relay port of alpha, in mutual TLS."""
    place = house.operator("alpha")["relay"]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.load_cert_chain(house.path(f"pki/{certificate}.pem"), house.path(f"pki/{certificate}.key"))
    with smtplib.SMTP(place["host"], place["port"], timeout=20) as client:
        client.starttls(context=context)
        client.sendmail(sender, [MARTIN], content)


@contextmanager
def found(house: World, message_id: str, operator: str = "alpha", local: str = "jeanne.martin") -> Iterator[tuple[imaplib.IMAP4_SSL, str]]:
    with house.reader(operator, local) as client:

        def number() -> str:
            client.noop()
            return client.search(None, "HEADER", "Message-ID", f'"{message_id}"')[1][0].decode()

        yield client, until("the message", number)


def read(house: World, message_id: str, operator: str = "alpha", local: str = "jeanne.martin") -> Read:
    with found(house, message_id, operator, local) as (client, number):
        answer = client.fetch(number, "(FLAGS BODY.PEEK[HEADER] BODY.PEEK[])")[1]
    pieces = {part[0].split(b"BODY")[1][:8]: part[1] for part in answer if isinstance(part, tuple)}
    flags = b"".join(part if isinstance(part, bytes) else part[0] for part in answer)
    whole = pieces[next(name for name in pieces if name.startswith(b"[]"))]
    header, _, text = whole.partition(b"\r\n\r\n")
    return Read(header + b"\r\n", text, frozenset(one for one in KEYWORDS if re.search(re.escape(one) + r"[ )]", flags.decode())))


def sent(house: World, body: Body | bytes, **how: str) -> Read:
    """Delivered, and read back by its Message-ID."""
    content = body if isinstance(body, bytes) else body.read()
    name = make_msgid(domain="gamma.mssante.test")
    deliver(house, b"Message-ID: " + name.encode() + b"\r\n" + content, **how)
    return read(house, name)


def header(author: str = f"Paul Petit <{PETIT}>", more: str = "") -> str:
    return f"From: {author}\r\nTo: <{MARTIN}>\r\nSubject: essai\r\n{more}MIME-Version: 1.0\r\n"


# --- the kinds ----------------------------------------------------------------------------------------------------------


def test_the_author_s_own_signature(house: World) -> None:
    got = sent(house, clear(ENTITY, good(person(house, "paul.petit"), ENTITY), header=header()))
    assert "smime=pass body.smime-serial" in got.results
    assert "policy.binding=certificate" in got.results
    assert got.keywords == {"$Signed"}
    assert b"voici mes mots" in got.text


def test_two_readers_two_messages(house: World) -> None:
    signed = clear(ENTITY, good(person(house, "paul.petit"), ENTITY), header=header()).read()
    head, _, body = signed.partition(b"\r\n\r\n")
    fake = b"--evil\r\nContent-Type: text/plain\r\n\r\nFAUX\r\n--evil--\r\n"
    got = sent(house, head + b'\r\nContent-Type: multipart/mixed; boundary="evil"\r\n\r\n' + fake + body)
    assert "smime=policy (readers-differ)" in got.results
    assert got.keywords == {"$SignatureDoubtful"}
    assert got.header.lower().count(b"content-type:") == 1
    assert b"FAUX" not in got.text
    assert b"voici mes mots" in got.text


def test_a_signature_outside_encryption(house: World) -> None:
    """He signs a ciphertext that somebody else made."""
    hidden, _ = files.encrypt(Body.of(ENTITY), [person(house, "jeanne.martin").certificate], "aes256-gcm", oaep=False, experimental=False)
    entity = hidden.read().removeprefix(b"MIME-Version: 1.0\r\n")
    got = sent(house, clear(entity, good(person(house, "paul.petit"), entity), header=header()))
    assert "smime=policy (signature-outside-encryption)" in got.results
    assert 'policy.layers="signed/encrypted"' in got.results
    assert got.keywords == {"$SignatureDoubtful"}
    assert b"voici mes mots" in got.text


def test_a_person_s_key_signs_for_nobody_who_is_not_logged_in(house: World) -> None:
    """Mail of the hospital's relay in her name carries the seal, and her own session her signature."""
    own, seal = (f"{person(house, one).cert.serial_number:x}" for one in ("jeanne.martin", "alpha-seal"))
    for logged_in in (True, False):
        name = make_msgid(domain="alpha.mssante.test")
        letter = f"From: <{MARTIN}>\r\nTo: <{DURAND}>\r\nMessage-ID: {name}\r\nSubject: essai\r\n\r\nBonjour\r\n".encode()
        if logged_in:
            with house.submission() as client:
                client.sendmail(MARTIN, [DURAND], letter)
        else:
            place = house.operator("alpha")["hospital"]
            with smtplib.SMTP(place["host"], place["port"], timeout=20) as client:
                client.starttls(context=house.tls())
                client.sendmail(MARTIN, [DURAND], letter)
        results = read(house, name, "beta", "paul.durand").results
        assert re.search(r"body\.smime-serial=0*([0-9a-f]+)", results)[1] == (own if logged_in else seal).lstrip("0")  # type: ignore[index]


@pytest.mark.parametrize("shown", ["Paul.Petit@gamma.mssante.test", "PAUL.PETIT@GAMMA.MSSANTE.TEST"])
def test_letter_case(house: World, shown: str) -> None:
    got = sent(house, clear(ENTITY, good(person(house, "paul.petit"), ENTITY), header=header(f"<{shown}>")))
    assert "smime=pass body" in got.results
    assert got.keywords == {"$Signed"}


def test_fields_in_front_of_a_protected_header(house: World) -> None:
    entity = f'From: <{PETIT}>\r\nSubject: essai\r\nContent-Type: text/plain; hp="clear"\r\n\r\nBonjour\r\n'.encode()
    got = sent(
        house, clear(entity, good(person(house, "paul.petit"), entity), header=header(f"<{PETIT}>", "Reply-To: <evil@evil.test>\r\n"))
    )
    assert "smime=pass (protected-headers-differ)" in got.results
    assert b"evil@evil.test" not in got.header


def test_a_name_that_is_the_address_of_another(house: World) -> None:
    got = sent(house, clear(ENTITY, good(person(house, "paul.petit"), ENTITY), header=header(f'"Dr Durand <{DURAND}>" <{PETIT}>')))
    assert "smime=policy (name-shows-another-address)" in got.results
    assert got.keywords == {"$SignatureDoubtful"}


def test_an_unsigned_foreign_sender(house: World) -> None:
    got = sent(house, clear(ENTITY, good(person(house, "paul.petit"), ENTITY), header=header(more=f"Sender: <{DURAND}>\r\n")))
    assert "smime=policy (sender-not-signer)" in got.results
    assert got.keywords == {"$SignatureDoubtful"}


def signed_by_petit(house: World, entity: bytes, author: str = f"Paul Petit <{PETIT}>", more: str = "") -> Read:
    return sent(house, clear(entity, good(person(house, "paul.petit"), entity), header=header(author, more)))


def doubtful(got: Read, reason: str = "readers-differ") -> None:
    assert f"smime=policy ({reason})" in got.results
    assert got.keywords == {"$SignatureDoubtful"}


def remarked(got: Read, reason: str) -> None:
    assert f"smime=pass ({reason}) body" in got.results
    assert got.keywords == {"$Signed"}


MIXED = b"Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\n%b\r\n--a\r\n\r\nBonjour\r\n--a--\r\n"
RELATED = (
    b'Content-Type: multipart/related; boundary=a; start="<%b>"\r\n\r\n--a\r\nContent-Type: text/html\r\nContent-ID: <1@a>\r\n\r\n%b\r\n'
    b"--a\r\nContent-Type: image/png\r\nContent-ID: <%b>\r\n\r\nx\r\n--a--\r\n"
)


def test_who_passed_it_on_stands_outside_the_signature(house: World) -> None:
    remarked(signed_by_petit(house, ENTITY, more=f"Resent-From: <{DURAND}>\r\nResent-To: <{MARTIN}>\r\n"), "resent-by-another")
    assert "smime=pass body" in signed_by_petit(house, ENTITY, more=f"Resent-From: <{PETIT}>\r\n").results


def test_an_answer_that_would_go_to_somebody_else(house: World) -> None:
    remarked(signed_by_petit(house, ENTITY, more=f"Reply-To: Paul Petit <{DURAND}>\r\n"), "reply-to-another")
    assert "smime=pass body" in signed_by_petit(house, ENTITY, more=f"Reply-To: <{PETIT}>\r\n").results


def test_a_name_that_is_not_in_the_certificate(house: World) -> None:
    remarked(signed_by_petit(house, ENTITY, author=f'"Dr Jeanne Martin" <{PETIT}>'), "name-not-in-certificate")
    assert "smime=pass body" in signed_by_petit(house, ENTITY, author=f"Dr PETIT <{PETIT}>").results


def test_a_tnef_that_outlook_shows_instead(house: World) -> None:
    tnef = b"Content-Type: application/ms-tnef; name=winmail.dat\r\nContent-Transfer-Encoding: base64\r\n\r\neJ8+Ig=="
    doubtful(signed_by_petit(house, tnef + b"\r\n"))
    doubtful(signed_by_petit(house, MIXED % tnef))


@pytest.mark.parametrize("field", [f"From: <{DURAND}>", "Subject: urgent"], ids=["author", "subject"])
def test_a_part_that_copies_the_header_and_changes_it(house: World, field: str) -> None:
    copied = b'Content-Type: text/rfc822-headers; protected-headers="v1"\r\n\r\n%b\r\n'
    doubtful(signed_by_petit(house, MIXED % (copied % field.encode())))
    assert "smime=pass body" in signed_by_petit(house, MIXED % (copied % b"Subject: essai")).results


def test_signed_html_that_loads_or_hides_something(house: World) -> None:
    page = b"Content-Type: text/html; charset=utf-8\r\n\r\n%b\r\n"
    remarked(signed_by_petit(house, page % b'<img src="https://www.chu.test/logo.png">'), "remote-content")
    remarked(signed_by_petit(house, page % b'50<span style="display:none">0</span> mg'), "hidden-content")
    assert "smime=pass body" in signed_by_petit(house, RELATED % (b"1@a", b'<img src="cid:2@a">', b"2@a")).results


@pytest.mark.parametrize("names", [(b"2@a", b"2@a"), (b"1@a", b"1@a")], ids=["start", "twice"])
def test_a_related_that_shows_another_part(house: World, names: tuple[bytes, bytes]) -> None:
    doubtful(signed_by_petit(house, RELATED % (names[0], b"50 mg", names[1])))


@pytest.mark.parametrize(
    ("charset", "octets"),
    [(b"utf-8", b"5 \xb5g"), (b"iso-8859-1", b"5 \x80"), (b"us-ascii", b"\x1b$B5\x1b(B mg")],
    ids=["invalid UTF-8", "controls beyond ASCII", "an escape"],
)
def test_octets_that_are_none_of_the_character_set(house: World, charset: bytes, octets: bytes) -> None:
    head = b"Content-Type: text/plain; charset=%b\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" % charset
    doubtful(signed_by_petit(house, head + octets + b"\r\n"))


def test_names_that_show_something_else(house: World) -> None:
    doubtful(signed_by_petit(house, ENTITY, f"=?utf-8?q?Dr_=E2=80=AEtiteP?= <{PETIT}>"), "readers-differ, name-not-in-certificate")
    doubtful(signed_by_petit(house, ENTITY, f"=?utf-8?q?Dr=0D=0ASubject=3A_urgent?= <{PETIT}>"), "readers-differ, name-not-in-certificate")
    doubtful(signed_by_petit(house, ENTITY, f'"paul.durand at beta.mssante.test" <{PETIT}>'), "name-shows-another-address")


@pytest.mark.parametrize(
    ("author", "more", "remark"),
    [
        (f'"Dr Durand <{DURAND}>" <{PETIT}>', "", "name-shows-another-address"),
        (f"<{PETIT}>", f"Sender: <{DURAND}>\r\n", "sender-not-signer"),
        (f"<{PETIT}>", f"Resent-From: <{DURAND}>\r\n", "resent-by-another"),
    ],
)
def test_the_same_without_a_signature_is_remarked(house: World, author: str, more: str, remark: str) -> None:
    got = sent(house, header(author, more).encode() + b"\r\nBonjour\r\n")
    assert "smime=none" in got.results
    assert f'policy.remark="{remark}"' in got.results
    assert got.keywords == set()


def test_nobody_in_from_is_refused(house: World) -> None:
    body = clear(ENTITY, good(person(house, "paul.petit"), ENTITY), header=f"To: <{MARTIN}>\r\nMIME-Version: 1.0\r\n")
    with pytest.raises(smtplib.SMTPDataError) as refused:
        deliver(house, body.read())
    assert refused.value.smtp_code >= 500


def test_the_seal_of_the_operator(house: World) -> None:
    """ADR 17: the whitelist ties the seal to the domain; nobody copied a file."""
    body = clear(ENTITY, good(person(house, "beta-seal"), ENTITY), header=header(f"<{DURAND}>"))
    got = sent(house, body, sender=DURAND, certificate="beta")
    assert "smime=pass body" in got.results
    assert "policy.binding=operator" in got.results
    assert re.search(r'policy\.binding-source="whitelist \d{4}-\d\d-\d\d"', got.results)
    assert got.keywords == {"$SignedBySeal"}


def test_an_altered_message(house: World) -> None:
    whole = clear(ENTITY, good(person(house, "paul.petit"), ENTITY), header=header()).read()
    got = sent(house, whole.replace(b"mes mots", b"ses mots"))
    assert "smime=fail (content-altered)" in got.results
    assert got.keywords == {"$SignatureDoubtful"}


# --- what the reader sees -----------------------------------------------------------------------------------------------


def set_shown(house: World, value: str) -> None:
    """Change `show_signature` of alpha's domain, and wait until a mail shows it."""
    config = house.path("alpha/mssgw.toml")
    text = re.sub(r'show_signature = "\w+"\n', "", config.read_text())
    config.write_text(text.replace('name = "alpha.mssante.test"\n', f'name = "alpha.mssante.test"\nshow_signature = "{value}"\n', 1))
    log = house.path("log/alpha.log")
    before = log.read_text(errors="replace").count("node.config_reloaded")
    os.kill(house.operator("alpha")["pid"], signal.SIGHUP)
    until("the reload", lambda: log.read_text(errors="replace").count("node.config_reloaded") > before)


@pytest.mark.peer("openssl")
def test_a_banner_stands_on_top_and_the_signed_part_below_still_verifies(house: World) -> None:
    set_shown(house, "banner")
    try:
        name = make_msgid(domain="gamma.mssante.test")
        body = clear(ENTITY, good(person(house, "paul.petit"), ENTITY), header=header()).read()
        for one in (b'"b"', b"--b\r\n", b"--b--"):  # openssl reads no boundary of one letter
            body = body.replace(one, one.replace(b"b", b"bord"))
        deliver(house, f"Message-ID: {name}\r\n".encode() + body)
        with found(house, name) as (client, number):
            answer = client.fetch(number, "(FLAGS BODY.PEEK[1] BODY.PEEK[2.MIME] BODY.PEEK[2])")[1]
    finally:
        set_shown(house, "keyword")
    banner, mime, signed = [part[1] for part in answer if isinstance(part, tuple)]
    assert "Signature valide de l'expéditeur" in base64.b64decode(banner).decode()
    assert b"$Signed" in b"".join(part if isinstance(part, bytes) else part[0] for part in answer)
    command = ["openssl", "cms", "-verify", "-CAfile", str(house.path("pki/igc.pem")), "-purpose", "any"]
    verified = subprocess.run(command, input=mime.rstrip() + b"\r\n\r\n" + signed, capture_output=True, check=False, timeout=30)
    assert verified.returncode == 0, verified.stderr
    assert b"voici mes mots" in verified.stdout


def test_none_shows_nothing_but_the_field(house: World) -> None:
    set_shown(house, "none")
    try:
        got = sent(house, clear(ENTITY, good(person(house, "paul.petit"), ENTITY), header=header()))
    finally:
        set_shown(house, "keyword")
    assert got.keywords == set()
    assert b"multipart/signed" in got.header
    assert "smime=pass" in got.results
