"""Every fault has its sentence for the peer, in both languages for our own people, and stands in docs/trust.md; nothing else does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import bilingual
from mssgw.core.texts import LANGUAGES, text
from mssgw.trust import faults
from mssgw.trust.faults import Fault, refusal
from tests.rails.agree import agree
from tools import messages

ROOT = Path(__file__).parents[2]
PREFIX = "trust.fault."
SENTENCES = {fault: bilingual.sentence("mssgw", fault.key, "en") for fault in Fault}
FACTS = {fault: messages.placeholders(SENTENCES[fault]) for fault in Fault}


@pytest.mark.parametrize("fault", Fault)
def test_its_sentence_fits_a_reply_line(fault: Fault) -> None:
    assert SENTENCES[fault].isascii()
    assert SENTENCES[fault].isprintable()
    error = refusal(fault, **dict.fromkeys(FACTS[fault], "x" * 60))
    assert len(str(error.reply)) < 500  # RFC 5321 4.5.3.1.5 says 512 with CRLF
    assert error.temporary == (fault.code < 500)
    assert faults.fault_of(error) is fault


@pytest.mark.parametrize("fault", Fault)
@pytest.mark.parametrize("language", LANGUAGES)
def test_it_has_a_sentence_in_both_languages_with_the_same_facts(fault: Fault, language: str) -> None:
    assert text(fault.key, language, **dict.fromkeys(FACTS[fault], "x"))  # a value that the English has not is a KeyError


def test_no_sentence_is_left_of_a_fault_that_is_gone() -> None:
    keys = {messages.key_of(entry) for language in LANGUAGES for entry in messages.read("mssgw", language) if entry.id}
    agree("mssgw/locale", [key for key in keys if key.startswith(PREFIX)], [f"{PREFIX}{fault}" for fault in Fault])


def test_the_page_names_every_fault_under_its_reply() -> None:
    section = (ROOT / "docs" / "trust.md").read_text(encoding="utf-8").partition("\n| reply | faults |\n")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| (\d{3} \S+) \| (.+) \|$", section, re.MULTILINE)
    documented = [f"{name} ({reply})" for reply, names in rows for name in names.replace("`", "").split(", ")]
    agree("docs/trust.md", documented, [f"{fault} ({fault.code} {fault.enhanced})" for fault in Fault])
