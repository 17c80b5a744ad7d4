"""The main job on each store, beside other tools that do the same job in the same run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from typing import Any

import attrs

from notifykit.native import is_compiled

from .job import Job, run_once
from .plan import MEMORY, OWN, PRODUCER, RATE, RECEIVER, SERVER, WORKER, Plan, Say
from .results import Column, Finding, Part, Row, Spread, cells, ratio
from .rounds import Condition, DisagreementError, note, take_turns
from .stores import STORES

#: Peers that are fast enough for as many events as we have; the others do a tenth in the time.
_FAST = {"pgqueuer-batch", "prototype"}

_RATIO = Column(key="ratio", title="we are faster", unit="times", digits=1)
_CPU = Column(key="cpu_us", title="CPU, all", unit="µs", chart="bars")
_COLUMNS = (RATE, _CPU, attrs.evolve(OWN, chart=None), WORKER, SERVER, PRODUCER, RECEIVER, MEMORY)


def first(plan: Plan, say: Say) -> list[Condition]:
    """Measure the main job on the stores."""
    found = []
    for store in plan.stores:
        condition = Condition(f"notifykit on {STORES[store]}", Job(store=store, events=plan.events))
        say(f"main job on {STORES[store]}, {plan.events:,} events, {plan.runs} runs")
        _repeat(condition, plan, say)
        found.append(condition)
        print(line(condition), flush=True)
    return found


def _repeat(condition: Condition, plan: Plan, say: Say) -> None:
    """Measure a condition, each time on a server of its own, as the peers'."""
    for turn in range(1, plan.runs + 1):
        note(condition, run_once(condition.job), f"{turn}/{plan.runs}", say)


def line(condition: Condition) -> str:
    """Return the result on one store."""
    rate = condition.row((RATE,)).cells["rate"]
    job, runs = condition.job, len(condition.found)
    return (
        f"{job.store} {rate.median:,.0f} deliveries/s (median of {runs}, {rate.low:,.0f} to {rate.high:,.0f}; "
        f"{job.events:,} events of {job.size / 1000:g} kB; receiver and store agree)"
    )


def part(plan: Plan, main: list[Condition], say: Say) -> Part:
    """Measure our other forms, and the peers in turns with ourselves."""
    store = main[0].job.store
    conditions = [*main, *_interpreted(plan, main, say)]
    fewer = max(plan.events // 10, 200)
    httpx = Condition(f"notifykit on {STORES[store]}, httpx", Job(store=store, events=fewer, transport="httpx"))
    say("the transport httpx")
    conditions.append(httpx)
    try:
        take_turns([httpx], min(plan.runs, plan.peer_runs), say)
    except DisagreementError as error:  # a general client that is overrun gives attempts up
        say(f"void: {error}")
        conditions.remove(httpx)
    peers = _peers(plan, main, say) if plan.peers else []
    if beside := [run for peer in peers for run in peer.ours]:  # over many minutes, where the first runs were of one
        conditions.insert(1, Condition(f"notifykit on {STORES[store]}, beside the peers", main[0].job, beside))
    rows = [condition.row(_COLUMNS, _settings(condition)) for condition in conditions]
    rows += [peer.row() for peer in peers]
    return Part(
        name="main",
        title="The main job, and the same job with other tools",
        about=(
            "Producers publish through the public API while a worker delivers signed events of 1 kB to one endpoint. "
            "PostgreSQL has fsync on, Redis (Valkey) an append-only file with fsync everysec. "
            "Counted are deliveries that the receiver got and the store has on record. "
            "CPU is the processor time of a delivery: all of it, and ours, which is without the receiver's. Memory is "
            "the most a worker had. Each run has a server of its own. Before each run of a peer there is one of ours, "
            "and ratios compare these two. A power cut takes nothing from PostgreSQL or from an AOF with fsync always; "
            "from one with fsync everysec it takes what was acknowledged in the last second."
        ),
        columns=(RATE, _RATIO, *_COLUMNS[1:]),
        rows=rows,
        findings=list(findings(peers)) if store == "postgres" else (),
        across="what",
    )


def _interpreted(plan: Plan, main: list[Condition], say: Say) -> list[Condition]:
    """Measure the code as it is where no compiler was at hand, if what was measured is compiled."""
    if not is_compiled():
        return []
    jobs = [attrs.evolve(condition.job, interpreted=True) for condition in main]
    conditions = [Condition(f"notifykit on {STORES[job.store]}, interpreted", job) for job in jobs]
    for condition in conditions:
        say(condition.label)
        _repeat(condition, plan, say)
    return conditions


def _settings(condition: Condition) -> str:
    job = condition.job
    return f"{job.events:,} events, {job.publishers} concurrent publishes, {len(condition.found)} runs"


# ── the peers ──────────────────────────────────────────────────────────────────────────────────


@attrs.define
class Peer:
    """A peer, what its runs found, and what ours found just before each of them."""

    name: str
    ours: list[Mapping[str, Any]] = attrs.field(factory=list)
    found: list[Mapping[str, Any]] = attrs.field(factory=list)
    trouble: str = ""

    @property
    def is_durable(self) -> bool:
        """Whether it keeps what it acknowledged as safely as we do."""
        return all(run["durable"] for run in self.found)

    def row(self) -> Row:
        """Return its row of the table."""
        if not self.found:
            return Row(label=self.name, note=f"not measured: {self.trouble}")
        last = self.found[-1]
        made = cells(self.found, _COLUMNS) | {"ratio": ratio(self.ours, self.found, "rate")}
        remarks = [f"{last['wanted']:,} events", str(last.get("settings", ""))]
        if not all(run["agree"] for run in self.found):
            remarks.append(f"DISAGREES: {last['received']} received, {last['stored']} on record of {last['wanted']}")
        label = f"{self.name} {last['version']} ({last['store']}, {last['client']})"
        return Row(label=label, cells=made, note="; ".join(filter(None, remarks)))


@attrs.frozen
class _Target:
    """How many times as fast as the best of some peers we want to be on PostgreSQL."""

    times: float
    what: str
    peers: Callable[[str], bool]


_TARGETS = (
    _Target(0.7, "the prototype", lambda name: name == "prototype"),
    _Target(25, "Celery", lambda name: name.startswith("celery")),
    _Target(8, "the best peer with a task for each webhook", lambda name: name not in _FAST),
    _Target(2.5, "PgQueuer with batch enqueue", lambda name: name == "pgqueuer-batch"),
)


def findings(peers: Sequence[Peer]) -> Iterator[Finding]:
    """Compare us with those that promise the same, and with those that promise less where there are any."""
    for target in _TARGETS:
        for is_durable, promise in ((True, "same durability"), (False, "weaker durability")):
            found = [peer for peer in peers if peer.found and peer.is_durable is is_durable and target.peers(peer.name)]
            if not found:
                continue
            best = max(found, key=lambda peer: Spread.of(run["rate"] for run in peer.found).median)
            yield Finding(
                what=f"our rate on PostgreSQL, compared with {target.what} ({best.name}, {promise})",
                value=ratio(best.ours, best.found, "rate"),
                at_least=target.times,
            )


def _peers(plan: Plan, main: list[Condition], say: Say) -> list[Peer]:
    """Measure the peers, with a run of ours just before each of theirs to compare with."""
    module: Any = import_module("benchmarks.peers")
    unavailable: type[Exception] = module.PeerUnavailable
    peers = [Peer(name) for name in plan.peers]
    ours = Condition("ours, to compare with", main[0].job)
    for turn in range(1, plan.peer_runs + 1):
        say(f"peers, round {turn} of {plan.peer_runs}")
        for peer in peers:
            if not peer.trouble:
                note(ours, run_once(ours.job), f"{turn}/{plan.peer_runs}", say)
                _measure(peer, module.measure, unavailable, plan, ours.found[-1], say)
    return peers


def _measure(
    peer: Peer,
    measure: Callable[..., Mapping[str, Any]],
    unavailable: type[Exception],
    plan: Plan,
    ours: Mapping[str, Any],
    say: Say,
) -> None:
    events = plan.events if peer.name in _FAST else max(plan.events // 10, 200)
    try:
        found = measure(peer.name, events=events, say=say)
    except unavailable as error:
        peer.trouble = str(error)
    except Exception as error:  # noqa: BLE001 - whatever a peer does wrong is a note in its row, not the end of ours
        peer.trouble = f"{type(error).__name__}: {error}"
    if peer.trouble:
        say(f"  {peer.name}: {peer.trouble}")
        return
    peer.found.append(found)
    peer.ours.append(ours)
    say(f"  {peer.name}: {found['rate']:,.0f} deliveries/s")
