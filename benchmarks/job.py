"""One run of the whole job: publish, plan, sign, POST, record.

Every part has a process of its own.  Completions are counted at the receiver *and* in
the store, and a run fails if they differ.
"""

from __future__ import annotations

import asyncio
import json
import math
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs

from notifykit import Event, Notifykit
from notifykit.stores.encoding.rows import micros
from notifykit.testing.servers import free_port

from . import filling
from .certificates import Certificates
from .filling import NEVER, SOON, Planned
from .payloads import order
from .processes import answer, cpu_seconds, ready, started
from .receiver import Receiver
from .roles import TENANT
from .stores import Database, database, totals

#: Seconds without a delivery after which a run has ended or failed.
STALLED = 20
#: Events that are published twice before the clock starts.
_WARM_UP = 300


@attrs.frozen(kw_only=True)
class Job:
    """What one run does.

    Attributes:
        subscriptions: How many match an event.
        endpoints: Distinct ones.
        size: Bytes of an event's body, roughly.
        real: Take payloads from examples of what services send.
        publishers: Concurrent publishes in each producer.
        rate: Events a second; 0 is as many as possible.  Given, the time from publish to received is measured.
        drain: Publish everything before the workers start.
        tls: The endpoints are ``https://``.
        fail_every: The first attempt of every n-th event is answered 503.
        unmatched: Subscriptions of the tenant that do not match.
        history: Events, deliveries and attempts that ended long ago.
        pending: Events that wait in the outbox; for :func:`deliver_some`.
        hosts: How many hosts the endpoints share; by default each has its own.
        interpreted: Run our code from its source, where the installed one is compiled.
        takes: Seconds that the receiver takes to answer.
        broker: The URL of what carries tickets.
        apart: The first worker plans, and hands over if there is a broker; the others send.
        measures: Use the receiver that can do more and costs more, so that two jobs can be compared.
    """

    store: str = "postgres"
    events: int = 40_000
    subscriptions: int = 1
    endpoints: int = 1
    size: int = 1000
    real: bool = False
    producers: int = 1
    publishers: int = 192
    workers: int = 1
    transport: str = "wire"
    rate: float = 0
    drain: bool = False
    options: Mapping[str, Any] = attrs.field(factory=dict)
    tls: bool = False
    fail_every: int = 0
    unmatched: int = 0
    history: int = 0
    pending: int = 0
    hosts: int | None = None
    interpreted: bool = False
    takes: float = 0
    broker: str = ""
    apart: bool = False
    measures: bool = False

    @property
    def wanted(self) -> int:
        """How many deliveries there will be."""
        return self.events // self.producers * self.producers * self.subscriptions

    @property
    def types(self) -> int:
        """How many types of events there are, so that every endpoint gets some."""
        return max(self.endpoints // self.subscriptions, 1)

    def urls(self, port: int) -> Iterator[str]:
        """Yield the URL of each endpoint."""
        scheme = "https" if self.tls else "http"
        apart = self.endpoints > 1 and sys.platform == "linux"  # elsewhere 127.0.0.1 is the only one of its kind
        for at in range(max(self.endpoints, self.subscriptions)):
            number = at % (self.hosts or self.endpoints)
            host = f"127.0.{1 + number // 250 % 250}.{1 + number % 250}" if apart else "127.0.0.1"
            yield f"{scheme}://{host}:{port}/hook/{at}"

    def plans(self, port: int) -> Iterator[Planned]:
        """Yield the endpoints and subscriptions."""
        for at, url in enumerate(self.urls(port)):
            yield Planned(url=url, types=f"order.t{at % self.types}")
        yield from filling.unmatched(self.unmatched)


@attrs.frozen
class Stage:
    """A prepared store and a receiver, for one run or for several."""

    job: Job
    database: Database
    receiver: Receiver
    authority: Path | None

    def worker(self, stack: ExitStack, at: int = 0) -> subprocess.Popen[str]:
        """Start a worker, the first one or another."""
        job = self.job
        settings = dict(job.options)
        if job.apart:
            settings["roles"] = ["send", "clean"] if at else ["plan", "clean", *(["relay"] if job.broker else [])]
        options = ["--transport", job.transport, "--options", json.dumps(settings), "--broker", job.broker]
        if self.authority is not None:
            options += ["--authority", str(self.authority)]
        return started(stack, "worker", self.database.url, *options, interpreted=job.interpreted)

    def producer(self, stack: ExitStack, events: int | None = None) -> subprocess.Popen[str]:
        """Start a producer, by default of its share of all events."""
        job = self.job
        return started(
            stack, "producer", self.database.url, "--size", job.size, "--publishers", job.publishers,
            "--types", job.types, "--rate", job.rate / job.producers,
            "--events", job.events // job.producers if events is None else events, *(["--real"] if job.real else []),
            interpreted=job.interpreted,
        )  # fmt: skip


@contextmanager
def stage(job: Job) -> Iterator[Stage]:
    """Prepare everything that ``job`` needs."""
    with ExitStack() as stack:
        lent = stack.enter_context(database(job.store))
        certificates = None
        if job.tls:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="notifykit-bench-"))
            certificates = Certificates.make(Path(folder))
        receiver = stack.enter_context(
            Receiver(
                free_port(),
                measure=bool(job.rate) or job.measures,
                everywhere=job.endpoints > 1,
                certificate=certificates.server if certificates else None,
                fail_every=job.fail_every,
                takes=job.takes,
            )
        )
        asyncio.run(_create_tables(lent.url))
        retry = SOON if job.fail_every else NEVER
        filling.subscribers(lent, TENANT, job.plans(receiver.port), retry=retry)
        if job.history:
            filling.history(lent, TENANT, job.history)
        if job.pending:
            asyncio.run(_publish_one(job, lent.url))
            filling.backlog(lent, job.pending)
        yield Stage(job, lent, receiver, certificates.authority if certificates else None)


async def _create_tables(url: str) -> None:
    async with Notifykit(url, create=True):
        pass


async def _publish_one(job: Job, url: str) -> None:
    async with Notifykit(url) as kit:
        await kit.apublish(Event(type="order.t0", data=order(job.size, 0)), tenant=TENANT)


@attrs.define
class _Meter:
    """The processor time of each part, from one moment to another."""

    parts: Mapping[str, list[int | None]]
    _used: dict[str, float] = attrs.field(factory=dict)

    def start(self) -> None:
        """Count from now."""
        self._used = self._read()

    def stop(self) -> dict[str, float]:
        """Return the seconds of each part since the start."""
        return {name: now - self._used[name] for name, now in self._read().items()}

    def _read(self) -> dict[str, float]:
        return {name: sum(map(cpu_seconds, pids)) for name, pids in self.parts.items()}


def run_once(job: Job, on: Stage | None = None) -> dict[str, Any]:
    """Run the job once and return its figures.

    Args:
        on: Where to run; by default on a fresh stage.
    """
    if on is None:
        with stage(job) as fresh:
            return run_once(job, fresh)
    with ExitStack() as stack:
        return _run(job, on, stack)


def _run(job: Job, on: Stage, stack: ExitStack) -> dict[str, Any]:
    receiver, lent = on.receiver, on.database
    began, since, seen = time.monotonic(), micros(datetime.now(UTC)), receiver.count()
    producers = [on.producer(stack) for _ in range(job.producers)] if job.drain else []
    published = [answer(producer) for producer in producers]
    workers = [on.worker(stack, at) for at in range(job.workers)]
    for worker in workers:
        ready(worker)
    if not job.drain:
        _warm_up(on, stack)
        time.sleep(0.3)  # until what was received is recorded
        since, seen = micros(datetime.now(UTC)), receiver.count()
        if job.rate or job.measures:
            receiver.ages(reset=True)
        producers = [on.producer(stack) for _ in range(job.producers)]
    meter = _Meter({"worker": [w.pid for w in workers], "server": [lent.pid], "receiver": [receiver.pid]})
    # What is done once, such as reading the configuration and dialling, is over by then.
    first = _reach(receiver, seen + max(min(job.wanted // 50, 500), 1))
    meter.start()
    first_at = time.monotonic()
    done, moved = receiver.follow(seen + job.wanted, patience=STALLED)
    if not job.drain:
        published = [answer(producer) for producer in producers]
    ages = receiver.ages(reset=True) if job.rate or job.measures else []
    time.sleep(0.5)
    used = meter.stop()
    for worker in workers:
        worker.send_signal(signal.SIGTERM)
    costs = [answer(worker) for worker in workers]
    stored = totals(lent, since)
    received = done - seen
    made = done - first
    costs_us = {f"{name}_cpu_us": seconds / made * 1e6 if made else math.nan for name, seconds in used.items()}
    events = sum(p["events"] for p in published)
    costs_us["producer_cpu_us"] = sum(p["cpu"] for p in published) / events / job.subscriptions * 1e6
    # An embedded database has no process of its own.
    own = [us for name, us in costs_us.items() if name != "receiver_cpu_us" and not math.isnan(us)]
    return {
        "store": job.store,
        "rate": made / (moved - first_at) if moved > first_at else 0.0,
        "received": received,
        "wanted": job.wanted,
        "stored": stored,
        "agree": stored.get("delivered", 0) == received == job.wanted and stored["open"] == 0,
        "seconds": time.monotonic() - began,
        **costs_us,
        "own_cpu_us": sum(own),
        "cpu_us": sum(own) + costs_us["receiver_cpu_us"],
        "publish_rate": events / max(p["seconds"] for p in published),
        "publish_p50_ms": max(p["p50_ms"] for p in published),
        "publish_p99_ms": max(p["p99_ms"] for p in published),
        "worker_rss_mb": max(c["rss_mb"] for c in costs),
        "age_p50_ms": ages[len(ages) // 2] if ages else None,
        "age_p99_ms": ages[len(ages) * 99 // 100] if ages else None,
        "receiver": receiver.name,
    }


def _warm_up(on: Stage, stack: ExitStack) -> None:
    """Have a little delivered, so that every process has its connections; the peers have that as well."""
    for _ in range(2):
        before = on.receiver.count()
        answer(on.producer(stack, _WARM_UP))
        # Workers that share a broker take seconds to agree which of them reads what.
        on.receiver.follow(before + _WARM_UP * on.job.subscriptions, patience=15 if on.job.broker else 1)


def deliver_some(job: Job, on: Stage) -> dict[str, Any]:
    """Deliver ``job.events`` of the pending ones, then stop; return the figures."""
    receiver, lent = on.receiver, on.database
    seen, since = receiver.count(), micros(datetime.now(UTC))
    with ExitStack() as stack:
        worker = on.worker(stack)
        ready(worker)
        meter = _Meter({"worker": [worker.pid], "server": [lent.pid]})
        first = _reach(receiver, seen + max(min(job.events // 50, 500), 1))
        meter.start()
        started_at = time.monotonic()
        done = _reach(receiver, seen + job.events)
        seconds = time.monotonic() - started_at
        costs = {f"{name}_cpu_us": used / (done - first) * 1e6 for name, used in meter.stop().items()}
        worker.send_signal(signal.SIGTERM)
        memory = answer(worker)["rss_mb"]
    received, stored = receiver.count() - seen, totals(lent, since)
    return {
        "rate": (done - first) / seconds,
        "received": received,
        "wanted": job.events,
        "stored": stored,
        "agree": stored.get("delivered", 0) == received,
        **costs,
        "own_cpu_us": sum(us for us in costs.values() if not math.isnan(us)),
        "worker_rss_mb": memory,
    }


def _reach(receiver: Receiver, count: int) -> int:
    """Wait until the receiver has counted so many; return how many there are then.

    Raises:
        RuntimeError: Nothing arrives.
    """
    moved, last = time.monotonic(), receiver.count()
    while last < count:
        time.sleep(0.002)
        if (now := receiver.count()) != last:
            last, moved = now, time.monotonic()
        elif time.monotonic() - moved > 3 * STALLED:
            raise RuntimeError(f"no delivery for {3 * STALLED} s")
    return last
