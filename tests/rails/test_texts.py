"""The catalogue is complete: every text in both languages, with the same values."""

import string

import pytest

from mssgw.core.texts import TEXTS, text


def fields(sentence: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(sentence) if name}


@pytest.mark.parametrize("key", sorted(TEXTS))
def test_both_languages_with_the_same_values(key):
    assert set(TEXTS[key]) == {"fr", "en"}
    assert fields(TEXTS[key]["fr"]) == fields(TEXTS[key]["en"])


def test_missing_text_is_a_bug():
    with pytest.raises(KeyError):
        text("no.such.text")
