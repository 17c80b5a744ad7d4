"""With a broker, what is due is claimed by the tickets that the relay puts there, and nothing depends on them."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from notifykit import BrokerUnavailableError, DeliveryState, DispatchSettings
from notifykit.brokers.memory import MemoryBroker
from notifykit.dispatch.round_robin import PollResult
from notifykit.models.delivery import Lane, Priority
from notifykit.telemetry import LoopFailed
from notifykit.testing import FakeClock

from .support import Bench, bench, failing

HOLD = timedelta(seconds=30)


class AwayBroker(MemoryBroker):
    """Does not answer as long as it is away."""

    away = True

    async def put(self, tickets):
        if self.away:
            raise BrokerUnavailableError("away")
        await super().put(tickets)

    async def receive(self, wanted, *, wait):
        if self.away:
            raise BrokerUnavailableError("away")
        return await super().receive(wanted, wait=wait)


class LosingBroker(MemoryBroker):
    """Loses what it carries, repeats the rest and hands it out backwards."""

    def __init__(self):
        super().__init__()
        self.count = 0

    async def put(self, tickets):
        kept = [ticket for at, ticket in enumerate(tickets, self.count) if at % 3]
        self.count += len(tickets)
        await super().put([*reversed(kept), *kept])


def with_broker(b: Bench, broker: MemoryBroker, **settings):
    """Have the bench's dispatcher use a broker."""
    b.dispatcher = b.kit.dispatcher([b.channel], DispatchSettings(**{"poll": timedelta(milliseconds=50), **settings}))
    b.dispatcher._broker = broker
    b.dispatcher._build()
    return b.dispatcher


def only(*roles):
    return {"roles": frozenset(roles)}


async def test_workers_that_only_send_get_their_work_from_the_relay():
    """One process plans, one hands over, one sends: tickets lead from each to the next."""
    broker = MemoryBroker()
    async with bench() as b:
        await b.endpoint()
        planner, relay, worker = (with_broker(b, broker, **only(role)) for role in ("plan", "relay", "send"))
        async with planner, relay, worker:
            for _ in range(20):
                await b.publish()
            await b.until_states(DeliveryState.DELIVERED, count=20)

    assert 20 == len({claim.delivery_id for claim in b.channel.sent}) == len(b.channel.sent)


async def test_a_worker_without_tickets_sends_nothing():
    """With a broker the store is not searched for work."""
    async with bench() as b:
        await b.endpoint()
        await b.publish()
        planner, worker = (with_broker(b, MemoryBroker(), **only(role)) for role in ("plan", "send"))
        await planner.step()
        for _ in range(3):
            await worker.step()

    assert [] == b.channel.sent


async def test_the_relay_looks_again_soon_after_it_found_something():
    """It is woken only now and then, and much would wait for that."""
    async with bench(**only("plan")) as b:
        await b.endpoint()
        await b.publish()
        await b.dispatcher.step()
        relay = with_broker(b, MemoryBroker(), **only("relay"))._relay

        assert [PollResult.FEW, PollResult.NOTHING] == [
            await relay.turn(Lane("webhook", Priority.NORMAL)) for _ in "ab"
        ]


async def test_a_retry_goes_through_the_broker():
    """A delivery that failed is handed over again when it is due."""
    async with bench(failing(2)) as b:
        await b.endpoint()
        async with with_broker(b, MemoryBroker()):
            await b.publish()
            (done,) = await b.until_states(DeliveryState.DELIVERED)

    assert 3 == done.attempts


async def test_a_wiped_broker_costs_the_hold():
    """What the broker has lost is handed over again when its hold runs out, and not before."""
    clock, broker = FakeClock(), MemoryBroker()
    async with bench(clock=clock, **only("plan")) as b:
        await b.endpoint()
        await b.publish()
        await b.dispatcher.step()
        relay, worker = (with_broker(b, broker, hold=HOLD, **only(role)) for role in ("relay", "send"))
        await relay.step()
        broker.wipe()

        clock.advance(HOLD - timedelta(microseconds=1))
        await relay.step()
        await worker.step()
        early = len(b.channel.sent)
        clock.advance(timedelta(microseconds=1))
        await relay.step()
        await worker.step()

    assert (0, 1) == (early, len(b.channel.sent))


async def test_lost_repeated_and_reordered_tickets_send_everything_once():
    """Each delivery arrives once, whatever the broker does to its tickets."""
    clock, broker = FakeClock(), LosingBroker()
    async with bench(clock=clock, **only("plan")) as b:
        await b.endpoint()
        for _ in range(30):
            await b.publish()
        await b.dispatcher.step()
        both = with_broker(b, broker, hold=HOLD, **only("relay", "send"))
        while len(b.channel.sent) < 30:
            await both.step()
            clock.advance(HOLD)

    assert 30 == len({claim.delivery_id for claim in b.channel.sent}) == len(b.channel.sent)


async def test_tickets_that_could_not_be_put_are_tried_again():
    """The relay waits for a broker that is away, says so, and hands the same batch over when it is back."""
    broker = AwayBroker()
    async with bench() as b:
        await b.endpoint()
        await b.publish()
        planner, worker = with_broker(b, broker, **only("plan")), with_broker(b, broker, **only("relay", "send"))
        async with planner, worker:
            await b.until(lambda: {"relay webhook", "receive"} <= {e.loop for e in b.told if isinstance(e, LoopFailed)})
            broker.away = False
            await b.until_states(DeliveryState.DELIVERED)

    assert 1 == len(b.channel.sent)


async def test_a_ticket_is_acknowledged_after_its_delivery_was_claimed():
    """A worker whose store is away keeps the ticket: it is not acknowledged, and claims when the store is back."""
    log = []

    class Logging(MemoryBroker):
        async def ack(self, received):
            log.append("ack")

    async with bench(**only("plan")) as b:
        await b.endpoint()
        await b.publish()
        await b.dispatcher.step()
        relay, worker = (with_broker(b, Logging(), **only(role)) for role in ("relay", "send"))
        worker._broker = relay._broker
        worker._build()
        await relay.step()
        claim = b.kit.store.claim

        async def failing_claim(*args, **options):
            log.append("claim fails")
            raise OSError("away")

        b.kit.store.claim = failing_claim  # type: ignore[method-assign]
        with pytest.raises(OSError, match="away"):
            await worker.step()
        assert worker._intake is not None
        await worker._intake.flush()
        b.kit.store.claim = claim  # type: ignore[method-assign]
        await worker.step()
        await worker._intake.flush()

    assert ["claim fails", "ack"] == log
    assert 1 == len(b.channel.sent)


async def test_tickets_of_a_full_subscriber_wait_for_room():
    """A slow endpoint's tickets are parked: others are claimed beside them, and they follow when there is room."""
    broker = MemoryBroker()
    async with bench() as b:
        slow = await b.endpoint("slow", max_in_flight=1)
        await b.endpoint("fast")
        b.channel.gate = asyncio.Event()
        planner, worker = with_broker(b, broker, **only("plan")), with_broker(b, broker, **only("relay", "send"))
        async with planner, worker:
            await b.publish("slow")
            await b.until(lambda: b.channel.open == 1)
            for kind in ["slow"] * 5 + ["fast"]:
                await b.publish(kind)
            await b.until(lambda: {"fast", "slow"} <= {claim.event_type for claim in b.channel.sent})
            held = len([c for c in worker._leases.held.values() if c.subscriber_id == slow.id])
            b.channel.gate.set()
            await b.until_states(DeliveryState.DELIVERED, count=7)

    assert held <= 2
    assert 7 == len(b.channel.sent)


async def test_a_stop_hands_unclaimed_tickets_to_others():
    """A worker that stops puts back what it has not claimed, so that others need not wait for the hold."""
    broker = MemoryBroker()
    async with bench(**only("plan")) as b:
        await b.endpoint(max_in_flight=1)
        b.channel.gate = asyncio.Event()
        planner, worker = with_broker(b, broker, **only("plan")), with_broker(b, broker, **only("relay", "send"))
        async with planner:
            async with worker:
                await b.publish()
                await b.until(lambda: b.channel.open == 1)
                for _ in range(4):
                    await b.publish()
                await b.until(lambda: any(its.parked for its in worker._intake._lanes.values()), 5)
                b.channel.gate.set()
                worker.stop()
            left = sum(map(len, broker._queues.values()))
            async with with_broker(b, broker, **only("relay", "send")):
                await b.until_states(DeliveryState.DELIVERED, count=5, seconds=10)

    assert left > 0


async def test_only_so_many_tickets_are_out():
    """The broker never holds the whole backlog: one subscriber has an eighth of what may be out."""
    broker = MemoryBroker()
    async with bench(**only("plan")) as b:
        await b.endpoint()
        for _ in range(30):
            await b.publish()
        await b.dispatcher.step()
        relay = with_broker(b, broker, tickets=80, **only("relay"))
        for _ in range(5):
            await relay.step()

    assert 10 == sum(map(len, broker._queues.values()))
