"""Every event and metric is documented and used; nothing is documented that isn't there."""

import re
from pathlib import Path

import pytest
from prometheus_client.metrics import MetricWrapperBase

from mssgw import observe
from mssgw.observe import Event

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/events.md").read_text(encoding="utf-8")
SOURCES = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "mssgw").rglob("*.py") if path.name != "observe.py")
METRICS = {name: value for name, value in vars(observe).items() if isinstance(value, MetricWrapperBase)}


def test_events_of_the_page_are_those_of_the_code():
    documented = set(re.findall(r"`((?:node|login|smtp|tls|trust|relay|queue|report|smime|store)\.[a-z_]+)`", PAGE))
    assert documented == {event.value for event in Event}


@pytest.mark.parametrize("event", [event for event in Event if event is not Event.BUG])
def test_event_is_used(event):
    assert f"Event.{event.name}" in SOURCES


def test_metrics_of_the_page_are_those_of_the_code():
    names = {metric._name + ("_total" if metric._type == "counter" else "") for metric in METRICS.values()}
    assert set(re.findall(r"`(mssgw_[a-z_]+)`", PAGE)) == names


@pytest.mark.parametrize("name", sorted(METRICS))
def test_metric_is_used(name):
    assert re.search(rf"\b{name}\b", SOURCES)
