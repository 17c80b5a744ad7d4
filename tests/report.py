"""The figures of a run, in ``reports/reliability.json``: what a claim in the documentation may cite.

A run replaces what it measured anew and keeps the rest: a run of one test does not
delete the figures of the long form.
"""

from __future__ import annotations

import json
import platform
import sys
import time
from pathlib import Path
from typing import Any

import attrs

_runs: dict[str, dict[str, Any]] = {}
_TOTALS = (
    "kills",
    "pauses",
    "database_kills",
    "drains",
    "accepted",
    "deliveries",
    "lost",
    "false_success",
    "duplicates",
    "stale_writes",
    "sabotages_detected",
    "connects_outside",
    "injected_lines",
)
_WORST = ("slowest_drain", "drained_in", "largest_share")


def note(scenario: str, findings: attrs.AttrsInstance | None = None, **figures: Any) -> None:
    """Note the figures of one scenario.

    Args:
        findings: What its checker found; its problems are left to the test.
    """
    found = {} if findings is None else attrs.asdict(findings)
    found.pop("problems", None)
    _runs[scenario] = {"scenario": scenario, "at": _now(), **found, **figures}


def noted() -> dict[str, dict[str, Any]]:
    """Return what was noted so far, by scenario."""
    return _runs


def add(runs: dict[str, dict[str, Any]]) -> None:
    """Add what another process noted."""
    _runs.update(runs)


def write(folder: Path) -> None:
    """Write the report; leave an older one alone if nothing was noted."""
    if not _runs:
        return
    folder.mkdir(exist_ok=True)
    file = folder / "reliability.json"
    runs = list((_noted_before(file) | _runs).values())
    totals = {name: sum(run.get(name, 0) for run in runs) for name in _TOTALS}
    totals |= {name: max((run.get(name, 0) for run in runs), default=0) for name in _WORST}
    body = {
        "at": _now(),
        "python": sys.version.split()[0],
        "system": platform.system(),
        "totals": totals,
        "runs": runs,
    }
    file.write_text(json.dumps(body, indent=2) + "\n", "utf-8")


def _noted_before(file: Path) -> dict[str, dict[str, Any]]:
    try:
        return {run["scenario"]: run for run in json.loads(file.read_text("utf-8"))["runs"]}
    except (OSError, ValueError, KeyError):
        return {}


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
