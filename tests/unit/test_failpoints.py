"""Failpoints run their action, at the passage that was named, and do nothing otherwise."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from notifykit import failpoints
from notifykit.errors import ConfigurationError, StoreError
from notifykit.failpoints import FailpointError, arm, failpoint

PASS_TWICE = """
from notifykit.failpoints import failpoint
failpoint("res.committed")
print("once", flush=True)
failpoint("res.committed")
print("twice", flush=True)
"""


@pytest.fixture(autouse=True)
def _disarmed() -> Iterator[None]:
    """Leave no failpoint armed."""
    yield
    arm("")


def passed(failpoint: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PASS_TWICE],
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
        env={**os.environ, failpoints.VARIABLE: failpoint},
    )


def test_nothing_happens_unless_the_environment_says_so() -> None:
    """Without the variable, or with one for another place, the process continues."""
    assert "once\ntwice\n" == passed("").stdout == passed("fan.leased=kill").stdout


@pytest.mark.parametrize(("setting", "output"), [("res.committed=kill", ""), ("res.committed=kill@2", "once\n")])
def test_a_process_is_killed_at_the_passage_that_was_named(setting: str, output: str) -> None:
    """SIGKILL comes at once, or at the n-th passage."""
    done = passed(setting)

    assert (-signal.SIGKILL, output) == (done.returncode, done.stdout)


def test_raise_looks_like_an_unavailable_store() -> None:
    """The error is one that every caller of a store has to expect."""
    arm("pub.committed=raise@2")

    failpoint("pub.committed")
    with pytest.raises(StoreError) as raised:
        failpoint("pub.committed")
    failpoint("pub.committed")

    assert FailpointError is type(raised.value)


def test_sleep_holds_the_thread() -> None:
    """``sleep`` takes as long as it says."""
    arm("fan.leased=sleep:0.05")
    started = time.monotonic()

    failpoint("fan.leased")

    assert time.monotonic() - started >= 0.05


@pytest.mark.parametrize(
    "setting", ["fan.leased", "fan.leased=explode", "fan.leased=kill@0", "=kill", "fan.leased=sleep"]
)
def test_what_cannot_be_read_is_an_error(setting: str) -> None:
    """A misspelt failpoint must not make a crash test pass."""
    with pytest.raises(ConfigurationError, match=r"name=action"):
        arm(setting)
