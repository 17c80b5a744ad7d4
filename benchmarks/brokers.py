"""What brokers cost and carry, beside no broker; and how workers add up where receivers are slow."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import attrs

from notifykit.testing.apache_kafka import ApacheKafkaServer
from notifykit.testing.broker_servers import NatsServer, RabbitServer
from notifykit.testing.servers import Server, ServerUnavailableError, ValkeyServer

from .axes import AGE_P50, AGE_P99
from .job import Job, Stage, run_once, stage
from .plan import RATE, WORKER, Plan, Say
from .processes import cpu_seconds, ready
from .results import Column, Finding, Part, Row, cells, ratio
from .rounds import Condition, note, take_turns
from .stores import STORES

#: Our own servers; ``NOTIFYKIT_BENCH_REDIS_URL`` and so on name others.
_SERVERS: dict[str, tuple[str, Callable[[], Server]]] = {
    "redis": ("Redis Streams", ValkeyServer),
    "nats": ("NATS JetStream", NatsServer),
    "rabbitmq": ("RabbitMQ", RabbitServer),
    "kafka": ("Apache Kafka", ApacheKafkaServer),
}
#: Events a second where the time from publish to received is measured.
_STEADY = 200
#: What an idle worker may cost with a broker, and how long it has been idle before it is measured.
_WANTED_IDLE, _SETTLES = 1.0, 15
_IDLE = Column(key="idle", title="idle worker", unit="% of a core", digits=2, chart="bars")
_COLUMNS = (RATE, AGE_P50, AGE_P99, WORKER, _IDLE)

#: How long a slow receiver takes, how many requests a worker has under way, and what four workers must reach.
_TAKES, _CONCURRENCY, _WANTED_FACTOR = 0.2, 16, 3.6


@contextmanager
def broker(name: str) -> Iterator[str]:
    """Lend the URL of a broker."""
    if given := os.environ.get(f"NOTIFYKIT_BENCH_{name.upper()}_URL"):
        yield given
        return
    with _SERVERS[name][1]() as server:
        yield server.url


def part(plan: Plan, say: Say) -> Part:
    """Measure the job without a broker and with each that is here, on one database and in turns."""
    say("axis brokers")
    missing: list[Row] = []
    with ExitStack() as stack:
        job = Job(store=plan.store, events=plan.events // 4, workers=2, apart=True, measures=True)
        conditions = [Condition("none", job)]
        for name, (title, _) in _SERVERS.items():
            try:
                url = stack.enter_context(broker(name))
                conditions.append(Condition(title, attrs.evolve(job, broker=url)))
            except ServerUnavailableError as error:
                missing.append(Row(label=title, note=f"not measured: {error}"))
        on = stack.enter_context(stage(job))
        for turn in range(1, plan.runs + 1):
            for condition in conditions:
                found = _run(attrs.evolve(on, job=condition.job), plan.idle_seconds)
                note(condition, found, f"{turn}/{plan.runs}", say)
    rows = [condition.row(_COLUMNS) for condition in conditions]
    return Part(
        name="brokers",
        title="Brokers",
        about=(
            f"{STORES[plan.store]}, {job.events:,} events a run. One process plans, and hands over to the broker if "
            f"there is one; another sends. The times are those of a steady {_STEADY} events a second, the idle worker "
            "has every role. "
            "Amazon SQS is not here: what simulates it tells nothing of its speed."
        ),
        columns=_COLUMNS,
        rows=[*rows, *missing],
        findings=[
            Finding(
                what=f"processor time of an idle worker with {row.label}",
                value=row.cells["idle"], unit="% of a core", at_most=_WANTED_IDLE,
            )
            for row in rows[1:]
        ],
        across="broker",
    )  # fmt: skip


def _run(on: Stage, idle_seconds: float) -> dict[str, Any]:
    """Return the figures of one broker."""
    steady = attrs.evolve(on.job, rate=_STEADY, events=min(on.job.events, _STEADY * 10))
    full, ages = run_once(on.job, on), run_once(steady, attrs.evolve(on, job=steady))
    return {
        **full,
        "age_p50_ms": ages["age_p50_ms"],
        "age_p99_ms": ages["age_p99_ms"],
        "agree": full["agree"] and ages["agree"],
        "idle": _idle(attrs.evolve(on, job=attrs.evolve(on.job, apart=False)), idle_seconds),
    }


def _idle(on: Stage, seconds: float) -> float:
    """Return what a worker without work uses, in percent of a core."""
    with ExitStack() as stack:
        worker = on.worker(stack)
        ready(worker)
        time.sleep(_SETTLES)
        before, started = cpu_seconds(worker.pid), time.monotonic()
        time.sleep(seconds)
        return (cpu_seconds(worker.pid) - before) / (time.monotonic() - started) * 100


def slow(plan: Plan, say: Say) -> Part:
    """Measure one and four workers where receivers take 200 ms."""
    say("axis slow")
    rate = _CONCURRENCY / _TAKES
    job = Job(
        store=plan.store,
        events=int(rate * (20 if plan.runs > 1 else 10)),
        endpoints=64,
        takes=_TAKES,
        drain=True,
        # Claims that a worker holds and others could send would make the end of a short run one-sided.
        options={"concurrency": _CONCURRENCY, "max_unproven": 0, "prefetch": _CONCURRENCY, "batch": _CONCURRENCY},
    )
    one, four = (Condition(str(n), attrs.evolve(job, workers=n, events=job.events * n)) for n in (1, 4))
    take_turns([one, four], plan.runs, say)
    return Part(
        name="slow",
        title="Slow receivers",
        about=(
            f"{STORES[plan.store]}. Receivers take {_TAKES * 1000:.0f} ms to answer, a worker has up to {_CONCURRENCY} "
            f"requests under way: it cannot send more than {rate:.0f} a second. Each worker has {job.events:,} events "
            "to send."
        ),
        columns=(RATE, WORKER),
        rows=[Row(label=each.label, cells=cells(each.found, (RATE, WORKER))) for each in (one, four)],
        findings=[
            Finding(
                what="rate with four workers, compared with one",
                value=ratio(four.found, one.found, RATE.key),
                at_least=_WANTED_FACTOR,
            )
        ],
        across="worker processes",
    )
