"""What takes no `pass` away and is told beside it: who passed the message on, what the signed text loads, what it hides."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from mssgw.core.body import Body
from mssgw.core.message import Headers
from mssgw.smime.errors import Reason
from mssgw.smime.judging import unsigned_remarks
from mssgw.smime.opening import Opened, open_now
from tests.smime.forge import ENTITY, HEADER, clear, good
from tests.smime.people import ALICE, BOB, NOW, Authority, Person

HTML = b"Content-Type: text/html; charset=utf-8\r\n\r\n%b\r\n"
REPLY = """<html><head><style type="text/css" style="display:none;"> P {margin-top:0;margin-bottom:0;} </style></head><body dir="ltr">
<div class="elementToProof" style="font-family: Aptos, Calibri; font-size: 12pt; color: rgb(0, 0, 0);">Voici le compte rendu.</div>
<div><img src="cid:image001.png@01DC5F1A.2B3C4D50" width="120" height="40" alt="CHU"></div>
<hr style="display:inline-block;width:98%"><div id="divRplyFwdMsg"><b>De&nbsp;:</b> Bob &lt;<a href="mailto:b@beta.test">b@beta.test</a>&gt;</div>
<p><a href="https://www.chu.test/rendez-vous">Rendez-vous</a></p></body></html>""".replace("\n", "\r\n").encode()
WITH_PICTURE = (
    b'Content-Type: multipart/related; boundary="a"; type="text/html"\r\n\r\n--a\r\n'
    + HTML % REPLY
    + b"--a\r\nContent-Type: image/png; name=image001.png\r\nContent-ID: <image001.png@01DC5F1A.2B3C4D50>\r\n"
    b"Content-Transfer-Encoding: base64\r\n\r\niVBORw0KGgo=\r\n--a--\r\n"
)


def opened(authority: Authority, body: Body) -> Opened:
    return open_now(body, [], authority.validate, NOW)


def signed(authority: Authority, who: Person, entity: bytes, **how: str) -> Opened:
    got = opened(authority, clear(entity, good(who, entity), **how))
    assert got.verdict.valid, got.verdict.details
    assert "smime=pass" in got.verdict.results("mx")
    return got


def test_ordinary_html_with_a_picture_of_its_own_has_no_remark(authority: Authority, alice: Person) -> None:
    assert signed(authority, alice, WITH_PICTURE).verdict.reasons == ()
    assert signed(authority, alice, HTML % REPLY).verdict.reasons == ()


@pytest.mark.parametrize(
    ("html", "reason", "said"),
    [
        (b'<img src="https://www.chu.test/logo.png">', Reason.REMOTE, "chargés d'ailleurs"),
        (b'<link rel="stylesheet" href="https://www.chu.test/a.css">', Reason.REMOTE, "chargés d'ailleurs"),
        (b'<iframe src="https://www.chu.test/"></iframe>', Reason.REMOTE, "chargés d'ailleurs"),
        (b'50<span style="display:none">0</span> mg', Reason.HIDDEN, "n'est pas affichée par tous"),
        (b"<script>document.write('500 mg')</script>", Reason.HIDDEN, "n'est pas affichée par tous"),
        (b"\xe2\x80\xaegm 05", Reason.HIDDEN, "n'est pas affichée par tous"),
        (b"\xe2\x81\xa7gm 05", Reason.HIDDEN, "n'est pas affichée par tous"),
        (b"&#X2067;gm 05", Reason.HIDDEN, "n'est pas affichée par tous"),
        (b"Dose\r\nbegin 644 dose.txt\r\nend", Reason.HIDDEN, "n'est pas affichée par tous"),
        (b"Dose\r\n=ybegin line=128 size=3 name=a", Reason.HIDDEN, "n'est pas affichée par tous"),
    ],
    ids=[
        "a picture",
        "a style sheet",
        "a frame",
        "hidden text",
        "a script",
        "right to left",
        "isolated",
        "written out",
        "uuencode",
        "yEnc",
    ],
)
def test_signed_html_that_shows_more_or_less_than_its_octets_is_told(
    authority: Authority, alice: Person, html: bytes, reason: Reason, said: str
) -> None:
    got = signed(authority, alice, HTML % html)
    assert got.verdict.reasons == (reason,)
    assert f"smime=pass ({reason})" in got.verdict.results("mx")
    assert said in got.verdict.banner("fr")


@pytest.mark.parametrize(
    "style",
    [
        "height:0;overflow:hidden", "overflow:hidden;max-height:1px", "width:0;overflow:hidden", "transform:scale(0)", "transform:translateX(-9999px)",
        "color:rgba(0,0,0,0)", "color:#0000", "color:#ffffff00", "color:rgb(255 255 255 / 0)", "color:hsl(0 0% 0% / 0%)", "-webkit-text-fill-color:red",
        "opacity:0.01", "opacity:1%", "filter:opacity(0)", "letter-spacing:-1em", "line-height:0", "--d:none;display:var(--d)",
        "font-size:calc(1px - 1px)", "margin-left:100vw", "position:fixed;right:100%", "position:relative;z-index:-1",
        "display:flex;flex-direction:row-reverse", "direction:rtl", "content-visibility:hidden",
    ],
)  # fmt: skip
def test_a_text_that_a_style_hides_is_told(authority: Authority, alice: Person, style: str) -> None:
    got = signed(authority, alice, HTML % f'<p>dose 5</p><p style="{style}">50</p>'.encode())
    assert got.verdict.reasons == (Reason.HIDDEN,)


@pytest.mark.parametrize(
    "html",
    [
        "<ruby>5<rp>50</rp></ruby>",
        "<div popover>50</div>",
        "<p dir=rtl>5 - 10 mg",
        "<![if !mso]>50<![endif]>",
        "<mphantom>50</mphantom>",
        "<!--> 50 <!-- -->",
    ],
)
def test_a_text_that_an_element_hides_is_told(authority: Authority, alice: Person, html: str) -> None:
    assert signed(authority, alice, HTML % html.encode()).verdict.reasons == (Reason.HIDDEN,)


@pytest.mark.parametrize(
    ("field", "reason"),
    [
        (b"X-Mozilla-External-Attachment-URL: https://x.test/a.pdf", Reason.REMOTE),
        (b"X-Mozilla-Cloud-Part: cloudFile; url=https://x.test/a.pdf", Reason.REMOTE),
        (b"Content-Disposition: attachment; filename*=utf-8''a%E2%80%AEfdp.exe", Reason.HIDDEN),
        (b"Content-Disposition: attachment; filename*=utf-8''a%0D%0A.pdf", Reason.HIDDEN),
    ],
    ids=["from elsewhere", "in a cloud", "right to left", "in two lines"],
)
def test_an_attachment_that_is_not_what_its_name_shows_is_told(authority: Authority, alice: Person, field: bytes, reason: Reason) -> None:
    entity = (
        b"Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\nContent-Type: text/plain\r\n\r\nBonjour\r\n--a\r\n"
        b"Content-Type: application/pdf\r\n" + field + b"\r\n\r\n%PDF-\r\n--a--\r\n"
    )
    assert signed(authority, alice, entity).verdict.reasons == (reason,)


def test_html_in_a_forwarded_message_is_part_of_the_text_and_a_page_sent_as_a_file_is_not(authority: Authority, alice: Person) -> None:
    page = HTML % b"<img src=https://www.chu.test/logo.png>"
    forwarded = b"Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\nContent-Type: message/rfc822\r\n\r\n" + page + b"--a--\r\n"
    assert signed(authority, alice, forwarded).verdict.reasons == (Reason.REMOTE,)
    file = (
        b"Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\nContent-Disposition: attachment; filename=a.html\r\n"
        + page
        + b"--a--\r\n"
    )
    assert signed(authority, alice, file).verdict.reasons == ()
    assert signed(authority, alice, b"Content-Disposition: attachment\r\n" + page).verdict.reasons == (Reason.REMOTE,)


def test_an_alternative_that_loads_by_its_design_is_told(authority: Authority, alice: Person) -> None:
    entity = (
        b"Content-Type: multipart/alternative; boundary=a\r\n\r\n--a\r\n\r\nA\r\n--a\r\nContent-Type: text/x-amp-html\r\n\r\nB\r\n--a--\r\n"
    )
    assert signed(authority, alice, entity).verdict.reasons == (Reason.REMOTE,)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        (f"Resent-From: <{BOB}>\r\n", True),
        (f"Resent-Sender: Dr Durand <{BOB}>\r\n", True),
        (f"Resent-From: <{ALICE}>, <{BOB}>\r\n", True),
        ("Resent-From: Dr Durand\r\n", True),
        (f"Resent-From: <{ALICE.upper()}>\r\n", False),
        (f"Resent-To: <{BOB}>\r\n", False),
    ],
    ids=["from", "sender", "one of two", "no address", "the author", "to"],
)
def test_who_passed_a_message_on_is_told(authority: Authority, alice: Person, fields: str, told: bool) -> None:
    got = signed(authority, alice, ENTITY, header=fields + HEADER)
    assert (Reason.RESENT in got.verdict.reasons) is told
    assert ("réexpédié" in got.verdict.banner("fr")) is told
    assert (Reason.RESENT in unsigned_remarks(Headers.parse((fields + HEADER).encode()))) is told


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        (f"Reply-To: Alice Martin <{BOB}>\r\n", True),
        (f"Reply-To: <{ALICE}>, <{BOB}>\r\n", True),
        ("Reply-To: Alice\r\n", True),
        (f"Reply-To: <{ALICE.upper()}>\r\n", False),
        (f"Mail-Followup-To: <{BOB}>\r\n", True),
        (f"Mail-Reply-To: <{BOB}>\r\n", True),
        (f"Disposition-Notification-To: <{BOB}>\r\n", True),
    ],
    ids=["another", "one of two", "no address", "the author", "to all", "to the author", "notices"],
)
def test_an_unsigned_address_for_answers_is_told(authority: Authority, alice: Person, fields: str, told: bool) -> None:
    got = signed(authority, alice, ENTITY, header=fields + HEADER)
    assert got.verdict.reasons == ((Reason.REPLY,) if told else ())
    assert ("l'adresse de réponse n'est pas signée" in got.verdict.banner("fr")) is told


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ('"Dr Anne Leroy" ', True),
        ("Laboratoire ", True),
        (f'"Dr Paul DURAND - médecin traitant{" " * 60}(Martin)" ', True),
        ("=?utf-8?q?L=C3=A9a?= ", True),
        ("Dr MARTIN-DUPONT Alice ", False),
        ("=?utf-8?q?M=C3=A1rtin?= ", False),
        (f'"{ALICE}" ', False),
        ("", False),
        ('"..." ', False),
    ],
)
def test_a_name_that_is_not_in_the_certificate_is_told(authority: Authority, name: str, told: bool) -> None:
    """The address is the signer's own, and mail programs show the name instead of it."""
    subject = x509.Name([x509.NameAttribute(NameOID.SURNAME, "MARTIN DUPOND"), x509.NameAttribute(NameOID.COMMON_NAME, "801234567894")])
    who = authority.issue("rsa", ALICE, cn=subject)
    got = signed(authority, who, ENTITY, header=HEADER.replace(f"<{ALICE}>", f"{name}<{ALICE}>"))
    assert got.verdict.reasons == ((Reason.OTHER_NAME,) if told else ())
    assert ("n'est pas celui du certificat" in got.verdict.banner("fr")) is told


@pytest.mark.parametrize(
    ("date", "told"),
    [
        ("Fri, 20 Nov 2026 10:30:00 +0100", False),
        ("Wed, 18 Nov 2026 10:30:00 +0100", True),
        ("Mon, 23 Nov 2026 10:30:00 +0100", True),
        ("Wed, 18 Nov 2026 10:30:00", False),
        ("hier", False),
    ],
)
def test_a_date_far_from_the_signing_time_is_told(authority: Authority, alice: Person, date: str, told: bool) -> None:
    """An old letter that is shown with a new date, or the other way round; without a zone nothing is known to a day."""
    from mssgw.pki import der
    from mssgw.smime.wire import oids
    from tests.smime.forge import attribute, plain_attributes, signed_data, signer_info

    info = signer_info(alice, plain_attributes(ENTITY, attribute(oids.SIGNING_TIME, der.time(NOW))))
    got = opened(authority, clear(ENTITY, signed_data([info], [alice]), header=f"Date: {date}\r\n{HEADER}"))
    assert got.verdict.valid
    assert got.verdict.reasons == ((Reason.SIGNING_TIME,) if told else ())
