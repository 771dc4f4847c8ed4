"""`mssgw dmp agent`: keeps the session, the card, its relay and the schematron process warm, and runs the verbs of other processes."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Final, cast

import typer
from typer.core import TyperCommand, TyperGroup
from typer.exceptions import TyperException

from mssgw.agent import client, places
from mssgw.agent.frames import BadFrame, Line
from mssgw.agent.server import Agent, Occupied, Visitor
from mssgw.cli.dmp import documents, dossiers, filing, sending, trail
from mssgw.cli.dmp.remote import Actor, InAgent, Remote
from mssgw.cli.dmp.session import housed, working
from mssgw.cli.frame import ConfigFile, Family, Json, both, ended, failure, foreseen, output, say, warn
from mssgw.cli.terminal import speaking_to
from mssgw.core.texts import Message
from mssgw.dossier import Checks, DmpService, Lasting, NotSetUp

app = Family(help="The agent: keeps session, card and checks warm between the verbs.", no_args_is_help=True)

_ANSWER_SECONDS: Final = 10.0
_END_SECONDS: Final = 60.0

Idle = Annotated[int, typer.Option("--idle", min=0, max=1440, metavar="MINUTES", help="End when nobody came for so long; 0: never.")]
Keep = Annotated[int, typer.Option("--keep", min=1, max=480, metavar="MINUTES", help="Keep a session so long after its last act.")]


class Desk:
    """What the verbs of all visitors share. `verbs`: the command `mssgw dmp`, `kept`: the verbs of it that run here."""

    def __init__(self, service: DmpService, verbs: TyperGroup, kept: frozenset[str], lasting: Lasting) -> None:
        assert service.config.dmp is not None
        self._service, self._verbs, self._kept, self._lasting = service, verbs, kept, lasting
        self._checks = Checks(service.config.dmp)
        self._actors: dict[str, Actor] = {}
        self._lock = threading.Lock()

    def run(self, visitor: Visitor) -> int | None:
        """A visitor's verb; None when it was sent away."""
        context = self._parsed(visitor.arguments)
        actor = self._actor(str(context.params.get("address"))) if context is not None else None
        if context is None or actor is None:
            visitor.alone("other")
            return None
        if actor.asking:
            visitor.alone("asking")
            return None
        visitor.tell({"run": True})
        with speaking_to(Remote(visitor)), housed(InAgent(actor, visitor)):
            return _status(context)

    def _parsed(self, arguments: list[str]) -> Any:
        """The verb with its options; None for what is not for the agent, also for wrong use, which the other side tells."""
        if not arguments or arguments[0] not in self._kept:
            return None
        try:
            family = self._verbs.make_context("mssgw dmp", [arguments[0]], resilient_parsing=True)
            command = self._verbs.get_command(family, arguments[0])
            if command is None:
                return None
            context = TyperCommand.make_context(command, arguments[0], list(arguments[1:]), parent=family)
        except (TyperException, typer.Exit, typer.Abort):
            return None
        given, ours = context.params.get("config"), self._service.file
        if context.params.get("trace") is not None or not isinstance(given, Path):
            return None  # a directory of the other side
        return context if given.name == ours.name else None

    def _actor(self, address: str) -> Actor | None:
        """None for nobody of the configuration."""
        known = next((one.address for one in self._service.config.dmp_actor if one.address.casefold() == address.casefold()), None)
        if known is None:
            return None
        with self._lock:
            if known not in self._actors:
                self._actors[known] = Actor(self._service, known, self._checks, self._lasting)
            return self._actors[known]

    def status(self) -> dict[str, Any]:
        """Which sessions are open, and since when."""
        with self._lock:
            since = {address: actor.kept.since for address, actor in self._actors.items()}
        return {"pid": os.getpid(), "sessions": {address: at.isoformat() for address, at in since.items() if at is not None}}

    def close(self) -> None:
        """End every session and the schematron process."""
        with self._lock:
            actors = list(self._actors.values())
            self._actors.clear()
        for actor in actors:
            actor.close()
        self._checks.close()


def _status(context: Any) -> int:
    """Of the verb, which speaks to its visitor."""

    def invoked() -> object:
        with context:
            return context.command.invoke(context)

    try:
        return foreseen(lambda: ended(invoked))
    except Exception as error:  # a bug ends its own verb, not the agent
        warn(say("dmp.agent.bug", kind=type(error).__name__))
        return 1


def desk(service: DmpService, verbs: TyperGroup, lasting: Lasting) -> Desk:
    """For the verbs of this program. Raises NotSetUp without a [dmp] table."""
    if service.config.dmp is None:
        raise NotSetUp(say("dmp.no-table", file=service.file))
    families = (dossiers, documents, filing, sending, trail)
    kept = {one.name or getattr(one.callback, "__name__", "") for family in families for one in family.app.registered_commands}
    return Desk(service, verbs, frozenset({*kept, "open"}), lasting)


def agent(service: DmpService, at: Desk, *, idle: timedelta) -> Agent:
    """That listens below the data of this configuration, once it is opened."""
    known = client.hello(str(service.file))
    same = {name: str(value) for name, value in known.items() if name != "hello"}
    return Agent(
        service.config.node.data, at.run, same=same, unchanged=_Unchanged(service.file).holds, status=at.status, idle=idle.total_seconds()
    )


class _Unchanged:
    """Whether a file is what it was."""

    def __init__(self, file: Path) -> None:
        self._file, self._content, self._seen = file, file.read_bytes(), _mark(file)

    def holds(self) -> bool:
        try:
            now = _mark(self._file)
            if now != self._seen and self._file.read_bytes() == self._content:
                self._seen = now
        except OSError:
            return False
        return now == self._seen


def _mark(file: Path) -> tuple[int, int, int]:
    found = file.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


@app.command()
def start(context: typer.Context, config: ConfigFile, idle: Idle = 60, keep: Keep = 15) -> None:
    """Run the agent until it is stopped, or nobody came for a while. `mssgw dmp` uses it when it runs, and works without."""
    service, family = working(config), context.parent and context.parent.parent
    assert family is not None  # `mssgw dmp`, above `agent`
    try:
        at = desk(service, cast("TyperGroup", family.command), Lasting(timedelta(minutes=keep)))
    except NotSetUp as error:
        raise failure(error.message) from error
    listening = agent(service, at, idle=timedelta(minutes=idle))
    try:
        listening.open()
    except Occupied as error:
        raise failure(say("dmp.agent.occupied", config=config)) from error
    for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(one) is not signal.SIG_IGN:
            signal.signal(one, lambda _number, _frame: listening.stop())
    warn(say("dmp.agent.listening", config=config))
    try:
        listening.serve()
    finally:
        at.close()
        listening.release()
    warn(say("dmp.agent.ended", acts=listening.acts))


@contextmanager
def _connected(config: Path) -> Iterator[Line]:
    """To the agent of this configuration. Raises failure: none runs, or it says nothing."""
    found = working(config).config.node.data
    connection = places.connected(found)
    if connection is None:
        raise failure(say("dmp.agent.none", config=config), fault="agent")
    connection.settimeout(_ANSWER_SECONDS)
    line = Line(connection)
    try:
        yield line
    except (OSError, BadFrame) as error:
        raise failure(say("dmp.agent.silent", config=config), fault="agent") from error
    finally:
        line.close()


@app.command()
def status(config: ConfigFile, json: Json = False) -> None:
    """Does an agent run, and which sessions does it keep open? Status 1 when none does."""
    with _connected(config) as line:
        line.send({"status": True})
        answer = (line.receive() or {}).get("status")
    if not isinstance(answer, dict):
        raise failure(say("dmp.agent.silent", config=config), fault="agent")
    output(both(*_told(answer)), json=json, document={"ok": True, **answer})


def _told(answer: dict[str, Any]) -> list[Message]:
    sessions = [
        say("dmp.agent.session", address=address, since=datetime.fromisoformat(str(since)).astimezone(UTC))
        for address, since in dict(answer.get("sessions", {})).items()
    ]
    facts = {"pid": answer.get("pid"), "version": answer.get("version"), "file": answer.get("config"), "acts": answer.get("acts")}
    return [say("dmp.agent.runs", **facts), *(sessions or [say("dmp.agent.no-session")])]


@app.command()
def stop(config: ConfigFile, json: Json = False) -> None:
    """End the agent: what it is doing is ended in order, its sessions are closed."""
    with _connected(config) as line:
        line.send({"stop": True})
        if (line.receive() or {}).get("stopping") is not True:
            raise failure(say("dmp.agent.silent", config=config), fault="agent")
        line.socket.settimeout(_END_SECONDS)
        line.receive()  # the end, when everything is closed
    output(say("dmp.agent.stopped"), json=json, document={"ok": True})
