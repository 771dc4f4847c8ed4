"""What people read, French first, English second: the sentences of `mssgw/locale`, each under its key.

`message(key, **values)` is the frozen value that errors and verbs carry; `text(key, language, **values)` is one sentence at once.
A missing key is a bug and raises KeyError. How to add a sentence: docs/developing.md, "Messages".
"""

from __future__ import annotations

import errno
from typing import Final

import bilingual
from bilingual import LANGUAGES, Language, Message

__all__ = [
    "LANGUAGES",
    "PACKAGE",
    "Explained",
    "Language",
    "Message",
    "NotPermitted",
    "NotThere",
    "both",
    "either",
    "has",
    "message",
    "named",
    "of_system",
    "text",
]

PACKAGE: Final = "mssgw"


def message(key: str, /, **values: object) -> Message:
    """The sentence `key`, in no language yet."""
    return Message(PACKAGE, key, **values)


def text(key: str, language: Language = "fr", /, **values: object) -> str:
    """The sentence `key` in a language."""
    return message(key, **values).text(language)


def both(*messages: Message) -> str:
    """For people: all of it in French, then in English; what differs in nothing but no-break spaces stands once."""
    french, english = ("\n".join(one.text(language) for one in messages) for language in LANGUAGES)
    return f"{french}\n{english}" if french.replace("\N{NO-BREAK SPACE}", "") != english else english


def has(key: str) -> bool:
    """Whether there is such a sentence; for keys made from a word that others chose."""
    return bilingual.known(PACKAGE, key)


def either(key: str, otherwise: str, /, **values: object) -> Message:
    """The sentence `key`, or the words of somebody else as they came where there is none."""
    return message(key, **values) if has(key) else message("words", words=otherwise)


class Explained(OSError):
    """An error about a file that our own code found, with its sentence."""

    def __init__(self, key: str | Message, /, **values: object) -> None:
        """The sentence `key`, or one that is made already."""
        self.message: Final = message(key, **values) if isinstance(key, str) else key
        super().__init__(str(self.message))


class NotThere(Explained, FileNotFoundError):
    """The file is not there, or nowhere."""


class NotPermitted(Explained, PermissionError):
    """The file is there and is not taken."""


def of_system(error: OSError) -> Message:
    """What the system says about a file, without its name; in its own words where the catalogue has none."""
    if isinstance(error, Explained):
        return error.message
    return either(f"os.{errno.errorcode.get(error.errno or 0, '')}", error.strerror or str(error))


def named(keys: tuple[str, ...], language: Language) -> dict[str, str]:
    """Several sentences without values at once, by the last part of their keys (for a page)."""
    return {key.rpartition(".")[2]: text(key, language) for key in keys}
