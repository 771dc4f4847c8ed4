"""Runs a Starlette application inside our loop, beside the mail listeners."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from starlette.applications import Starlette


class Server(uvicorn.Server):
    """uvicorn, without its own signal handlers: the worker decides when to stop."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    def stop(self) -> None:
        self.should_exit = True


def server(app: Starlette, *, context: Callable[[], ssl.SSLContext] | None = None) -> Server:
    """A server that `serve(sockets=[…])` runs until `stop()`. With `context` it speaks HTTPS and calls `context()` at each handshake."""
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        lifespan="off",
        timeout_graceful_shutdown=5,
        timeout_keep_alive=15,
        limit_concurrency=200,
        h11_max_incomplete_event_size=32_768,
        ws="none",
        loop="none",
    )
    config.load()
    config.ssl = _following(context) if context else None
    return Server(config)


class _Following(ssl.SSLContext):
    """Gives the current context at each handshake; uvicorn itself would keep its first one for ever."""

    current: Callable[[], ssl.SSLContext]

    def wrap_bio(self, *arguments: Any, **options: Any) -> ssl.SSLObject:
        return self.current().wrap_bio(*arguments, **options)


def _following(current: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
    context = _Following(ssl.PROTOCOL_TLS_SERVER)
    context.current = current
    return context
