"""How a rail compares a page with the code: what is missing and what is too much is named, and where."""

from __future__ import annotations

from collections.abc import Iterable


def agree(where: str, documented: Iterable[str], code: Iterable[str]) -> None:
    """Raises AssertionError with a line for each difference."""
    page, real = set(documented), set(code)
    missing = [f"{where}: add {one}" for one in sorted(real - page)]
    extra = [f"{where}: remove {one}, which no code has" for one in sorted(page - real)]
    assert not missing + extra, "\n".join(["the page and the code differ", *missing, *extra])
