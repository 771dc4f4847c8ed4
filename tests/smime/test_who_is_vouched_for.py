"""Whom a good signature binds: the visible From, the From under the signature, certificates that name nobody; and how it is reported."""

from __future__ import annotations

import pytest
from cryptography import x509

from mssgw.core.address import Address
from mssgw.core.body import Body
from mssgw.smime.directories.binding import Binding, Bound
from mssgw.smime.errors import Reason
from mssgw.smime.opening import open_now
from mssgw.smime.verdict import SignatureStatus, Verdict
from tests.smime.forge import ENTITY, clear, compressed, good, opaque, plain_attributes, signed_data, signer_info
from tests.smime.people import ALICE, BOB, NOW, Authority, Person, usage

GOOD, VICTIM = "good@alpha.mssante.test", "victim@alpha.mssante.test"
NUL = [x509.RFC822Name._init_without_validation(f"{ALICE}\0.evil.test")]


def verdict(authority: Authority, body: Body, *people: Person) -> Verdict:
    return open_now(body, [one.identity for one in people], authority.validate, NOW).verdict


def held(found: Verdict) -> tuple[bool, bool, bool]:
    """What the verb, the node and the binding answer."""
    said = found.to_json()
    return said["valid"], "smime=pass" in found.results("mx"), said["from_matches"]


# --- a certificate that names nobody ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header",
    [
        f"From: <{ALICE}>\r\n",
        "From: <mallory@alpha.mssante.test>\r\n",
        f"Sender: <{ALICE}>\r\n",
        f"From: <{ALICE}>\r\nFrom: <mallory@alpha.mssante.test>\r\n",
    ],
)
@pytest.mark.parametrize("san", [[], NUL, [x509.DNSName("alpha.mssante.test")]])
def test_a_card_without_an_address_is_bound_to_no_other_from(authority: Authority, header: str, san: list[x509.GeneralName]) -> None:
    card = authority.issue("rsa", san=san, cn="899700000001")
    found = verdict(authority, clear(ENTITY, good(card), header=header))
    assert held(found)[:2] == (False, False)


@pytest.mark.parametrize(
    "header",
    [
        "From: <mallory@alpha.mssante.test>\r\n",
        f"Sender: <{ALICE}>\r\n",
        "From: Personne\r\n",
        f"From: <{ALICE}>\r\nFrom: <{ALICE}>\r\n",
        f"From: <{ALICE}>, <{BOB}>\r\n",
    ],
)
def test_valid_agrees_with_the_exit_status(authority: Authority, alice: Person, header: str) -> None:
    assert held(verdict(authority, clear(ENTITY, good(alice), header=header))) == (False, False, False)


def test_without_any_from_nobody_is_bound_unless_a_person_names_the_author(authority: Authority, alice: Person) -> None:
    body = clear(ENTITY, good(alice), header="")
    found = verdict(authority, body)
    assert held(found)[:2] == (False, False)
    assert found.intact
    assert "aucun expéditeur" in found.banner("fr")
    assert "names no sender" in found.banner("en")
    for address, answer in ((ALICE, True), (BOB, False)):
        told = open_now(body, [], authority.validate, NOW, author=Address.parse(address)).verdict
        assert told.valid is answer
    named = clear(ENTITY, good(alice), header=f"From: <{BOB}>\r\n")  # what the message says comes first
    assert not open_now(named, [], authority.validate, NOW, author=Address.parse(ALICE)).verdict.valid


@pytest.mark.parametrize("mark", ["\0.evil.test", "\n", "\x1b[31m", "\r\nX: y"])
def test_a_malformed_address_in_a_certificate_is_an_error(authority: Authority, mark: str) -> None:
    """Regression: it counted as no address, and a directory could then bind the certificate to anybody, as it does for cards."""
    mallory = authority.issue("rsa", san=[x509.RFC822Name._init_without_validation(ALICE + mark)], cn="mallory")
    found = open_now(clear(ENTITY, good(mallory)), [], authority.validate, NOW, lambda *_: Bound(Binding.DIRECTORY, "files")).verdict
    assert found.binding is Binding.NONE
    assert found.signature is not SignatureStatus.VALID
    assert held(found)[:2] == (False, False)
    assert found.reasons[0] in (Reason.CERTIFICATE, Reason.MALFORMED)


@pytest.mark.parametrize("bare", [True, False])
def test_a_bare_structure_around_a_whole_message_is_bound_to_the_from_inside(authority: Authority, bare: bool) -> None:
    """`openssl cms -sign -nodetach -in message`: its fields are what people see, so they are not "no sender"."""
    signer = authority.issue("rsa", GOOD)
    for author, holds in ((GOOD, True), (VICTIM, False)):
        entity = f"From: <{author}>\r\nSubject: essai\r\n\r\nBonjour\r\n".encode()
        cms = signed_data([signer_info(signer, plain_attributes(entity))], [signer], entity)
        found = verdict(authority, opaque(cms, header="") if bare else clear(entity, good(signer, entity), header="MIME-Version: 1.0\r\n"))
        assert held(found) == (holds, holds, holds), author


# --- a From under the signature -----------------------------------------------------------------------------------------


def protected(authority: Authority, signer: Person, inner: str, outer: str, mode: str = "hp=clear") -> Verdict:
    entity = f"{inner}Content-Type: text/plain; {mode}\r\n\r\nBonjour\r\n".encode()
    return verdict(authority, clear(entity, good(signer, entity), header=f"{outer}To: <{BOB}>\r\n"))


@pytest.mark.parametrize("mode", ['hp="clear"', 'hp="cipher"', 'protected-headers="v1"'])
@pytest.mark.parametrize(
    ("inner", "reason"),
    [
        (f"From: <{VICTIM}>\r\n", Reason.FROM),
        (f"From: <{VICTIM}>\r\nFrom: <{GOOD}>\r\n", Reason.SEVERAL_FROM),
        (f"From: <{GOOD}>, <{VICTIM}>\r\n", Reason.SEVERAL_FROM),
        (f"From: <{GOOD}>\r\nSender: <{VICTIM}>\r\n", Reason.SENDER),
        (f"Sender: <{VICTIM}>\r\n", Reason.SENDER),
        (f"From: <{GOOD}>\r\nSender: nobody\r\n", Reason.SENDER),
    ],
)
def test_a_signed_from_of_somebody_else_is_refused(authority: Authority, inner: str, reason: Reason, mode: str) -> None:
    found = protected(authority, authority.issue("rsa", GOOD), inner, f"From: <{GOOD}>\r\n", mode)
    assert held(found)[:2] == (False, False)
    assert reason in found.reasons
    assert "smime=policy" in found.results("mx")
    assert "valide de l'expéditeur" not in found.banner("fr")


def test_a_whole_message_inside_with_another_from(authority: Authority) -> None:
    signer = authority.issue("rsa", GOOD)
    entity = f"Content-Type: message/rfc822; forwarded=no\r\n\r\nFrom: <{VICTIM}>\r\nContent-Type: text/plain\r\n\r\nBonjour\r\n".encode()
    found = verdict(authority, clear(entity, good(signer, entity), header=f"From: <{GOOD}>\r\n"))
    assert not found.valid
    assert not found.valid


def test_only_a_signed_from_names_somebody_too(authority: Authority) -> None:
    found = protected(authority, authority.issue("rsa", GOOD), f"From: <{VICTIM}>\r\n", "")
    assert held(found)[:2] == (False, False)


def test_other_signed_fields_stay_a_warning(authority: Authority) -> None:
    alias = "good.alias@alpha.mssante.test"
    signer = authority.issue("rsa", GOOD, alias)
    for inner in (
        f"From: <{GOOD}>\r\nSubject: vrai\r\n",
        f"From: Le Bon <{GOOD}>\r\n",
        f"From: <{alias}>\r\n",
        f"From: <{GOOD}>\r\nSender: <{alias}>\r\n",
    ):
        found = protected(authority, signer, inner, f"From: <{GOOD}>\r\nSubject: faux\r\n")
        assert held(found) == (True, True, True), inner
        assert "smime=pass (protected-headers-differ)" in found.results("mx")
        assert found.signed_fields


def test_a_sender_that_is_seen_as_it_was_signed_is_no_lie(authority: Authority) -> None:
    """A secretary sends in the name of a service: RFC 5322 3.6.2. The signer is the author."""
    both = f"From: <{GOOD}>\r\nSender: <{VICTIM}>\r\n"
    assert protected(authority, authority.issue("rsa", GOOD), both, both).valid


# --- the cause, and no other --------------------------------------------------------------------------------------------


ALTERED, UNBOUND, NOTHING = "a pu être modifié", "rien ne relie", "ni signé ni chiffré"


def banner(authority: Authority, body: Body, *people: Person) -> str:
    return verdict(authority, body, *people).banner("fr")


def test_only_what_was_altered_is_called_altered(authority: Authority, alice: Person) -> None:
    assert ALTERED in banner(authority, clear(ENTITY.replace(b"Bonjour", b"Bonsoir"), good(alice)))
    reader = authority.issue("rsa", ALICE, ku=usage(key_encipherment=True))
    for body, reason in (
        (clear(ENTITY, signed_data([signer_info(alice, plain_attributes(ENTITY))], [])), Reason.SIGNER_CERTIFICATE),
        (clear(ENTITY, good(reader)), Reason.USAGE),
    ):
        found = verdict(authority, body)
        assert reason in found.reasons
        assert ALTERED not in found.banner("fr")
        assert found.signature is SignatureStatus.INVALID


def test_certificates_alone_are_no_broken_signature(authority: Authority, alice: Person) -> None:
    found = verdict(authority, opaque(signed_data([], [alice])))
    assert found.signature is SignatureStatus.NONE
    assert "smime=none (no-signer)" in found.results("mx")
    assert "que des certificats" in found.banner("fr")
    assert not found.valid


def test_a_signed_from_of_somebody_else_is_named(authority: Authority) -> None:
    found = protected(authority, authority.issue("rsa", GOOD), f"From: <{VICTIM}>\r\n", f"From: <{GOOD}>\r\n")
    assert UNBOUND not in found.banner("fr")
    assert "l'expéditeur signé est quelqu'un d'autre" in found.banner("fr")
    assert VICTIM in found.banner("fr")


def test_limits_are_named(authority: Authority, alice: Person) -> None:
    body = ENTITY
    for _ in range(9):
        body = opaque(signed_data([signer_info(alice, plain_attributes(body))], [alice], body), header="").read()
    found = verdict(authority, Body.of(f"From: <{ALICE}>\r\n".encode() + body))
    assert Reason.LIMIT in found.reasons
    assert UNBOUND not in found.banner("fr")
    assert "dépasse ce qui est lu" in found.banner("fr")


def test_two_signers_of_whom_one_is_the_author(authority: Authority, alice: Person) -> None:
    bob = authority.issue("p256", BOB)
    for order in ((bob, alice), (alice, bob)):
        cms = signed_data([signer_info(one, plain_attributes(ENTITY)) for one in order], order)
        found = verdict(authority, clear(ENTITY, cms))
        assert UNBOUND not in found.banner("fr")
        assert "Plusieurs signataires" in found.banner("fr")
        assert ALICE in found.banner("fr")
        assert BOB in found.banner("fr")


def test_unreadable_is_not_unsigned(authority: Authority) -> None:
    deep = b"".join(b'Content-Type: multipart/mixed; boundary="b%d"\r\n\r\n--b%d\r\n' % (at, at) for at in range(2000))
    for body in (Body.of(f"From: <{ALICE}>\r\n".encode() + deep), opaque(b"garbage"), opaque(compressed(b"x")[:-9])):
        said = banner(authority, body)
        assert NOTHING not in said
        assert "n'a pas pu être contrôlé" in said
    assert NOTHING in banner(authority, Body.of(b"From: <a@b.test>\r\n\r\nBonjour\r\n"))


def test_a_signature_outside_cbc_is_not_denied(authority: Authority, alice: Person, bob: Person) -> None:
    from mssgw.smime import files

    hidden, _ = files.encrypt(Body.of(ENTITY), [bob.certificate], "aes256-cbc", oaep=False, experimental=False)
    entity = hidden.read().removeprefix(b"MIME-Version: 1.0\r\n")
    found = verdict(authority, clear(entity, good(alice, entity)), bob)
    assert Reason.UNAUTHENTICATED in found.reasons
    from mssgw.core.texts import text

    assert "à l'intérieur" in text(f"smime.reason.{Reason.UNAUTHENTICATED}", "fr")


def test_a_reason_is_shown_once(authority: Authority) -> None:
    """Regression: `weak-algorithm: weak-algorithm: RSA key of …`."""
    reader = authority.issue("rsa", ALICE, ku=usage(key_encipherment=True))
    (signer,) = verdict(authority, clear(ENTITY, good(reader))).signers
    assert signer.detail == "key usage does not allow signatures"
