"""What it takes to tell people: ``python -m benchmarks.people``.

Events that were published before are planned, decided and delivered by two workers on PostgreSQL: into inboxes, and
into inboxes and over SMTP to a sink in another process.  Beside it stands the same job as it is written today (see
``peers/mail/job.py``), the pure decision, and one event to very many people.  Deliveries are counted in the store, in
the inboxes and at the sink, and a run in which they differ fails.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from importlib import import_module
from typing import Any

import attrs
from sqlalchemy import Connection, text

from notifykit import Notifykit
from notifykit.stores.encoding.rows import micros
from notifykit.vault import KeyRing

from . import crowd, decide, filling
from .email import SENDER, Sinks, sinks
from .plan import say
from .processes import answer, children_seconds, cpu_seconds, ready, started
from .results import Finding, Spread, ratio
from .roles import TENANT
from .rounds import DisagreementError
from .stores import Database, database, totals
from .tables import verdict

IN_APP, BOTH = ("in_app",), ("in_app", "email")
#: The share of deliveries that are not timed, because the processes are still starting.
_SKIP = 0.1
#: Seconds without progress after which a run has failed.
_STALLED = 60.0


@attrs.frozen(kw_only=True)
class Job:
    """What one run does.

    Attributes:
        people: How many recipients there are.
        told: How many times one of them is told something.
        each: Recipients of one event.
        channels: Over which they are told.
        workers: Processes that plan and deliver.
    """

    told: int
    people: int = 10_000
    each: int = 1
    channels: Sequence[str] = BOTH
    workers: int = 2


@contextmanager
def prepared(mail: Sinks) -> Iterator[Database]:
    """Lend a database with tables; workers that are started meanwhile send their mails to the sink."""
    with database("postgres") as lent, _variable("NOTIFYKIT_EMAIL", mail_url(mail)):
        asyncio.run(_create_tables(lent.url))
        yield lent


def mail_url(mail: Sinks) -> str:
    """Return the URL of the pipelining sink."""
    return f"smtp://127.0.0.1:{mail.pipelining}?sender={SENDER}&tls=off"


async def _create_tables(url: str) -> None:
    async with Notifykit(url, create=True):
        pass


@contextmanager
def _variable(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def run_once(job: Job, mail: Sinks) -> dict[str, Any]:
    """Run the job once and return its figures.

    Raises:
        DisagreementError: The store, the inboxes and the sink have not got the same.
    """
    with ExitStack() as stack:
        lent = stack.enter_context(prepared(mail))
        filling.recipients(lent, TENANT, job.people)
        events, mails = job.told // job.each, mail.taken()
        since = micros(datetime.now(UTC))
        produced = answer(
            started(
                stack, "producer", lent.url, "--events", events, "--size", 500, "--publishers", 192,
                "--people", job.people, "--each", job.each, "--channels", *job.channels,
            )
        )  # fmt: skip
        workers = [started(stack, "worker", lent.url) for _ in range(job.workers)]
        for worker in workers:
            ready(worker)
        pids: Mapping[str, list[int | None]] = {"worker": [worker.pid for worker in workers], "server": [lent.pid]}

        def cpu() -> dict[str, float]:
            return {name: sum(map(cpu_seconds, its)) for name, its in pids.items()}

        whole, used = children_seconds(), cpu()
        with lent.engine().connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            wait_until_done(connection)
            whole = children_seconds() - whole
            used = {name: seconds - used[name] for name, seconds in cpu().items()}
            rate = _rate(connection)
            items = connection.scalar(text("SELECT count(*) FROM notifykit_inbox_items"))
        for worker in workers:
            worker.send_signal(signal.SIGTERM)
        memory = max(answer(worker)["rss_mb"] for worker in workers)
        stored = totals(lent, since)
    told, mails = events * job.each, mail.taken() - mails
    wanted = (told * len(job.channels), told, told if "email" in job.channels else 0)
    if (stored.get("delivered"), items, mails) != wanted:
        raise DisagreementError(f"stored {stored}, {items} items in inboxes and {mails} mails for {told} people")
    return {
        "rate": rate / len(job.channels),
        "cpu_us": whole / told * 1e6,
        **{f"{name}_cpu_us": seconds / told * 1e6 for name, seconds in used.items()},
        "producer_cpu_us": produced["cpu"] / told * 1e6,
        "worker_rss_mb": memory,
    }


def wait_until_done(connection: Connection) -> None:
    """Wait until nothing is left to plan or to send.

    Raises:
        RuntimeError: Nothing goes on.
    """
    moved, last = time.monotonic(), (-1, -1)
    while True:
        row = connection.execute(
            text("SELECT (SELECT count(*) FROM notifykit_outbox), (SELECT count(*) FROM notifykit_queue)")
        ).one()
        left = (int(row[0]), int(row[1]))
        if left == (0, 0):
            return
        if left != last:
            moved, last = time.monotonic(), left
        elif time.monotonic() - moved > _STALLED:
            raise RuntimeError(f"nothing goes on: {left[0]} events are not planned, {left[1]} deliveries are open")
        time.sleep(0.25)


def _rate(connection: Connection) -> float:
    """Return deliveries a second between the first that is timed and the last."""
    ends = connection.scalars(text("SELECT finished_at FROM notifykit_deliveries ORDER BY finished_at")).all()
    first = int(len(ends) * _SKIP)
    return float((len(ends) - first) / (ends[-1] - ends[first]) * 1e6)


# ── the command ────────────────────────────────────────────────────────────────────────────────


def _line(label: str, run: Mapping[str, Any]) -> str:
    parts = [f"{name} {run[key]:.0f}" for name, key in _PARTS.items() if key in run]
    return f"{label:<46} {run['rate']:8,.0f} people/s  µs of CPU for each: {', '.join(parts)}"


_PARTS = {
    "all": "cpu_us",
    "worker": "worker_cpu_us",
    "database": "server_cpu_us",
    "producer": "producer_cpu_us",
}


def _delivering(args: argparse.Namespace, mail: Sinks) -> Iterator[Finding]:
    """Measure both ways, and how it is done today, in turns."""
    jobs = {
        "events → decision → inbox": Job(told=args.told, channels=IN_APP, workers=args.workers),
        f"the same, {args.each} people an event": Job(
            told=args.told, channels=IN_APP, each=args.each, workers=args.workers
        ),
        "events → decision → inbox and SMTP": Job(told=args.told // 2, workers=args.workers),
    }
    runs: dict[str, list[Mapping[str, Any]]] = {label: [] for label in jobs}
    peer: list[Mapping[str, Any]] = []
    for _ in range(args.runs):
        for label, job in jobs.items():
            runs[label].append(run_once(job, mail))
            print(_line(label, runs[label][-1]), flush=True)
        if args.peer:
            peer += _peer(args, mail)
    inbox, _, both = (Spread.of(run["rate"] for run in found) for found in runs.values())
    yield Finding(what="people told a second in their inboxes", value=inbox, digits=0, at_least=8000)
    yield Finding(what="people told a second by inbox and SMTP", value=both, digits=0, at_least=2500)
    if peer:
        ours = list(runs.values())[-1]
        rates, costs = ratio(ours, peer, "rate"), ratio(peer, ours, "cpu_us")
        yield Finding(what="the rate, compared with Celery, SQLAlchemy and smtplib", value=rates, at_least=10)
        print(f"Celery, SQLAlchemy and smtplib spend {costs.median:.1f} times as much processor time on a person")


def _peer(args: argparse.Namespace, mail: Sinks) -> list[Mapping[str, Any]]:
    module: Any = import_module("benchmarks.peers.mailing")
    unavailable: type[Exception] = module.PeerUnavailable
    try:
        found = module.measure(events=args.told // 20, people=1000, port=mail.plain, skip=_SKIP, say=say)
    except unavailable as error:
        print(f"Celery, SQLAlchemy and smtplib: not measured: {error}")
        args.peer = False
        return []
    print(_line("Celery, SQLAlchemy and smtplib", found), flush=True)
    return [found]


def _deciding() -> Iterator[Finding]:
    for label, cost, _ in decide.costs():
        yield Finding(what=f"a decision, {label}", value=Spread.of([cost]), unit="µs", digits=1, at_most=20)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.people", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--told", type=int, help="how many people each run tells something (40,000)")
    parser.add_argument("--each", type=int, default=10, help="people of an event, if several (%(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="processes that plan and deliver (%(default)s)")
    parser.add_argument("--runs", type=int, default=1, help="how often each is measured (%(default)s)")
    parser.add_argument("--crowd", type=int, help="people that one event tells something; 0 for none (100,000)")
    parser.add_argument("--no-peer", dest="peer", action="store_false", help="without Celery beside it")
    parser.add_argument("--quick", action="store_true", help="small sizes, for a check of some twenty seconds")
    args = parser.parse_args(argv)
    args.told = args.told or (4000 if args.quick else 40_000)
    args.crowd = (2000 if args.quick else 100_000) if args.crowd is None else args.crowd
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Print a line for each run, and whether what was promised is kept."""
    args = _arguments(argv)
    os.environ.setdefault("NOTIFYKIT_KEYS", KeyRing.generate("bench").text())
    findings = list(_deciding())
    with sinks() as mail:
        findings += _delivering(args, mail)
        if args.crowd:
            with prepared(mail) as lent:
                findings += crowd.measure(lent, args.crowd)
    for finding in findings:
        print(verdict(finding))
    return 0 if all(finding.is_kept for finding in findings) else 1


if __name__ == "__main__":
    sys.exit(main())
