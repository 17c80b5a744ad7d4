"""The engine: planner, sources, senders, recorder and janitor in one task group.

It embeds in a host's event loop (``async with kit.dispatcher(): ...``) or runs until
it is told to stop (``await kit.dispatcher().run()``).
"""

from __future__ import annotations

import asyncio
import math
import os
import random
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from types import TracebackType
from typing import Self

import anyio

from ...errors import ConfigurationError, NewerSchemaError, StateError
from ...failpoints import failpoint
from ...models.delivery import Lane, Priority
from ...models.destination import Destination
from ...models.ids import new_id
from ...models.worker import REPORTS_EVERY
from ...policies.retry import Rng
from ...ports import Broker, Channel, Clock, Store
from ...telemetry import (
    LoopFailed,
    SendingPaused,
    Subscriber,
    TelemetryEvent,
    WorkerAlive,
    WorkerOutdated,
    tell,
    wants_log,
    why,
)
from ..context import Context
from ..directory import Directory
from ..maintenance.invalidation import Invalidation
from ..maintenance.janitor import Janitor
from ..maintenance.presence import Presence
from ..operational_events import OperationalEvents
from ..people import DeclaredTypes, People
from ..planning.planner import Planner
from ..receipts import Receipts
from ..relay import Relay
from ..round_robin import PollResult
from ..sending.backlog import Backlog
from ..sending.broker_source import BrokerSource
from ..sending.circuits import Circuits
from ..sending.intake import Intake
from ..sending.leases import Leases
from ..sending.pool import SenderPool
from ..sending.recorder import Recorder
from ..sending.sender import Sender
from ..sending.source import Source, StoreSource
from ..sending.tokens import TokenRefill
from ..settings import DispatchSettings
from .loops import Loops
from .schedule import Schedule

_SWEEP_EVERY, _IDLE_EVERY, _PURGE_EVERY, _TICK_EVERY = 5.0, 15.0, 60.0, 0.5
#: Seconds between two looks at receipts that have come before their attempt was recorded.
_RECEIPTS_EVERY = 5.0
#: What a stop has beyond its grace to write the results of the last attempts.
_LAST_WRITE = 0.5
#: Seconds for which nothing is sent after this process lacked what every attempt needs.
_SHORTAGE_PAUSE = 1.0
#: Seconds between two looks at workers that are long gone.
_FORGET_EVERY = 600.0
#: Seconds between two readings of the circuits of other processes.
_CIRCUITS_EVERY = 1.0


class SystemClock:
    """The clock of the machine."""

    def now(self) -> datetime:
        """Return the current instant in UTC."""
        return datetime.now(UTC)


class Dispatcher:
    """Turns published events into delivered ones.

    Args:
        store: An open store.
        channels: What carries deliveries, one for each channel name.
        settings: How it works.
        subscribers: Callables that get every telemetry event; the log is always one of them.
        opened: Keeps the store open while the dispatcher runs; without it the store must be open already.
        declared: Returns an event type that this program declares, for one that is not stored (yet).
        broker: Carries tickets from the relay to workers; without it workers claim what is due themselves.  The
            dispatcher disconnects it when it ends.
        dispatchers: How many share this process, each with a shard of its own.
    """

    def __init__(
        self,
        store: Store,
        channels: Sequence[Channel],
        settings: DispatchSettings | None = None,
        *,
        clock: Clock | None = None,
        rng: Rng = random.random,
        subscribers: Sequence[Subscriber] = (),
        opened: Callable[[Dispatcher], AbstractAsyncContextManager[None]] | None = None,
        declared: DeclaredTypes = lambda _: None,
        broker: Broker | None = None,
        dispatchers: int = 1,
    ) -> None:
        self.settings = settings or DispatchSettings()
        self._store = store
        self._channels = {channel.name: channel for channel in channels}
        if len(self._channels) != len(channels):
            raise ConfigurationError("two channels have the same name")
        if "send" in self.settings.roles and not channels:
            raise ConfigurationError("a dispatcher that sends needs at least one channel")
        self._clock = clock or SystemClock()
        self._subscribers = tuple(subscribers)
        self.worker = f"{socket.gethostname()}:{os.getpid()}:{new_id('')[-6:]}"
        self._context = Context(
            store=store,
            clock=self._clock,
            rng=rng,
            emit=self._emit,
            worker=self.worker,
            settings=self.settings,
            dispatchers=dispatchers,
        )
        self._opened = opened or _asked(store)
        self._declared = declared
        self._broker = broker
        self._keeping = AsyncExitStack()
        self._serving: asyncio.Task[None] | None = None
        self._outdated: NewerSchemaError | None = None
        self._stop = asyncio.Event()
        self._resuming: asyncio.TimerHandle | None = None
        self._schedule = Schedule(self._emit)
        self._build()

    def _build(self) -> None:
        context, settings = self._context, self.settings
        self._directory = Directory(self._store, settings.max_timeout, self._channels)
        self._people = People(
            self._store, self._directory, self._channels, self._declared, sms_caps=self.settings.sms_caps
        )
        self._leases = Leases()
        self._recorder = Recorder(context, self._leases, self._is_hurried, self._halt)
        self._operational = OperationalEvents(self._directory)
        self._invalidation = Invalidation(context, self._operational)
        self._circuits = Circuits(context, self._operational, self._allow, self._invalidate)
        every = [Lane(channel, priority) for channel in self._channels for priority in Priority]
        lanes = every if "send" in settings.roles else []
        self._relayed = every if "relay" in settings.roles and self._broker is not None else []
        relayed = None if self._broker is None else self._relayed
        self._loops = Loops(context, self._schedule, self._stop, self._retire, lanes, relayed)
        self._pool = SenderPool()
        self.backlogs: dict[tuple[str, Priority], Backlog] = {}
        self._refill = TokenRefill(context, self._directory, self.backlogs)
        self._sources: list[Source] = []
        self._senders: list[Sender] = []
        for lane in lanes:
            self._build_lane(lane)
        self._intake: Intake | None = None
        self._relay: Relay | None = None
        if self._broker is not None:
            self._relay = Relay(context, self._broker, self.backlogs)
            self._intake = Intake(context, self._broker, self.backlogs, self._loops.wake_source)
        for lane in lanes:
            self._sources.append(self._source(lane, self.backlogs[lane]))
        self._planner = Planner(
            context,
            self._directory,
            self._people,
            self.backlogs,
            self._leases,
            self._recorder.eager_sends,
            self._circuits,
        )
        self._janitor = Janitor(context, self._leases)
        self._presence = Presence(context, [*self._channels], self._in_flight)
        self._receipts = Receipts(self._store, self._clock, self._emit)

    def _build_lane(self, lane: Lane) -> None:
        backlog = self.backlogs[lane] = Backlog(
            self.settings.lane(lane),
            lambda: self._loops.wake_source(lane),
            self._refill.shortage.set,
        )
        sender = Sender(
            lane,
            self._context,
            backlog,
            self._channels,
            self._directory,
            self._recorder,
            self._leases,
            self._circuits,
            self._operational,
            self._wants,
            self._invalidate,
            lambda: self._loops.wake_source(lane),
            self._pause_sending,
            self.settings.lease_margin / 2,
        )
        backlog.on_ready = partial(self._pool.call, sender)  # a function of our own would cost as much as the call
        self._senders.append(sender)

    def _source(self, lane: Lane, backlog: Backlog) -> Source:
        parts = (
            lane,
            self._context,
            backlog,
            self._directory,
            self._people,
            self._leases,
            self._circuits,
            self._recorder,
        )
        return StoreSource(*parts) if self._intake is None else BrokerSource(*parts, intake=self._intake)

    # -- life ------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        # A store that is not open, or has no tables, is reported at once: the loops would only retry for ever.
        await self._keeping.enter_async_context(self._opened(self))
        self._stop.clear()
        self._outdated = None
        self._schedule.mark_active()
        # Not a child of the host's task: a host that is cancelled must not cut off attempts half-way.
        self._serving = asyncio.create_task(self._serve(), name="notifykit-dispatcher")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        serving = self._serving
        try:
            await self.aclose()
            if serving is not None:
                serving.result()  # raises what it died of
        finally:
            self._serving = None
            with anyio.CancelScope(shield=True):
                await self._keeping.aclose()

    async def aclose(self) -> None:
        """Stop, and return when the dispatcher has stopped."""
        self.stop()
        if self._serving is not None:
            with anyio.CancelScope(shield=True):
                await asyncio.wait([self._serving])

    def stop(self) -> None:
        """Begin to stop: claim nothing more, finish what is under way, give back the rest."""
        self._stop.set()
        self._loops.wake()
        for backlog in self.backlogs.values():
            backlog.close()

    async def run(self) -> None:
        """Work until :meth:`stop` is called or this task is cancelled.

        Raises:
            NewerSchemaError: The tables were migrated to a version that this process does not know;
                it has finished what was under way.
        """
        async with self:
            assert self._serving is not None
            await asyncio.shield(self._serving)
        if self._outdated is not None:
            raise self._outdated

    async def step(self) -> bool:
        """Run every role once, in this task and without a pause; return whether there was work.

        For tests, which own the clock: the order of what happens is the same each time.

        Raises:
            StateError: The dispatcher is running by itself.
        """
        if self._serving is not None:
            raise StateError("this dispatcher is running: step one that is not")
        roles = self.settings.roles
        worked = False
        self._resume_sending()
        if "clean" in roles:
            worked |= await self._janitor.end_leases(self._clock.now()) + await self._janitor.purge() > 0
            worked |= await self._receipts.look() > 0
        await self._circuits.refresh()
        if "plan" in roles:
            worked |= await self._planner.turn() > 0
        await self._send_held()
        for lane in self._relayed:
            worked |= await self._relay_turn(lane)() > 0
        if self._intake is not None and self._sources:
            worked |= await self._intake.receive() > 0
        for source in self._sources:
            if source.backlog.room():  # there is none while the process pauses sending
                worked |= await source.turn() > 0
        await self._send_held()
        await self._invalidation.write()
        return worked

    async def _send_held(self) -> None:
        """Send what the backlogs hold, one after the other, as far as tokens go; give the rest back."""
        await self._recorder.write()  # what sources have decided not to send
        while True:
            for sender in self._senders:
                while sender.backlog.ready:
                    await sender.work(1)
                    await self._recorder.write()
            for backlog in self.backlogs.values():
                await self._refill.refill(backlog)
            if not any(backlog.ready for backlog in self.backlogs.values()):
                break
        for sender in self._senders:
            for claim in sender.backlog.drain():
                destination = await self._directory.find_destination(claim)
                limit = None if destination is None else destination.rate_limit
                pause = timedelta(0) if limit is None else timedelta(seconds=1 / limit.per_second, microseconds=1)
                sender.release(claim, self._clock.now(), pause=pause)
                await self._recorder.write()

    async def drained(self) -> None:
        """Return when nothing is due in the store and nothing is under way here (for tests and demos)."""
        quiet = 0
        while quiet < 2:  # the counts of one look need not be of one instant
            if self._serving is not None and self._serving.done():
                await self._serving  # raises what it died of
                if self._outdated is not None:
                    raise self._outdated
            stats = await self._store.stats(now=self._clock.now())
            idle = stats.oldest_due is None and not stats.sending and not any(map(_busy, self.backlogs.values()))
            quiet = quiet + 1 if idle else 0
            await asyncio.sleep(0.01)

    async def _serve(self) -> None:
        roles = self.settings.roles
        async with anyio.create_task_group() as tools:
            tools.start_soon(self._recorder.run)
            tools.start_soon(self._recorder.eager_sends.watch)
            tools.start_soon(self._refill.run)
            tools.start_soon(self._tick)
            often = self.settings.lease.total_seconds() / 4
            every = self._schedule.every
            # A lease that could not be prolonged is, before another worker looks twice whether it has run out.
            retry = min(_SWEEP_EVERY, often) / 8
            tools.start_soon(every, "extend", often, self._janitor.extend, math.inf, retry)
            tools.start_soon(every, "circuits", _CIRCUITS_EVERY, self._circuits.look, math.inf)
            tools.start_soon(every, "sweep", min(_SWEEP_EVERY, often), self._sweep, min(_IDLE_EVERY, often))
            tools.start_soon(every, "report", REPORTS_EVERY.total_seconds(), self._presence.report)
            if "clean" in roles:
                tools.start_soon(every, "purge", _PURGE_EVERY, self._janitor.purge)
                tools.start_soon(every, "forget workers", _FORGET_EVERY, self._presence.forget)
                tools.start_soon(every, "receipts", _RECEIPTS_EVERY, self._receipts.look, _PURGE_EVERY)
            async with anyio.create_task_group() as senders:
                self._pool.open(senders)
                for backlog in self.backlogs.values():
                    backlog.open()
                async with anyio.create_task_group() as intake:
                    if "plan" in roles:
                        intake.start_soon(self._plan)
                        intake.start_soon(self._loops.bypass, self._planner.bypass)
                    for source in self._sources:
                        intake.start_soon(self._loops.claim, source.lane, source.turn)
                    for lane in self._relayed:
                        intake.start_soon(self._loops.relay, lane, self._relay_turn(lane))
                    listening = anyio.CancelScope()
                    if self._sources or self._relayed or "plan" in roles:
                        intake.start_soon(self._in, listening, self._loops.listen)
                    receiving = anyio.CancelScope()
                    if self._intake is not None and self._sources:
                        tools.start_soon(self._intake.acknowledge)
                        intake.start_soon(self._in, receiving, self._intake.run)
                    await self._stop.wait()
                    listening.cancel()
                    receiving.cancel()
                    end = anyio.current_time() + self.settings.grace.total_seconds()
                    intake.cancel_scope.deadline = end  # for a loop that waits for a database that is away
                await self._drain(end)
                self._pool.close()
                senders.cancel_scope.cancel()
            with anyio.CancelScope(deadline=end + _LAST_WRITE):
                await self._recorder.flush()
            tools.cancel_scope.cancel()
        if self._outdated is None:
            with anyio.move_on_after(_LAST_WRITE):
                await self._presence.leave()
        self._resume_sending()
        await self._close()

    async def _close(self) -> None:
        """Close the channels and the broker."""
        closing: list[tuple[str, Channel | Broker]] = [*self._channels.items()]
        if self._broker is not None:
            closing.append(("broker", self._broker))
        for name, one in closing:
            try:
                await one.aclose()
            except Exception as error:  # the others are closed all the same
                self._emit(LoopFailed(loop=f"close {name}", error=why(error), pause=timedelta(0)))

    async def _drain(self, end: float) -> None:
        """Give back what was not started and wait for what was, until ``end`` at the latest."""
        failpoint("stop.draining")
        now = self._clock.now()
        for sender in self._senders:
            for claim in sender.backlog.drain():
                sender.release(claim, now)
        self._recorder.eager_sends.finish()  # what is cut off must stay leased
        with anyio.CancelScope(deadline=end):
            if self._intake is not None:
                await self._intake.give_back()
            while any(backlog.in_flight for backlog in self.backlogs.values()):
                await asyncio.sleep(0.01)

    # -- loops -----------------------------------------------------------------------------------

    async def _plan(self) -> None:
        await self._loops.plan(self._planner.turn)
        await self._planner.finish()

    @staticmethod
    async def _in(scope: anyio.CancelScope, loop: Callable[[], Awaitable[None]]) -> None:
        with scope:
            await loop()

    def _relay_turn(self, lane: Lane) -> Callable[[], Awaitable[PollResult]]:
        assert self._relay is not None, "lanes are relayed to a broker"
        return partial(self._relay.turn, lane)

    async def _sweep(self) -> None:
        """If there is any work, wake every loop without a notification, and end leases of workers that were lost."""
        try:
            has_work = (await self._store.next_due()).is_open
        except NewerSchemaError as error:
            self._retire(error)
            return
        self._emit(WorkerAlive(worker=self.worker, in_flight=self._in_flight(), at=self._clock.now()))
        if has_work:
            self._schedule.mark_active()
            self._loops.wake()
            if "clean" in self.settings.roles:
                await self._janitor.rescue()
        elif not self._invalidation.is_pending:
            self._schedule.note_idle()

    def _in_flight(self) -> int:
        return sum(backlog.in_flight for backlog in self.backlogs.values())

    def _retire(self, error: NewerSchemaError) -> None:
        """Stop, because the next statement may be one that the tables do not take any more."""
        if self._outdated is None:
            self._outdated = error
            self._emit(WorkerOutdated(found=error.found, known=error.known))
            self.stop()

    async def _tick(self) -> None:
        while True:
            await self._schedule.active.wait()
            await asyncio.sleep(self._schedule.until_next(_TICK_EVERY))
            for backlog in self.backlogs.values():
                backlog.tick()
            self._pool.tick()
            await self._invalidation.write()

    def _is_hurried(self) -> bool:
        return self._planner.is_bypassed or any(backlog.is_mixed() for backlog in self.backlogs.values())

    def _halt(self, halted: bool) -> None:
        """Begin no attempt while results cannot be written."""
        for backlog in self.backlogs.values():
            if halted:
                backlog.halt("unwritten results")
            else:
                backlog.resume("unwritten results")

    def _allow(self, subscriber_id: str, places: int) -> None:
        for backlog in self.backlogs.values():
            backlog.allow(subscriber_id, places)

    # -- what senders tell -----------------------------------------------------------------------

    def _invalidate(self, destination: Destination, reason: str) -> None:
        self._invalidation.note(destination, reason)
        self._schedule.mark_active()

    def _pause_sending(self, reason: str) -> None:
        """Hand out no claims for a while: the attempts under way may give back what this process lacks."""
        if self._resuming is None:
            for backlog in self.backlogs.values():
                backlog.halt("shortage")
            self._resuming = asyncio.get_running_loop().call_later(_SHORTAGE_PAUSE, self._resume_sending)
            self._emit(SendingPaused(reason=reason, pause=timedelta(seconds=_SHORTAGE_PAUSE)))

    def _resume_sending(self) -> None:
        if self._resuming is not None:
            self._resuming.cancel()
            self._resuming = None
            for backlog in self.backlogs.values():
                backlog.resume("shortage")

    def _wants(self) -> bool:
        return bool(self._subscribers) or wants_log()

    def _emit(self, event: TelemetryEvent) -> None:
        tell(event, self._subscribers)


def _asked(store: Store) -> Callable[[Dispatcher], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def asked(_: Dispatcher) -> AsyncIterator[None]:
        """Ask the store something, so that one that is not open says so."""
        await store.next_due()
        yield

    return asked


def _busy(backlog: Backlog) -> bool:
    return bool(backlog.waiting or backlog.in_flight)
