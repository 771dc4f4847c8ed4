"""Every verb with --json prints exactly one JSON document, however it ends: here the ways to fail that all verbs share."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from mssgw.cli import app
from mssgw.cli.dmp.tables import TABLES
from tests.cli.desk import mssgw


def _walk(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if not hasattr(command, "list_commands"):
        yield path, command
        return
    for name in command.list_commands(None):
        yield from _walk(command.get_command(None, name), (*path, name))


VERBS = {path: command for path, command in _walk(get_command(app)) if any(one.name == "json" for one in command.params)}
ALONE = {("conformity",), ("dmp", "card")} | {("dmp", name) for name, _, _ in TABLES}  # what they need is built in


def refused(done: subprocess.CompletedProcess[bytes], status: int) -> dict[str, Any]:
    assert done.returncode == status, (done.stdout, done.stderr)
    assert b"Traceback" not in done.stderr
    (line,) = done.stdout.decode().splitlines()
    found: dict[str, Any] = json.loads(line)
    return found


def test_the_table_holds_the_verbs() -> None:
    assert {
        ("smime", "sign"),
        ("trust", "show"),
        ("queue", "list"),
        ("account", "add"),
        ("xdm", "read"),
        ("dmp", "find"),
        ("check",),
        ("trace",),
        ("config", "show"),
    } <= set(VERBS)


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_an_unknown_option(verb: tuple[str, ...]) -> None:
    found = refused(mssgw(*verb, "--json", "--nonsense"), 2)
    assert (found["valid"], found["fault"]) == (False, "usage")
    assert "--nonsense" in found["reason"]


@pytest.mark.parametrize("verb", [("trust", "verify"), ("trust", "match"), ("smime", "verify")], ids=" ".join)
def test_anchors_without_a_root(verb: tuple[str, ...], tmp_path: Path) -> None:
    """Regression: no document was printed."""
    (tmp_path / "anchors").mkdir()
    (tmp_path / "given").write_bytes(b"From: a@b.test\r\n\r\nx\r\n")
    more = ("b.test", tmp_path / "given") if verb[1] == "match" else ()
    assert refused(mssgw(*verb, tmp_path / "given", *more, "--anchors", tmp_path / "anchors", "--json"), 1)["fault"] == "anchors"


@pytest.mark.parametrize("verb", sorted(set(VERBS) - ALONE - {("smime", "verify"), ("trust", "verify")}), ids=" ".join)
def test_nothing_at_all(verb: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("MSSGW_CONFIG", raising=False)
    place = ("--config", tmp_path / "mssgw.toml") if verb == ("init",) else ()  # its default is the machine's own, which may be there
    done = mssgw(*verb, "--json", *place)
    assert refused(done, 2)["fault"] == "usage"


def _arguments(command: Any, absent: Path) -> list[str]:
    """A value for each required argument and option; its files are missing or of the wrong kind."""
    given = []
    for one in command.params:
        if not one.required and one.name != "config":
            continue
        kind = one.type_descriptor
        name = getattr(kind, "name", "")
        choices = getattr(kind, "choices", None)
        word = str(absent) if name in ("path", "file") or one.name in ("file", "config") else "1" if name == "integer" else "a@b.test"
        word = str(getattr(choices[0], "value", choices[0])) if choices else word
        given += [one.opts[0], word] if one.param_type_name == "option" else [word]
    return given


@pytest.mark.parametrize("verb", sorted(set(VERBS) - ALONE), ids=" ".join)
def test_files_that_are_not_there(verb: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MSSGW_CONFIG", raising=False)
    done = mssgw(*verb, *_arguments(VERBS[verb], tmp_path / "absent"), "--json")
    found = refused(done, done.returncode)
    assert done.returncode in (1, 2)
    assert found.get("reason") or found.get("sentence")
