"""A verb's --help shows every word that was written: rich takes [words] for markup and drops them."""

from __future__ import annotations

import re

import pytest
import typer
from typer.testing import CliRunner

from mssgw.cli import FAMILIES, SINGLE, app


def _commands() -> list[tuple[tuple[str, ...], object]]:
    root = typer.main.get_group(app)
    found: list[tuple[tuple[str, ...], object]] = []
    for name in sorted({*FAMILIES, *SINGLE, *root.commands}):
        command = root.get_command(None, name)
        inner = getattr(command, "commands", None)
        found += [((name, word), one) for word, one in inner.items()] if inner else [((name,), command)]
    return found


COMMANDS = _commands()


def _letters(text: str) -> str:
    """Without blanks, frames and colours: where a line is broken does not count."""
    return re.sub(r"[\s│╭╮╰╯─┌┐└┘]|\x1b\[[0-9;]*m", "", text)


@pytest.mark.parametrize(("words", "command"), COMMANDS, ids=lambda value: " ".join(value) if isinstance(value, tuple) else "")
def test_help_shows_every_word(words, command):
    shown = _letters(CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "200", "TERMINAL_WIDTH": "200"}).output)
    for parameter in command.params:
        text = getattr(parameter, "help", None)
        if text and not getattr(parameter, "hidden", False):
            assert _letters(text) in shown, (parameter.name, text)
    summary = (command.help or "").split("\n\n")[0]
    assert _letters(summary) in shown


def test_every_option_of_the_dmp_verbs_explains_itself():
    silent = [
        f"{' '.join(words)} {parameter.opts[0]}"
        for words, command in COMMANDS
        if words[0] == "dmp"
        for parameter in command.params
        if parameter.param_type_name == "option" and not parameter.help
    ]
    assert silent == []
