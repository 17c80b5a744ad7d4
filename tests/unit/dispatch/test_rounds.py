"""Full batches go round those who crowd, and grow smaller while others wait behind them."""

from __future__ import annotations

import random
from collections import Counter, deque

import pytest

from notifykit.dispatch.rounds import Rounds

BATCH = 500


class Backlog:
    """What waits, oldest first, as a store hands it out."""

    def __init__(self, *names: str) -> None:
        self.waiting = deque(names)

    def take(self, rounds: Rounds) -> list[str]:
        """Take the next batch and let ``rounds`` know."""
        limit, back = rounds.portion, set(rounds.standing_back)
        taken: list[str] = []
        kept: list[str] = []
        for name in self.waiting:
            (taken if name not in back and len(taken) < limit else kept).append(name)
        self.waiting = deque(kept)
        rounds.note(taken, limit=limit)
        return taken


def test_who_filled_a_batch_stands_back_for_one():
    """After a full batch the others are asked, then the one who crowds again."""
    rounds = Rounds(BATCH)
    backlog = Backlog(*["loud"] * 2000, *["quiet"] * 3)

    batches = [Counter(backlog.take(rounds)) for _ in range(3)]

    assert [{"loud": 500}, {"quiet": 3}, {"loud": 100}] == batches


@pytest.mark.parametrize("crowd", [1, 3, 10, 40])
def test_a_late_comer_waits_for_one_portion_of_each_who_crowds(crowd):
    """However much others have waiting, what they get before it is bounded by how many they are."""
    rounds = Rounds(BATCH)
    names = [f"loud {number}" for number in range(crowd)]
    backlog = Backlog(*(name for name in names for _ in range(5000)))
    for _ in range(2 * crowd + 4):
        backlog.take(rounds)

    backlog.waiting.append("quiet")
    before = 0
    while "quiet" not in (taken := backlog.take(rounds)):
        before += len(taken)

    assert before <= (crowd + 2) * BATCH


def test_those_who_are_few_in_a_mixed_batch_do_not_stand_back():
    """A busy hour of many small tenants is no crowd: nobody is left out."""
    rounds = Rounds(BATCH)

    rounds.note((f"tenant {number}" for number in range(BATCH)), limit=BATCH)

    assert () == rounds.standing_back


def test_nobody_waits_for_ever():
    """Whatever the shares, everything is taken, and a round ends when all have been asked."""
    dice = random.Random(5)
    names = [f"tenant {int(dice.paretovariate(0.7)) % 300}" for _ in range(30_000)]
    backlog, rounds, batches = Backlog(*names), Rounds(BATCH), 0

    while backlog.waiting and batches < 2000:
        backlog.take(rounds)
        batches += 1

    assert not backlog.waiting


def test_batches_stay_full_while_nobody_else_comes():
    """One tenant alone pays for fairness with one empty look in three batches at the most."""
    rounds = Rounds(BATCH)
    backlog = Backlog(*["loud"] * 100_000)

    sizes = [len(backlog.take(rounds)) for _ in range(60)]

    assert {0, BATCH} == set(sizes)
    assert sizes.count(0) <= 22


def test_small_portions_last_only_while_others_come():
    """Once the others have gone quiet, batches are full again."""
    rounds = Rounds(BATCH)
    backlog = Backlog(*["loud"] * 100_000, "quiet")

    first = [len(backlog.take(rounds)) for _ in range(3)]
    for _ in range(60):
        backlog.take(rounds)
    later = {len(backlog.take(rounds)) for _ in range(6)}

    assert [500, 1, 100] == first
    assert {0, BATCH} == later
