"""`pass` stands only over what the signer signed, as every reader shows it. One test for each kind of doubt; docs/smime.md has the table."""

from __future__ import annotations

import re

import pybase64
import pytest

from mssgw import smime
from mssgw.core.address import Address
from mssgw.core.body import Body
from mssgw.pki import der
from mssgw.smime.errors import Reason
from mssgw.smime.opening import Opened, open_now
from mssgw.smime.protecting import protect_now
from mssgw.smime.verdict import SignatureStatus
from mssgw.smime.wire import oids
from tests.smime.forge import ENTITY, attribute, clear, good, plain_attributes, signed_data, signer_info
from tests.smime.letters import letter
from tests.smime.people import ALICE, BOB, NOW, Authority, Person

TO = Address.parse(BOB)
MINE = b"Content-Type: text/plain; charset=utf-8\r\n\r\n"


def opened(authority: Authority, body: Body, *readers: Person) -> Opened:
    return open_now(body, [one.identity for one in readers], authority.validate, NOW)


def doubtful(got: Opened) -> bool:
    verdict = got.verdict
    assert not verdict.valid
    assert "smime=policy (" in verdict.results("mx")
    assert "readers-differ" in verdict.results("mx")
    assert "n'afficheraient pas tous le même contenu" in verdict.banner("fr")
    return verdict.signature is SignatureStatus.VALID and Reason.AMBIGUOUS in verdict.reasons


# --- two readers, two messages ------------------------------------------------------------------------------------------


def test_a_second_root_content_type_is_no_pass_and_the_reader_gets_what_was_judged(authority: Authority, alice: Person) -> None:
    """Our parser takes the first Content-Type, mutt the last, whose multipart stands in the preamble."""
    signed = clear(ENTITY, good(alice)).read()
    head, _, body = signed.partition(b"\r\n\r\n")
    second = b'\r\nContent-Type: multipart/mixed; boundary="evil"'
    fake = b"--evil\r\n" + MINE + b"FAUX\r\n--evil--\r\n"
    got = opened(authority, Body.of(head + second + b"\r\n\r\n" + fake + body))
    assert doubtful(got)
    readable = got.readable.read()
    assert readable.count(b"Content-Type:") == 1
    assert b"FAUX" not in readable
    assert b"Bonjour" in readable


ENTITIES = {
    "a field twice": b"Content-Type: text/plain\r\nContent-Type: text/html\r\n\r\nBonjour\r\n",
    "an encoding twice": b"Content-Type: text/plain\r\nContent-Transfer-Encoding: 7bit\r\nContent-Transfer-Encoding: base64\r\n\r\nQUJD\r\n",
    "a parameter twice": b'Content-Type: multipart/mixed; boundary=a; boundary="c"\r\n\r\n--a\r\n\r\nA\r\n--a--\r\n--c\r\n\r\nB\r\n--c--\r\n',
    "a parameter in two forms": b"Content-Type: multipart/mixed; boundary=a; boundary*=utf-8''b\r\n\r\n--a\r\n\r\nA\r\n--a--\r\n",
    "a comment among parameters": b"Content-Type: multipart/mixed; (x\r\n) boundary=a\r\n\r\n--a\r\n\r\nA\r\n--a--\r\n",
    "a boundary with a quoted pair": b'Content-Type: multipart/mixed; boundary="a\\b"\r\n\r\n--ab\r\n\r\nA\r\n--ab--\r\n',
    "a blank before the colon": b"Content-Type : text/html\r\n\r\nBonjour\r\n",
    "a line that is no field": b"Content-Type: text/plain\r\nbonjour\r\nX-A: b\r\n\r\nBonjour\r\n",
    "a blank fold": b"Content-Type: text/plain;\r\n \r\n charset=utf-8\r\n\r\nBonjour\r\n",
    "a control character": b"Content-Type: text/plain\x0b\r\n\r\nBonjour\r\n",
    "a delimiter in the preamble": b"Content-Type: multipart/mixed; boundary=a\r\n\r\n--c\r\n\r\nB\r\n--a\r\n\r\nA\r\n--a--\r\n",
    "a delimiter in the epilogue": b"Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\n\r\nA\r\n--a--\r\n--c\r\n\r\nB\r\n",
    "a second end": b"Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\n\r\nA\r\n--a--\r\n--a\r\n\r\nB\r\n--a--\r\n",
    "no end": b"Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\n\r\nA\r\n",
    "nearly a delimiter": b"Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\n\r\nA\r\n--ab\r\n\r\nB\r\n--a--\r\n",
    "a boundary that begins another": b"Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\nContent-Type: multipart/mixed; boundary=aa\r\n\r\n"
    b"--aa\r\n\r\nA\r\n--aa--\r\n\r\n--a--\r\n",
    "base64 and more": b"Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\nQUI=\r\nQ0Q=\r\n",
    "quoted-printable and more": b"Content-Type: text/plain\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nA=ZZB\r\n",
    "an encoded multipart": b"Content-Type: multipart/mixed; boundary=a\r\nContent-Transfer-Encoding: base64\r\n\r\n--a\r\n\r\nA\r\n--a--\r\n",
    "an unknown encoding": b"Content-Type: text/plain\r\nContent-Transfer-Encoding: x-uuencode\r\n\r\nA\r\n",
    "a character set of its own": b"Content-Type: text/plain; charset=utf-7\r\n\r\n+AEE-\r\n",
    "content that is elsewhere": b"Content-Type: message/external-body; access-type=anon-ftp; name=a; site=b\r\n\r\nContent-Type: text/plain\r\n\r\n",
    "a part of a message": b"Content-Type: message/partial; id=a; number=1; total=2\r\n\r\nA\r\n",
}


@pytest.mark.parametrize("entity", ENTITIES.values(), ids=ENTITIES.keys())
def test_a_structure_that_readers_take_apart_differently_is_no_pass(authority: Authority, alice: Person, entity: bytes) -> None:
    assert doubtful(opened(authority, clear(entity, good(alice, entity))))


UTF16 = b"\xff\xfeA\0"
ENTITIES |= {
    "a NUL in quoted-printable": b"Content-Type: text/plain\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nA=00B\r\n",
    "a NUL in base64": b"Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\n" + pybase64.b64encode(b"A\0B") + b"\r\n",
    "a byte order mark of UTF-16": b"Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    + pybase64.b64encode(UTF16.replace(b"\0", b"b"))
    + b"\r\n",
    "a character set in HTML": b'Content-Type: text/html\r\n\r\n<meta http-equiv="Content-Type" content="text/html; charset=utf-7">A\r\n',
    "links that start elsewhere": b'Content-Type: multipart/signed; boundary=a; protocol="x/y"\r\nContent-Base: http://evil.test/\r\n\r\n'
    b"--a\r\n\r\nA\r\n--a\r\nContent-Type: x/y\r\n\r\nB\r\n--a--\r\n",
}
TNEF = b"Content-Type: application/%b\r\nContent-Transfer-Encoding: base64\r\n\r\neJ8+Ig==\r\n"
RELATED = (
    b'Content-Type: multipart/related; boundary=a; start="<%b>"\r\n\r\n--a\r\nContent-Type: text/html\r\nContent-ID: <1@a>\r\n\r\n50 mg\r\n'
    b"--a\r\nContent-Type: text/html\r\nContent-ID: <%b>\r\n\r\n500 mg\r\n--a--\r\n"
)
COPIED = (
    b"Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\n"
    b'Content-Type: text/rfc822-headers; protected-headers="v1"\r\n\r\n%b\r\n--a\r\n\r\nBonjour\r\n--a--\r\n'
)
WITH_FIELDS = (
    b"Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\nSubject: %b\r\n"
    b'Content-Type: text/plain; protected-headers="v1"\r\n\r\nBonjour\r\n--a--\r\n'
)
EIGHT_BIT = b"Content-Type: text/plain; charset=%b\r\nContent-Transfer-Encoding: 8bit\r\n\r\n%b\r\n"
ENTITIES |= {
    "a field whose name is a delimiter": b"=0D=0A--a/b:0z=0D=0ATOKEN: x\r\nContent-Type: text/plain\r\n\r\nBonjour\r\n",
    "a TNEF": TNEF % b"ms-tnef",
    "a TNEF of the other name": TNEF % b"vnd.ms-tnef",
    "a TNEF by its file name": TNEF % b'octet-stream; name="WinMail.dat"',
    "a TNEF beside a text": b"Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\n\r\nBonjour\r\n--a\r\n"
    + TNEF % b"ms-tnef"
    + b"--a--\r\n",
    "a related that starts with its second part": RELATED % (b"2@a", b"2@a"),
    "a related that starts with none of its parts": RELATED % (b"3@a", b"2@a"),
    "a Content-ID of two contents": RELATED % (b"1@a", b"1@a"),  # RFC 2392
    "a copied header of another author": COPIED % f"From: <{BOB}>".encode(),
    "a copied header of another subject": COPIED % b"Subject: urgent",
    "a copied header for answers to another": COPIED % f"Reply-To: <{BOB}>".encode(),
    "another subject on a part that calls it protected": WITH_FIELDS % b"urgent",
    "invalid UTF-8": EIGHT_BIT % (b"utf-8", b"Posologie : 5 \xb5g"),
    "UTF-8 longer than needed": EIGHT_BIT % (b"utf-8", b"Posologie : 5 \xc0\xb5g"),
    "the euro of Windows in ISO 8859-1": EIGHT_BIT % (b"iso-8859-1", b"Posologie : 5 \x80"),
    "a next line in ISO 8859-15": EIGHT_BIT % (b"iso-8859-15", b"Posologie : 5\x85 0"),
    "an octet that Windows-1252 has not": EIGHT_BIT % (b"windows-1252", b"Posologie : 5 \x81"),
    "an ISO 8859 that there is not": EIGHT_BIT % (b"iso-8859-99", b"Posologie : 5 \xe9"),
    "an escape to Japanese": EIGHT_BIT % (b"utf-8", b"Posologie : \x1b$B5\x1b(B mg"),
    "an escape without a character set": b"Content-Type: text/plain\r\n\r\nPosologie : \x1b$B5\x1b(B mg\r\n",
    "a shift in base64": b"Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    + pybase64.b64encode(b"A\x0e5\x0f")
    + b"\r\n",
    "an encoded word with a field in it": b"Content-Description: =?utf-8?q?x=0D=0AFrom:_b=40c.fr?=\r\nContent-Type: text/plain\r\n\r\nBonjour\r\n",
    "an encoded word of base64 with a line end": b"Content-Description: =?utf-8?b?"
    + pybase64.b64encode(b"x\nFrom: b@c.fr")
    + b"?=\r\nContent-Type: text/plain\r\n\r\nBonjour\r\n",
}


FINE = {
    "text": b"Content-Type: text/plain; charset=ISO-8859-15\r\nContent-Transfer-Encoding: 8bit\r\n\r\n-- \r\nBonjour\r\n",
    "HTML that names its character set": b'Content-Type: text/html; charset=utf-8\r\n\r\n<html><head><meta charset="UTF-8"></head>A</html>\r\n',
    "nothing": b"\r\nBonjour\r\n",
    "a related that starts with its first part": RELATED % (b"1@a", b"2@a"),
    "one picture twice": b"Content-Type: multipart/related; boundary=a\r\n\r\n--a\r\nContent-Type: text/html\r\n\r\n<img src=cid:1@a>\r\n"
    + 2 * b"--a\r\nContent-Type: image/png\r\nContent-ID: <1@a>\r\n\r\nx\r\n"
    + b"--a--\r\n",
    "a copied header that says the same": COPIED % b"Subject: =?utf-8?q?essai?=",
    "a report with the header it is about": COPIED.replace(b"mixed", b"report") % f"From: <{BOB}>".encode(),
    "a forwarded message with a protected header": b"Content-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\nContent-Type: message/rfc822\r\n\r\n"
    + WITH_FIELDS % b"autre"
    + b"--c--\r\n",
    "UTF-8": EIGHT_BIT % (b"utf-8", "Posologie : 5 µg, 10 €".encode()),
    "Windows-1252": EIGHT_BIT % (b"windows-1252", "l’été : 10 €".encode("cp1252")),
    "an encoded word": b"Content-Description: =?iso-2022-jp?b?GyRCNEE7ehsoQg==?=\r\nContent-Type: text/plain\r\n\r\nBonjour\r\n",
    "quoted": b'Content-Type: text/html; charset="utf-8"\r\nContent-Transfer-Encoding: QUOTED-PRINTABLE\r\n\r\n<p>=C3=A9 =\r\nfin</p>\r\n',
    "file": b'Content-Type: application/pdf; name="Compte rendu d\'=?utf-8?q?=C3=A9t=C3=A9?=.pdf"\r\nContent-Transfer-Encoding: base64\r\n'
    b"Content-Disposition: attachment; filename=compte rendu.pdf\r\n\r\nQUJD\r\n",
    "parts": b'Content-Type: multipart/mixed;\r\n boundary="----=_Part_1.2"\r\n\r\nThis is a message in MIME format.\r\n------=_Part_1.2\r\n'
    b"\r\n-----BEGIN-----\r\n------=_Other\r\n------=_Part_1.2\r\nContent-Type: message/rfc822\r\n\r\nSubject: dedans\r\n\r\nx\r\n"
    b"------=_Part_1.2--\r\n\r\n",
}


@pytest.mark.parametrize("entity", FINE.values(), ids=FINE.keys())
def test_what_programs_really_write_is_a_pass(authority: Authority, alice: Person, entity: bytes) -> None:
    got = opened(authority, clear(entity, good(alice, entity)))
    assert got.verdict.valid, got.verdict.details
    assert not got.unwrapped  # the reader has the signature itself


# --- outside the signature ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "field",
    ["Content-Base: http://evil.test/", "Content-Location: http://evil.test/", "MIME-Version: 2.0"],
    ids=["base", "location", "version"],
)
def test_a_field_in_front_of_the_signature_that_changes_what_is_shown(authority: Authority, alice: Person, field: str) -> None:
    """Relative links of a signed HTML would lead elsewhere; with another version some programs show the source, preamble included."""
    header = f"From: <{ALICE}>\r\n" + ("" if field.startswith("MIME") else "MIME-Version: 1.0\r\n") + f"{field}\r\n"
    assert doubtful(opened(authority, clear(ENTITY, good(alice), header=header)))


@pytest.mark.parametrize(
    "kind", [b"", b"Content-Type: text/plain\r\n", b"Content-Type: message/rfc822\r\n"], ids=["none", "text", "message"]
)
def test_a_signature_that_is_called_something_people_are_shown(authority: Authority, alice: Person, kind: bytes) -> None:
    """Readers show its text beside what was signed (met by `tests/peers/test_two_readers.py`)."""
    whole = clear(ENTITY, good(alice)).read()
    header = re.compile(rb"Content-Type: application/pkcs7-signature[^\r]*(?:\r\n[ \t][^\r]*)*\r\n")
    assert header.search(whole)
    got = opened(authority, Body.of(header.sub(kind, whole)))
    assert not got.verdict.valid


def test_words_in_the_file_name_of_the_signature(authority: Authority, alice: Person) -> None:
    """Programs that don't know S/MIME show it beside the text."""
    whole = clear(ENTITY, good(alice)).read()
    assert doubtful(opened(authority, Body.of(whole.replace(b"name=smime.p7s", b'name="Dose: 500 mg et non 50 mg.p7s"'))))
    assert opened(authority, Body.of(whole.replace(b"name=smime.p7s", b"name=signature.p7s"))).verdict.valid


@pytest.mark.parametrize(
    "author",
    [
        f"Dr Alice: <{ALICE}>;",
        f"<@beta.mssante.test:{ALICE}>",
        ALICE.replace("@", "(le docteur)@"),
        ALICE.replace("@", "@ "),
        f'"Dr \u202eecilA" <{ALICE}>',
        f"=?utf-8?q?Dr_=E2=81=A7ecilA?= <{ALICE}>",
        f"=?utf-8?q?Dr=0D=0ASubject=3A_urgent?= <{ALICE}>",
        f"Dr: ; , <{ALICE}>",
    ],
    ids=[
        "a group",
        "a route",
        "a comment in the address",
        "a blank in the address",
        "a name from right to left",
        "the same encoded",
        "a field in a name",
        "an empty group",
    ],
)
def test_a_from_of_old_syntax_is_no_pass(authority: Authority, alice: Person, author: str) -> None:
    """RFC 5322 4.4: readers show a group's name alone, or take the route for the address."""
    assert doubtful(opened(authority, clear(ENTITY, good(alice), header=f"From: {author}\r\n")))


@pytest.mark.parametrize(
    "author",
    [
        f"Alice Martin <{ALICE}>",
        f'"MARTIN, Alice (CHU)" <{ALICE}>',
        f"=?utf-8?q?Alice_M=C3=A0rtin?=\r\n <{ALICE}>",
        f"{ALICE} (Alice Martin)",
        f"Dr. Alice O'Martin <{ALICE}>",
        f"Alice M\u00e0rtin <{ALICE}>",
        f'Dr "Lili" Martin <{ALICE}>',
        f'"Cardiologie at St.Luc" <{ALICE}>',
    ],
)
def test_a_from_that_programs_write_is_a_pass(authority: Authority, alice: Person, author: str) -> None:
    assert opened(authority, clear(ENTITY, good(alice), header=f"From: {author}\r\n")).verdict.valid


# --- signatures and encryption ------------------------------------------------------------------------------------------


def test_a_signature_around_encryption_vouches_for_nothing(authority: Authority, alice: Person, bob: Person) -> None:
    """Eve takes a ciphertext that she can't read, and signs it."""
    eve = authority.issue("rsa", "eve@alpha.mssante.test", number=4)
    found = {TO: [smime.Candidate(bob.der, "file")]}
    (hidden,) = protect_now(letter(), [TO], smime.Policy("never", "always"), NOW, None, found, authority.validate)
    head, _, body = hidden.body.read().partition(b"\r\n\r\n")
    entity = b"\r\n".join(line for line in _fields(head) if line.lower().startswith(b"content-")) + b"\r\n\r\n" + body
    got = opened(authority, clear(entity, good(eve, entity), header="From: <eve@alpha.mssante.test>\r\n"), bob)
    assert got.verdict.layers == ("signed", "encrypted")
    assert Reason.OUTSIDE in got.verdict.reasons
    assert not got.verdict.valid
    assert "smime=policy" in got.verdict.results("mx")
    assert "entoure un contenu chiffré" in got.verdict.banner("fr")
    assert b"compte rendu" in got.readable.read()  # delivered all the same


def test_a_signature_around_a_part_that_is_encrypted_vouches_for_nothing(authority: Authority, alice: Person) -> None:
    """Some programs decrypt it where it stands, and show it under the signature."""
    entity = (
        b"Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\n\r\nVoyez :\r\n--a\r\n"
        b"Content-Type: application/pkcs7-mime; name=smime.p7m\r\nContent-Transfer-Encoding: base64\r\n\r\nMIIBAAAA\r\n--a--\r\n"
    )
    got = opened(authority, clear(entity, good(alice, entity)))
    assert Reason.OUTSIDE in got.verdict.reasons
    assert not got.verdict.valid


def test_of_a_triple_wrap_the_signature_inside_counts(authority: Authority, alice: Person, bob: Person) -> None:
    eve = authority.issue("rsa", "eve@alpha.mssante.test", number=4)
    found = {TO: [smime.Candidate(bob.der, "file")]}
    (both,) = protect_now(letter(), [TO], smime.Policy("always", "always"), NOW, alice.identity, found, authority.validate)
    head, _, body = both.body.read().partition(b"\r\n\r\n")
    entity = b"\r\n".join(line for line in _fields(head) if line.lower().startswith(b"content-")) + b"\r\n\r\n" + body
    for signed in (entity, entity + b"changed on the way"):
        got = opened(authority, clear(entity, good(eve, signed), header=f"From: <{ALICE}>\r\nTo: <{BOB}>\r\n"), bob)
        assert got.verdict.layers == ("signed", "encrypted", "signed")
        assert got.verdict.valid
        assert [one.addresses for one in got.verdict.signers] == [("eve@alpha.mssante.test",), (ALICE,)]
    assert Reason.DIGEST in got.verdict.reasons  # told, and no more


def _fields(head: bytes) -> list[bytes]:
    return head.replace(b"\r\n ", b" ").replace(b"\r\n\t", b" ").split(b"\r\n")


# --- addresses ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shown", ["Alice.Martin@alpha.mssante.test", "ALICE.MARTIN@ALPHA.MSSANTE.TEST"])
def test_letter_case_makes_nobody_else(authority: Authority, alice: Person, shown: str) -> None:
    got = opened(authority, clear(ENTITY, good(alice), header=f"From: <{shown}>\r\n"))
    assert got.verdict.valid


@pytest.mark.parametrize(
    "name",
    [
        '"Dr Durand <paul.durand@beta.mssante.test>"',
        "=?utf-8?q?paul=2Edurand=40beta=2Emssante=2Etest?=",
        '"paul.durand @ beta.mssante.test"',
        "=?utf-8?q?paul=2Edurand=40beta=E3=80=82mssante=E3=80=82test?=",
        '"paul.durand(at)beta.mssante.test"',
        '"Dr Durand paul.durand [arobase] beta(point)mssante{dot}test"',
        '"paul.durand at beta.mssante.test"',
        '"PAUL.DURAND AT BETA.MSSANTE.TEST"',
        '"paul.durand arobase beta point mssante point test"',
        '"paul.durand @ beta . mssante . test"',
        '"paul.durand[a]beta.mssante.test"',
        '"paul.durand@""beta.mssante.test" Martin',
        '"paul.durand" =?utf-8?q?=40?= "beta.mssante.test Martin"',
        "=?utf-8?q?paul=2Edurand=40beta=C2=B7mssante=C2=B7test?=",
        '"mailto:paul.durand%40beta.mssante.test"',
        '"paul.durand&#64;beta.mssante.test"',
        '"paul.durand&commat;beta.mssante.test"',
        "=?utf-8?q?paul.durand_=E2=93=90_beta.mssante.test?=",
    ],
)
def test_a_name_that_is_the_address_of_another_is_no_pass(authority: Authority, alice: Person, name: str) -> None:
    got = opened(authority, clear(ENTITY, good(alice), header=f"From: {name} <{ALICE}>\r\n"))
    assert Reason.NAME in got.verdict.reasons
    assert not got.verdict.valid
    assert "montre l'adresse de quelqu'un d'autre" in got.verdict.banner("fr")


@pytest.mark.parametrize("kind", ["text/plain", "text/plain; charset=us-ascii", "text/html"])
def test_octets_that_no_character_set_is_given_for_are_no_pass(authority: Authority, alice: Person, kind: str) -> None:
    """Each reader guesses another one: 0xA4 is a euro, a currency sign or half a letter."""
    entity = f"Content-Type: {kind}\r\nContent-Transfer-Encoding: 8bit\r\n\r\n".encode() + b"Posologie : 5 \xa4g\r\n"
    got = opened(authority, clear(entity, good(alice, entity)))
    assert got.verdict.reasons == (Reason.AMBIGUOUS,)
    declared = entity.replace(kind.encode(), kind.partition(";")[0].encode() + b"; charset=iso-8859-15")
    assert opened(authority, clear(declared, good(alice, declared))).verdict.valid


def test_a_name_that_is_the_own_address_is_a_pass(authority: Authority, alice: Person) -> None:
    assert opened(authority, clear(ENTITY, good(alice), header=f'From: "{ALICE}" <{ALICE}>\r\n')).verdict.valid


def test_a_from_under_the_signature_that_is_not_called_protected(authority: Authority, alice: Person) -> None:
    """Some programs show it whether a parameter says so or not."""
    for author, holds in ((ALICE, True), (BOB, False)):
        entity = f"From: <{author}>\r\nContent-Type: text/plain\r\n\r\nBonjour\r\n".encode()
        assert opened(authority, clear(entity, good(alice, entity))).verdict.valid is holds


def test_an_unsigned_sender_of_somebody_else_is_no_pass(authority: Authority, alice: Person) -> None:
    got = opened(authority, clear(ENTITY, good(alice), header=f"From: <{ALICE}>\r\nSender: <mallory@gamma.test>\r\n"))
    assert Reason.SENDER in got.verdict.reasons
    assert not got.verdict.valid


# --- found from outside on 2026-12-01 -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("text/plain; charset=us-ascii", b"Dose : 1\b50 mg\r\n"),
        ("text/plain; charset=us-ascii", b"Dose : 50\x7f mg\r\n"),
        ("text/plain; charset=utf-8", "Dose : 5\u009b2K mg\r\n".encode()),
        ("text/enriched; charset=us-ascii", b"dose 5 <x><param>50</param></x> mg\r\n"),
        ("text/richtext; charset=us-ascii", b"dose 5<comment>0</comment> mg\r\n"),
    ],
    ids=["backspace", "delete", "C1", "enriched", "richtext"],
)
def test_a_text_that_a_terminal_shows_otherwise_is_no_pass(authority: Authority, alice: Person, kind: str, text: bytes) -> None:
    entity = f"Content-Type: {kind}\r\nContent-Transfer-Encoding: 8bit\r\n\r\n".encode() + text
    got = opened(authority, clear(entity, good(alice, entity)))
    assert got.verdict.reasons == (Reason.AMBIGUOUS,)
    assert not got.verdict.valid


def test_a_return_alone_within_an_encoding_is_no_pass(authority: Authority, alice: Person) -> None:
    entity = (
        b"Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        + pybase64.b64encode(b"Dose : 50 mg\rDose : 5 mg \r\n")
        + b"\r\n"
    )
    assert opened(authority, clear(entity, good(alice, entity))).verdict.reasons == (Reason.AMBIGUOUS,)


def test_a_name_in_a_character_set_that_only_some_know_is_no_pass(authority: Authority, alice: Person) -> None:
    name = "=?unicode_escape?q?paul=2Edurand=5Cx40beta=2Emssante=2Etest?="
    got = opened(authority, clear(ENTITY, good(alice), header=f"From: {name} <{ALICE}>\r\n"))
    assert got.verdict.reasons == (Reason.AMBIGUOUS,)


@pytest.mark.parametrize("charset", ["utf8", "ascii", "latin1", "ISO8859-1", "cp1252"])
def test_another_name_of_a_usual_character_set_is_a_pass(authority: Authority, alice: Person, charset: str) -> None:
    entity = f"Content-Type: text/plain; charset={charset}\r\n\r\nDose : 50 mg\r\n".encode()
    assert opened(authority, clear(entity, good(alice, entity))).verdict.reasons == ()


def test_the_date_under_the_signature_is_the_one_that_is_compared(authority: Authority, alice: Person) -> None:
    """Regression: the outer Date was, and the readable copy shows the inner one."""
    entity = b"Date: Thu, 22 Feb 2024 09:00:00 +0000\r\n" + ENTITY.replace(b"text/plain", b"text/plain; hp=clear", 1)
    info = signer_info(alice, plain_attributes(entity, attribute(oids.SIGNING_TIME, der.time(NOW))))
    header = f"From: <{ALICE}>\r\nDate: {NOW:%a, %d %b %Y %H:%M:%S} +0000\r\n"
    body = clear(entity, signed_data([info], [alice]), header=header)
    assert Reason.SIGNING_TIME in opened(authority, body).verdict.reasons


WHOLE = f"From: <{ALICE}>\r\nTo: <{ALICE}>\r\nSubject: Annuler le traitement\r\n".encode() + ENTITY


def test_a_whole_message_that_was_signed_answers_for_its_header(authority: Authority, alice: Person) -> None:
    """`openssl cms -sign` of a message: what it said of itself is under the signature, and what stands outside is not."""
    got = opened(authority, clear(WHOLE, good(alice, WHOLE)))
    assert got.verdict.valid
    assert got.verdict.reasons == (Reason.HEADERS,)
    assert "Annuler le traitement" in got.verdict.banner("fr")
    assert b"\r\nSubject: Annuler le traitement\r\n" in got.readable.read()
    same = clear(WHOLE, good(alice, WHOLE), header=f"From: <{ALICE}>\r\nTo: <{ALICE}>\r\nSubject: Annuler le traitement\r\n")
    assert opened(authority, same).verdict.reasons == ()


@pytest.mark.parametrize("marked", [b"; hp=clear", b""], ids=["protected", "not declared"])
def test_a_field_twice_under_the_signature_is_no_pass(authority: Authority, alice: Person, marked: bytes) -> None:
    """Regression: both subjects came into the readable copy."""
    entity = b"Subject: un\r\nSubject: deux\r\n" + ENTITY.replace(b"text/plain", b"text/plain" + marked, 1)
    got = opened(authority, clear(entity, good(alice, entity)))
    assert Reason.AMBIGUOUS in got.verdict.reasons
    assert not got.verdict.valid
    assert got.readable.read().count(b"\r\nSubject: ") == 1
