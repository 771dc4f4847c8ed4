"""Every event and metric is documented and used; nothing is documented that isn't there."""

import ast
import re
from pathlib import Path

import pytest
from prometheus_client.metrics import MetricWrapperBase

from mssgw import observe
from mssgw.observe import Event
from tests.rails.agree import agree

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/events.md").read_text(encoding="utf-8")
TREES = [ast.parse(path.read_text(encoding="utf-8")) for path in (ROOT / "mssgw").rglob("*.py") if path.name != "observe.py"]
NODES = [node for tree in TREES for node in ast.walk(tree)]
LOGGED = {node.attr for node in NODES if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "Event"}
NAMED = {node.id for node in NODES if isinstance(node, ast.Name)}
METRICS = {name: value for name, value in vars(observe).items() if isinstance(value, MetricWrapperBase)}


def test_events_of_the_page_are_those_of_the_code():
    documented = set(
        re.findall(r"`([a-z]+\.[a-z_]+)`", "".join(line.split(" | ")[0] for line in PAGE.splitlines() if line.startswith("| `")))
    )
    agree("docs/events.md", documented, [event.value for event in Event])


@pytest.mark.parametrize("event", [event for event in Event if event is not Event.BUG])
def test_event_is_used(event):
    assert event.name in LOGGED


def test_metrics_of_the_page_are_those_of_the_code():
    names = {metric._name + ("_total" if metric._type == "counter" else "") for metric in METRICS.values()}
    agree("docs/events.md, Metrics", re.findall(r"`(mssgw_[a-z_]+)`", PAGE), names)


@pytest.mark.parametrize("name", sorted(METRICS))
def test_metric_is_used(name):
    assert name in NAMED
