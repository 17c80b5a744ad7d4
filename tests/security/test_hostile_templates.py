"""Templates of tenants are data: whatever they say ends soon, in little memory, and with an error that helps."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import Any

import pytest

from tests.security.hostile_templates import CASES

pytest.importorskip("minijinja", reason="needs minijinja")

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    """What all of them took in one process that nothing else is measured in (coverage would be)."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    command = [sys.executable, "-m", "tests.security.hostile_templates"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert 0 == done.returncode, done.stderr  # a crash of the compiler would be a negative one
    return json.loads(done.stdout)


def test_each_is_refused_or_harmless(report):
    """The error names the template, and says what is wrong."""
    assert len(CASES) >= 40
    for name, (_, expected) in CASES.items():
        error = report["errors"][name]
        if expected is None:
            assert error is None, (name, error)
        else:
            assert re.search(r"\.(html|txt), line \d+: ", error or ""), (name, error)
            assert re.search(expected, error), (name, error)


def test_each_ends_within_fifty_milliseconds(report):
    """Processor time is what counts: a busy machine is not the template's fault."""
    assert {} == {name: seconds for name, seconds in report["took"].items() if seconds > 0.05}


def test_all_together_need_less_than_sixteen_megabytes(report):
    """The most that the process ever had, so no single one had more."""
    assert 0 < report["grown"] < 16 * 1024
