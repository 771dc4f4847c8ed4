"""Sentences for people in French and in English, from the gettext catalogues of a package.

A sentence stands once, in `PACKAGE/locale/LANGUAGE/LC_MESSAGES/PACKAGE.po`, under a key; the code passes a `Message`, a frozen
value, and only the edge that shows it chooses the language. Nothing of a package is imported here, and nothing but the standard
library: `mssgw` and `dmp_connector` both stand on this.

A sentence names its values in braces, `{name}`; in the catalogue `{size:n}` groups the digits of a number as the language does.
A value may be a message itself, a tuple of values (joined with commas), a date or a number; everything else passes as it is:
the words of a server or a driver are shown as they came. A sentence with a plural is chosen by the value `count`.
"""

from __future__ import annotations

import datetime
import gettext
import importlib.util
import string
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from bilingual.language import LANGUAGES, Language
from bilingual.localtime import local, moment

__all__ = ["LANGUAGES", "NO_BREAK", "Language", "Message", "known", "local", "moment", "sentence", "shown"]

NO_BREAK: Final = "\N{NO-BREAK SPACE}"


@dataclass(frozen=True, slots=True, init=False)
class Message:
    """The sentence `key` of a package, with its values. `str()` is the English, for logs."""

    package: str
    key: str
    values: tuple[tuple[str, object], ...]

    def __init__(self, package: str, key: str, /, **values: object) -> None:
        object.__setattr__(self, "package", package)
        object.__setattr__(self, "key", key)
        object.__setattr__(self, "values", tuple(values.items()))

    def text(self, language: Language) -> str:
        """The sentence. Raises KeyError for a key or a value that the catalogue or the message lacks: a bug."""
        values = dict(self.values)
        return _FORMATTERS[language].vformat(sentence(self.package, self.key, language, values.get("count")), (), values)

    @property
    def fr(self) -> str:
        return self.text("fr")

    @property
    def en(self) -> str:
        return self.text("en")

    def __str__(self) -> str:
        return self.text("en")


def sentence(package: str, key: str, language: Language, count: object = None) -> str:
    """The sentence as the catalogue holds it, its values not yet filled in. Raises KeyError."""
    catalogue = _catalogue(package, language)
    if isinstance(count, int) and (found := catalogue.ngettext(key, key, count)) != key:
        return found
    if (found := catalogue.gettext(key)) == key:
        raise KeyError(f"{key} is not in the {language} catalogue of {package}")
    return found


def known(package: str, key: str) -> bool:
    """Whether the catalogue has this key (one made from a word that others chose, such as errno's)."""
    return _catalogue(package, "en").gettext(key) != key


@cache
def _catalogue(package: str, language: Language) -> gettext.GNUTranslations:
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise KeyError(f"there is no package {package}")
    path = Path(found.origin).parent / "locale" / language / "LC_MESSAGES" / f"{package}.mo"
    with path.open("rb") as compiled:
        return gettext.GNUTranslations(compiled)


class _Formatter(string.Formatter):
    """Fills in values by name only: no positions, no attributes, no items."""

    def __init__(self, language: Language) -> None:
        self.language = language

    def get_field(self, field_name: str, args: Any, kwargs: Mapping[str, Any]) -> tuple[Any, str]:
        return kwargs[field_name], field_name

    def format_field(self, value: Any, format_spec: str) -> str:
        return shown(value, self.language, grouped=format_spec == "n")


_FORMATTERS: Final = {language: _Formatter(language) for language in LANGUAGES}


def shown(value: object, language: Language, *, grouped: bool = False) -> str:
    """One value as people read it; a moment in the time of the house."""
    match value:
        case Message():
            return value.text(language)
        case tuple():
            return ", ".join(shown(one, language) for one in value)
        case datetime.datetime():
            return moment(value, language)
        case datetime.date():
            return f"{value:%d/%m/%Y}" if language == "fr" else f"{value:%Y-%m-%d}"
        case int() if grouped:
            return f"{value:,}".replace(",", NO_BREAK) if language == "fr" else f"{value:,}"
        case _:
            return str(value)
