"""What people read, French first, English second: the sentences of `dmp_connector/locale`, each under its key."""

from __future__ import annotations

from typing import Final

from bilingual import Language, Message

__all__ = ["PACKAGE", "Language", "Message", "message"]

PACKAGE: Final = "dmp_connector"


def message(key: str, /, **values: object) -> Message:
    """The sentence `key`, in no language yet."""
    return Message(PACKAGE, key, **values)
