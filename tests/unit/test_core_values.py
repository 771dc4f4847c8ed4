"""Address, Headers, Body, errors."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mssgw.core.address import Address, AddressError, parse_domain
from mssgw.core.body import SPOOL_LIMIT, Body, BodyWriter
from mssgw.core.errors import Deferred, MailError, NotTrusted, Refused, reply_of
from mssgw.core.message import Headers, make_field


@pytest.mark.parametrize(
    ("text", "local", "domain"),
    [
        ("jeanne.martin@alpha.test", "jeanne.martin", "alpha.test"),
        ("A.B@ALPHA.Test.", "A.B", "alpha.test"),
        ('"jeanne martin"@alpha.test', "jeanne martin", "alpha.test"),
        ('"plain"@alpha.test', "plain", "alpha.test"),
        (r'"a\"b"@alpha.test', 'a"b', "alpha.test"),
        ("é@hôpital.test", "é", "xn--hpital-ixa.test"),
    ],
)
def test_address(text, local, domain):
    address = Address.parse(text)
    assert (address.local, address.domain) == (local, domain)
    assert Address.parse(str(address)) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "@b.test",
        "a@",
        "a..b@c.test",
        ".a@c.test",
        "a b@c.test",
        "a@b c.test",
        "a@-b.test",
        "a@[127.0.0.1]",
        "a" * 65 + "@c.test",
        "a@" + "b" * 64 + ".test",
        "a@" + ".".join(["b" * 50] * 6),
        "a\r\n@c.test",
        "a@c.test\n",
        '"a\r\n"@c.test',
    ],
)
def test_address_refused(text):
    with pytest.raises(AddressError):
        Address.parse(text)


def test_local_part_keeps_case_and_key_folds_it():
    assert Address.parse("Ab@c.test") != Address.parse("ab@c.test")
    assert Address.parse("Ab@c.test").key == Address.parse("ab@c.test").key


@given(st.text(max_size=80))
def test_fuzz_address_never_fails_otherwise(text):
    try:
        address = Address.parse(text)
    except AddressError:
        return
    assert Address.parse(str(address)) == address
    assert "\r" not in str(address)
    assert "\n" not in str(address)


def test_domain_labels_are_checked():  # RFC 5890, 5891
    assert parse_domain("Exemple.FR.") == "exemple.fr"
    with pytest.raises(AddressError, match="letters, digits and hyphens"):
        parse_domain("a_b.test")


def test_headers_keep_order_and_octets():
    section = b"From: a\r\nX-Odd : 1\r\n\tfolded\r\nnot a field\r\nfrom: b\r\n\r\nbody: no\r\n"
    headers = Headers.parse(section)
    assert [field.name for field in headers] == ["from", "x-odd", "", "from"]
    assert headers.all("From") == ["a", "b"]
    assert headers.first("x-odd") == "1\tfolded"
    assert bytes(headers) == section.partition(b"\r\n\r\n")[0] + b"\r\n"


def test_headers_with_very_many_folds_are_read_in_one_pass():
    """Regression: each fold copied the whole field; a legal header of 1 MB held a core for seconds."""
    folds = 170_000
    (field,) = Headers.parse(b"X: " + b"a\r\n " * folds + b"a\r\n\r\n")
    assert len(field.raw) == 3 + 4 * folds + 3
    assert field.name == "x"


def test_headers_without_and_prepend():
    headers = Headers.parse(b"A: 1\r\nB: 2\r\n").without(["a"]).prepend(("C", "3"))
    assert bytes(headers) == b"C: 3\r\nB: 2\r\n"


@pytest.mark.parametrize("value", ["a\nb", "a\r\nB: c", "a\rb", "a\r\n"])
def test_new_field_may_not_start_another(value):
    with pytest.raises(ValueError, match="line end"):
        make_field("X", value)


def test_new_field_may_be_folded():
    assert make_field("X", "a\r\n b").value == "a b"


@pytest.mark.parametrize("size", [0, 10, SPOOL_LIMIT, SPOOL_LIMIT + 1, 3 * SPOOL_LIMIT])
def test_body_in_memory_and_in_a_file_read_the_same(size, tmp_path):
    data = bytes(range(256)) * (size // 256 + 1)
    data = data[:size]
    writer = BodyWriter(tmp_path)
    for start in range(0, size, 1000):
        writer.write(data[start : start + 1000])
    with writer.finish() as body:
        assert body.in_memory == (size <= SPOOL_LIMIT)
        assert body.size == size
        assert body.blob == Body.of(data).blob
        assert body.read() == data
        assert body.read(5, 7) == data[5:12]
        assert b"".join(body.chunks(1000)) == data
        assert body.open().read() == data
        assert list(tmp_path.iterdir()) == []  # the file has no name


def test_body_readers_dont_disturb_each_other():
    writer = BodyWriter()
    writer.write(b"0123456789" * SPOOL_LIMIT)
    body = writer.finish()
    seen = []
    threads = [threading.Thread(target=lambda: seen.append(body.open().read())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(one == b"0123456789" * SPOOL_LIMIT for one in seen)
    body.close()
    with pytest.raises(ValueError, match="closed"):
        body.read()


def test_unknown_errors_are_temporary_and_generic():
    reply = reply_of(RuntimeError("secret path /etc/x"))
    assert reply.temporary
    assert "secret" not in str(reply)


def test_error_tree_has_two_faces():
    error = NotTrusted("Certificate subject differs in O", detail="O=A instead of O=B")
    assert str(error.reply) == "550 5.7.1 Certificate subject differs in O"
    assert "O=A" in str(error)
    assert isinstance(error, Refused)
    assert isinstance(error, MailError)
    assert not error.temporary
    assert Deferred().temporary
