"""Ten times as much of something: the cost of a delivery must not grow with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from .axes import HOSTS, compared, enough
from .job import Job, Stage, deliver_some, run_once
from .plan import COST, Plan, Say
from .results import Finding, Part, Row
from .rounds import Condition, take_turns
from .stores import STORES

#: The largest factor of the cost with ten times as much.
WANTED = 1.3


def part(plan: Plan, say: Say) -> Part:
    """Measure pending events, endpoints and subscriptions; the history is an axis of its own."""
    base = Job(store=plan.store, events=plan.events)
    few = plan.growth
    rows: list[Row] = []
    findings: list[Finding] = []

    def grow(what: str, jobs: Mapping[int, Job], run: Callable[[Job, Stage], dict[str, Any]] = run_once) -> None:
        say(f"growth of {what}")
        less, more = pair = [Condition(f"{count:,} {what}", job) for count, job in jobs.items()]
        take_turns(pair, plan.runs, say, run)
        rows.extend(condition.row(COST) for condition in pair)
        findings.append(
            compared(f"cost with {more.label}, compared with {less.label}", more, less, at_most=WANTED)
        )  # fmt: skip

    less, more = _tenfold(few // 10)
    spread = attrs.evolve(base, events=enough(plan.events, more), hosts=HOSTS)
    grow("endpoints", {n: attrs.evolve(spread, endpoints=n) for n in (less, more)})
    grow("subscriptions", {n: attrs.evolve(base, unmatched=n) for n in _tenfold(few)})
    # Each round uses some of them, so there must be enough for all rounds.
    least = max(3 * few, plan.runs * plan.events * 5 // 4)
    grow("pending events", {n: attrs.evolve(base, pending=n) for n in _tenfold(least)}, deliver_some)
    return Part(
        name="growth",
        title="Ten times as much",
        about=(
            f"{STORES[plan.store]}. Endpoints are on {HOSTS} hosts and have their turn one after the other, "
            f"{spread.events:,} events a run. Subscriptions belong to one tenant, types, "
            "patterns and filters mixed; one of them matches. Pending events wait in the outbox, and the cost is that "
            f"of planning and delivering {plan.events:,} of them from the front."
        ),
        columns=COST,
        rows=rows,
        findings=findings,
        across="how many",
    )


def _tenfold(count: int) -> Sequence[int]:
    return (max(count, 1), 10 * max(count, 1))
