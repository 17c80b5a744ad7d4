"""A day of a small installation in virtual time: publishers, workers, receivers, an operator, and what goes wrong.

The engine is the real one, whole dispatchers with all their tasks.  What is around it is
played: receivers answer as their tempers say, every process reaches the store over a
line that can be slow, cut, or lose the answer to what was written, and processes are
killed, frozen and stopped.  All of it is decided by the seed.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import random
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from datetime import datetime, timedelta
from typing import Any, cast
from unittest.mock import patch

import attrs

from notifykit import DispatchSettings, EndpointState, Event, Notifykit, RateLimit, RetryPolicy
from notifykit.dispatch.runtime import dispatcher as dispatcher_module
from notifykit.dispatch.runtime.dispatcher import Dispatcher
from notifykit.dispatch.sending import tokens
from notifykit.errors import NotifykitError, StoreUnavailableError
from notifykit.models.delivery import Claim, Priority
from notifykit.models.destination import Destination
from notifykit.models.outcome import Accepted, BadRecipient, Outcome, Throttled, Transient, Uncertain
from notifykit.ports import Store
from notifykit.stores.memory import MemoryStore
from notifykit.stores.sql.sqlite import store as sqlite
from notifykit.stores.sql.sqlite.store import SqliteStore

from .checker import Checker
from .virtual import VirtualClock, run_virtual

HOUR, DAY = 3600.0, 86400.0
TENANTS = ("acme", "globex", "initech")
WORKERS = 3
#: How likely a worker is struck at a step that matters.
RISK = 0.005
RETRY = RetryPolicy(delays=[timedelta(seconds=s) for s in (5, 60, 300, 1800, 7200)])
SETTINGS = DispatchSettings(
    concurrency={Priority.HIGH: 4, Priority.NORMAL: 12, Priority.LOW: 4},
    batch=50,
    prefetch=100,
    poll=timedelta(seconds=60),
    lease=timedelta(seconds=60),
    max_timeout=timedelta(seconds=10),
    max_abandoned=50,
    grace=timedelta(seconds=15),
)
#: Nothing of a simulated day depends on how often the engine looks after itself within a minute.
_CALM = {
    "_CIRCUITS_EVERY": 30.0,
    "_TICK_EVERY": 60.0,
    "_SWEEP_EVERY": 30.0,
    "_IDLE_EVERY": 30.0,
    "_PURGE_EVERY": HOUR,
}


@attrs.define
class Temper:
    """How a receiver answers.

    Attributes:
        fails: The share of requests that fail in one way or another.
        slow: The share that is answered after our deadline; most of them are taken all the same.
        down: When it is out of order altogether.
        gone_at: When it answers 410 from.
    """

    fails: float
    slow: float
    down: list[tuple[float, float]]
    gone_at: float | None

    @classmethod
    def drawn(cls, rng: random.Random) -> Temper:
        """Draw one."""
        return cls(
            fails=rng.choice([0.0, 0.0, 0.05, 0.3]),
            slow=rng.choice([0.0, 0.0, 0.02, 0.1]),
            down=_windows(rng, rng.randint(0, 2), 300, 3 * HOUR),
            gone_at=rng.uniform(0.3, 0.9) * DAY if rng.random() < 0.1 else None,
        )


def _windows(rng: random.Random, count: int, shortest: float, longest: float) -> list[tuple[float, float]]:
    starts = (rng.uniform(0, 0.9) * DAY for _ in range(count))
    return [(start, start + rng.uniform(shortest, longest)) for start in starts]


def _within(windows: list[tuple[float, float]], at: float) -> bool:
    return any(start <= at < end for start, end in windows)


@attrs.define(eq=False)
class Process:
    """A worker or a publisher, as far as it can be killed and frozen.

    Attributes:
        risk: How likely it is that something happens to it at a step that matters.
    """

    world: World
    risk: float = 0.0
    dead: bool = False
    frozen: asyncio.Event | None = None

    async def live(self, seconds: float = 0.0) -> None:
        """Let time pass; a frozen process goes on when it is thawed, and a dead one never."""
        await asyncio.sleep(seconds)
        while self.frozen is not None and not self.dead:
            await self.frozen.wait()
        if self.dead:
            await asyncio.Event().wait()

    async def dare(self) -> None:
        """Go through a moment at which a death, or a long pause, hurts most."""
        rng = self.world.rng
        if rng.random() < self.risk and not (self.dead or self.world.healed):
            self.world.strike(self, kill=rng.random() < 0.6)
        await self.live()


class Connection:
    """A process's way to the store; has all the verbs of a store."""

    def __init__(self, store: Store, process: Process) -> None:
        self._store = store
        self._process = process

    async def open(self) -> None:
        """Do nothing: the world has opened the store."""

    async def aclose(self) -> None:
        """Do nothing: other processes go on using it."""

    def __getattr__(self, name: str) -> Any:
        verb = getattr(self._store, name)
        if not inspect.iscoroutinefunction(verb):
            return verb

        async def through(*args: Any, **options: Any) -> Any:
            return await self._call(name, verb, args, options)

        return through

    async def _call(self, name: str, verb: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        process, world = self._process, self._process.world
        if name == "wait":
            await process.live()
            world.refuse_if_down()
            return await verb(*args, **options)
        await process.live(world.rng.expovariate(200))
        lost = world.is_down() and world.rng.random() < 0.2
        if not lost:
            world.refuse_if_down()
        result = await verb(*args, **options)
        world.checker.saw(name, args, result)
        if result:
            await process.dare()
        await process.live(world.rng.expovariate(200))
        if lost:
            raise StoreUnavailableError("the answer was lost")
        return result


@attrs.define
class Wire:
    """The channel of one process."""

    process: Process
    name: str = "webhook"

    async def send(self, claim: Claim, destination: Destination, *, now: datetime) -> Outcome:
        await self.process.dare()
        outcome = await self.process.world.answer(claim, destination)
        await self.process.dare()
        return outcome

    async def aclose(self) -> None:
        """Hold nothing."""


class SkewedClock:
    """The clock of one machine: off by some seconds, and by minutes while it is wrong."""

    def __init__(self, clock: VirtualClock, skew: timedelta) -> None:
        self._clock = clock
        self.skew = skew

    def now(self) -> datetime:
        """Return what this machine takes for the current instant."""
        return self._clock.now() + self.skew


class World:
    """Everything around the engine.

    Attributes:
        faults: What went wrong, counted.
        healed: Whether nothing goes wrong any more.
    """

    def __init__(self, seed: int, store: Store, clock: VirtualClock) -> None:
        self.rng = random.Random(seed)
        self.store = store
        self.clock = clock
        self.checker = Checker()
        self.faults: Counter[str] = Counter()
        self.healed = False
        self._down = _windows(self.rng, 3, 20, 900)
        self._tempers: dict[str, Temper] = {}
        self._workers: list[tuple[Process, Dispatcher, SkewedClock]] = []
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def at(self) -> float:
        """Seconds since the day began."""
        return asyncio.get_running_loop().time()

    def is_down(self) -> bool:
        """Whether the store is out of reach."""
        return not self.healed and _within(self._down, self.at)

    def refuse_if_down(self) -> None:
        """Raise what a store raises while it is out of reach."""
        if self.is_down():
            self.faults["store_refused"] += 1
            raise StoreUnavailableError("the store is down")

    # -- receivers -------------------------------------------------------------------------------

    async def answer(self, claim: Claim, destination: Destination) -> Outcome:
        """Do what the receiver behind ``destination`` does with one request."""
        self.checker.sent(claim, destination, self.at)
        temper, rng = self._tempers[destination.subscriber_id], self.rng
        await asyncio.sleep(rng.uniform(0.01, 0.3))
        if self.healed:
            self.checker.accepted(claim, self.at)
            return Accepted()
        if _within(temper.down, self.at):
            await asyncio.sleep(rng.choice([0, 0, 5]))
            return Transient(reason=rng.choice(["connect_failed", "http_503"]))
        if temper.gone_at is not None and self.at > temper.gone_at:
            return BadRecipient(reason="http_410")
        if rng.random() < temper.slow:
            if rng.random() < 0.8:
                self.checker.accepted(claim, self.at)
            await asyncio.sleep(destination.timeout.total_seconds())
            return Uncertain(reason="timeout")
        if rng.random() < temper.fails:
            failures: list[Outcome] = [
                Transient(reason="http_500"),
                Transient(reason="http_503", retry_after=timedelta(seconds=rng.choice([1, 30, 600]))),
                Throttled(reason="http_429"),
            ]
            return rng.choice(failures)
        self.checker.accepted(claim, self.at)
        return Accepted()

    # -- workers ---------------------------------------------------------------------------------

    async def start_worker(self) -> None:
        """Start one more process with a dispatcher, again and again while the store is out of reach."""
        process = Process(self)  # nothing happens to it before it serves: until then it holds nothing
        clock = SkewedClock(self.clock, timedelta(seconds=self.rng.uniform(-3, 3)))
        line = cast(Store, Connection(self.store, process))
        dispatcher = Dispatcher(line, [Wire(process)], SETTINGS, clock=clock, rng=self.rng.random)
        while True:
            try:
                await dispatcher.__aenter__()
            except StoreUnavailableError:
                await asyncio.sleep(self.rng.uniform(1, 60))
            else:
                break
        process.risk = RISK
        self._workers.append((process, dispatcher, clock))

    def strike(self, process: Process, *, kill: bool) -> None:
        """Kill or freeze a worker at whatever it is doing right now."""
        if kill:
            process.dead = True
            self.faults["killed"] += 1
            self._begin(self._bury(process))
        elif process.frozen is None:
            process.frozen = asyncio.Event()
            self.faults["frozen"] += 1
            self._begin(self._thaw(process))

    def _begin(self, what: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(asyncio.create_task(what))

    async def _bury(self, process: Process) -> None:
        """Take a dead process away and start another one in its place."""
        for worker in self._workers:
            if worker[0] is process:
                self._workers.remove(worker)
                serving = worker[1]._serving
                assert serving is not None
                serving.cancel()
                await asyncio.gather(serving, return_exceptions=True)
                await asyncio.sleep(self.rng.uniform(0, 120))
                await self.start_worker()
                return

    async def _thaw(self, process: Process) -> None:
        """Let a frozen process go on, often after its leases have run out."""
        await asyncio.sleep(self.rng.uniform(1, 300))
        thawed, process.frozen = process.frozen, None
        assert thawed is not None
        thawed.set()

    async def stop_worker(self) -> None:
        """Stop one process as an operator does, wait for it, and start another one."""
        _, dispatcher, _ = self._workers.pop(self.rng.randrange(len(self._workers)))
        await dispatcher.__aexit__(None, None, None)
        self.faults["stopped"] += 1
        await self.start_worker()

    async def misset_clock(self) -> None:
        """Let one machine's clock be wrong by minutes for a while."""
        clock = self.rng.choice(self._workers)[2]
        right = clock.skew
        clock.skew = timedelta(seconds=self.rng.uniform(-600, 600))
        await asyncio.sleep(self.rng.uniform(10, 1200))
        clock.skew = right
        self.faults["clock"] += 1

    async def trouble(self) -> None:
        """Let things happen to the workers all day, beside what happens to them at bad moments."""
        while self.at < DAY:
            await asyncio.sleep(self.rng.expovariate(8 / DAY))
            if not self._workers:
                continue
            what = self.rng.randrange(4)
            if what == 0:
                await self.misset_clock()
            elif what == 1:
                await self.stop_worker()
            else:
                self.strike(self.rng.choice(self._workers)[0], kill=what == 2)

    # -- the tenants -----------------------------------------------------------------------------

    async def set_up(self, kit: Notifykit) -> None:
        """Give each tenant two to four endpoints, each with a subscription."""
        for tenant in TENANTS:
            for number in range(self.rng.randint(2, 4)):
                pattern = self.rng.choice(["**", "order.*", "order.paid"])
                limit = RateLimit(per_second=0.2, burst=3) if self.rng.random() < 0.2 else None
                _, endpoint = await kit.subscribe(
                    pattern,
                    tenant=tenant,
                    endpoint=f"https://203.0.114.7/{number}",
                    retry=RETRY,
                    max_in_flight=self.rng.choice([1, 4, 64]),
                    rate_limit=limit,
                )
                self._tempers[endpoint.id] = Temper.drawn(self.rng)
                self.checker.subscribed(endpoint, pattern)

    async def publish(self, tenant: str, events: int) -> None:
        """Publish through the day in bursts; whoever gets no receipt asks again with the same key."""
        kit = Notifykit(store=cast(Store, Connection(self.store, Process(self))), clock=self.clock)
        await kit.open()
        rng = random.Random(self.rng.random())
        while events > 0:
            left = max(DAY * 0.95 - self.at, 1.0)
            await asyncio.sleep(min(rng.expovariate(events / left) * 8, left))  # the last few could take days
            for _ in range(min(events, rng.randint(1, 15))):
                await self._publish_one(kit, tenant, rng)
                events -= 1
        await kit._publisher.aclose()

    async def _publish_one(self, kit: Notifykit, tenant: str, rng: random.Random) -> None:
        key = rng.choice([None, None, "A-1", "A-2"])
        delay = timedelta(seconds=rng.uniform(1, 2 * HOUR)) if key is None and rng.random() < 0.1 else None
        expiry = timedelta(seconds=rng.uniform(2.1 * HOUR, 6 * HOUR)) if key is None and rng.random() < 0.1 else None
        event = Event(
            type=rng.choice(["order.paid", "order.sent", "stock.low"]),
            data={"n": rng.random()},
            tenant=tenant,
            ordering_key=key,
            idempotency_key=f"{rng.random()}",
            priority=rng.choice(list(Priority)),
            deliver_at=None if delay is None else self.clock.now() + delay,
            expires_at=None if expiry is None else self.clock.now() + expiry,
        )
        while True:
            try:
                receipt = await kit.apublish(event)
            except StoreUnavailableError:
                await asyncio.sleep(rng.uniform(1, 60))
            else:
                self.checker.published(receipt.event_id, event)
                return

    async def operate(self, kit: Notifykit) -> None:
        """Pause, resume, rotate, disable, redrive and cancel, as people do."""
        while self.at < DAY:
            await asyncio.sleep(self.rng.expovariate(20 / DAY))
            with contextlib.suppress(NotifykitError):  # down, or there is nothing to do it to
                await self._operate_once(kit)

    async def _operate_once(self, kit: Notifykit) -> None:
        rng = self.rng
        tenant = rng.choice(TENANTS)
        endpoint = rng.choice(await kit.endpoints.list(tenant=tenant))
        match rng.randrange(6):
            case 0:
                await kit.endpoints.pause(endpoint.id, tenant=tenant)
                await asyncio.sleep(rng.uniform(10, HOUR))
                await kit.endpoints.resume(endpoint.id, tenant=tenant)
            case 1:
                await kit.endpoints.rotate_secret(endpoint.id, tenant=tenant, overlap=timedelta(0))
            case 2:
                await kit.endpoints.disable(endpoint.id, tenant=tenant)
                await asyncio.sleep(rng.uniform(10, HOUR))
                await kit.endpoints.resume(endpoint.id, tenant=tenant)
            case 3:
                await kit.deliveries.redrive_all(tenant=tenant)
            case 4:
                since = self.clock.now() - timedelta(hours=3)
                await kit.deliveries.recover(endpoint.id, tenant=tenant, since=since)
            case _:
                for delivery in (await kit.deliveries.list(tenant=tenant, limit=20))[: rng.randint(1, 20)]:
                    await kit.deliveries.cancel(delivery.id, tenant=tenant)
        self.faults["operated"] += 1

    # -- the day ---------------------------------------------------------------------------------

    async def heal(self, kit: Notifykit) -> None:
        """Repair everything and wait until nothing is open any more."""
        self.healed = True
        await asyncio.gather(*self._tasks)  # the last that died or froze; raises what went wrong with any of them
        end = self.at + 2 * DAY
        while True:
            for tenant in TENANTS:
                for endpoint in await kit.endpoints.list(tenant=tenant):
                    if endpoint.state is not EndpointState.ACTIVE:
                        await kit.endpoints.resume(endpoint.id, tenant=tenant)
            stats = await self.store.stats(now=self.clock.now())
            if not (stats.unplanned or stats.waiting or stats.sending):
                break
            assert self.at < end, f"two days after the last fault there is still work: {stats}"
            await asyncio.sleep(600)
        while self._workers:
            await self._workers.pop()[1].__aexit__(None, None, None)


async def live_through(seed: int, clock: VirtualClock, store: Store, events: int) -> dict[str, int]:
    """Simulate one day and the time until everything has ended; check it, and return its figures."""
    async with Notifykit(store=store, clock=clock) as kit:
        world = World(seed, store, clock)
        await world.set_up(kit)
        for _ in range(WORKERS):
            await world.start_worker()
        async with asyncio.TaskGroup() as day:
            for tenant in TENANTS:
                day.create_task(world.publish(tenant, events // len(TENANTS)))
            day.create_task(world.trouble())
            day.create_task(world.operate(kit))
        await world.heal(kit)
        figures = await world.checker.check(store, TENANTS)
    return {**figures, **world.faults}


@contextlib.contextmanager
def _calm() -> Iterator[None]:
    calm = patch.multiple(dispatcher_module, **_CALM)  # type: ignore[call-overload]
    with calm, patch.object(tokens, "_REFILL_EVERY", 15.0), patch.object(sqlite, "CHECK_EVERY", 60.0):
        yield


def simulate(seed: int, *, kind: str = "memory", events: int = 300) -> dict[str, int]:
    """Run one seed in virtual time.

    Args:
        kind: ``memory`` or ``sqlite``.
    """

    def store() -> Store:
        return MemoryStore() if kind == "memory" else SqliteStore("sqlite://")

    with _calm():
        return run_virtual(seed, lambda clock: live_through(seed, clock, store(), events))
