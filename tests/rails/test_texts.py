"""The catalogues and the code agree: every key is used and known, in both languages, with the same values, compiled."""

import gettext

import pytest

import bilingual
from mssgw.core.texts import message, text
from tools import messages


@pytest.mark.parametrize("package", messages.PACKAGES)
def test_catalogues_and_code_agree(package):
    assert messages.problems(package) == []


def test_a_key_that_no_catalogue_has_is_a_bug():
    with pytest.raises(KeyError, match=r"no\.such\.text"):
        text("no.such.text")


def test_a_value_that_is_not_passed_is_a_bug():
    with pytest.raises(KeyError, match="domain"):
        text("trust.matched", "fr")


def test_a_message_is_a_value():
    assert message("at", place="a", what="b") == message("at", place="a", what="b")
    assert hash(message("words", words="a")) != hash(message("words", words="b"))


def test_messages_inside_messages_are_in_the_same_language():
    inner = message("dmp.sent")
    assert message("at", place="x", what=inner).fr == f"x\N{NO-BREAK SPACE}: {inner.fr}"
    assert message("at", place="x", what=inner).en == f"x: {inner.en}"


def test_plurals_follow_the_language():
    for count, french, english in ((0, "dépôt de", "deposits"), (1, "dépôt de", "deposit of"), (2, "dépôts", "deposits")):
        said = message("dmp.kept", count=count, address="a@b.test")
        assert french in said.fr
        assert english in said.en


def test_words_of_others_are_never_taken_for_placeholders():
    assert message("words", words="{0.__class__} {x}").fr == "{0.__class__} {x}"


def test_what_is_compiled_is_a_catalogue_for_any_gettext():
    for package in messages.PACKAGES:
        for language in messages.LANGUAGES:
            path = messages.po_path(package, language).with_suffix(".mo")
            with path.open("rb") as stream:
                assert gettext.GNUTranslations(stream).info()["language"] == language


@pytest.mark.parametrize(("value", "french", "english"), [(1234567, "1 234 567", "1,234,567"), (12, "12", "12")])
def test_numbers_are_grouped_as_the_language_does(value, french, english):
    assert bilingual.shown(value, "fr", grouped=True) == french.replace(" ", bilingual.NO_BREAK)
    assert bilingual.shown(value, "en", grouped=True) == english
