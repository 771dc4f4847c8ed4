"""Problems of a configuration, as tests compare them: by their English."""

from __future__ import annotations

from collections.abc import Iterable

from mssgw.core.errors import Problem


def english(problems: Iterable[Problem]) -> list[tuple[str, str]]:
    """Each also has to have its French: a message whose values are wrong raises KeyError here."""
    found = list(problems)
    assert all(what.fr for _, what in found)
    return [(where, what.en) for where, what in found]
