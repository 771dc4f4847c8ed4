"""Delivery reports: Python's email package reads what we write, and we read the reports of others as it does."""

import contextlib
import email
import email.policy
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mssgw.core.body import Body
from mssgw.protocol import dsn
from mssgw.protocol.dsn import Action, Letter, NotAReport, RecipientStatus, Report, Returned
from tests.fuzz import examples
from tests.material import files

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)

LETTER = Letter(
    sender="Messagerie <mailer-daemon@mx.alpha.mssante.test>",
    to="jeanne.martin@alpha.mssante.test",
    subject="Message non remis",
    text="Votre message n'a pas été remis à :\n\n  paul@beta.mssante.test\n",
    message_id="T1.bounce@mx.alpha.mssante.test",
    date=NOON,
    references="<orig@alpha.mssante.test>",
)
FAILED = RecipientStatus(
    final="paul@beta.mssante.test",
    action=Action.FAILED,
    status="5.1.1",
    original="rfc822;Paul@beta.mssante.test",
    remote_mta="mx.beta.mssante.test",
    diagnostic="smtp; 550 5.1.1 No such mailbox",
    last_attempt=NOON,
)
REPORT = Report("mx.alpha.mssante.test", (FAILED,), envid="QQ+314159", arrival=NOON)
ORIGINAL = b"From: jeanne.martin@alpha.mssante.test\r\nMessage-ID: <orig@alpha.mssante.test>\r\n\r\nBonjour\r\n"


def read(octets: bytes) -> email.message.EmailMessage:
    assert b"\n" not in octets.replace(b"\r\n", b"")
    assert b"\r" not in octets.replace(b"\r\n", b"")
    return email.message_from_bytes(octets, policy=email.policy.default)


def test_a_report_is_what_another_program_expects():  # RFC 3464, 6522
    message = read(dsn.build(REPORT, LETTER, Returned(ORIGINAL, whole=True)))
    assert message.get_content_type() == "multipart/report"
    assert message["Content-Type"].params["report-type"] == "delivery-status"
    assert message["Auto-Submitted"] == "auto-replied"
    assert message["In-Reply-To"] == "<orig@alpha.mssante.test>"
    assert not message.defects
    text, status, original = message.iter_parts()
    assert "Votre message n'a pas été remis" in text.get_content()
    about, recipient = status.get_payload()
    assert about["Reporting-MTA"] == "dns; mx.alpha.mssante.test"
    assert about["Original-Envelope-Id"] == "QQ+314159"
    assert about["Arrival-Date"] == "Sun, 22 Nov 2026 12:00:00 +0000"
    assert dict(recipient) == {
        "Original-Recipient": "rfc822;Paul@beta.mssante.test",
        "Final-Recipient": "rfc822; paul@beta.mssante.test",
        "Action": "failed",
        "Status": "5.1.1",
        "Remote-MTA": "dns; mx.beta.mssante.test",
        "Diagnostic-Code": "smtp; 550 5.1.1 No such mailbox",
        "Last-Attempt-Date": "Sun, 22 Nov 2026 12:00:00 +0000",
    }
    assert original.get_content_type() == "message/rfc822"
    assert original.get_content()["Message-ID"] == "<orig@alpha.mssante.test>"


@pytest.mark.parametrize(
    ("header", "fields"),
    [
        (b"X-A: b\r\n" * 1990, dsn.HEADER_FIELDS),
        (b"X-A: b\r\n" + b"X-B: " + b"y" * 200_000 + b"\r\n", 1),
        (b"X-A: b\r\n" + b"X-B: " + b"z\r\n " * 40_000 + b"z\r\n", 1),
        (b"X-B: " + b"y" * 200_000 + b"\r\n", 0),
    ],
)
def test_of_a_huge_header_its_beginning_goes_back(header, fields):
    returned = Returned.header_of(Body.of(header + b"\r\nBonjour\r\n"))
    assert returned.cut
    assert len(returned.octets) <= dsn.HEADER_OCTETS
    assert returned.octets == b"X-A: b\r\n" * fields
    assert "the rest is left out" in list(read(dsn.build(REPORT, LETTER, returned)).iter_parts())[2]["Content-Description"]


def test_a_header_that_fits_goes_back_whole():
    assert Returned.header_of(Body.of(ORIGINAL)) == Returned(ORIGINAL.removesuffix(b"\r\nBonjour\r\n"), whole=False)


def test_what_we_write_we_read():
    report = dsn.parse(dsn.build(REPORT, LETTER, Returned.header_of(Body.of(ORIGINAL))))
    assert report.recipients == (FAILED,)
    assert report == Report("mx.alpha.mssante.test", (FAILED,), "QQ+314159", NOON, "<orig@alpha.mssante.test>")


def test_header_only_returns_no_body():
    message = read(dsn.build(REPORT, LETTER, Returned.header_of(Body.of(ORIGINAL))))
    part = list(message.iter_parts())[2]
    assert part.get_content_type() == "text/rfc822-headers"
    assert "Bonjour" not in part.get_content()
    assert "orig@alpha" in part.get_content()


def test_a_peer_cannot_write_fields_into_our_report():
    """CRLF in a reply, an ORCPT or an ENVID (decoded xtext) stays inside its field."""
    evil = RecipientStatus(
        final="paul@beta.mssante.test",
        action=Action.FAILED,
        status="5.0.0",
        original="rfc822;x\r\nAction: delivered",
        diagnostic="smtp; 550 no\r\n\r\n--=_T1bouncemxalphamssantetest.0--\r\nStatus: 2.0.0",
    )
    octets = dsn.build(Report("mx", (evil,), envid="a\r\nReporting-MTA: dns; evil"), LETTER, None)
    about, recipient = list(read(octets).iter_parts())[1].get_payload()
    assert about.get_all("Reporting-MTA") == ["dns; mx"]
    assert recipient.get_all("Action") == ["failed"]
    assert recipient.get_all("Status") == ["5.0.0"]


def test_an_address_with_accents_makes_a_global_report_on_seven_bits():
    """RFC 6533 4.1."""
    report = Report("mx", (RecipientStatus(final="éloïse@beta.mssante.test", action=Action.FAILED, status="5.6.7"),))
    octets = dsn.build(report, LETTER, None)
    assert octets.isascii()
    part = list(read(octets).iter_parts())[1]
    assert part.get_content_type() == "message/global-delivery-status"
    assert b"Final-Recipient: utf-8; =C3=A9lo=C3=AFse@beta.mssante.test\r\n" in octets
    assert dsn.parse(octets).recipients[0].final == "éloïse@beta.mssante.test"


def test_accents_of_a_peer_do_not_make_the_report_global():
    report = Report("mx", (RecipientStatus(final="a@b.test", action=Action.FAILED, status="5.0.0", diagnostic="smtp; 550 refusé"),))
    octets = dsn.build(report, LETTER, None)
    assert b"Diagnostic-Code: smtp; 550 refus?" in octets


def test_an_eight_bit_original_is_declared():
    octets = dsn.build(REPORT, LETTER, Returned(ORIGINAL.replace(b"Bonjour", "Réponse".encode()), whole=True))
    message = read(octets)
    assert message["Content-Transfer-Encoding"] == "8bit"
    assert list(message.iter_parts())[2]["Content-Transfer-Encoding"] == "8bit"


def test_the_boundary_is_in_no_part():
    first = dsn.build(REPORT, LETTER, Returned(ORIGINAL, whole=True))
    nested = dsn.build(REPORT, LETTER, Returned(first, whole=True))
    parts = list(read(nested).iter_parts())
    assert len(parts) == 3
    assert len(list(parts[2].get_content().iter_parts())) == 3


@pytest.mark.parametrize(
    ("field", "final"),
    [
        (b"Final-Recipient: rfc822;a@b.test", "a@b.test"),
        (b"Final-Recipient: RFC822; <a@b.test>", "a@b.test"),
        (b"Final-Recipient: a@b.test", "a@b.test"),
        (b"Final-recipient: rfc/822;a@b.test", "a@b.test"),
        (b"Original-Recipient: rfc822;a@b.test", "a@b.test"),
        (b"Final-Recipient : rfc822;\n a@b.test", "a@b.test"),
    ],
)
def test_sloppy_recipients_are_understood(field, final):
    text = b"Content-Type: message/delivery-status\n\nReporting-MTA: dns; x\n\n" + field + b"\nAction: Failed (bad)\nStatus: 5.1.1 (no)\n"
    report = dsn.parse(text)
    assert (report.recipients[0].final, report.recipients[0].action, report.recipients[0].status) == (final, Action.FAILED, "5.1.1")


def test_a_letter_is_not_a_report():
    with pytest.raises(NotAReport):
        dsn.parse(ORIGINAL)


@pytest.mark.material("mail/bounces")
def test_strangers_reports_read_like_another_program_reads_them():
    """For each delivery-status part that Python's email package finds, we read the same recipients, actions and codes."""
    read_some = 0
    for path in files("mail/bounces", "*.eml"):
        octets = path.read_bytes()
        wanted = _by_email_package(octets)
        try:
            got = dsn.parse(octets).recipients
        except NotAReport:
            assert not wanted, path.name
            continue
        if not wanted:
            continue
        read_some += 1
        assert len(got) == len(wanted), path.name
        for one, (final, action, status) in zip(got, wanted, strict=True):
            assert one.final.lower() in final.lower(), path.name
            assert action not in set(Action) or one.action == action, path.name
            assert one.status in status or not status, path.name
    assert read_some > 350


def _by_email_package(octets):
    for part in email.message_from_bytes(octets).walk():
        if part.get_content_type() in ("message/delivery-status", "message/global-delivery-status") and part.is_multipart():
            groups = part.get_payload()
            named = [(group.get("final-recipient") or group.get("original-recipient"), group) for group in groups]
            return [(final, (g.get("action") or "").strip().lower(), g.get("status") or "") for final, g in named if final]
    return []


@given(st.binary(max_size=600))
@settings(max_examples=examples(200))
def test_any_octets_are_a_report_or_not(octets):
    try:
        dsn.parse(b"Content-Type: message/delivery-status\n\nFinal-Recipient: a@b\n" + octets)
        dsn.parse(octets)
    except NotAReport:
        pass


@given(st.data())
@settings(max_examples=examples(100))
def test_a_damaged_report_never_breaks_the_reader(data):
    octets = bytearray(dsn.build(REPORT, LETTER, Returned(ORIGINAL, whole=True)))
    for _ in range(data.draw(st.integers(1, 20))):
        octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(NotAReport):
        dsn.parse(bytes(octets[: data.draw(st.integers(0, len(octets)))]))


def test_a_huge_report_is_bounded():
    octets = b"Content-Type: message/delivery-status\n\n" + b"\nFinal-Recipient: rfc822; a@b.test\nAction: failed\n" * 50_000
    assert len(dsn.parse(octets).recipients) == dsn.PARSE_RECIPIENTS


def test_deep_nesting_is_bounded():
    octets = b"".join(b'Content-Type: multipart/mixed; boundary="b%d"\n\n--b%d\n' % (n, n) for n in range(500))
    with pytest.raises(NotAReport):
        dsn.parse(octets + b"Content-Type: message/delivery-status\n\n")


WORDS = st.text(max_size=60)


@given(WORDS, WORDS, WORDS, WORDS, st.sampled_from(Action), st.binary(max_size=200))
@settings(max_examples=examples(100))
def test_whatever_others_wrote_the_report_keeps_its_shape(diagnostic, original, envid, mta, action, returned):
    """Whatever text stands in a field, it stays one report with one recipient and no added fields."""
    one = RecipientStatus(
        final="paul@beta.mssante.test",
        action=action,
        status="4.2.2",
        original=f"rfc822;{original}",
        remote_mta=mta,
        diagnostic=f"smtp; {diagnostic}",
    )
    octets = dsn.build(Report("mx.alpha.mssante.test", (one,), envid=envid), LETTER, Returned(returned, whole=True))
    report = dsn.parse(octets)
    assert [(told.final, told.action, told.status) for told in report.recipients] == [("paul@beta.mssante.test", action, "4.2.2")]
    assert report.reporting_mta == "mx.alpha.mssante.test"
    head = octets.partition(b"\r\n\r\n")[0]
    assert b"\n" not in head.replace(b"\r\n", b"")
