"""The two small applications: `people` (HTTPS) and `metrics` (loopback, plain HTTP)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest, multiprocess
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from mssgw.core.config import Config
from mssgw.core.texts import Language, named

_PAGES = Environment(loader=PackageLoader("mssgw.web"), autoescape=True, undefined=StrictUndefined)
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "Strict-Transport-Security": "max-age=31536000",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


_WORDS = (
    "web.title",
    "web.intro",
    "web.setup",
    "web.protocol",
    "web.server",
    "web.port",
    "web.security",
    "web.imap",
    "web.smtp",
    "web.login",
    "web.autoconfig",
)
_NOT_KEPT = _HEADERS | {"Cache-Control": "no-store"}

Report = Callable[[], Awaitable[Mapping[str, str]]]  # part of the node -> "ok", or a word for what is wrong


def people(config: Config, report: Report) -> Starlette:
    """How to set up a mail client, in the reader's language, and Mozilla autoconfig for mail clients."""

    async def home(request: Request) -> Response:
        language = _language(request, config.node.language)
        words = named(_WORDS, language)
        page = _PAGES.get_template("home.html").render(language=language, words=words, servers=_servers(config), host=config.node.hostname)
        return Response(page, media_type="text/html", headers=_HEADERS)

    async def autoconfig(request: Request) -> Response:
        page = _PAGES.get_template("autoconfig.xml").render(domains=config.domain, servers=_servers(config), host=config.node.hostname)
        return Response(page, media_type="text/xml", headers=_HEADERS)

    async def style(request: Request) -> Response:
        css = resources.files("mssgw.web").joinpath("templates/style.css").read_text("utf-8")
        return Response(css, media_type="text/css", headers=_HEADERS)

    return Starlette(
        routes=[
            Route("/", home),
            Route("/style.css", style),
            *_health(report, told=False),
            Route("/mail/config-v1.1.xml", autoconfig),
            Route("/.well-known/autoconfig/mail/config-v1.1.xml", autoconfig),
        ]
    )


def _language(request: Request, default: Language) -> Language:
    for choice in request.headers.get("accept-language", "").lower().split(","):
        if choice.strip()[:2] in ("fr", "en"):
            return "fr" if choice.strip().startswith("fr") else "en"
    return default


def _servers(config: Config) -> list[tuple[str, str, int, str]]:
    """(protocol, kind of security, port, autoconfig's word for it)."""
    found: list[tuple[str, str, int, str]] = []
    for protocol, table in (("imap", config.imap), ("smtp", config.submission)):
        if table:
            found += [(protocol, "SSL/TLS", listen.port, "SSL") for listen in table.listen_tls]
            found += [(protocol, "STARTTLS", listen.port, "STARTTLS") for listen in table.listen]
    return found


def metrics(report: Report) -> Starlette:
    """All workers' metrics, summed (prometheus_client's multi-process mode), and what the node's health is made of."""

    async def show(request: Request) -> Response:
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return Starlette(routes=[Route("/metrics", show), *_health(report, told=True)])


def _health(report: Report, *, told: bool) -> list[Route]:
    """/health/live: this process answers. /health/ready, and /health: it can take mail, else 503; `told`: and what it lacks."""

    async def live(request: Request) -> Response:
        return JSONResponse({"status": "live"}, headers=_NOT_KEPT)

    async def ready(request: Request) -> Response:
        found = dict(await report())
        well = set(found.values()) == {"ok"}
        document = {"status": "ready" if well else "not-ready"} | (found if told else {})
        return JSONResponse(document, 200 if well else 503, headers=_NOT_KEPT)

    return [Route("/health/live", live), Route("/health/ready", ready), Route("/health", ready)]
