"""The page for people, autoconfig, health, metrics: driven through the ASGI application."""

from pathlib import Path

import httpx2
import pytest
from lxml import etree

from mssgw.core.config import parse
from mssgw.web.app import metrics, people


async def report():
    return {"store": "ok", "list": "ok", "disk": "ok"}


async def ill():
    return {"store": "unavailable", "list": "ok", "disk": "ok"}


CONFIG = """
[node]
hostname = "mx.alpha.test"
data = "data"
[seal]
master_key = "file:master.key"
[trust]
anchors = "anchors"
[clients]
certificate = "c.pem"
key = "file:c.key"
[submission]
listen = ["127.0.0.1:587"]
listen_tls = ["127.0.0.1:465"]
[imap]
listen_tls = ["127.0.0.1:993"]
[[domain]]
name = "alpha.test"
"""


@pytest.fixture
async def client():
    app = people(parse(CONFIG, Path("/base")), report)
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="https://mx.alpha.test") as client:
        yield client


async def test_page_is_french_unless_the_reader_prefers_english(client):
    assert "Régler votre logiciel" in (await client.get("/")).text
    assert "Set up your mail client" in (await client.get("/", headers={"accept-language": "en-GB,en;q=0.9"})).text


async def test_page_may_load_nothing_from_elsewhere(client):
    answer = await client.get("/")
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert (await client.get("/style.css")).headers["content-type"].startswith("text/css")


async def test_autoconfig_names_each_server(client):  # ECO.1.1.9
    answer = await client.get("/.well-known/autoconfig/mail/config-v1.1.xml")
    tree = etree.fromstring(answer.content)
    servers = [(one.tag, one.findtext("port"), one.findtext("socketType")) for one in tree.iter("incomingServer", "outgoingServer")]
    assert servers == [("incomingServer", "993", "SSL"), ("outgoingServer", "465", "SSL"), ("outgoingServer", "587", "STARTTLS")]
    assert [one.text for one in tree.iter("domain")] == ["alpha.test"]


async def test_unknown_page(client):
    assert (await client.get("/../etc/passwd")).status_code == 404


async def test_metrics_are_summed_over_workers(tmp_path, monkeypatch):
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=metrics(report)), base_url="http://localhost") as client:
        answer = await client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")


@pytest.mark.parametrize(
    ("app", "document"),
    [
        (metrics, {"status": "not-ready", "store": "unavailable", "list": "ok", "disk": "ok"}),
        (lambda report: people(parse(CONFIG, Path("/base")), report), {"status": "not-ready"}),  # strangers hear no more
    ],
)
async def test_a_node_that_lives_may_not_be_ready(app, document):
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app(ill)), base_url="https://mx.alpha.test") as client:
        assert (await client.get("/health/live")).status_code == 200
        for path in ("/health", "/health/ready"):
            answer = await client.get(path)
            assert (answer.status_code, answer.json()) == (503, document)
            assert answer.headers["cache-control"] == "no-store"
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app(report)), base_url="https://mx.alpha.test") as client:
        assert (await client.get("/health")).json()["status"] == "ready"
