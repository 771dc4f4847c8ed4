"""What every verb shares: options, output for people or as one JSON document, the exit status.

0 what was asked holds, 1 it doesn't (the reason on stderr), 2 the command was used wrongly.

With `--json` a verb prints exactly one document on standard output however it ends: its own, or when there is none
`{"valid": false, "fault": WORD, "reason": ENGLISH, "reason_fr": FRENCH or null, "detail": TEXT or null}`. People read
French first, English second.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json as json_module
import sys
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import typer
from typer.core import TyperCommand
from typer.exceptions import TyperException

from mssgw.core.errors import ConfigError, MailError
from mssgw.core.texts import TEXTS, text

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

Json = Annotated[bool, typer.Option("--json", help="One JSON document instead of text for people.")]
ConfigFile = Annotated[Path, typer.Option("--config", "-c", metavar="FILE", envvar="MSSGW_CONFIG", help="The configuration of the node.")]


@dataclass(frozen=True, slots=True)
class Said:
    """A sentence in both languages."""

    fr: str
    en: str

    def __str__(self) -> str:
        return f"{self.fr}\n{self.en}" if self.fr != self.en else self.en

    def prefixed(self, before: str) -> Said:
        return Said(f"{before} : {self.fr}", f"{before}: {self.en}")


def say(key: str, **values: object) -> Said:
    return Said(text(key, "fr", **values), text(key, "en", **values))


# --- output -------------------------------------------------------------------------------------------------------------


class _Answer:
    """Whether the document was printed, and what `failure` said. One verb runs in a process at a time."""

    printed: bool = False
    no: dict[str, Any] | None = None


_answer: Final = _Answer()


def output(text: str, *, json: bool, document: Any) -> None:
    """Print `text` for people, or `document` for programs."""
    sys.stdout.write((json_module.dumps(document, ensure_ascii=False, default=str) if json else text) + "\n")
    sys.stdout.flush()
    _answer.printed = True


def output_with_message(document: dict[str, Any], letters: Iterator[bytes]) -> None:
    """One document whose last member `message` is base64, of any size: it is never whole in memory."""
    head = json_module.dumps(document, ensure_ascii=False, default=str).encode()
    out = sys.stdout.buffer
    out.write(head[:-1] + (b", " if document else b"") + b'"message": "')
    for piece in letters:
        out.write(piece)
    out.write(b'"}\n')
    out.flush()
    _answer.printed = True


def failure(reason: str | Said, *, fault: str = "other", detail: str = "") -> typer.Exit:
    """To be raised: prints the reason and ends with status 1."""
    sys.stderr.write(f"{reason}\n" + (f"  ({detail})\n" if detail else ""))
    said = reason if isinstance(reason, Said) else Said("", reason)
    _answer.no = _refusal(fault, said, detail)
    return typer.Exit(1)


def warn(said: Said) -> None:
    """For people, beside the answer: on stderr."""
    sys.stderr.write(f"{said}\n")


def of_os(error: OSError) -> Said:
    """What the system says about a file, in a sentence."""
    word = f"cli.file.{errno.errorcode.get(error.errno or 0, '')}"
    said = say(word) if word in TEXTS else Said(error.strerror or str(error), error.strerror or str(error))
    return said.prefixed(str(error.filename)) if error.filename else said


def _refusal(fault: str, said: Said, detail: str = "") -> dict[str, Any]:
    return {"valid": False, "fault": fault, "reason": said.en, "reason_fr": said.fr or None, "detail": detail or None}


# --- verbs --------------------------------------------------------------------------------------------------------------


class Verb(TyperCommand):
    """A command that answers `--json` with one document, whatever happens."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        with _one_document("--json" in args):
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: Any) -> Any:
        with _one_document(bool(ctx.params.get("json"))):
            return super().invoke(ctx)


class Family(typer.Typer):
    """A group of such commands."""

    def command(self, name: str | None = None, *, cls: type[TyperCommand] | None = None, **options: Any) -> Callable[[F], F]:
        return super().command(name, cls=cls or Verb, **options)

    def adopt(self, other: typer.Typer) -> None:
        """The verbs of another module, as verbs of this family."""
        for one in other.registered_commands:
            one.cls = Verb
            self.registered_commands.append(one)


@contextlib.contextmanager
def _one_document(wanted: bool) -> Iterator[None]:
    _answer.printed, _answer.no = False, None
    try:
        yield
    except BaseException as error:
        if wanted and not _answer.printed and (no := _of(error)):
            output("", json=True, document=no)
        raise


def _of(error: BaseException) -> dict[str, Any] | None:
    """The document of a verb that ended without one; None when it ended well, or by a bug."""
    match error:
        case typer.Exit():
            return (_answer.no or _refusal("other", Said("", "see stderr"))) if error.exit_code else None
        case TyperException():
            return _refusal("usage" if getattr(error, "exit_code", 1) == 2 else "other", Said("", _message(error)))
        case MailError():
            return _refusal(str(error.fields.get("fault") or "other"), Said("", error.reply.text), error.detail)
        case ConfigError():
            return _refusal("configuration", Said("", str(error)))
        case OSError():
            return _refusal("file", of_os(error))
        case _:
            return None


def _message(error: TyperException) -> str:
    words = getattr(error, "format_message", None)
    return str(words() if words else error)


def run(task: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(task)
