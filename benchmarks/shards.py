"""Four shards on one machine beside one database: ``python -m benchmarks.shards`` prints the ratio of the pairs.

The same job is done in turns on one database and on four of the same server: events of many tenants are published while
a worker delivers them.  Deliveries are counted at the receiver and in the stores; a run in which these differ fails.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from urllib.parse import urlsplit

from notifykit import EgressRules, Event, Notifykit
from notifykit.ports import DeliveryFilter
from notifykit.stores.sharded import ShardedStore
from notifykit.testing.servers import free_port
from notifykit.vault import KeyRing

from .plan import say
from .processes import ready, started
from .receiver import Receiver
from .roles import EGRESS
from .rounds import DisagreementError
from .stores import database

#: Seconds after which a run has failed.
_STALLED = 120.0


@contextmanager
def _databases(kind: str, count: int) -> Iterator[list[str]]:
    """Lend databases on one machine: of one server, or files in one folder."""
    if kind == "sqlite":
        with tempfile.TemporaryDirectory(prefix="notifykit-bench-") as folder:
            yield [f"sqlite:///{folder}/{number}.db" for number in range(count)]
        return
    import psycopg

    with database(kind) as lent:
        urls = []
        with psycopg.connect(lent.url, autocommit=True) as connection:
            for number in range(count):
                connection.execute(f"CREATE DATABASE shard_{number}")
                urls.append(urlsplit(lent.url)._replace(path=f"/shard_{number}").geturl())
        yield urls


def run_once(kind: str, shards: int, events: int, tenants: int, publishers: int) -> float:
    """Do the job on so many databases; return deliveries a second."""
    with ExitStack() as stack:
        urls = stack.enter_context(_databases(kind, shards))
        url = urls[0] if shards == 1 else ShardedStore({f"s{at}": each for at, each in enumerate(urls)}).url
        receiver = stack.enter_context(Receiver(free_port()))
        names = [f"tenant-{number}" for number in range(tenants)]
        asyncio.run(_prepare(url, names, f"http://127.0.0.1:{receiver.port}/"))
        worker = started(stack, "worker", url)
        ready(worker)
        return asyncio.run(_work(url, names, events, publishers, receiver))


async def _prepare(url: str, tenants: list[str], target: str) -> None:
    await Notifykit(url).migrate()
    async with Notifykit(url, egress=EgressRules(**EGRESS)) as kit:  # type: ignore[arg-type]
        for tenant in tenants:
            endpoint = await kit.endpoints.create(target, tenant=tenant)
            await kit.subscriptions.create("**", tenant=tenant, endpoint_id=endpoint.id)


async def _work(url: str, tenants: list[str], events: int, publishers: int, receiver: Receiver) -> float:
    async with Notifykit(url) as kit:
        await kit.stats()
        before, numbers = receiver.count(), iter(range(events))
        began = time.perf_counter()

        async def publish() -> None:
            for number in numbers:
                await kit.apublish(
                    Event(type="order.paid", data={"n": number, "text": "x" * 900}),
                    tenant=tenants[number % len(tenants)],
                )

        async with asyncio.TaskGroup() as group:
            for _ in range(publishers):
                group.create_task(publish())
        while receiver.count() - before < events:
            if time.perf_counter() - began > _STALLED:
                raise DisagreementError(f"{receiver.count() - before} of {events} were received")
            await asyncio.sleep(0.02)
        seconds = time.perf_counter() - began
        while (stats := await kit.stats()).sending or stats.waiting or stats.unplanned:
            await asyncio.sleep(0.05)
        found = sum([await _count(kit, tenant) for tenant in tenants])
        if found != events:
            raise DisagreementError(f"{found} of {events} are on record")
    return events / seconds


async def _count(kit: Notifykit, tenant: str) -> int:
    count, before = 0, None
    while page := await kit.store.find_deliveries(tenant, DeliveryFilter(), limit=1000, before=before):
        count, before = count + len(page), page[-1].id
    return count


def main() -> int:
    """Run the pairs and print their ratios."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.shards", description=__doc__)
    parser.add_argument("--store", choices=["postgres", "sqlite"], default="postgres")
    parser.add_argument("--shards", type=int, default=4)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--tenants", type=int, default=64)
    parser.add_argument(
        "--publishers",
        type=int,
        default=1024,
        help="publishes under way at a time (%(default)s): four shards divide them",
    )
    parser.add_argument("--pairs", type=int, default=5)
    given = parser.parse_args()
    os.environ.setdefault("NOTIFYKIT_KEYS", KeyRing.generate("bench").text())
    ratios = []
    for pair in range(given.pairs):
        order = (1, given.shards) if pair % 2 else (given.shards, 1)  # neither is always the one that comes first
        rates = {count: run_once(given.store, count, given.events, given.tenants, given.publishers) for count in order}
        ratios.append(rates[given.shards] / rates[1])
        both = f"{rates[given.shards]:,.0f}/s on {given.shards}, {rates[1]:,.0f}/s on one"
        say(f"pair {pair + 1}: {both}: {ratios[-1]:.2f}")
    print(
        f"{given.store}: {given.shards} shards make {statistics.median(ratios):.2f} times the deliveries of one "
        f"(median of {given.pairs} pairs, {min(ratios):.2f} to {max(ratios):.2f})"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
