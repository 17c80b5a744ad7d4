"""Measure several conditions in turns, so that drift of the machine affects all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import attrs

from .job import Job, Stage, run_once, stage
from .plan import Say
from .results import Column, Row, cells

Run = Callable[[Job, Stage], dict[str, Any]]


class DisagreementError(Exception):
    """The receiver and the store do not agree on what was delivered: the figures are void."""


@attrs.frozen
class Condition:
    """One condition, and what each round found under it."""

    label: str
    job: Job
    found: list[Mapping[str, Any]] = attrs.field(factory=list)

    def row(self, columns: Sequence[Column], note: str = "") -> Row:
        """Return the row of a table."""
        return Row(label=self.label, cells=cells(self.found, columns), note=note)


def take_turns(conditions: Sequence[Condition], runs: int, say: Say, run: Run = run_once) -> None:
    """Measure each condition ``runs`` times, each on a stage that it keeps.

    Raises:
        DisagreementError: A count at the receiver is not the store's.
    """
    with ExitStack() as stack:
        stages = []
        for condition in conditions:
            say(f"  preparing {condition.label}")
            stages.append(stack.enter_context(stage(condition.job)))
        for turn in range(1, runs + 1):
            for condition, its_stage in zip(conditions, stages, strict=True):
                note(condition, run(condition.job, its_stage), f"{turn}/{runs}", say)


def note(condition: Condition, found: Mapping[str, Any], turn: str, say: Say) -> None:
    """Keep what a run found.

    Raises:
        DisagreementError: A count at the receiver is not the store's.
    """
    condition.found.append(found)
    say(f"  {condition.label}, run {turn}: {found['rate']:,.0f} deliveries/s, {found['own_cpu_us']:.0f} µs")
    if not found["agree"]:
        counts = f"{found['wanted']:,} wanted, {found['received']:,} received, stored {found['stored']}"
        raise DisagreementError(f"{condition.label}: {counts}")
