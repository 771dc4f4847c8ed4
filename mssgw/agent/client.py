"""A verb that is handed to the agent: its command line goes there, and this process is its terminal.

Imports little, and of the standard library only: that is what the agent is for. Whatever stands against it, the verb runs without.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import stat
import sys
from types import FrameType

from mssgw import __version__
from mssgw.agent import places
from mssgw.agent.frames import PROTOCOL, BadFrame, Line

_OURS = frozenset({"agent", "--no-agent", "--help", "-h", "--"})
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_TOLD = frozenset({"version", "configuration", "changed", "full", "asking"})  # the other reasons are no news to who typed the verb
_ANSWER_SECONDS = 10.0  # whether the agent takes the verb

Hello = dict[str, object]


def run(arguments: list[str]) -> int | None:
    """The status of `mssgw dmp` with these arguments; None when it is to be run in this process. Raises OSError from standard output."""
    if not arguments or arguments[0].startswith("-") or _OURS.intersection(arguments):
        return None
    if os.environ.get("MSSGW_NO_AGENT") or any(name.startswith("_") and name.endswith("_COMPLETE") for name in os.environ):
        return None
    config = named_config(arguments)
    if not config and (config := os.environ.get("MSSGW_CONFIG", "")):
        arguments = [arguments[0], f"--config={config}", *arguments[1:]]
    data = data_of(config) if config else None
    if data is None or (connection := places.connected(data)) is None:
        return None
    line = Line(connection)
    try:
        why = _sent_away(line, config, arguments)
        if not why:
            _as_owner(data)
            os.umask(0o077)  # what a verb writes may hold patient data
            return _Verb(line, arguments).attended()
        if why in _TOLD:
            _say(f"dmp.agent.{why}")
    finally:
        line.close()
    return None


def _sent_away(line: Line, config: str, arguments: list[str]) -> str:
    """Why the agent does not take the verb; "" when it does."""
    person = {"stdin": sys.stdin is not None and sys.stdin.isatty(), "stderr": sys.stderr.isatty(), "pin": "MSSGW_PIN_FD" in os.environ}
    try:
        line.socket.settimeout(_ANSWER_SECONDS)
        line.send({**hello(config), **person, "argv": arguments})
        answer = line.receive() or {}
        line.socket.settimeout(None)
    except (BadFrame, OSError):
        return "silent"
    return "" if answer.get("run") is True else str(answer.get("alone", "silent"))


def hello(config: str) -> Hello:
    """Which program this is, and whose configuration it means."""
    code = os.path.dirname(os.path.dirname(__file__))
    return {"hello": PROTOCOL, "version": __version__, "code": code, "config": os.path.realpath(config)}


def named_config(arguments: list[str]) -> str:
    """What --config names; the agent reads the command line again, properly."""
    found = ""
    for place, one in enumerate(arguments):
        if one in {"--config", "-c"} and place + 1 < len(arguments):
            found = arguments[place + 1]
        elif one.startswith("--config="):
            found = one.partition("=")[2]
        elif one.startswith("-c") and len(one) > 2:
            found = one[2:]
    return found


def data_of(config: str) -> str | None:
    """`node.data` of a configuration; None when it can't be read, which the verb says better."""
    import tomllib

    try:
        with open(config, "rb") as file:
            data = tomllib.load(file)["node"]["data"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return os.path.join(os.path.dirname(os.path.abspath(config)), data) if isinstance(data, str) else None


def _as_owner(data: str) -> None:
    """Root opens the files of its command line as the owner of the data does, as it would without the agent."""
    if os.geteuid() == 0 and os.stat(data).st_uid != 0:
        from pathlib import Path

        from mssgw.core import owner

        owner.become(Path(data))


def _say(key: str) -> None:
    from mssgw.core.texts import LANGUAGES, message  # the sentences cost, and are rarely needed

    for language in LANGUAGES:
        sys.stderr.write(message(key).text(language) + "\n")
    sys.stderr.flush()


class _Signalled(Exception):
    """Out of a blocking read."""


class _Overtaken(Exception):
    """The agent no longer waits for an answer: what it says instead comes next."""


class _Verb:
    """The verb that the agent runs, at this terminal."""

    def __init__(self, line: Line, arguments: list[str]) -> None:
        self._line = line
        self._named = {_plain(part) for one in arguments for part in _parts(one)}
        self._wake, self._woken = socket.socketpair()
        self._heard: list[int] = []
        self._sent = False
        self._reading = False
        self._entering = False
        self._bar: object = None

    def attended(self) -> int:
        """Until the agent says how it ended. Raises OSError from the standard streams."""
        before = {one: signal.getsignal(one) for one in _ENDING}
        self._wake.setblocking(False)
        wakeup = signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        for one, handler in before.items():
            if handler is not signal.SIG_IGN:  # by nohup, or by a shell for a background job
                signal.signal(one, self._came)
        try:
            while True:
                frame = self._next()
                if frame is None:
                    _say("dmp.agent.gone")
                    return 1
                if "end" in frame:
                    return _number(frame["end"])
                self._shown(frame)
        except BadFrame:
            _say("dmp.agent.gone")
            return 1
        finally:
            self._no_bar()
            signal.set_wakeup_fd(wakeup)
            for one, handler in before.items():
                signal.signal(one, handler)
            self._wake.close()
            self._woken.close()

    # -- signals

    def _came(self, number: int, _frame: FrameType | None) -> None:
        self._heard.append(number)
        if len(self._heard) > 2:  # as if nobody listened
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        if self._reading:
            self._reading = False
            raise _Signalled

    def _cancel(self) -> None:
        """The agent hears of the first signal, once."""
        if self._heard and not self._sent:
            self._sent = True
            self._reply({"cancel": signal.Signals(self._heard[0]).name})

    def _reply(self, frame: dict[str, object], descriptor: int | None = None) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # what the agent said last is still to be read
            self._line.send(frame, descriptor)

    # -- frames

    def _next(self) -> dict[str, object] | None:
        """The next frame of the agent; signals and Enter are passed on meanwhile."""
        while not self._line.waiting:
            self._cancel()
            waits = [self._line.socket, self._woken, *([sys.stdin] if self._entering else [])]
            ready, _, _ = select.select(waits, [], [])
            if self._woken in ready:
                self._woken.recv(64)
            if sys.stdin in ready:
                self._entering = False
                if not self._heard:  # input may end with the terminal, and it is the signal that ends the verb
                    sys.stdin.readline()
                    self._reply({"entered": True})
            if self._line.socket in ready:
                break
        self._cancel()
        try:
            return self._line.receive()
        except ConnectionResetError:
            return None

    def _shown(self, frame: dict[str, object]) -> None:
        if "out" in frame:
            sys.stdout.write(str(frame["out"]))
            sys.stdout.flush()
        elif "err" in frame:
            sys.stderr.write(str(frame["err"]))
            sys.stderr.flush()
        elif "octets" in frame:
            import base64

            sys.stdout.flush()
            sys.stdout.buffer.write(base64.b64decode(str(frame["octets"])))
            sys.stdout.buffer.flush()
        elif "enter" in frame:
            self._entering = _can_be_waited_for()
        elif "bar" in frame:
            self._draw(frame["bar"])
        elif "seen" in frame or "open" in frame:
            self._file(frame)
        elif "ask" in frame:
            self._ask(frame)

    def _ask(self, frame: dict[str, object]) -> None:
        prompt, n = str(frame.get("prompt", "")), frame.get("n")
        try:
            match frame["ask"]:
                case "pin":
                    with os.fdopen(int(os.environ["MSSGW_PIN_FD"])) as given:
                        typed = given.readline().strip()
                case "hidden":
                    typed = self._hidden(prompt)
                case _:
                    typed = self._typed(prompt)
        except _Signalled:
            return self._cancel()
        except _Overtaken:
            return None
        self._reply({"n": n, "answer": typed})

    def _typed(self, prompt: str) -> str:
        sys.stderr.write(prompt)
        sys.stderr.flush()
        while True:  # the agent may be killed while a person thinks
            if self._heard:
                raise _Signalled
            ready, _, _ = select.select([sys.stdin, self._line.socket, self._woken], [], [])
            if self._woken in ready:
                self._woken.recv(64)
            elif self._line.socket in ready:
                raise _Overtaken
            elif sys.stdin in ready:
                return sys.stdin.readline()

    def _hidden(self, prompt: str) -> str:
        import getpass

        if self._heard:
            raise _Signalled
        self._reading = True
        try:
            return getpass.getpass(f"{prompt}: ", stream=None)
        except EOFError:
            return ""
        finally:
            self._reading = False

    def _file(self, frame: dict[str, object]) -> None:
        """Only what the command line names is looked at and opened."""
        path, n = str(frame.get("seen", frame.get("open", ""))), frame.get("n")
        if _plain(path) not in self._named:
            return self._reply({"n": n, "errno": 13, "path": path})
        if "seen" in frame:
            return self._reply({"n": n, "seen": list(places.seen(path))})
        try:
            descriptor = places.opened(path, str(frame.get("how")))
        except OSError as error:
            return self._reply({"n": n, "errno": error.errno or 5, "path": path})
        try:
            self._reply({"n": n, "opened": True}, descriptor)
        finally:
            os.close(descriptor)

    def _draw(self, state: object) -> None:
        if not isinstance(state, list):
            return self._no_bar()
        from mssgw.agent.bars import drawn

        label, done, total = state
        if self._bar is None:
            context = drawn(label)
            self._bar = context, context.__enter__()
        self._bar[1](done, total)  # type: ignore[index]

    def _no_bar(self) -> None:
        if self._bar is not None:
            context, self._bar = self._bar[0], None  # type: ignore[index]
            context.__exit__(None, None, None)


def _parts(argument: str) -> tuple[str, ...]:
    """What of it may be the name of a file: FILE, --output=FILE, -oFILE."""
    if argument.startswith("--"):
        return (argument.partition("=")[2],)
    return argument, *([argument[2:]] if argument.startswith("-") else [])


def _plain(path: str) -> str:
    """As pathlib writes it."""
    parts = "/".join(part for part in path.split("/") if part not in {"", "."})
    return f"/{parts}" if path.startswith("/") else parts or "."


def _number(status: object) -> int:
    return status if isinstance(status, int) else 1


def _can_be_waited_for() -> bool:
    """Not a file or /dev/null: then the clock or the card ends a consultation."""
    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode
    except (OSError, ValueError, AttributeError):
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or sys.stdin.isatty()
