"""MAIL, RCPT, BDAT, HELO: arguments to values (RFC 5321 4.1, 3461, 6531, 1870, 3030)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mssgw.core.address import Address, Domain
from mssgw.core.envelope import DEFAULT_NOTIFY, Notify, Ret
from mssgw.core.errors import Refused
from mssgw.protocol import smtp

HERE = Domain("alpha.mssante.test")


def test_plain_mail() -> None:
    mail = smtp.parse_mail("FROM:<Jeanne.Martin@Alpha.mssante.test>")
    assert mail.sender == Address("Jeanne.Martin", HERE)
    assert mail.size is None
    assert not mail.utf8


def test_null_reverse_path_is_none() -> None:
    assert smtp.parse_mail("FROM:<>").sender is None


def test_every_parameter_of_mail() -> None:
    mail = smtp.parse_mail("from: <a@b.fr> SIZE=1000 body=8bitmime SMTPUTF8 RET=hdrs ENVID=QQ+2B314159-aB AUTH=<>".replace("<>", "x"))
    assert (mail.size, mail.body_8bit, mail.utf8, mail.dsn.ret) == (1000, True, True, Ret.HDRS)
    assert mail.dsn.envid == "QQ+314159-aB"  # case kept, xtext decoded


@pytest.mark.parametrize(
    ("argument", "code", "enhanced"),
    [
        ("", 501, "5.5.4"),
        ("a@b.fr", 501, "5.5.4"),
        ("FROM:a@b.fr", 501, "5.5.4"),
        ("FROM:<a@b.fr", 501, "5.5.4"),
        ("FROM:<a>", 501, "5.1.7"),
        ("FROM:<@>", 501, "5.1.7"),
        ("FROM:<a@[127.0.0.1]>", 501, "5.1.7"),
        ("FROM:<é@b.fr>", 553, "5.6.7"),
        ("FROM:<a@b.fr> SIZE=", 501, "5.5.4"),
        ("FROM:<a@b.fr> SIZE", 501, "5.5.4"),
        ("FROM:<a@b.fr> SIZE=1e3", 501, "5.5.4"),
        ("FROM:<a@b.fr> SIZE=²", 501, "5.5.4"),
        ("FROM:<a@b.fr> SIZE=" + "9" * 21, 501, "5.5.4"),
        ("FROM:<a@b.fr> SIZE=1 SIZE=2", 501, "5.5.4"),
        ("FROM:<a@b.fr> BODY=BINARYMIME", 501, "5.5.4"),
        ("FROM:<a@b.fr> BODY", 501, "5.5.4"),
        ("FROM:<a@b.fr> SMTPUTF8=1", 501, "5.5.4"),
        ("FROM:<a@b.fr> RET=BODY", 501, "5.5.4"),
        ("FROM:<a@b.fr> ENVID=" + "x" * 101, 501, "5.5.4"),
        ("FROM:<a@b.fr> ENVID=a+0D+0Ab", 501, "5.5.4"),
        ("FROM:<a@b.fr> ENVID=a+zz", 501, "5.5.4"),
        ("FROM:<a@b.fr> REQUIRETLS", 555, "5.5.4"),
        ("FROM:<a@b.fr> =x", 501, "5.5.4"),
        ("FROM:<a@b.fr>SIZE=3", 501, "5.5.4"),
    ],
)
def test_wrong_mail(argument: str, code: int, enhanced: str) -> None:
    with pytest.raises(Refused) as refusal:
        smtp.parse_mail(argument)
    assert (refusal.value.reply.code, refusal.value.reply.enhanced) == (code, enhanced)


@pytest.mark.parametrize(
    ("path", "local"),
    [
        ('<"a b"@x.fr>', "a b"),
        ('<"a>b"@x.fr>', "a>b"),
        ('<"a\\"b"@x.fr>', 'a"b'),
        ("<@one.fr,@two.fr:c@x.fr>", "c"),
        ("< a@x.fr>", None),
    ],
)
def test_paths(path: str, local: str | None) -> None:
    if local is None:
        with pytest.raises(Refused):
            smtp.parse_mail("FROM:" + path)
    else:
        assert smtp.parse_mail("FROM:" + path).sender == Address(local, Domain("x.fr"))


def test_smtputf8_address() -> None:
    mail = smtp.parse_mail("FROM:<andré@hôpital.fr> SMTPUTF8")
    assert mail.sender == Address("andré", Domain("xn--hpital-ixa.fr"))


def test_plain_rcpt_has_default_notify() -> None:
    recipient = smtp.parse_rcpt("TO:<a@b.fr>", HERE)
    assert recipient.notify == DEFAULT_NOTIFY
    assert not recipient.notify_given
    assert recipient.original is None


def test_dsn_parameters_of_rcpt() -> None:
    recipient = smtp.parse_rcpt("TO:<a@b.fr> NOTIFY=success,DELAY ORCPT=rfc822;Bob+2Btag@Example.fr", HERE)
    assert recipient.notify == {Notify.SUCCESS, Notify.DELAY}
    assert recipient.notify_given
    assert recipient.original == "rfc822;Bob+tag@Example.fr"


def test_unicode_orcpt() -> None:
    assert smtp.parse_rcpt(r"TO:<a@b.fr> ORCPT=utf-8;andr\x{E9}@x.fr", HERE).original == "utf-8;andré@x.fr"


def test_postmaster_alone_is_ours() -> None:
    assert smtp.parse_rcpt("TO:<Postmaster>", HERE).address == Address("postmaster", HERE)


@pytest.mark.parametrize(
    ("argument", "code"),
    [
        ("TO:<>", 501),
        ("TO:<a@b.fr> NOTIFY=NEVER,DELAY", 501),
        ("TO:<a@b.fr> NOTIFY=", 501),
        ("TO:<a@b.fr> NOTIFY=SOON", 501),
        ("TO:<a@b.fr> ORCPT=a@b.fr", 501),
        ("TO:<a@b.fr> ORCPT=rfc822;a+0Ab", 501),
        ("TO:<a@b.fr> ORCPT=rfc822;" + "x" * 500, 501),
        ("TO:<a@b.fr> RRVS=1", 555),
        ("<a@b.fr>", 501),
    ],
)
def test_wrong_rcpt(argument: str, code: int) -> None:
    with pytest.raises(Refused) as refusal:
        smtp.parse_rcpt(argument, HERE)
    assert refusal.value.reply.code == code


def test_bdat() -> None:
    assert smtp.parse_bdat("1000") == smtp.Bdat(1000, last=False)
    assert smtp.parse_bdat("0 last") == smtp.Bdat(0, last=True)
    for wrong in ("", "x", "-1", "10 LAST LAST", "1" * 21):
        with pytest.raises(Refused):
            smtp.parse_bdat(wrong)


def test_helo_names_are_safe_to_print() -> None:
    assert smtp.parse_helo("[IPv6:::1]") == "[IPv6:::1]"
    for wrong in ("", "a b", "a\tb", "x" * 256, "(comment)", "é.fr"):
        with pytest.raises(Refused):
            smtp.parse_helo(wrong)


@given(st.text(st.characters(min_codepoint=33, max_codepoint=255), max_size=60))
def test_xtext_round_trip(text: str) -> None:
    encoded = smtp.encode_xtext(text)
    assert smtp.decode_xtext(encoded).encode("latin-1") == text.encode()


_COMMANDS = st.builds("{}<{}> {}".format, st.sampled_from(["FROM:", "TO:"]), st.text(max_size=30), st.text(max_size=30))


@given(st.one_of(st.text(max_size=80), _COMMANDS))
def test_strangers_arguments_get_a_printable_reply_at_worst(argument: str) -> None:
    for parse in (smtp.parse_mail, lambda text: smtp.parse_rcpt(text, HERE), smtp.parse_bdat, smtp.parse_helo):
        reply = "250 ok"
        try:
            parse(argument)
        except Refused as refusal:
            reply = str(refusal.reply)
        assert reply.isascii()
        assert reply.isprintable()
