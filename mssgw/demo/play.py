"""`mssgw demo`: start everything, write demo.json, print how to use it, stay until stopped."""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mssgw.core.errors import ConfigError
from mssgw.demo import cast, description, stage
from mssgw.demo.accounts import create
from mssgw.demo.dmp import commands as dmp_commands
from mssgw.demo.dmp import describe as describe_dmp
from mssgw.demo.dmp import write_config as write_dmp_config
from mssgw.demo.once import Once, StepFailed

BASE = 24_200  # below the ports that Linux hands out by itself (32768-60999), and no known service's


@dataclass(frozen=True, slots=True)
class Options:
    directory: Path
    base: int = BASE
    workers: int = 1
    store: str | None = None
    once: bool = False


def play(options: Options) -> int:
    """Returns the exit status: 0 after a clean end, 1 when something did not start or a step failed."""
    started = time.monotonic()
    try:
        with _told_to_stop() as stop, stage.alone(options.directory), stage.Stage(options.directory) as scene:
            document = set_the_stage(options, scene)
            seconds = time.monotonic() - started
            if options.once:
                _say(f"mssgw demo: ready in {seconds:.1f} s in {options.directory}; the main job, once:")
                Once(options.directory, document, _say).run()
                _say(f"all steps held, {time.monotonic() - started:.1f} s in all")
                return 0
            _say(_table(document, options, seconds))
            return _stay(scene, stop)
    except (StepFailed, ChildProcessError, ConfigError, OSError) as error:
        sys.stderr.write(f"mssgw demo: {error}\n")
        return 1


def set_the_stage(options: Options, scene: stage.Stage) -> dict[str, Any]:
    """Everything started and answering, demo.json written. Returns its document."""
    directory, base = options.directory, options.base
    stage.require_free(base)
    (directory / "demo.json").unlink(missing_ok=True)
    cast.make(directory, base)
    passwords = cast.passwords(directory)
    listen = f"127.0.0.1:{base}"
    authority = scene.start("authority", "-m", "mssgw.demo.authority", "--directory", str(directory / "authority"), "--listen", listen)
    dmp = scene.start("dmp", "-m", "dmp_connector.simulator", "--config", str(write_dmp_config(directory, base + 30)))
    configs = {operator: stage.write_config(directory, operator, base, options.workers, options.store) for operator in cast.OPERATORS}
    for operator, config in configs.items():
        create(config, operator, passwords)
    scene.wait_ready(authority)
    nodes = [scene.start(operator.name, "-m", "mssgw", "serve", "--config", str(config)) for operator, config in configs.items()]
    for process in nodes:
        scene.wait_ready(process)
    scene.wait_ready(dmp, base + 30)
    document = description.describe(base, {node.name: node.popen.pid for node in nodes}, passwords, describe_dmp(base + 30))
    description.write(directory / "demo.json", document)
    return document


@contextlib.contextmanager
def _told_to_stop() -> Iterator[list[int]]:
    """A list that is no longer empty once SIGINT or SIGTERM came."""
    came: list[int] = []
    before = {number: signal.signal(number, lambda got, _: came.append(got)) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stay(scene: stage.Stage, stop: list[int]) -> int:
    while not stop:
        if ended := scene.ended():
            sys.stderr.write(f"mssgw demo: {ended.name} ended with {ended.popen.returncode}; see log/{ended.name}.log\n")
            return 1
        time.sleep(0.2)
    _say("stopping…")
    return 0


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


TABLE = """\
mssgw demo: ready in {seconds:.1f} s; everything for programs is in {directory}/demo.json
{operators}
Send:
    swaks --server 127.0.0.1:{alpha[submission]} --tls --auth PLAIN --auth-user {martin[address]} \\
          --auth-password {martin[password]} --from {martin[address]} --to {durand[address]}
Read:
    curl --cacert {directory}/pki/ca.pem -u '{durand[address]}:{durand[password]}' \\
         'imaps://localhost:{beta[imaps]}/INBOX;MAILINDEX=1'
DMP (PAT-TROIS has one; PAT-HUIT, of the Vitale, gets one):
{dmp}
Thunderbird: new account, address and password as above, configure manually:
    IMAP 127.0.0.1:{alpha[imaps]} SSL/TLS, SMTP 127.0.0.1:{alpha[submissions]} SSL/TLS, normal password, user name = the whole address
    (import {directory}/pki/ca.pem as an authority first, or accept the certificate when asked)

Ctrl-C stops it; the mail is kept."""
OPERATOR = """
{name}: {domain}, on 127.0.0.1: send {submission} (STARTTLS) or {submissions} (TLS), read {imaps} (TLS), https://127.0.0.1:{web}
{accounts}
"""


def _table(document: dict[str, Any], options: Options, seconds: float) -> str:
    ports = {operator.name: stage.ports(operator, options.base) for operator in cast.OPERATORS}
    people = [operator["accounts"] for operator in document["operators"]]
    operators = "".join(
        OPERATOR.format(
            name=operator["name"],
            domain=operator["domains"][0],
            **ports[operator["name"]],
            accounts="\n".join(f"    {one['address']:<38} {one['password']}" for one in operator["accounts"] if "password" in one),
        )
        for operator in document["operators"]
    )
    return TABLE.format(
        seconds=seconds,
        directory=options.directory,
        operators=operators,
        alpha=ports["alpha"],
        beta=ports["beta"],
        martin=people[0][0],
        durand=people[1][0],
        dmp="\n".join(f"    {line}" for line in dmp_commands(options.directory, people[0][0]["address"])),
    )
