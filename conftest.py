"""The last line of a test run: how many passed, and what the skipped ones wanted."""

from __future__ import annotations

from collections import Counter

import pytest


def pytest_unconfigure(config: pytest.Config) -> None:
    """Write the closing line, below everything that other plugins report."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or hasattr(config, "workerinput") or config.option.collectonly:
        return
    count = {outcome: len(reports) for outcome, reports in reporter.stats.items()}
    failed = count.get("failed", 0) + count.get("error", 0)
    line = f"{count.get('passed', 0)} passed, {failed} failed, {count.get('skipped', 0)} skipped"
    reasons = Counter(_reason(report) for report in reporter.stats.get("skipped", ()))
    if reasons:
        line += " (" + "; ".join(f"{times}: {reason}" for reason, times in reasons.most_common()) + ")"
    reporter.write_line(line)


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    """Return why a test was skipped, on one line."""
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return " ".join(reason.removeprefix("Skipped: ").split())
