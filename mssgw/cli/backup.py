"""`mssgw backup …`, `mssgw restore …`."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from mssgw.backup import manifest, messages, restoring, taking
from mssgw.backup.errors import BackupError
from mssgw.backup.manifest import Manifest
from mssgw.cli.config import loaded
from mssgw.cli.frame import ConfigFile, Family, Json, both, failure, output, say, warn
from mssgw.cli.opened import with_store
from mssgw.cli.usage import WrongUse
from mssgw.core.address import Address, AddressError
from mssgw.core.config import Config
from mssgw.core.errors import ConfigError, located
from mssgw.core.texts import message, text
from mssgw.store import Problem
from mssgw.store.snapshot import Occupied, ProgramMissing, SnapshotFailed

_TOLD_SECONDS = 1.0  # between two lines of progress


class _TakeByDefault(TyperGroup):
    """`backup TARGET` is `backup take TARGET`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        verb = not args or args[0] in self.commands or args[0] in ("-h", "--help")
        return super().parse_args(ctx, args if verb else ["take", *args])


app = Family(cls=_TakeByDefault, help="Backups: `mssgw backup TARGET` takes one.", no_args_is_help=True)

_Source = Annotated[Path, typer.Argument(metavar="SOURCE", help="A backup, or a directory of backups: the newest in it.")]


class _Progress:
    """Lines on stderr, each part's last one always, and at most one a second between."""

    def __init__(self) -> None:
        self._part, self._last = "", 0.0

    def __call__(self, part: str, done: int, total: int) -> None:
        now = time.monotonic()
        if done < total and part == self._part and now - self._last < _TOLD_SECONDS:
            return
        self._part, self._last = part, now
        percent = 100 if done >= total else 100 * done // total
        sys.stderr.write(f"{text(f'backup.part.{part}', 'fr')} / {text(f'backup.part.{part}', 'en')}: {percent} %\n")


@contextlib.contextmanager
def _refusals() -> Iterator[None]:
    """What was foreseen, as a sentence in both languages."""
    try:
        yield
    except BackupError as error:
        raise failure(error.message, fault=error.fault) from error
    except ProgramMissing as error:
        raise failure(say("backup.program", program=error), fault="backup.program") from error
    except Occupied as error:
        raise failure(say("backup.occupied", tables=error), fault="backup.occupied") from error
    except SnapshotFailed as error:
        raise failure(say("backup.database", why=error), fault="backup.database") from error
    except ConfigError as error:
        raise failure(*(located(*one) for one in error.problems), fault="configuration") from error


@app.command()
def take(
    target: Annotated[Path, typer.Argument(metavar="TARGET", help="Directory of backups; it is made when it is not there.")],
    config: ConfigFile,
    json: Json = False,
) -> None:
    """Back up the node while it runs: both stores, bodies, configuration, keys; not the master key."""
    settings = loaded(config)
    with _refusals():
        taken = taking.take(taking.Node(config, settings), target, now := datetime.now(UTC), _Progress())
    made, found = taken.path, taken.manifest
    if taken.damaged:
        warn(say("backup.rotten", path=taken.before, count=len(taken.damaged), names=_some(taken.damaged)))
    for broken in taken.broken:
        warn(say("backup.broken", path=broken))
    _tell_ahead(target, now)
    warn(say("backup.without-key", master=settings.seal.master_key))
    for left in found.left:
        if left.why != "master-key":
            warn(say(f"backup.left.{left.why}", path=left.path))
    output(
        both(say("backup.made", path=made, **_figures(found))),
        json=json,
        document=_document(made, found) | {"damaged_before": list(taken.damaged)},
    )
    if found.missing:
        raise failure(say("backup.missing", count=len(found.missing), names=_some(found.missing)), fault="backup.missing")


@app.command()
def verify(source: _Source, json: Json = False) -> None:
    """Read every file of a backup again and compare it with the manifest. Exit status 1 when one differs."""
    with _refusals():
        backup = manifest.find(source)
        found = manifest.load(backup)
        _tell_ahead(source, datetime.now(UTC), backup)
        wrong = manifest.verify(found, backup, _Progress())
    document = _document(backup, found) | {"wrong": wrong}
    if wrong:
        output("\n".join(wrong), json=json, document=document)
        raise failure(say("backup.damaged", path=backup, count=len(wrong), names=_some(wrong)), fault="backup.damaged")
    output(both(say("backup.intact", path=backup, **_figures(found))), json=json, document=document)


def restore(
    source: _Source,
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", metavar="FILE", help="Restore the data of this configuration instead of the one in the backup."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Move aside what is there: the data directory, files that differ.")] = False,
    mailbox: Annotated[
        str | None,
        typer.Option("--mailbox", metavar="ADDRESS[/FOLDER]", help="Only this, as new messages below a folder of the store that runs."),
    ] = None,
    message_id: Annotated[str | None, typer.Option("--message-id", metavar="ID", help="With --mailbox: only this message.")] = None,
    json: Json = False,
) -> None:
    """Put a backup back into an empty data directory, or a mailbox out of it into the store that runs."""
    if message_id is not None and mailbox is None:
        raise WrongUse(message("backup.message-id-needs-mailbox"))
    with _refusals():
        backup = manifest.find(source)
        found = manifest.load(backup)
        _tell_ahead(source, datetime.now(UTC), backup)
        path = config or Path(found.configuration)
        if mailbox is None:
            _whole(found, backup, path, given=config is not None, force=force, json=json)
        else:
            _single(found, backup, loaded(path), mailbox, message_id, json=json)


def _whole(found: Manifest, backup: Path, path: Path, *, given: bool, force: bool, json: bool) -> None:
    settings = loaded(path) if given else restoring.configuration(found, backup)
    tell = _Progress()
    restoring.require_key(found, settings)
    restoring.require_intact(found, backup, tell)
    done = restoring.restore(
        found,
        backup,
        settings,
        place_files=not given,
        force=force,
        now=datetime.now(UTC),
        tell=tell,
    )
    if done.aside:
        warn(say("backup.aside", path=done.aside))
    for one in done.kept:
        warn(say("backup.kept", path=one, copy=backup / f"config/{str(one).lstrip('/')}"))
    problems = _problems(settings)
    document = {
        "backup": str(backup),
        "data": str(done.data),
        "aside": done.aside and str(done.aside),
        "placed": [str(one) for one in done.put],
        "kept": [str(one) for one in done.kept],
        "problems": [str(one) for one in problems],
    }
    if problems:
        output(*(one.message for one in problems), json=json, document=document)
        raise failure(say("backup.check", count=len(problems), path=path), fault="backup.check")
    output(both(say("backup.restored", data=done.data, **_figures(found))), json=json, document=document)


def _problems(config: Config) -> list[Problem]:
    return with_store(config, lambda store: store.check(deep=True))


def _single(found: Manifest, backup: Path, config: Config, mailbox: str, message_id: str | None, *, json: bool) -> None:
    name, folder = messages.where(mailbox)
    try:
        address = Address.parse(name)
    except AddressError as error:
        raise WrongUse(message("at", place=name, what=error.message)) from error
    master = restoring.require_key(found, config, beside=True)
    top = text("backup.folder", config.node.language)
    tell = _Progress()
    with messages.source(found, backup, config, master, tell) as source:
        chosen = messages.choose(source, address, folder, message_id)
        messages.require_intact(source, chosen, found, backup, tell)
        with messages.readable_by(source, chosen, config.node.data) as readable:
            put = with_store(config, lambda store: messages.put(store, readable, chosen, address, top, f"cli {backup.name}", _Progress()))
    lines = [say("backup.put", folder=one.folder, added=one.added, present=one.present) for one in put]
    document = [{"folder": one.folder, "added": one.added, "present": one.present} for one in put]
    output(both(*lines), json=json, document={"backup": str(backup), "folders": document})


def _tell_ahead(source: Path, now: datetime, chosen: Path | None = None) -> None:
    """Name the backups dated in the future: which one is meant is known by their numbers, and a clock has to be mended."""
    told = [say("backup.ahead", path=one.path, made=one.made) for one in manifest.ahead(source, now)]
    if told and chosen not in (None, source):
        told.append(say("backup.chosen", path=chosen))
    if told:
        warn(*told)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (" …" if len(names) > 5 else "")


def _figures(found: Manifest) -> dict[str, object]:
    return {
        "count": len(found.files),
        "megabytes": -(-found.octets // 1_000_000),
        "messages": found.messages,
        "made": found.made,
    }


def _document(backup: Path, found: Manifest) -> dict[str, Any]:
    return {
        "backup": str(backup),
        "made": found.made.isoformat(),
        "files": len(found.files),
        "octets": found.octets,
        "messages": found.messages,
        "missing": list(found.missing),
        "left": [{"path": one.path, "why": one.why} for one in found.left],
    }
