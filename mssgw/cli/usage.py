"""A command that was used wrongly, in French and in English. Exit status 2.

typer speaks English alone, so its errors are told by their kind and by the type of the option. A verb that refuses an option raises
`WrongUse` with its own message.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import typer
from typer.exceptions import TyperException

from mssgw.cli.terminal import terminal
from mssgw.core.texts import LANGUAGES, Message, message


class WrongUse(typer.BadParameter):
    """An option or an argument that a verb can't take. `hint`: its name, as it is typed."""

    def __init__(self, said: Message, hint: str | None = None) -> None:
        super().__init__(said.en, param_hint=hint)
        self.said = said


def of_usage(error: TyperException) -> Message:
    """What was used wrongly, as a message."""
    name = _named(error)
    match type(error).__name__:  # click's own classes are private in typer
        case "WrongUse" if isinstance(error, WrongUse):
            return message("cli.usage.bad-value", name=name, why=error.said) if name else error.said
        case "MissingParameter":
            return message("cli.usage.missing", name=name)
        case "NoSuchOption":
            near: Sequence[str] = getattr(error, "possibilities", None) or ()
            return message("cli.usage.near-option", name=name, near=tuple(near)) if near else message("cli.usage.no-option", name=name)
        case "BadParameter" | "BadOptionUsage" if name:
            return message("cli.usage.bad-value", name=name, why=_expected(error))
        case _:
            return message("cli.usage.other", why=error.message)


def no_such_command(name: str, known: Sequence[str], context: Any) -> WrongUse:
    """A word that is no verb of the family before it."""
    error = WrongUse(message("cli.usage.no-command", name=name, known=tuple(known)))
    error.ctx = context
    return error


def _expected(error: TyperException) -> Message:
    """What kind of value the option takes."""
    param: Any = getattr(error, "param", None)
    kind = getattr(param, "type_descriptor", None)
    if kind is None:
        return message("words", words=error.message)
    if kind.is_choice:
        return message("cli.usage.choices", choices=tuple(str(getattr(one, "value", one)) for one in kind.choices))
    if kind.is_path or kind.is_file:
        return message("cli.usage.path")
    if kind.is_datetime:
        return message("cli.usage.moment")
    if kind.is_ranged:
        least, most = kind.parameter_info.min, kind.parameter_info.max
        return message("cli.usage.range", least="…" if least is None else least, most="…" if most is None else most)
    if kind.annotation in (int, float):
        return message("cli.usage.number")
    return message("words", words=error.message)


def _named(error: TyperException) -> str:
    hint = getattr(error, "param_hint", None)
    param = getattr(error, "param", None)
    if hint is None and param is not None:
        hint = param.get_error_hint()
    if hint is None:
        hint = getattr(error, "option_name", None)
    return hint.replace("'", "") if isinstance(hint, str) else ", ".join(hint or ())


def told(error: TyperException) -> int:
    """Print it, in French and in English, with where help is. The status to end with."""
    context: Any = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":
        terminal().err(f"{context.get_help()}\n")
    else:
        path = context.command_path if context is not None else "mssgw"
        said = of_usage(error)
        for language in LANGUAGES:
            terminal().err(message("cli.usage", command=path, said=said).text(language) + "\n")
    return error.exit_code
