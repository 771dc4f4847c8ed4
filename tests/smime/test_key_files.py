"""Files with keys and certificates as other programs write them: openssl's every shape, GnuPG's, and rubbish."""

from __future__ import annotations

import contextlib
import subprocess
from contextlib import suppress
from pathlib import Path

import pybase64
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mssgw.core.config.base import Secret
from mssgw.pki import der
from mssgw.smime.errors import FileProblem, KeyFileError, KeyUnavailable, SmimeError
from mssgw.smime.keys import files as keyfiles
from mssgw.smime.keys import key as keys
from mssgw.smime.keys.files import Material
from tests.fuzz import examples
from tests.material import OURS
from tests.smime.people import ALICE, BOB, DAY, NOW, Authority, Person

GNUPG = OURS / "crypto/notmuch-smime/key+cert.pem"


class Shelf:
    """The files of one person, made by openssl."""

    def __init__(self, path: Path) -> None:
        self.path, self.authority = path, Authority()
        self.alice, self.bob = self.authority.issue("rsa", ALICE), self.authority.issue("p256", BOB)
        self.alice.write(path, "alice")
        self.bob.write(path, "bob")
        (path / "ca.pem").write_bytes(self.authority.pem())

    def openssl(self, *arguments: str) -> bytes:
        done = subprocess.run(["openssl", *arguments], cwd=self.path, capture_output=True, timeout=60)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    return Shelf(tmp_path_factory.mktemp("shelf"))


def holds(found: Material, person: Person) -> None:
    assert keyfiles.belongs(found.key, person.certificate)


KEYS = {
    "pkcs8-pem": ("pkey", "-in", "alice.key"),
    "pkcs8-der": ("pkcs8", "-topk8", "-nocrypt", "-in", "alice.key", "-outform", "DER"),
    "pkcs1-pem": ("rsa", "-traditional", "-in", "alice.key"),
    "pkcs1-der": ("rsa", "-traditional", "-in", "alice.key", "-outform", "DER"),
    "sec1-pem": ("ec", "-in", "bob.key"),
    "sec1-der": ("ec", "-in", "bob.key", "-outform", "DER"),
}
SEALED = {
    "pkcs8-aes": ("pkcs8", "-topk8", "-in", "alice.key", "-passout", "pass:secret"),
    "pkcs8-der": ("pkcs8", "-topk8", "-in", "alice.key", "-passout", "pass:secret", "-outform", "DER"),
    "pkcs8-scrypt": ("pkcs8", "-topk8", "-scrypt", "-in", "alice.key", "-passout", "pass:secret"),
    "pkcs8-3des": ("pkcs8", "-topk8", "-v1", "PBE-SHA1-3DES", "-in", "alice.key", "-passout", "pass:secret"),
    "pkcs1-aes": ("rsa", "-traditional", "-aes128", "-in", "alice.key", "-passout", "pass:secret"),
    "sec1-aes": ("ec", "-aes128", "-in", "bob.key", "-passout", "pass:secret"),
    "pkcs12": ("pkcs12", "-export", "-inkey", "alice.key", "-in", "alice.pem", "-certfile", "ca.pem", "-passout", "pass:secret"),
    "pkcs12-of-old": ("pkcs12", "-export", "-legacy", "-inkey", "alice.key", "-in", "alice.pem", "-passout", "pass:secret"),
}


@pytest.mark.parametrize("shape", KEYS)
def test_keys_in_the_clear(shelf: Shelf, shape: str) -> None:
    data = shelf.openssl(*KEYS[shape])
    person = shelf.bob if shape.startswith("sec1") else shelf.alice
    holds(keyfiles.read(data), person)
    holds(keyfiles.read(data, b"not needed"), person)
    if shape.endswith("der"):
        holds(keyfiles.read(pybase64.encodebytes(data)), person)  # base64 without the lines around it


@pytest.mark.parametrize("shape", SEALED)
def test_encrypted_keys(shelf: Shelf, shape: str) -> None:
    data = shelf.openssl(*SEALED[shape])
    holds(keyfiles.read(data, b"secret"), shelf.bob if shape.startswith("sec1") else shelf.alice)
    for passphrase, problem in ((None, FileProblem.PASSPHRASE_MISSING), (b"wrong", FileProblem.PASSPHRASE_WRONG)):
        with pytest.raises(KeyFileError) as caught:
            _ = keyfiles.read(data, passphrase).key
        assert caught.value.problem is problem
        assert "wrong" not in (caught.value.what)


def test_a_wrong_passphrase_whose_padding_happens_to_fit(shelf: Shelf) -> None:
    """Regression: one wrong passphrase in 256 gives valid padding, and the file was reported as damaged."""
    data = shelf.openssl("pkcs8", "-topk8", "-v1", "PBE-SHA1-3DES", "-iter", "1", "-in", "bob.key", "-passout", "pass:secret")
    for number in range(1500):
        with pytest.raises(KeyFileError) as caught:
            _ = keyfiles.read(data, b"wrong %d" % number).key
        assert caught.value.problem is FileProblem.PASSPHRASE_WRONG


def test_pkcs12_in_pem_and_its_chain(shelf: Shelf) -> None:
    data = shelf.openssl(*SEALED["pkcs12"])
    for given_ in (data, pybase64.b64encode(data), b"-----BEGIN PKCS12-----\n" + pybase64.encodebytes(data) + b"-----END PKCS12-----\n"):
        found = keyfiles.read(given_, b"secret")
        assert found.certificate == shelf.alice.certificate
        assert [one.der for one in found.chain] == [keys.load_certificates(shelf.authority.pem())[0].der]
        assert keyfiles.holder_first(keys.load_certificates(given_, b"secret"), NOW)[0] == shelf.alice.certificate


def test_pkcs12_in_ber(shelf: Shelf) -> None:
    """Regression: NSS and Windows write indefinite lengths; the library's warning was reported as a wrong passphrase."""
    data = shelf.openssl(*SEALED["pkcs12"])
    inner = der.whole(data)
    for given_ in (b"0\x80" + data[inner[2] :] + b"\0\0", data + b"\n"):
        assert keyfiles.read(given_, b"secret").certificate == shelf.alice.certificate


def test_bundles_in_any_order_with_text_between(shelf: Shelf) -> None:
    """`openssl pkcs12` writes Bag Attributes between. Regression: the holder's certificate had to come first, and the key to be alone in its file."""
    (shelf.path / "a.p12").write_bytes(shelf.openssl(*SEALED["pkcs12"]))
    bags = shelf.openssl("pkcs12", "-in", "a.p12", "-passin", "pass:secret", "-nodes")
    assert b"Bag Attributes" in bags
    key, own, authority = shelf.alice.key_pem(), shelf.alice.pem(), shelf.authority.pem()
    for data in (
        bags,
        authority + own + key,
        key + authority + b"subject=/CN=x\n" + own,
        bags.replace(b"\n", b"\r\n"),
        bags.decode().encode("utf-16"),
        b"\xef\xbb\xbf" + bags,
        b"\n".join(b"    " + line for line in bags.splitlines()),
    ):
        found = keyfiles.read(data)
        holds(found, shelf.alice)
        assert found.certificate == shelf.alice.certificate
        assert keyfiles.holder_first(found.require_certificates(), NOW)[0] == shelf.alice.certificate


def test_certificates_of_every_shape(shelf: Shelf) -> None:
    for arguments in (
        ("x509", "-in", "alice.pem"),
        ("x509", "-in", "alice.pem", "-outform", "DER"),
        ("x509", "-in", "alice.pem", "-trustout", "-addtrust", "emailProtection"),
        ("x509", "-in", "alice.pem", "-text"),
        ("crl2pkcs7", "-nocrl", "-certfile", "ca.pem", "-certfile", "alice.pem"),
        ("crl2pkcs7", "-nocrl", "-certfile", "ca.pem", "-certfile", "alice.pem", "-outform", "DER"),
    ):
        assert keyfiles.holder_first(keys.load_certificates(shelf.openssl(*arguments)), NOW)[0] == shelf.alice.certificate


def test_key_and_certificate_of_gnupg_in_one_file() -> None:
    """Regression: GnuPG exports the CRT exponents of the swapped primes, and the file was refused."""
    found = keyfiles.read(GNUPG.read_bytes())
    assert found.certificate is not None
    assert found.key.key_size == 2048
    keys.require_pair(keys.identity([found.certificate], keys.FileKey(Secret("file", str(GNUPG))), NOW))


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", FileProblem.EMPTY),
        (b" \r\n", FileProblem.EMPTY),
        (b"garbage", FileProblem.UNKNOWN_FORMAT),
        (b"0", FileProblem.UNKNOWN_FORMAT),
        (b"0\x03\x02\x01\x09", FileProblem.DAMAGED),
        (bytes(keyfiles.MAX_FILE + 1), FileProblem.TOO_LARGE),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n", FileProblem.DAMAGED),
        (b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----", FileProblem.UNSUPPORTED),
    ],
)
def test_what_is_no_key_is_named_as_what_it_is(data: bytes, problem: FileProblem) -> None:
    with pytest.raises(KeyFileError) as caught:
        keys.load_private(data)
    assert caught.value.problem is problem
    with pytest.raises(SmimeError):
        keys.load_certificates(data)


def test_a_certificate_without_a_key_and_the_reverse(shelf: Shelf) -> None:
    with pytest.raises(KeyFileError) as caught:
        keys.load_private(shelf.alice.pem())
    assert caught.value.problem is FileProblem.NO_KEY
    with pytest.raises(SmimeError, match="no certificate"):
        keys.load_certificates(shelf.alice.key_pem())


def test_a_key_that_can_not_be_read_names_its_file(tmp_path: Path) -> None:
    (tmp_path / "seal.key").write_bytes(b"garbage")
    with pytest.raises(KeyUnavailable) as caught:
        keys.FileKey(Secret("file", str(tmp_path / "seal.key"))).public_key()
    assert "seal.key: unknown format" in caught.value.detail
    assert caught.value.temporary  # for mail: it waits until the file is mended


def test_many_beginnings_without_an_end_cost_nothing() -> None:
    """Regression: for each one the rest of the file was searched."""
    with pytest.raises(KeyFileError):
        _ = keyfiles.read(b"-----BEGIN CERTIFICATE-----" * 38000).key


@pytest.mark.parametrize("shape", ["pkcs8-der", "pkcs8-aes", "pkcs8-scrypt", "pkcs12"])
def test_a_passphrase_that_takes_for_ever_is_not_tried(shelf: Shelf, shape: str) -> None:
    """Regression: the number of iterations is read from the file, and two thousand million of them held a thread for an hour."""
    data = shelf.openssl(*SEALED[shape])
    pem = data.startswith(b"-----")
    octets = pybase64.b64decode(b"".join(data.splitlines()[1:-1])) if pem else data
    count, most = (b"\x02\x02\x40\x00", b"\x02\x02\x7f\xff") if shape == "pkcs8-scrypt" else (b"\x02\x02\x08\x00", b"")
    assert count in octets
    keyfiles.require_cheap(octets)
    costly = octets.replace(count, most) if most else _grown(octets, count, der.integer(0x7FFFFFFF))
    costly = costly.replace(b"\x02\x01\x08\x02\x01\x01", b"\x02\x01\x7f\x02\x01\x7f") if most else costly  # block size, parallelism
    given_ = b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n" + pybase64.encodebytes(costly) + b"-----END ENCRYPTED PRIVATE KEY-----\n"
    found = keyfiles.read(given_ if pem else costly, b"secret")
    assert found.problem is not None
    assert found.problem.problem is FileProblem.UNSUPPORTED


def _grown(octets: bytes, count: bytes, other: bytes) -> bytes:
    """DER with each `count` replaced by a longer element, and the lengths around it mended."""

    def mended(start: int, end: int) -> bytes:
        made = b""
        for tag, at, inner, stop in der.split(octets, start, end, 100):
            content = octets[inner:stop]
            if tag & 0x20:
                content = mended(inner, stop)
            elif tag in (der.OCTET_STRING, 0x80) and content[:1] == b"0":
                with suppress(der.DerError):  # a salt may begin like a structure
                    content = mended(inner, stop)
            made += other if octets[at:stop] == count else der.tlv(tag, content)
        return made

    return mended(0, len(octets))


_PIECES = st.one_of(
    st.binary(max_size=80),
    st.sampled_from(
        [
            b"-----BEGIN PRIVATE KEY-----\n",
            b"-----END PRIVATE KEY-----\n",
            b"-----BEGIN CERTIFICATE-----\n",
            b"-----END CERTIFICATE-----\n",
            b"-----BEGIN PKCS12-----\n",
            b"-----END PKCS12-----\n",
            b"-----BEGIN PKCS7-----\n",
            b"-----END PKCS7-----\n",
            b"\xff\xfe",
            b"MIIB",
            b"0\x80\x02\x01\x03",
            b"0\x03\x02\x01\x00",
            b"Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\n",
        ]
    ),
)


@settings(max_examples=examples(200), deadline=None)
@given(st.lists(_PIECES, max_size=8).map(b"".join), st.sampled_from([None, b"secret"]))
@example(b"0\x80\x02\x01\x03", b"x")
def test_fuzz_any_octets(data: bytes, passphrase: bytes | None) -> None:
    """Something, or a KeyFileError: nothing else comes out."""
    with contextlib.suppress(KeyFileError):
        found = keyfiles.read(data, passphrase)
        _ = found.certificate, found.chain


@settings(max_examples=examples(150), deadline=None)
@given(st.data())
def test_fuzz_damaged_files(shelf: Shelf, data: st.DataObject) -> None:
    whole = data.draw(st.sampled_from(_samples(shelf)))
    at = data.draw(st.integers(0, len(whole) - 1))
    changed = whole[:at] + bytes((data.draw(st.integers(0, 255)),)) + whole[at + 1 :]
    with contextlib.suppress(KeyFileError):
        found = keyfiles.read(changed, b"secret")
        _ = found.certificate, found.chain


def _samples(shelf: Shelf) -> list[bytes]:
    if not hasattr(shelf, "samples"):
        shelf.samples = [shelf.openssl(*KEYS[one]) for one in ("pkcs8-der", "pkcs1-pem", "sec1-der")]  # type: ignore[attr-defined]
        shelf.samples += [
            shelf.alice.der,
            shelf.alice.pem(),
            shelf.openssl(  # type: ignore[attr-defined]
                "pkcs12", "-export", "-iter", "1", "-inkey", "bob.key", "-in", "bob.pem", "-passout", "pass:secret"
            ),
        ]
    return shelf.samples  # type: ignore[attr-defined,no-any-return]


def test_of_a_renewed_certificate_the_one_valid_at_the_moment_given_comes_first() -> None:
    """Regression: the machine's date decided, whatever moment the caller judged."""
    authority = Authority()
    old = authority.issue("rsa", ALICE, start=NOW - 90 * DAY, end=NOW + 10 * DAY).certificate
    new = authority.issue("rsa", ALICE, start=NOW + 5 * DAY, end=NOW + 400 * DAY).certificate
    for days, expected in ((0, old), (20, new)):
        for both in ((old, new), (new, old)):
            assert keyfiles.valid_first(both, NOW + days * DAY)[0] == expected
            assert keyfiles.holder_first(both, NOW + days * DAY)[0] == expected
            assert keys.identity(both, keys.SoftKey(None), NOW + days * DAY).certificate == expected
