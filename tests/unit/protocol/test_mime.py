"""MIME: the tree, decoding, addresses, dates, and what IMAP shows of a message."""

from __future__ import annotations

import email
import email.policy
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mssgw.core.body import Body, BodyWriter
from mssgw.protocol import mime
from mssgw.protocol.mime import Mailbox, TooComplex
from tests.fuzz import examples
from tests.material import files

FOLDERS = [f"mail/{name}" for name in ("cpython-email", "ruby-mail", "mimekit", "mime4j", "mail-parser", "bounces")]


def body(text: str) -> Body:
    return Body.of(text.replace("\n", "\r\n").encode())


MIXED = """Content-Type: multipart/mixed; boundary=outer

preamble
--outer
Content-Type: text/plain

one
--outer
Content-Type: multipart/alternative; boundary="outer inner"

--outer inner

plain
--outer inner
Content-Type: text/html

<p>html</p>
--outer inner--
--outer
Content-Type: message/rfc822

Subject: embedded
Content-Type: text/plain

hello
--outer--
epilogue
"""


def test_tree_offsets_cut_the_contents_out() -> None:
    data = body(MIXED)
    root = mime.parse(data)
    assert root.media == "multipart/mixed"
    one, alternative, embedded = root.children
    assert data.read(one.body_start, one.size) == b"one"  # RFC 2046 5.1.1: the line end belongs to the boundary
    assert [child.media for child in alternative.children] == ["text/plain", "text/html"]
    assert data.read(alternative.children[0].body_start, 5) == b"plain"
    assert embedded.message is not None
    assert embedded.message.fields.get(b"subject") == b"embedded"
    assert data.read(embedded.message.body_start, embedded.message.size) == b"hello"


def test_outer_boundary_ends_an_inner_multipart_that_was_never_closed() -> None:
    root = mime.parse(body(MIXED.replace("--outer inner--\n", "")))
    assert [child.media for child in root.children] == ["text/plain", "multipart/alternative", "message/rfc822"]


def test_boundary_that_begins_like_another_is_not_taken_for_it() -> None:
    data = body("Content-Type: multipart/mixed; boundary=a\n\n--a\n\nx\n--ab\ny\n--a--b\nz\n--a  \n\n2\n--a--\n")
    root = mime.parse(data)
    assert [data.read(child.body_start, child.size) for child in root.children] == [b"x\r\n--ab\r\ny\r\n--a--b\r\nz", b"2"]


def test_multipart_without_boundary_is_text() -> None:
    assert mime.parse(body("Content-Type: multipart/mixed\n\nhello\n")).media == "text/plain"


def test_digest_children_are_messages_by_default() -> None:
    root = mime.parse(body("Content-Type: multipart/digest; boundary=d\n\n--d\n\nSubject: a\n\nx\n--d--\n"))
    assert root.children[0].message is not None
    assert root.children[0].message.fields.get(b"subject") == b"a"


def test_bare_line_feeds_are_line_ends_too() -> None:
    root = mime.parse(Body.of(MIXED.encode()))
    assert [child.media for child in root.children] == ["text/plain", "multipart/alternative", "message/rfc822"]


def test_message_without_body_and_message_without_header() -> None:
    assert mime.parse(Body.of(b"Subject: x\r\n")).size == 0
    empty = mime.parse(Body.of(b"\r\nbody\r\n"))
    assert (empty.body_start, empty.size) == (2, 6)
    assert mime.parse(Body.of(b"")).size == 0


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("".join(f"Content-Type: multipart/mixed; boundary=b{n}\n\n--b{n}\n" for n in range(200)), "deeper"),
        ("Content-Type: multipart/mixed; boundary=b\n\n" + "--b\n\nx\n" * 3000, "parts"),
        ("X-A: b\n" * 10_000 + "\n", "fields"),
        ("X-A: " + "b" * 1_100_000 + "\n\n", "octets"),
    ],
)
def test_too_complex_is_refused_with_a_sentence(text: str, sentence: str) -> None:
    with pytest.raises(TooComplex, match=sentence) as caught:
        mime.parse(body(text))
    assert (caught.value.reply.code, caught.value.reply.enhanced) == (554, "5.6.0")


def test_large_message_stays_in_its_file() -> None:
    writer = BodyWriter()
    writer.write(b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Transfer-Encoding: base64\r\n\r\n")
    for _ in range(4000):
        writer.write(b"QUJD" * 19 + b"\r\n")
    writer.write(b"--b\r\n\r\nlast\r\n--b--\r\n")
    spooled = writer.finish()
    assert not spooled.in_memory
    root = mime.parse(spooled)
    first, last = root.children
    assert mime.decode(spooled, first).size == 4000 * 19 * 3
    assert spooled.read(last.body_start, last.size) == b"last"
    assert first.lines == 3999


@pytest.mark.parametrize(
    ("encoded", "plain"),
    [
        (b"QUJD", b"ABC"),
        (b"QUI=", b"AB"),
        (b"QQ==QUJD", b"AABC"),
        (b"Q\r\nU J*D", b"ABC"),
        (b"QUJDQ", b"ABC"),
        (b"", b""),
        (b"====", b""),
    ],
)
def test_base64_reads_what_can_be_read(encoded: bytes, plain: bytes) -> None:  # RFC 2045 6.8
    for step in (1, 2, 5, 100):
        chunks = [encoded[at : at + step] for at in range(0, len(encoded), step)]
        assert b"".join(mime.decode_base64(chunks)) == plain


def test_quoted_printable_is_the_same_in_any_chunking() -> None:  # RFC 2045 6.7
    encoded = b"caf=C3=A9 =\r\nsoft =3D hard\r\n=XX broken =" + b"x" * 200_000 + b"=C3=A9"
    whole = b"".join(mime.decode_quoted_printable([encoded]))
    assert whole.startswith("café soft = hard\r\n".encode())
    for step in (7, 1000, 65536):
        assert b"".join(mime.decode_quoted_printable(encoded[at : at + step] for at in range(0, len(encoded), step))) == whole


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"=?utf-8?Q?Compte_rendu_op=C3=A9ratoire?=", "Compte rendu opératoire"),
        (b"=?iso-8859-1?B?6Q==?= =?iso-8859-1?Q?_=E8?=", "é è"),
        (b"=?utf-8?B?w6k=?= and =?utf-8?B?w6g=?=", "é and è"),
        (b"=?utf-8?B?ww==?= =?utf-8?B?qQ==?=", "é"),  # one character cut in two words
        (b"=?nonsense?Q?caf=C3=A9?=", "café"),
        (b"=?utf-8*fr?Q?=C3=A9?=", "é"),
        ("déjà".encode("latin-1"), "déjà"),
        ("déjà".encode(), "déjà"),
        (b"=?utf-8?X?abc?=", "=?utf-8?X?abc?="),
        (b"=?punycode?Q?abc?=", "abc"),
    ],
)
def test_encoded_words(value: bytes, text: str) -> None:  # RFC 2047
    assert mime.decode_words(value) == text


def test_parameters_of_rfc_2231() -> None:  # RFC 2183, 2231
    root = mime.parse(
        body(
            "Content-Type: application/x-stuff; title*0*=us-ascii'en'This%20is%20even%20more%20;\n"
            ' title*1*=%2A%2A%2Afun%2A%2A%2A%20;\n title*2="isn\'t it!"\n'
            "Content-Disposition: attachment; filename*=UTF-8''ordonnance%20%C3%A9.pdf; filename=\"ordonnance.pdf\"\n\n"
        )
    )
    assert root.params == {"title": "This is even more ***fun*** isn't it!"}  # RFC 2231 4.1's example
    assert root.filename == "ordonnance é.pdf"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"a@b.c", [Mailbox(None, None, b"a", b"b.c")]),
        (b'"Doe, J\\"r" <j@x>, K <k@y>', [Mailbox(b'Doe, J"r', None, b"j", b"x"), Mailbox(b"K", None, b"k", b"y")]),
        (b"j@x (John (Jr) Doe)", [Mailbox(b"John (Jr) Doe", None, b"j", b"x")]),
        (b"<@r1,@r2:j@x>", [Mailbox(None, b"@r1,@r2", b"j", b"x")]),
        (
            b"G: a@b, C <c@d>; e@f",
            [
                Mailbox(None, None, b"G", None),
                Mailbox(None, None, b"a", b"b"),
                Mailbox(b"C", None, b"c", b"d"),
                Mailbox(None, None, None, None),
                Mailbox(None, None, b"e", b"f"),
            ],
        ),
        (b"undisclosed-recipients:;", [Mailbox(None, None, b"undisclosed-recipients", None), Mailbox(None, None, None, None)]),
        (b'"john smith"@x', [Mailbox(None, None, b"john smith", b"x")]),
        (b"john . smith @ x . org", [Mailbox(None, None, b"john.smith", b"x.org")]),
        (b"j@[10.0.0.1]", [Mailbox(None, None, b"j", b"[10.0.0.1]")]),
        (b"Nobody", [Mailbox(None, None, b"Nobody", b"")]),
        (b"John Q. Public <j@x>", [Mailbox(b"John Q. Public", None, b"j", b"x")]),
        (b",,a@b,,", [Mailbox(None, None, b"a", b"b")]),
        (b"=?utf-8?Q?Ren=C3=A9?= <r@x>", [Mailbox(b"=?utf-8?Q?Ren=C3=A9?=", None, b"r", b"x")]),
        (b"", []),
        (b"<>", []),
        (b'"', []),
        (b"(", []),
    ],
)
def test_address_lists(value: bytes, expected: list[Mailbox]) -> None:  # RFC 5322 3.4, 4.4
    assert mime.parse_addresses(value) == expected


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        (b"Fri, 21 Nov 1997 09:55:06 -0600", datetime(1997, 11, 21, 15, 55, 6, tzinfo=UTC)),
        (b"21 Nov 97 09:55:06 GMT", datetime(1997, 11, 21, 9, 55, 6, tzinfo=UTC)),
        (b"Thu, 13 Feb 1969 23:32 +0000 (a (bad) zone)", datetime(1969, 2, 13, 23, 32, tzinfo=UTC)),
        (b"31 Feb 2026 00:00:00 +0000", None),
        (b"yesterday", None),
        (b"", None),
    ],
)
def test_dates(value: bytes, moment: datetime | None) -> None:  # RFC 5322 3.3, 4.3
    assert mime.parse_date(value) == moment


def test_envelope_is_what_rfc_3501_shows() -> None:  # RFC 3501 8
    summary = mime.summarise(
        body(
            "Date: Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\nFrom: Terry Gray <gray@cac.washington.edu>\n"
            "Subject: IMAP4rev1 WG mtg summary and minutes\nTo: imap@cac.washington.edu\n"
            "cc: minutes@CNRI.Reston.VA.US, John Klensin <KLENSIN@MIT.EDU>\nMessage-Id: <B27397-0100000@cac.washington.edu>\n"
            "MIME-Version: 1.0\nContent-Type: TEXT/PLAIN; CHARSET=US-ASCII\n\n" + "x" * 62 + "\n"
        )
    )
    assert summary.envelope == (
        b'("Wed, 17 Jul 1996 02:23:25 -0700 (PDT)" "IMAP4rev1 WG mtg summary and minutes" '
        b'(("Terry Gray" NIL "gray" "cac.washington.edu")) (("Terry Gray" NIL "gray" "cac.washington.edu")) '
        b'(("Terry Gray" NIL "gray" "cac.washington.edu")) ((NIL NIL "imap" "cac.washington.edu")) '
        b'((NIL NIL "minutes" "CNRI.Reston.VA.US")("John Klensin" NIL "KLENSIN" "MIT.EDU")) NIL NIL "<B27397-0100000@cac.washington.edu>")'
    )
    assert summary.body == b'("text" "plain" ("CHARSET" "US-ASCII") NIL NIL "7bit" 64 1)'
    assert summary.message_id == "<B27397-0100000@cac.washington.edu>"


def test_strings_that_cannot_be_quoted_are_literals() -> None:
    assert mime.string(b'a"b\\') == b'"a\\"b\\\\"'
    assert mime.string(b"\xc3\xa9") == b"{2}\r\n\xc3\xa9"
    assert mime.string(b"a\x00\xff") == b"{2}\r\na\xff"
    assert mime.nstring(None) == b"NIL"


def test_multipart_without_parts_still_has_one_in_bodystructure() -> None:
    summary = mime.summarise(body("Content-Type: multipart/mixed; boundary=b\n\nnothing\n"))
    assert summary.body == b'(("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 0 0) "mixed")'


def test_texts_for_search() -> None:
    message = body(MIXED.replace("<p>html</p>", "<style>p {}</style><!-- no --><p>ht<b>m</b>l</p><script>x</script> 1 < 2"))
    found = list(mime.texts(message, mime.parse(message)))
    assert found[0] == "one"
    assert "html" in found[2].replace(" ", "")
    assert "1 < 2" in " ".join(found[2].split())
    assert not any(word in found[2] for word in ("p {}", "no", "script"))
    assert found[3] == "hello"


def _theirs(part: email.message.Message) -> list[tuple[str, bytes]]:
    if part.get_content_maintype() == "message" and part.get_content_type() != "message/rfc822":
        return [(part.get_content_type(), b"")]  # Python takes delivery reports and others apart; to IMAP they are leaves
    if part.is_multipart():
        return [leaf for child in part.get_payload() for leaf in _theirs(child)]
    return [(part.get_content_type(), part.get_payload(decode=True) or b"")]


def _ours(message: Body, root: mime.Part) -> list[tuple[str, bytes]]:
    leaves = [part for part in root.walk() if not part.is_multipart and part.message is None]
    return [(part.media, b"" if part.media.startswith("message/") else mime.decode(message, part).read()) for part in leaves]


@pytest.mark.material(*FOLDERS)
def test_corpus_never_fails_and_agrees_with_python_where_it_is_right() -> None:
    """Python's parser lists the defects it sees; where it sees none, both must find the same leaves."""
    compared = agreed = 0
    odd: list[str] = []
    for path in (path for folder in FOLDERS for path in files(folder) if path.suffix in (".eml", ".msg", ".txt")):
        data = path.read_bytes()
        message = Body.of(data)
        mime.summarise(message)
        root = mime.parse(message)
        assert all(isinstance(text, str) for text in mime.texts(message, root))
        theirs = email.message_from_bytes(data, policy=email.policy.compat32)
        if any(part.defects for part in theirs.walk()):
            continue
        compared += 1
        if _ours(message, root) == _theirs(theirs):
            agreed += 1
        else:
            odd.append(path.name)
    assert compared > 500
    assert compared - agreed <= 12, odd  # base64 that isn't, uuencode, empty parts between two boundaries


@settings(max_examples=examples(150), deadline=None)
@given(st.binary(max_size=2000))
def test_any_octets_can_be_summarised(data: bytes) -> None:
    _check_everything(data)


FRAGMENTS = [
    b"Content-Type: ",
    b"multipart/mixed",
    b"; boundary=",
    b"b",
    b"\r\n",
    b"\n",
    b"--b",
    b"--",
    b"\r\n\r\n",
    b"message/rfc822",
    b'"',
    b"(",
    b")",
    b"text/html; charset=",
    b"utf-7",
    b"From: ",
    b"<",
    b">",
    b"@",
    b",",
    b":",
    b";",
    b"=?utf-8?q?",
    b"?=",
    b"Content-Transfer-Encoding: base64",
    b"Content-Disposition: ",
    b"filename*0*=",
    b"filename*1=",
    b"%C3",
    b"'",
    b" ",
    b"\x00",
    b"\xff",
    b"\\",
    b"Date: 1 Jan 99999 99:99",
]


@settings(max_examples=examples(200), deadline=None)
@given(st.lists(st.sampled_from(FRAGMENTS) | st.binary(max_size=4), max_size=60))
def test_near_mime_can_be_summarised(fragments: list[bytes]) -> None:
    _check_everything(b"".join(fragments))


def _check_everything(data: bytes) -> None:
    message = Body.of(data)
    summary = mime.summarise(message)
    assert summary.envelope.startswith(b"(")
    assert b"\x00" not in summary.bodystructure
    root = mime.parse(message)
    for part in root.walk():
        assert 0 <= part.header_start <= part.body_start <= part.body_end <= len(data)
        assert isinstance(part.params, dict)
        assert isinstance(part.filename, str | None)
        mime.decode(message, part)
    list(mime.texts(message, root))
    mime.decode_words(data)
    mime.parse_addresses(data)
    mime.parse_date(data)
    section = root.fields.raw
    assert section.startswith(b"".join(raw for _, raw in mime.raw_fields(section)))


@pytest.mark.parametrize("window", [64, 100, 1000])
def test_message_in_a_file_is_read_as_one_in_memory(monkeypatch: pytest.MonkeyPatch, window: int) -> None:
    """Boundaries, header sections and parts that lie across the edge of a window."""
    from mssgw.protocol.mime import windows

    monkeypatch.setattr(windows, "WINDOW", window)
    data = (MIXED.replace("one", "one " * 300) * 3).replace("\n", "\r\n").encode()

    class Filed(Body):
        in_memory = property(lambda _: False)

    filed = Filed(data, None, len(data), Body.of(data).blob)
    assert mime.summarise(filed) == mime.summarise(Body.of(data))
    assert [(part.body_start, part.body_end) for part in mime.parse(filed).walk()] == [
        (part.body_start, part.body_end) for part in mime.parse(data).walk()
    ]
