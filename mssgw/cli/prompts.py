"""Questions to a person at a terminal, in both languages. Without a terminal nothing is asked: the refusal names the other way."""

from __future__ import annotations

from typing import Final

import typer

from mssgw.cli.frame import both, inline, warn
from mssgw.cli.terminal import terminal
from mssgw.cli.usage import WrongUse
from mssgw.core.texts import Message, message

YES: Final = frozenset({"o", "oui", "y", "yes"})
NO: Final = frozenset({"n", "non", "no", ""})


def asked(question: Message, default: str, instead: str) -> str:
    """What was typed, or `default` when there is one. `instead`: the option that answers beforehand. Raises WrongUse."""
    require_terminal(instead)
    return str(typer.prompt(both(question), default=default or None, err=True))


def hidden(question: Message, instead: str, *, twice: bool = False) -> str:
    """A password or PIN, not shown while it is typed. `twice`: until two answers are the same. Raises WrongUse."""
    require_terminal(instead)
    while True:
        typed = str(typer.prompt(inline(question), hide_input=True, err=True))
        if not twice or typed == str(typer.prompt(inline(message("ask.again")), hide_input=True, err=True)):
            return typed
        warn(message("ask.differ"))


def require_agreed(question: Message, instead: str) -> None:
    """Go on after a yes only: raises Abort for anything else, WrongUse where nobody can answer."""
    require_terminal(instead)
    if (
        str(typer.prompt(f"{both(question)}\n{inline(message('ask.yes-no'))}", default="non", show_default=False, err=True))
        .strip()
        .casefold()
        not in YES
    ):
        raise typer.Abort


def require_terminal(instead: str) -> None:
    """Raise WrongUse where nobody can answer."""
    if not terminal().asks:
        raise WrongUse(message("ask.no-terminal"), instead)
