"""What msgspec finds wrong with a value, in both languages: a table of its forms (msgspec writes English only)."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from mssgw.core.errors import Mistake
from mssgw.core.texts import Message, either, message

_FORMS: Final = (
    (re.compile(r"Expected `(?:int|float)` >=? ?(?P<least>\S+)"), "config.at-least"),
    (re.compile(r"Expected `(?:int|float)` <=? ?(?P<most>\S+)"), "config.at-most"),
    (re.compile(r"Expected `str` of length >= (?P<least>\d+)"), "config.text-short"),
    (re.compile(r"Expected `str` of length <= (?P<most>\d+)"), "config.text-long"),
    (re.compile(r"Expected `array` of length >= (?P<least>\d+)"), "config.list-short"),
    (re.compile(r"Expected `array` of length <= (?P<most>\d+)"), "config.list-long"),
    (re.compile(r"Expected `str` matching regex (?P<pattern>.+)"), "config.pattern"),
)
_KIND = re.compile(r"Expected `(?P<wanted>[^`]+)`, got `(?P<found>[^`]+)`")
_ENUM = re.compile(r"Invalid enum value (?P<given>.+)")


def of_validation(error: msgspec.ValidationError, sentence: str, choices: tuple[str, ...]) -> Message:
    """The sentence of `error`; `sentence` is msgspec's own without the place, `choices` the words that exist where there are a few."""
    if isinstance(error.__cause__, Mistake):
        return error.__cause__.message
    if choices and (found := _ENUM.fullmatch(sentence)):
        return message("config.choice", given=found["given"], choices=choices)
    if found := _KIND.fullmatch(sentence):
        return message("config.wrong-kind", wanted=_kind(found["wanted"]), found=_kind(found["found"]))
    for form, key in _FORMS:
        if found := form.fullmatch(sentence):
            return message(key, **found.groupdict())
    return message("words", words=sentence)


def _kind(words: str) -> Message:
    """`int`, or `int | null`: nothing is written to leave a value out, so null is no kind for people."""
    word = next((one for one in words.split(" | ") if one != "null"), words)
    return either(f"config.kind.{word}", word)
