"""What every verb shares: options, output for people or as one JSON document, the exit status.

0 what was asked holds, 1 it doesn't (the reason on stderr), 2 the command was used wrongly.

With `--json` a verb prints exactly one document on standard output however it ends: its own, or when there is none
`{"valid": false, "fault": WORD, "reason": ENGLISH, "reason_fr": FRENCH or null, "detail": TEXT or null}`. People read
French first, English second.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json as json_module
import sys
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup
from typer.exceptions import TyperException

from mssgw.cli import usage
from mssgw.cli.terminal import terminal
from mssgw.core.errors import ConfigError, MailError, located
from mssgw.core.texts import LANGUAGES, Message, message, of_system
from mssgw.core.texts import both as both

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

Json = Annotated[bool, typer.Option("--json", help="One JSON document instead of text for people.")]
ConfigFile = Annotated[Path, typer.Option("--config", "-c", metavar="FILE", envvar="MSSGW_CONFIG", help="The configuration of the node.")]


say = message


def at(place: object, what: Message) -> Message:
    """What was said, with the file, option or verb it is about in front."""
    return message("at", place=str(place), what=what)


def inline(one: Message) -> str:
    """A few words inside a line that stands once: French, then English where it differs."""
    return one.fr if one.fr == one.en else f"{one.fr} / {one.en}"


def labelled(document: Mapping[str, Any], label: Callable[[str], Message]) -> str:
    """A name and its value on each line; of several values each has its own. Empty ones are left out.

    `label`: the words for a name of the document.
    """
    rows = [
        (
            inline(label(name)),
            inline(one) if isinstance(one, Message) else inline(message("word.yes")) if one is True else str(one),
        )
        for name, value in document.items()
        if value or value == 0
        for one in (value if isinstance(value, list) else [value])
    ]
    widest = max((len(name) for name, _ in rows), default=0)
    return "\n".join(f"{name:{widest}}  {value}" for name, value in rows)


def table(columns: Message, rows: Iterable[Sequence[object]]) -> str:
    """Rows under their names, in both languages, aligned. `columns`: the names, with a bar between two of them."""
    heads = [[part.strip() for part in columns.text(language).split("|")] for language in LANGUAGES]
    cells = [*(heads if heads[0] != heads[1] else heads[:1]), *([str(one) for one in row] for row in rows)]
    widths = [max(len(row[place]) for row in cells) for place in range(len(heads[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells)


# --- output -------------------------------------------------------------------------------------------------------------


class _Answer:
    """Whether the document was printed, and what `failure` said."""

    printed: bool = False
    no: dict[str, Any] | None = None


_of_verb: Final[ContextVar[_Answer]] = ContextVar("mssgw.cli.answer")


def _answer() -> _Answer:
    """Of the verb that runs here."""
    try:
        return _of_verb.get()
    except LookupError:
        _of_verb.set(answer := _Answer())
        return answer


def output(*said: str | Message, json: bool, document: Any) -> None:
    """Print what is `said` for people, or `document` for programs. Sentences that follow each other stand in French, then in English."""
    if json:
        text = json_module.dumps(document, ensure_ascii=False, default=str)
    else:
        groups = itertools.groupby(said, key=lambda one: isinstance(one, Message))
        text = "\n".join(both(*group) if of_messages else "\n".join(group) for of_messages, group in groups)  # type: ignore[arg-type]
    terminal().out(f"{text}\n")
    _answer().printed = True


def output_with_message(document: dict[str, Any], letters: Iterator[bytes]) -> None:
    """One document whose last member `message` is base64, of any size: it is never whole in memory."""
    head = json_module.dumps(document, ensure_ascii=False, default=str).encode()
    out = sys.stdout.buffer
    out.write(head[:-1] + (b", " if document else b"") + b'"message": "')
    for piece in letters:
        out.write(piece)
    out.write(b'"}\n')
    out.flush()
    _answer().printed = True


def failure(*said: Message | str, fault: str = "other", detail: str = "", known: Mapping[str, Any] | None = None) -> typer.Exit:
    """To be raised: prints the reasons and ends with status 1. `known`: members that `--json` shows beside the refusal."""
    reasons = [message("words", words=one) if isinstance(one, str) else one for one in said]
    terminal().err(both(*reasons) + "\n" + (f"  ({detail})\n" if detail else ""))
    _answer().no = {**(known or {}), **_refusal(fault, *reasons, detail=detail)}
    return typer.Exit(1)


def warn(*said: Message) -> None:
    """For people, beside the answer: on stderr."""
    terminal().err(f"{both(*said)}\n")


def of_os(error: OSError) -> Message:
    """What the system says about a file, in a sentence."""
    said = of_system(error)
    return at(error.filename, said) if error.filename else said


def _refusal(fault: str, *reasons: Message, detail: str = "") -> dict[str, Any]:
    french, english = ("\n".join(one.text(language) for one in reasons) for language in LANGUAGES)
    return {"valid": False, "fault": fault, "reason": english, "reason_fr": french, "detail": detail or None}


# --- verbs --------------------------------------------------------------------------------------------------------------


def ended(verb: Callable[[], object]) -> int:
    """Run a verb; the status that typer or its wrong use ends it with."""
    try:
        status = verb()
    except typer.Exit as error:
        return error.exit_code
    except TyperException as error:
        return usage.told(error)
    except typer.Abort:
        warn(message("cli.stopped"))
        return 1
    return status if isinstance(status, int) else 0


def foreseen(verb: Callable[[], object]) -> int:
    """Run a verb; its status. What was foreseen ends in a sentence and status 1; only bugs print a traceback."""
    try:
        status = verb()
    except MailError as error:  # its codes are for mail servers
        warn(at("mssgw", message("with-detail", said=error.message, detail=error.detail) if error.detail else error.message))
        return 1
    except ConfigError as error:
        warn(*(at("mssgw", located(*one)) for one in error.problems))
        return 1
    except OSError as error:
        warn(at("mssgw", of_os(error)))
        return 1
    return status if isinstance(status, int) else 0


class _Bilingual:
    """A command whose wrong use is told in both languages."""

    def main(self, *args: Any, standalone_mode: bool = True, **extra: Any) -> Any:
        if not standalone_mode:
            return super().main(*args, standalone_mode=False, **extra)  # type: ignore[misc]
        sys.exit(ended(lambda: super(_Bilingual, self).main(*args, standalone_mode=False, **extra)))  # type: ignore[misc]


class Group(_Bilingual, TyperGroup):
    """A family's word, or `mssgw` itself."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            raise usage.no_such_command(args[0], self.list_commands(ctx), ctx)
        return super().resolve_command(ctx, args)


class Verb(_Bilingual, TyperCommand):
    """A command that answers `--json` with one document, whatever happens."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        with _one_document("--json" in args):
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: Any) -> Any:
        with _one_document(bool(ctx.params.get("json"))):
            return super().invoke(ctx)


class Family(typer.Typer):
    """A group of such commands."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**({"cls": Group} | options))

    def command(self, name: str | None = None, *, cls: type[TyperCommand] | None = None, **options: Any) -> Callable[[F], F]:
        return super().command(name, cls=cls or Verb, **options)

    def adopt(self, other: typer.Typer) -> None:
        """The verbs of another module, as verbs of this family."""
        for one in other.registered_commands:
            one.cls = Verb
            self.registered_commands.append(one)


@contextlib.contextmanager
def _one_document(wanted: bool) -> Iterator[None]:
    answer = _answer()
    answer.printed, answer.no = False, None
    try:
        yield
    except BaseException as error:
        if wanted and not answer.printed and (no := _of(error)):
            output("", json=True, document=no)
        raise


def _of(error: BaseException) -> dict[str, Any] | None:
    """The document of a verb that ended without one; None when it ended well, or by a bug."""
    match error:
        case typer.Exit():
            return (_answer().no or _refusal("other", message("cli.see-stderr"))) if error.exit_code else None
        case TyperException():
            return _refusal("usage" if error.exit_code == 2 else "other", usage.of_usage(error))
        case MailError():
            return _refusal(str(error.fields.get("fault") or "other"), error.message, detail=error.detail)
        case ConfigError():
            return _refusal("configuration", *(located(*one) for one in error.problems))
        case OSError():
            return _refusal("file", of_os(error))
        case _:
            return None


def run(task: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(task)
