"""The figures of a run, in ``reports/reliability.json``: what a claim in the documentation may cite."""

from __future__ import annotations

import json
import platform
import sys
import time
from pathlib import Path
from typing import Any

import attrs

from .checker import Findings

_runs: list[dict[str, Any]] = []
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
)
_WORST = ("slowest_drain", "drained_in")


def note(scenario: str, findings: Findings | None = None, **figures: Any) -> None:
    """Note what one scenario came to."""
    found = {} if findings is None else attrs.asdict(findings)
    found.pop("problems", None)
    _runs.append({"scenario": scenario, **found, **figures})


def write(folder: Path) -> None:
    """Write the report; leave an older one alone if nothing was noted."""
    if not _runs:
        return
    folder.mkdir(exist_ok=True)
    totals = {name: sum(run.get(name, 0) for run in _runs) for name in _TOTALS}
    totals |= {name: max((run.get(name, 0) for run in _runs), default=0) for name in _WORST}
    body = {
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "python": sys.version.split()[0],
        "system": platform.system(),
        "totals": totals,
        "runs": _runs,
    }
    (folder / "reliability.json").write_text(json.dumps(body, indent=2) + "\n", "utf-8")
