"""Every error of the library has its message in both languages, and knows nothing of the program that shows it."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

import pytest

import dmp_connector
from dmp_connector.errors import CardUnreadable, DmpError, HostileXml, NotAllowed, Refused
from dmp_connector.texts import message
from dmp_connector.wire.xml import parse
from tools import messages


@cache
def classes() -> list[type[DmpError]]:
    for module in pkgutil.walk_packages(dmp_connector.__path__, "dmp_connector."):
        if not module.name.startswith("dmp_connector.simulator") and not module.name.endswith(("__main__", "worker")):
            importlib.import_module(module.name)
    found, todo = [], [DmpError]
    while todo:
        kind = todo.pop()
        found.append(kind)
        todo += [k for k in kind.__subclasses__() if not k.__module__.startswith(("tests.", "dmp_connector.simulator", "mssgw."))]
    return found


@pytest.mark.parametrize("kind", classes(), ids=lambda k: k.__name__)
def test_each_kind_has_its_sentence(kind):
    words = {"detail": "D", "code": "C", "text": "T", "creation": "N"}
    said = message(kind.key, **words)
    assert said.fr
    if kind is not Refused:
        assert said.fr != said.en


def test_details_are_in_the_language_of_the_sentence_and_strangers_words_pass():
    error = CardUnreadable(message("card.field-card-missing", holder="kind"))
    assert "le champ kind" in error.message.fr
    assert "the field kind" in error.message.en
    assert str(error) == "the field kind of the card is missing"
    refused = Refused("DMPQuelque{0}Chose", "texte {1} du serveur")
    assert refused.message.fr.endswith("(DMPQuelque{0}Chose)\N{NO-BREAK SPACE}: texte {1} du serveur")


def test_a_detail_inside_a_detail_is_in_the_same_language():
    with pytest.raises(HostileXml) as raised:
        parse(b"<!DOCTYPE x><x/>")
    assert message("at", place="METADATA.XML", what=raised.value.detail).fr == "METADATA.XML\N{NO-BREAK SPACE}: une DTD n'est pas acceptée"


def test_not_allowed_says_its_own_cause_or_that_of_its_kind():
    assert NotAllowed(log="internal").message == message("error.not-allowed")
    assert NotAllowed(message("dossier.patient-not-confirmed")).message == message("dossier.patient-not-confirmed")


@pytest.mark.parametrize("language", messages.LANGUAGES)
def test_the_library_names_no_command_or_option_of_the_program(language):
    for entry in messages.read("dmp_connector", language):
        if entry.id:
            for text in messages.strings(entry):
                assert not any(word in text for word in ("mssgw", "pip install", " --")), text
