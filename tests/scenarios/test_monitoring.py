"""The dashboard and the alert rules of the example: they ask for metrics that exist, and rules fire as they should."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from notifykit.contrib.measures import MEASURES
from tests.services import is_required

FOLDER = Path(__file__).parents[2] / "examples" / "server" / "monitoring"
if not FOLDER.is_dir():
    pytest.skip("needs examples/, which is not in the sdist", allow_module_level=True)

_NAME = re.compile(r"\bnotifykit_\w+")
_SELECTED = re.compile(r"\b(notifykit_\w+)\s*\{([^}]*)\}")
_GROUPED = re.compile(r"\bby \(([^)]*)\)")
#: Of the scrape, and of histograms.
_OF_PROMETHEUS = {"instance", "job", "le"}


def _series() -> dict[str, tuple[str, ...]]:
    """Return the series that are exported, with their labels."""
    ends = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
    return {f"notifykit_{each.name}{end}": each.labels for each in MEASURES for end in ends[each.kind]}


def _rules() -> list[dict[str, Any]]:
    found = yaml.safe_load((FOLDER / "alerts.yml").read_text())
    return [rule for group in found["groups"] for rule in group["rules"]]


def _dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / "dashboard.json").read_text())
    return found


def _expressions() -> Iterator[str]:
    """Yield everything that is asked of Prometheus."""
    dashboard = _dashboard()
    for panel in dashboard["panels"]:
        yield from (target["expr"] for target in panel.get("targets", ()))
    yield from (each["expr"] for each in dashboard["annotations"]["list"])
    yield from (rule["expr"] for rule in _rules())


@pytest.fixture(scope="module")
def promtool() -> str:
    """The tool of Prometheus that checks rules, from the package ``prometheus``."""
    found = shutil.which("promtool")
    if found is None:
        assert not is_required("promtool"), "promtool is missing: install the package prometheus"
        pytest.skip("promtool is not installed")
    return found


def test_every_metric_that_is_asked_for_is_exported():
    """A renamed metric would leave a panel empty, and an alert silent."""
    known = _series()
    asked = {name for text in _expressions() for name in _NAME.findall(text)}

    assert set() == asked - known.keys()
    assert len(asked) > 15


def test_every_label_that_is_asked_for_is_one_of_the_metric():
    """In selectors, and where sums are grouped."""
    known = _series()
    for text in _expressions():
        labels = set().union(*(known[name] for name in _NAME.findall(text))) | _OF_PROMETHEUS
        for name, selector in _SELECTED.findall(text):
            assert set(re.findall(r"(\w+)\s*[!=]", selector)) <= {*known[name], *_OF_PROMETHEUS}, text
        for group in _GROUPED.findall(text):
            assert {label.strip() for label in group.split(",")} <= labels, text


def test_the_rules_of_the_example_fire_when_they_should(promtool):
    """Each is tested with series for which it fires, and others for which it does not."""
    done = subprocess.run(
        [promtool, "test", "rules", "alerts.test.yml"], cwd=FOLDER, capture_output=True, text=True, check=False
    )
    tested = yaml.safe_load((FOLDER / "alerts.test.yml").read_text())["tests"]
    fired = {case["alertname"] for test in tested for case in test["alert_rule_test"] if case["exp_alerts"]}

    assert 0 == done.returncode, done.stdout + done.stderr
    assert {rule["alert"] for rule in _rules()} == fired


def test_prometheus_takes_the_configuration_and_the_queries_of_the_dashboard(promtool, tmp_path):
    """Its own tool reads them; the variable of Grafana stands for a time."""
    expressions = [text.replace("$__rate_interval", "1m") for text in _expressions()]
    rules = [{"record": f"query:{at}", "expr": text} for at, text in enumerate(expressions)]
    (tmp_path / "queries.yml").write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))

    for command in (["check", "rules", str(tmp_path / "queries.yml")], ["check", "config", "prometheus.yml"]):
        done = subprocess.run([promtool, *command], cwd=FOLDER, capture_output=True, text=True, check=False)
        assert 0 == done.returncode, done.stdout + done.stderr


def test_the_panels_of_the_dashboard_do_not_overlap():
    """Grafana would move them; each has an id of its own."""
    panels = _dashboard()["panels"]
    cells = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]

    assert len(cells) == len(set(cells))
    assert len(panels) == len({panel["id"] for panel in panels})
    assert all(x < 24 for x, _ in cells)
