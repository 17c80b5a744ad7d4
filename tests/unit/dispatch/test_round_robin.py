"""Full batches go round those who crowd, and grow smaller while others wait behind them."""

from __future__ import annotations

import random
from collections import Counter, deque

import pytest

from notifykit.dispatch.round_robin import RoundRobin

BATCH = 500
#: Seconds for each item: a hundred are what can be done in a moment.
PACE = 0.0001


class Backlog:
    """What waits, oldest first, as a store hands it out."""

    def __init__(self, *names: str, pace: float = PACE) -> None:
        self.waiting = deque(names)
        self.pace = pace

    def take(self, rounds: RoundRobin) -> list[str]:
        """Take the next batch and let ``rounds`` know."""
        limit, back = rounds.batch_size, set(rounds.throttled)
        taken: list[str] = []
        kept: list[str] = []
        for name in self.waiting:
            (taken if name not in back and len(taken) < limit else kept).append(name)
        self.waiting = deque(kept)
        rounds.note(taken, limit=limit, took=len(taken) * self.pace)
        return taken


def test_who_filled_a_batch_stands_back_for_one():
    """After a full batch the others are asked, then the one who crowds again."""
    rounds = RoundRobin(BATCH)
    backlog = Backlog(*["loud"] * 2000, *["quiet"] * 3)

    batches = [Counter(backlog.take(rounds)) for _ in range(3)]

    assert [{"loud": 500}, {"quiet": 3}] == batches[:2]
    assert {"loud"} == set(batches[2])


@pytest.mark.parametrize("heavy", [1, 3, 10, 40])
def test_a_late_comer_waits_for_one_portion_of_each_who_crowds(heavy):
    """However much others have waiting, what they get before it is bounded by how many they are."""
    rounds = RoundRobin(BATCH)
    names = [f"loud {number}" for number in range(heavy)]
    backlog = Backlog(*(name for name in names for _ in range(5000)))
    for _ in range(2 * heavy + 4):
        backlog.take(rounds)

    backlog.waiting.append("quiet")
    before = 0
    while "quiet" not in (taken := backlog.take(rounds)):
        before += len(taken)

    assert before <= (heavy + 2) * BATCH


def test_those_who_are_few_in_a_mixed_batch_do_not_stand_back():
    """A busy hour of many small tenants is no crowd: nobody is left out."""
    rounds = RoundRobin(BATCH)

    rounds.note((f"tenant {number}" for number in range(BATCH)), limit=BATCH, took=0.01)

    assert () == rounds.throttled


def test_nobody_waits_for_ever():
    """Whatever the shares, everything is taken, and a round ends when all have been asked."""
    rng = random.Random(5)
    names = [f"tenant {int(rng.paretovariate(0.7)) % 300}" for _ in range(30_000)]
    backlog, rounds, batches = Backlog(*names), RoundRobin(BATCH), 0

    while backlog.waiting and batches < 2000:
        backlog.take(rounds)
        batches += 1

    assert not backlog.waiting


def test_batches_stay_full_while_nobody_else_comes():
    """One tenant alone pays for fairness with one empty look in three batches at the most."""
    rounds = RoundRobin(BATCH)
    backlog = Backlog(*["loud"] * 100_000)

    sizes = [len(backlog.take(rounds)) for _ in range(60)]

    assert {0, BATCH} == set(sizes)
    assert sizes.count(0) <= 22


def test_batches_are_small_while_several_wait_for_each_other():
    """Then no batch takes much longer than a moment, and once the others have gone quiet batches are full again."""
    rounds = RoundRobin(BATCH)
    backlog = Backlog(*["loud"] * 200_000)
    backlog.take(rounds)

    beside = []
    for _ in range(30):
        backlog.waiting.append("quiet")
        beside.append(len(backlog.take(rounds)))
    alone = [len(backlog.take(rounds)) for _ in range(100)]

    assert max(beside[3:]) <= 101
    assert {0, BATCH} == set(alone[-6:])


def test_fast_batches_stay_large():
    """Where a full batch takes no longer than a moment nothing is gained by smaller ones."""
    rounds = RoundRobin(BATCH)
    backlog = Backlog(*["loud", "quiet"] * 50_000, pace=0.01 / BATCH)

    assert {BATCH} == {len(backlog.take(rounds)) or BATCH for _ in range(40)}


def test_dispatchers_that_share_a_process_make_batches_as_large_as_one_alone():
    """By the clock theirs take longer, without any of them having more to do."""
    alone, shared = RoundRobin(BATCH), RoundRobin(BATCH, dispatchers=4)
    for rounds, pace in ((alone, PACE), (shared, PACE * 4)):
        backlog = Backlog(*["loud", "quiet"] * 5000, pace=pace)
        for _ in range(5):
            backlog.take(rounds)

    assert alone.batch_size == shared.batch_size < BATCH


def heavy_one(*loud: str) -> RoundRobin:
    """Return rounds in which somebody quiet was served, and then full batches of each of these."""
    rounds = RoundRobin(BATCH)
    rounds.note(["quiet"], limit=BATCH, took=PACE)
    for name in loud:
        rounds.note([name] * BATCH, limit=BATCH, took=1.0)
    return rounds


def test_who_filled_a_batch_lately_crowds():
    """Others may pass all who did, not only the last one; who had a small share of a batch does not crowd."""
    rounds = heavy_one("loud", "another")

    rounds.note(["third"] * (BATCH - 3) + ["quiet"] * 3, limit=BATCH, took=1.0)

    assert {"loud", "another", "third"} == set(rounds.heavy)


def test_alone_nobody_crowds():
    """Whose events are the only ones is in nobody's way."""
    rounds = RoundRobin(BATCH)
    for _ in range(3):
        rounds.note(["loud"] * BATCH, limit=BATCH, took=1.0)

    assert () == rounds.heavy


def test_who_crowded_long_ago_crowds_no_more():
    """After a while of smaller batches a tenant is one like others."""
    rounds = heavy_one("loud")

    for _ in range(60):
        rounds.note(["loud", "quiet"], limit=BATCH, took=PACE)

    assert () == rounds.heavy


def test_those_who_pass_in_crowds_pass_no_more():
    """Who fills what may pass has as much to do as those it passed."""
    rounds = heavy_one("loud")

    rounds.note_bypass(["another"] * 9 + ["quiet"], limit=10)

    assert {"loud", "another"} <= set(rounds.heavy)


def test_batches_that_are_passed_are_smaller_still():
    """While others pass, a batch is only as large as nobody minds to wait for; afterwards as before."""
    rounds = heavy_one("loud")
    before = rounds.batch_size

    rounds.note_bypass(["quiet"], limit=10)
    passed = rounds.batch_size
    for _ in range(51):
        rounds.note(["loud"] * passed, limit=passed, took=1.0)

    assert (BATCH // 10, BATCH // 40) == (before, passed)
    assert not rounds.is_bypassed


def test_slow_batches_are_not_made_ever_smaller():
    """Where every item takes long a batch is still a tenth of a full one: each costs something by itself."""
    rounds = RoundRobin(BATCH)
    backlog = Backlog(*["loud", "quiet"] * 50_000, pace=1.0)

    sizes = [len(backlog.take(rounds)) for _ in range(40)]

    assert {BATCH // 10} == set(sizes[-10:]) - {0}
