"""Days in virtual time, with everything going wrong: what must hold, holds.

A day that fails prints its seed; ``NOTIFYKIT_SEED=<seed>`` runs that day alone.  The
invariants (I1 to I9) are those of :mod:`tests.scenarios.model.checker`.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections import Counter

import pytest

from .model.day import simulate

pytestmark = pytest.mark.in_turn

GIVEN = os.environ.get("NOTIFYKIT_SEED")


def seeds(fixed: int, fresh: int) -> list[int]:
    """Return the seed that was asked for; otherwise some that are always the same and some that nobody has seen."""
    if GIVEN:
        return [int(GIVEN)]
    return [*range(fixed), *(random.SystemRandom().randrange(1_000_000, 1_000_000_000) for _ in range(fresh))]


def live(seed: int, kind: str, events: int) -> Counter[str]:
    """Simulate a day; if it fails, say how to see it again."""
    try:
        return Counter(simulate(seed, kind=kind, events=events))
    except BaseException as error:
        error.add_note(f"a simulated day failed: run it again with NOTIFYKIT_SEED={seed} ({kind}, {events} events)")
        raise


@pytest.mark.parametrize(
    ("kind", "days", "events"),
    [
        ("memory", (1, 0), 240),
        pytest.param("memory", (0, 1), 240, marks=pytest.mark.thorough),
        pytest.param("sqlite", (0, 1), 120, marks=pytest.mark.thorough),
    ],
)
def test_a_day_with_everything_going_wrong(kind, days, events, record_property):
    """Nothing is lost, sent to strangers, planned twice, recorded by a zombie, or falsely called delivered."""
    total: Counter[str] = Counter()
    for seed in seeds(*days):
        total += live(seed, kind, events)

    record_property("figures", dict(total))
    assert GIVEN or (total["killed"] and total["frozen"] and total["store_refused"] and total["duplicates"])


@pytest.mark.soak
@pytest.mark.parametrize(("kind", "days", "events"), [("memory", 200, 600), ("sqlite", 20, 300)])
def test_many_days(kind, days, events, record_property):
    """The same over hundreds of days that nobody has seen before."""
    total: Counter[str] = Counter()
    for seed in seeds(0, days):
        total += live(seed, kind, events)

    record_property("figures", dict(total))
    assert total["events"]


@pytest.mark.thorough
def test_a_seed_is_a_day():
    """The same seed makes the same requests at the same moments, in another process too."""
    command = "from tests.scenarios.model.day import simulate; print(simulate(7, events=30)['trace'])"

    traces = {
        subprocess.run(
            [sys.executable, "-c", command],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": str(number)},
        ).stdout
        for number in (1, 2)
    }

    assert 1 == len(traces)
    assert traces.pop().strip().isdigit()
