"""Fuzzing the MIME reader with whole messages, mutated and blown up: an answer or TooComplex, in bounded time."""

from __future__ import annotations

import random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mssgw.core.body import Body
from mssgw.protocol import mime
from tests.fuzz import LONG, examples, watched

SHORT = settings(max_examples=examples(150), deadline=None, suppress_health_check=list(HealthCheck))
LARGEST = 1 << 20  # octets; the limit on messages is another affair

SEED = b"\r\n".join(
    (
        b'From: =?utf-8?B?SmVhbm5l?= <jeanne.martin@alpha.mssante.test>, "Martin, J" <a@b.test>;',
        b"To: Group: one@beta.mssante.test, (comment (inside)) two@beta.mssante.test;",
        b"Subject: =?iso-8859-1?Q?r=E9sultats?= =?utf-8?Q?_d'analyse?=",
        b"Date: Mon, 02 Nov 2026 10:00:00 +0100 (CET)",
        b"Message-ID: <1@alpha.mssante.test>",
        b"MIME-Version: 1.0",
        b"Content-Type: multipart/mixed; boundary=\"outer\"; name*0*=utf-8''a%20; name*1=b",
        b"",
        b"preamble",
        b"--outer",
        b"Content-Type: text/plain; charset=utf-8",
        b"Content-Transfer-Encoding: quoted-printable",
        b"",
        b"Bonjour =C3=A9=",
        b"t=C3=A9",
        b"--outer",
        b"Content-Type: multipart/alternative; boundary=inner",
        b"",
        b"--inner",
        b"",
        b"text",
        b"--inner",
        b"Content-Type: text/html",
        b"",
        b"<p>text</p>",
        b"--inner--",
        b"--outer",
        b"Content-Type: message/rfc822",
        b"",
        b"Subject: inside",
        b"Content-Type: multipart/digest; boundary=d",
        b"",
        b"--d",
        b"",
        b"Subject: digest",
        b"",
        b"x",
        b"--d--",
        b"--outer",
        b'Content-Type: application/pdf; name="a;b\\"c.pdf"',
        b"Content-Disposition: attachment; filename*=utf-8''%C3%A9t%C3%A9.pdf; size=3",
        b"Content-Transfer-Encoding: base64",
        b"",
        b"QUJDREVGR0g=",
        b"--outer--",
        b"",
    )
)
ODD = (
    b"--outer\r\n",
    b"--inner\r\n",
    b"--",
    b"\r\n\r\n",
    b"\n",
    b"\r",
    b"\0",
    b"=?utf-8?Q?",
    b"?=",
    b"(",
    b"((",
    b")",
    b'"',
    b"\\",
    b"<",
    b">",
    b",",
    b";",
    b":",
    b"=",
    b"*0*=",
    b"%",
    b" ",
    b"\xff",
    b"Content-Type: multipart/mixed; boundary=outer\r\n\r\n--outer\r\n",
    b"Content-Type: message/rfc822\r\n\r\n",
)


def one_mail(draw: random.Random) -> None:
    data = SEED
    for _ in range(draw.randint(1, 5)):
        at = draw.randrange(len(data) + 1)
        end = min(len(data), at + draw.randint(0, 200))
        what = draw.randrange(4)
        if what == 0:
            data = data[:at] + data[end:]
        elif what == 1:
            data = data[:at] + draw.choice(ODD) + data[at:]
        elif what == 2:
            data = data[:at] + draw.choice((draw.choice(ODD), data[at:end])) * draw.choice((2, 10, 1000, 100_000)) + data[at:]
        else:
            data = data[:at] + draw.randbytes(draw.randint(1, 8)) + data[end:]
        data = data[:LARGEST]
    read_everything(data)


def read_everything(data: bytes) -> None:
    body = Body.of(data)
    try:
        root = mime.parse(body)
        mime.summarise(body)
    except mime.TooComplex:
        return
    for part in root.walk():
        assert 0 <= part.header_start <= part.body_start <= part.body_end <= len(data)
        part.media, part.encoding, part.filename, part.disposition  # noqa: B018 - that they answer is the test
        for _ in mime.decoded_chunks(body, part):
            pass
    for name in (b"from", b"to"):
        for value in root.fields.all(name):
            mime.mailboxes(value)
    for _ in mime.texts(body, root):
        pass


def test_fuzz_mime() -> None:
    if LONG:
        print(watched(one_mail))
    else:
        SHORT(given(seed=st.integers(0, 1 << 64))(lambda seed: one_mail(random.Random(seed))))()


def test_a_megabyte_of_separators_is_not_read_to_its_end() -> None:
    """Regression, found by fuzzing: each one was a step of the slow reader, over a second for one message."""
    found = mime.mailboxes(b"a@b.test, " + b",;" * 500_000 + b" last@b.test")
    assert [one.addr_spec for one in found] == ["a@b.test"]
