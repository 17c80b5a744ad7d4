"""Ordering keys with real processes: what the receivers saw, by their own logs.

Several processes plan and send at the same time, receivers fail a fifth of all
requests, and in one scenario workers are killed in between.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple, Self, cast

import attrs
import httptools
import pytest
from anyio.from_thread import start_blocking_portal

from notifykit import EgressRules, Event, Notifykit, RetryPolicy
from notifykit.models.delivery import OPEN_STATES
from notifykit.ports import DeliveryFilter

from .reliability.processes import SETTINGS, Role

pytestmark = pytest.mark.in_turn

TENANT = "acme"
KEYS = [f"order {n}" for n in range(20)]
#: Enough attempts that nothing is given up.
PATIENT = RetryPolicy(delays=[timedelta(milliseconds=20)] * 40, jitter=0.5)
EGRESS = EgressRules(allow=["127.0.0.0/8"], allow_http=True)
#: A worker that has room for everything, and whose leases outlive the test unless it is killed.  An attempt that timed
#: out because the machine stood still would be repeated while the receiver still answers it.
WORKER = {**SETTINGS, "lease": 60.0, "max_timeout": 30.0, "concurrency": 64, "batch": 500, "prefetch": 1000}


class Request(NamedTuple):
    """One line of a receiver's log.

    Attributes:
        n: The number that the publisher gave to the event, from 0 for each key.
        alone: Whether no other request of the key was being answered when it came.
    """

    key: str
    n: int
    status: int
    alone: bool


class Receiver:
    """An endpoint that takes a delay to answer and fails every so often; it does not use notifykit.

    Args:
        failing: How many of ten requests in a row get 503.
        seed: Of the random numbers.
        refused: The numbers that get 413: no retry helps.

    Attributes:
        log: What came, in that order.
    """

    def __init__(self, *, failing: int, seed: int, refused: Iterable[int] = ()) -> None:
        self.log: list[Request] = []
        self.failing = failing
        self.refused = set(refused)
        self.rng = random.Random(seed)
        self.connections: set[Connection] = set()
        self._open: Counter[str] = Counter()
        self._statuses: list[int] = []
        self._exit = ExitStack()

    def __enter__(self) -> Self:
        portal = self._exit.enter_context(start_blocking_portal("asyncio"))
        server = portal.call(self._listen)
        self._exit.callback(portal.call, self._close, server)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hooks"
        return self

    def __exit__(self, *_: object) -> None:
        self._exit.close()

    async def _listen(self) -> asyncio.Server:
        loop = asyncio.get_running_loop()
        return await loop.create_server(lambda: Connection(self), "127.0.0.1", 0, backlog=1024)

    async def _close(self, server: asyncio.Server) -> None:
        server.close()
        for connection in list(self.connections):
            connection.transport.abort()
        await asyncio.sleep(0)  # lets the loop close the sockets

    def came(self, key: str, n: int) -> int:
        """Note a request; return how it will be answered."""
        if not self._statuses:
            self._statuses = [503] * self.failing + [204] * (10 - self.failing)
            self.rng.shuffle(self._statuses)
        status = 413 if n in self.refused else self._statuses.pop()
        self.log.append(Request(key, n, status, alone=not self._open[key]))
        self._open[key] += 1
        return status

    def answered(self, key: str) -> None:
        """Note that a request has its answer, or never gets one."""
        self._open[key] -= 1

    # -- queries of the log -----------------------------------------------------------------------

    def successes(self) -> dict[str, list[int]]:
        """Return the numbers that were accepted, by key, each at its first success."""
        found: defaultdict[str, dict[int, None]] = defaultdict(dict)
        for request in self.log:
            if request.status == 204:
                found[request.key][request.n] = None
        return {key: list(numbers) for key, numbers in found.items()}

    def steps_back(self) -> list[Request]:
        """Return the requests that came after a request of a later event of their key, repeats included."""
        latest: Counter[str] = Counter()
        back = []
        for request in self.log:
            if request.n < latest[request.key]:
                back.append(request)
            latest[request.key] = max(request.n, latest[request.key])
        return back

    def overlaps(self) -> list[Request]:
        """Return the requests that came while another one of their key was being answered."""
        return [request for request in self.log if not request.alone]

    def failures(self) -> int:
        """Return how many requests were answered with 503."""
        return sum(request.status != 204 for request in self.log)


class Connection(asyncio.Protocol):
    """One connection, requests one after the other."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._parser = httptools.HttpRequestParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._receiver.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._receiver.connections.discard(self)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._body = b""

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        data = json.loads(self._body)["data"]
        status = self._receiver.came(data["key"], data["n"])
        delay = self._receiver.rng.uniform(0, 0.004)
        asyncio.get_running_loop().call_later(delay, self._answer, data["key"], status)

    def _answer(self, key: str, status: int) -> None:
        self._receiver.answered(key)
        length = "" if status == 204 else "content-length: 0\r\n"
        self.transport.write(f"HTTP/1.1 {status} Well\r\n{length}\r\n".encode())


@pytest.fixture(params=["sqlite", "postgres"])
async def kit(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Notifykit]:
    """An open kit on a database that other processes can open too."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/ordering.db"
    else:
        url = request.getfixturevalue("postgres_database")
    async with Notifykit(url, egress=EGRESS, create=True) as opened:
        yield opened


@attrs.define
class Crew:
    """Worker processes on one database."""

    url: str
    folder: Path
    running: list[Role] = attrs.field(factory=list)

    def hire(self, **settings: Any) -> Role:
        """Start a worker and wait until it works."""
        orders: Mapping[str, Any] = {"url": self.url, "settings": {**WORKER, **settings}}
        worker = Role("worker", orders, self.folder / f"worker-{len(self.running)}.err")
        self.running.append(worker)
        assert "ready" == worker.ready(), worker.log.read_text()
        return worker

    def dismiss(self) -> None:
        """Kill the workers that still run."""
        for worker in self.running:
            if not worker.has_ended():
                worker.kill()


@contextmanager
def crew(kit: Notifykit, folder: Path) -> Iterator[Crew]:
    """Lend workers; none outlives the test."""
    hired = Crew(kit.url, folder)
    try:
        yield hired
    finally:
        hired.dismiss()


async def publish(kit: Notifykit, rounds: range, keys: Sequence[str] = KEYS) -> None:
    """Publish one event of each key in each round, all of a round in one transaction."""
    for n in rounds:
        await kit.apublish_many(
            [Event(type="order.changed", data={"key": key, "n": n}, ordering_key=key) for key in keys], tenant=TENANT
        )


async def drained(kit: Notifykit, seconds: float) -> None:
    """Wait until nothing is open."""
    still_open = DeliveryFilter(states=OPEN_STATES)
    async with asyncio.timeout(seconds):
        # In this order, and one query for all open states: no row can be missed between two queries.
        while (await kit.stats()).unplanned or await kit.deliveries.list(still_open, tenant=TENANT, limit=1):
            await asyncio.sleep(0.05)


async def test_processes_keep_the_order_of_every_key(kit: Notifykit, tmp_path: Path) -> None:
    """Three planners and two senders in processes of their own, a fifth of all requests failing: no inversion."""
    rounds = range(50)
    with Receiver(failing=2, seed=1) as first, Receiver(failing=2, seed=2) as second, crew(kit, tmp_path) as workers:
        for receiver in (first, second):
            await kit.subscribe("**", tenant=TENANT, endpoint=receiver.url, retry=PATIENT, max_in_flight=64)
        await publish(kit, rounds[:10])
        for roles in (["plan", "send", "clean"], ["plan", "send", "clean"], ["plan"]):
            workers.hire(roles=roles)
        await publish(kit, rounds[10:])
        await drained(kit, 60)

    expected = {key: list(rounds) for key in KEYS}
    for receiver in (first, second):
        assert expected == receiver.successes()
        assert [] == receiver.steps_back()
        assert [] == receiver.overlaps()
        assert receiver.failures() > 100


async def test_killed_workers_do_not_break_the_order(kit: Notifykit, tmp_path: Path) -> None:
    """Workers that die while they hold claims delay their keys; what they sent may come again, still in order."""
    settings = {"lease": 2.0, "max_timeout": 1.0, "lease_margin": 0.5}
    with Receiver(failing=2, seed=3) as receiver, crew(kit, tmp_path) as workers:
        await kit.subscribe("**", tenant=TENANT, endpoint=receiver.url, retry=PATIENT, max_in_flight=64)
        survivor = workers.hire(**settings)
        for start in range(0, 30, 10):
            victim = workers.hire(**settings)
            seen = len(receiver.log)
            await publish(kit, range(start, start + 10))
            async with asyncio.timeout(30):
                while len(receiver.log) < seen + 60:
                    await asyncio.sleep(0.002)
            victim.kill()
        await drained(kit, 60)
        assert not survivor.has_ended()

    assert {key: list(range(30)) for key in KEYS} == receiver.successes()
    assert [] == receiver.steps_back()


async def test_a_dead_letter_does_not_block_its_key(kit: Notifykit, tmp_path: Path) -> None:
    """A dead letter does not block its key for ever; redriven, it comes late."""
    with Receiver(failing=2, seed=4, refused={1, 3}) as receiver, crew(kit, tmp_path) as workers:
        await kit.subscribe("**", tenant=TENANT, endpoint=receiver.url, retry=PATIENT, max_in_flight=64)
        await publish(kit, range(6))
        workers.hire()
        await drained(kit, 240)
        before = receiver.successes()

        receiver.refused.clear()
        redriven = await kit.deliveries.redrive_all(tenant=TENANT)
        await drained(kit, 240)

    assert {key: [0, 2, 4, 5] for key in KEYS} == before
    assert 2 * len(KEYS) == redriven
    assert {key: [0, 2, 4, 5, 1, 3] for key in KEYS} == receiver.successes()
    assert [] == receiver.overlaps()


async def test_two_thousand_events_of_twenty_keys_take_seconds(kit: Notifykit, tmp_path: Path) -> None:
    """Each delivery starts when the one before it has ended, not at the next poll."""
    rounds = range(100)
    with Receiver(failing=0, seed=5) as receiver, crew(kit, tmp_path) as workers:
        await kit.subscribe("**", tenant=TENANT, endpoint=receiver.url, max_in_flight=64)
        await publish(kit, rounds)
        started = time.monotonic()
        workers.hire(poll=10.0)
        workers.hire(poll=10.0)
        await drained(kit, 240)
        took = time.monotonic() - started

    print(f"{len(KEYS) * len(rounds)} events in {took:.1f} s")
    assert {key: list(rounds) for key in KEYS} == receiver.successes()
    assert [] == receiver.steps_back() + receiver.overlaps()
