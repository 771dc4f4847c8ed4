"""The composition root: Config -> store -> services -> listeners -> tasks. The only module that imports every area.

`prepare` runs once, in a child of the parent, before any worker: configuration, secrets, schema.
`work` is one worker: it sends READY when it listens and has loaded its trust space, then lives until SIGTERM, SIGINT or the
end of the parent. Order of the end: stop accepting, let what is under way finish, stop the sender (leases released), stop
the refreshers, close the store last.

SIGHUP builds new Services from the file and swaps them, or keeps the old and logs why. What a reload can't change
(listeners, workers, store, data directory) is named in the log and waits for a restart.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import ssl
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bilingual import localtime
from mssgw import __version__, imapd, observe, smtpd, store
from mssgw.core.clock import SystemClock
from mssgw.core.config import Config, load
from mssgw.core.errors import ConfigError, Deferred, located
from mssgw.core.failures import log_failure
from mssgw.core.texts import Message, both, message
from mssgw.flow.login import Login
from mssgw.identity.passwords import Passwords
from mssgw.listening import open_socket
from mssgw.node.health import Health
from mssgw.node.pins import Pins
from mssgw.node.ports import require_free
from mssgw.node.pulse import ALIVE, READY
from mssgw.node.readiness import require_ready
from mssgw.node.remarks import remarks
from mssgw.node.services import Services
from mssgw.node.unlocking import Unlocking
from mssgw.observe import Event, log
from mssgw.store.answer import require_own
from mssgw.web import app as web_app
from mssgw.web import server as web_server

HEARTBEAT_SECONDS = 5.0


def prepare(path: Path) -> None:
    """Check everything a worker will need and bring the store's schema up to date. Exits with 1 and all mistakes."""
    try:
        config = load(path)
        require_ready(config)
        if warnings := [message("config.warning", what=located(*one)) for one in remarks(config, SystemClock().now(), path)]:
            _say(path, warnings)
        require_free(config)
        store.migrate(config, make=False)
        require_own(config)
    except ConfigError as error:
        _say(path, [located(*one) for one in error.problems])
        raise SystemExit(1) from error


def _say(path: Path, sentences: list[Message]) -> None:
    sys.stderr.write(both(*(message("at", place=f"mssgw: {path}", what=one) for one in sentences)) + "\n")


def work(path: Path, index: int, heartbeat: int, lifeline: int, pins: int) -> None:
    """One worker, from start to end. `pins`: the parent's memory (`node.pins`)."""
    config = load(path)
    localtime.use(config.node.timezone)
    observe.configure(config.node.log_level, config.node.log_format)
    worker = Worker(path, config, index, heartbeat, lifeline, pins)
    try:
        _run(worker)
    except (ConfigError, Deferred, OSError) as error:
        if worker.ready:
            raise
        log(Event.NOT_STARTED, "error", worker=index, reason=error)  # a database that is away, a port that was taken meanwhile
        raise SystemExit(1) from None


def _run(worker: Worker) -> None:
    try:
        import uvloop
    except ImportError:
        asyncio.run(worker.run())
    else:
        uvloop.run(worker.run())


class Worker:
    def __init__(self, path: Path, config: Config, index: int, heartbeat: int, lifeline: int, pins: int) -> None:
        self.path, self.config, self.index = path, config, index
        self.heartbeat, self.lifeline, self.pins = heartbeat, lifeline, pins
        self.clock = SystemClock()
        self.stopping = asyncio.Event()
        self.ready = False
        self.services: Services
        self.background: asyncio.Task[None]

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stopping.set)
        loop.add_reader(self.lifeline, self.stopping.set)  # readable means closed: the parent is gone
        async with contextlib.AsyncExitStack() as stack:
            opened = await store.open(self.config, self.clock, worker=f"{self.index}-{os.getpid()}")
            stack.push_async_callback(opened.close)
            stack.push_async_callback(_cancel, loop.create_task(opened.keep_swept()))
            self.services = await Services.of(self.config, opened, self.clock)
            self.background = loop.create_task(self.services.run())
            stack.push_async_callback(self._stop_background)
            passwords = Passwords(self.config.clients.password_cache_seconds if self.config.clients else 0)
            stack.callback(passwords.close)
            unlocking = Unlocking(self.config.node.data, lambda: self.services.config.smime, Pins(self.pins))
            await unlocking.restore()
            await self._listen(stack, opened, passwords)
            await unlocking.start()
            stack.push_async_callback(unlocking.stop)
            loop.add_signal_handler(signal.SIGHUP, self._reload, opened)
            _settle_garbage()
            os.write(self.heartbeat, READY)
            self.ready = True
            log(Event.STARTED, worker=self.index, pid=os.getpid(), version=__version__, hostname=self.config.node.hostname)
            await self._live()
            log(Event.STOPPING, worker=self.index)
        log(Event.STOPPED, worker=self.index)

    # -- listening ------------------------------------------------------------------------------------------------

    async def _listen(self, stack: contextlib.AsyncExitStack, opened: store.Store, passwords: Passwords) -> None:
        config, profiles = self.config, smtpd.profiles
        login = Login(opened, passwords, self.clock, config.clients.login_failures if config.clients else 20)
        endpoints = [
            *profiles.relay(config, lambda client, mail: self.services.inbound.begin(client, mail), self._relay_context),
            *profiles.submission(
                config, lambda client, mail: self.services.submission.begin(client, mail), self._clients_context, login.authenticate
            ),
        ]
        if self.services.hospital:
            endpoints += profiles.hospital(config, lambda client, mail: self._hospital().begin(client, mail), self._hospital_context)
        servers = await smtpd.serve(endpoints)
        stack.push_async_callback(servers.stop)
        if config.imap:
            mailboxes = await imapd.serve(imapd.Service(config, opened, login.authenticate, self._clients_context))
            stack.push_async_callback(mailboxes.stop)
        await self._listen_web(stack, opened)

    async def _listen_web(self, stack: contextlib.AsyncExitStack, opened: store.Store) -> None:
        config, health = self.config, Health(opened, lambda: self.services.trust)
        serving = []
        if config.web:
            serving.append((web_server.server(web_app.people(config, health.report), context=self._clients_context), config.web.listen))
        if config.metrics:
            serving.append((web_server.server(web_app.metrics(health.report)), config.metrics.listen))
        for server, addresses in serving:
            sockets = [open_socket(one) for one in addresses]
            task = asyncio.get_running_loop().create_task(server.serve(sockets=sockets))
            stack.push_async_callback(_finish, server.stop, task)

    def _hospital(self) -> Any:
        return self.services.hospital

    def _relay_context(self) -> ssl.SSLContext:
        return self.services.trust.tls.relay_server()

    def _clients_context(self) -> ssl.SSLContext:
        return self.services.trust.tls.client_facing()

    def _hospital_context(self) -> ssl.SSLContext:
        return self.services.trust.tls.hospital()

    # -- running --------------------------------------------------------------------------------------------------

    async def _live(self) -> None:
        """Send heartbeats until stopped. A background task that ended is a bug: the worker ends too, and the parent starts another."""
        while not self.stopping.is_set():
            os.write(self.heartbeat, ALIVE)
            if self.background.done():
                log_failure(self.background.exception() or RuntimeError("the background ended"))
                self.stopping.set()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.stopping.wait(), HEARTBEAT_SECONDS)

    async def _stop_background(self) -> None:
        await _cancel(self.background)

    def _reload(self, opened: store.Store) -> None:
        self._reloading = asyncio.get_running_loop().create_task(self._reload_now(opened))

    async def _reload_now(self, opened: store.Store) -> None:
        try:
            config = load(self.path)
            await asyncio.to_thread(require_ready, config)
            masters = await opened.keys_of(config)
            services = await Services.of(config, opened, self.clock)
        except (ConfigError, Deferred, OSError) as error:
            log(Event.CONFIG_REFUSED, "error", reason=f"{self.path}: {error}")
            return
        opened.take_keys(masters)
        localtime.use(config.node.timezone)
        before, replaced, self.services = self.background, self.services, services
        if replaced.sender:
            replaced.sender.succeeded()
        self.background = asyncio.get_running_loop().create_task(services.run())
        log(Event.CONFIG_RELOADED, needs_restart=", ".join(needs_restart(self.config, config)) or None)
        await _cancel(before)
        if self.index == 0:  # once for the node
            for one in await asyncio.to_thread(_remarks, config, self.path):
                log(Event.CONFIG_WARNING, "warning", reason=one)


def _remarks(config: Config, path: Path) -> list[str]:
    """What `config check` warns of, for the log; the reload is done, so that nothing here may stop it."""
    try:
        return [f"{path}: {located(*one)}" for one in remarks(config, SystemClock().now(), path)]
    except OSError as error:
        return [str(error)]


def needs_restart(old: Config, new: Config) -> list[str]:
    """Settings that differ and that a running worker can't take up."""

    def facts(config: Config) -> dict[str, Any]:
        tables = {
            "relay": config.relay,
            "hospital": config.hospital,
            "submission": config.submission,
            "imap": config.imap,
            "web": config.web,
            "metrics": config.metrics,
        }
        listeners = {f"{name}.{field}": getattr(table, field, ()) for name, table in tables.items() for field in ("listen", "listen_tls")}
        node = {f"node.{field}": getattr(config.node, field) for field in ("workers", "store", "data", "log_level", "log_format")}
        return (
            listeners
            | node
            | {
                "limits": config.limits,
                "clients.login_failures": config.clients and config.clients.login_failures,
            }
        )

    before, after = facts(old), facts(new)
    return [name for name in before if before[name] != after[name]]


def _settle_garbage() -> None:
    """Freeze what is loaded now. What a message leaves behind is freed by reference counts; cycles are rare, so look for them rarely."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError, Exception):
        await task


async def _finish(stop: Callable[[], None], task: asyncio.Task[None]) -> None:
    stop()
    await task
