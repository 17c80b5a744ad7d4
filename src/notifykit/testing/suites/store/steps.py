"""The steps that bring a store into a state, through its port only."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

from ....models.circuit import OpenCircuit
from ....models.delivery import WEBHOOK, Claim, Delivery, DeliveryState, Lane, NewDelivery, Priority
from ....models.endpoint import RateLimit
from ....models.event import StoredEvent, TakenEvent
from ....models.subscription import TenantConfig
from ....ports import (
    ConfigRecord,
    DeliveryFilter,
    EventFilter,
    Limits,
    Operations,
    Records,
    Settlement,
    Store,
    TokenRequest,
)
from ...builders import make_attempt, make_delivery, make_event, make_record
from ...clock import FakeClock

R = TypeVar("R", bound=ConfigRecord)

ACME, GLOBEX = "acme", "globex"
LANE = Lane(WEBHOOK, Priority.NORMAL)
RECEIVER, OTHER = "end_receiver", "end_other"
LEASE = timedelta(seconds=30)
SECOND, MINUTE, HOUR, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
#: The smallest step of time that a store must not lose.
TICK = timedelta(microseconds=1)


async def take(
    store: Store,
    clock: FakeClock,
    limit: int = 100,
    *,
    lease: timedelta = LEASE,
    exclude: Collection[str] = (),
    since: datetime | None = None,
) -> list[TakenEvent]:
    """Take events as a planner does."""
    return await store.take(limit, now=clock.now(), lease=lease, exclude=exclude, since=since)


async def take_one(store: Store, clock: FakeClock) -> TakenEvent:
    """Take the one event that is due."""
    taken = await take(store, clock)
    assert 1 == len(taken)
    return taken[0]


async def settle(
    store: Store,
    clock: FakeClock,
    taken: TakenEvent,
    deliveries: Sequence[NewDelivery] = (),
    *,
    cursor: str | None = None,
    worker: str = "planner-1",
) -> set[str]:
    """Settle one taken event as a planner does."""
    settlement = Settlement(taken.id, taken.fence, deliveries, cursor)
    return await store.settle([settlement], now=clock.now(), lease=LEASE, worker=worker)


async def claim(
    store: Store,
    clock: FakeClock,
    limit: int = 100,
    *,
    lane: Lane = LANE,
    lease: timedelta = LEASE,
    worker: str = "worker-1",
    **names: Collection[str] | None,
) -> list[Claim]:
    """Claim deliveries as a worker does; ``names`` says of which tenants and subscribers."""
    return await store.claim(lane, limit, now=clock.now(), lease=lease, worker=worker, **names)  # type: ignore[arg-type]


async def claim_one(store: Store, clock: FakeClock) -> Claim:
    """Claim the one delivery that is due."""
    claimed = await claim(store, clock)
    assert 1 == len(claimed)
    return claimed[0]


async def plan(store: Store, clock: FakeClock, event: StoredEvent, deliveries: Sequence[NewDelivery]) -> None:
    """Publish ``event`` and plan it as ``deliveries``; no other event may be due."""
    await store.append([event])
    taken = await take_one(store, clock)
    assert {event.id} == await settle(store, clock, taken, deliveries)


async def given_deliveries(
    store: Store,
    clock: FakeClock,
    count: int,
    *,
    tenant: str = ACME,
    subscriber: str = RECEIVER,
    priority: Priority = Priority.NORMAL,
    **changes: Any,
) -> list[NewDelivery]:
    """Plan ``count`` deliveries of one event to one subscriber, in the order of their ids."""
    event = make_event(tenant=tenant, at=clock.now(), priority=priority)
    made = [make_delivery(event, subscriber, address=f"address {i}", **changes) for i in range(count)]
    await plan(store, clock, event, made)
    return sorted(made)


async def given_delivery(store: Store, clock: FakeClock, **changes: Any) -> NewDelivery:
    """Plan one delivery; ``changes`` are those of :func:`given_deliveries`."""
    (delivery,) = await given_deliveries(store, clock, 1, **changes)
    return delivery


async def given_claim(store: Store, clock: FakeClock, **changes: Any) -> Claim:
    """Plan one delivery and claim it; nothing else may be due."""
    await given_delivery(store, clock, **changes)
    return await claim_one(store, clock)


async def given_ended(
    store: Store, clock: FakeClock, *, state: DeliveryState = DeliveryState.DEAD, **changes: Any
) -> Claim:
    """Plan, claim and end one delivery after one attempt; nothing else may be due."""
    claimed = await given_claim(store, clock, **changes)
    await finish(store, clock, claimed, state)
    return claimed


async def finish(
    store: Store, clock: FakeClock, claimed: Claim, state: DeliveryState = DeliveryState.DELIVERED
) -> set[str]:
    """Record that an attempt ended the delivery."""
    delivered = state is DeliveryState.DELIVERED
    attempt = make_attempt(claimed, at=clock.now(), outcome="accepted" if delivered else "permanent")
    reason = None if delivered else "exhausted"
    return await store.record([make_record(claimed, state, at=clock.now(), attempt=attempt, reason=reason)])


async def retry(store: Store, clock: FakeClock, claimed: Claim, *, after: timedelta) -> set[str]:
    """Record that an attempt failed and the next one is due ``after`` that."""
    due_at = clock.now() + after
    attempt = make_attempt(claimed, at=clock.now(), outcome="transient", reason="http_503", status=503, retry_at=due_at)
    record = make_record(
        claimed, DeliveryState.PENDING, at=clock.now(), attempt=attempt, reason="http_503", due_at=due_at
    )
    return await store.record([record])


async def release(store: Store, clock: FakeClock, claimed: Claim) -> set[str]:
    """Give a claim back without having sent anything; the delivery is due at once."""
    return await store.record([make_record(claimed, DeliveryState.PENDING, at=clock.now(), due_at=clock.now())])


async def read(store: Store, delivery_id: str, *, tenant: str = ACME) -> Delivery:
    """Return a delivery that must be there."""
    delivery = await find_delivery(store, tenant, delivery_id)
    assert delivery is not None
    return delivery


async def find_delivery(store: Operations, tenant: str, delivery_id: str) -> Delivery | None:
    """Return a delivery by its id."""
    found = await store.find_deliveries(tenant, DeliveryFilter(ids=delivery_id), limit=2)
    assert len(found) < 2
    return found[0] if found else None


async def find_event(store: Operations, tenant: str, event_id: str) -> StoredEvent | None:
    """Return an event by its id."""
    found = await store.find_events(tenant, EventFilter(ids=event_id), limit=2)
    assert len(found) < 2
    return found[0] if found else None


async def is_planned(store: Operations, tenant: str, event_id: str) -> bool:
    """Return whether an event has left the outbox; both answers of the store must agree."""
    planned = await store.find_events(tenant, EventFilter(ids=event_id, planned=True), limit=2)
    unplanned = await store.find_events(tenant, EventFilter(ids=event_id, planned=False), limit=2)
    assert not (planned and unplanned)
    return not unplanned


async def get_one(store: Records, kind: type[R], tenant: str, id: str) -> R | None:
    """Return a record by its id."""
    found = await store.get(kind, tenant, [id])
    assert len(found) < 2
    return found[0] if found else None


async def load(store: Records, tenant: str) -> TenantConfig:
    """Load a tenant of any size."""
    config = (await store.load_tenants([tenant]))[tenant]
    assert config is not None
    return config


async def save_circuit(store: Limits, circuit: OpenCircuit) -> OpenCircuit:
    """Save a circuit as the engine does."""
    saved = await store.save_circuit(circuit.tenant, circuit.key, circuit, now=circuit.since)
    assert saved is not None
    return saved


async def acquire(store: Limits, tenant: str, endpoint_id: str, tokens: int, limit: RateLimit, *, now: datetime) -> int:
    """Take tokens out of one bucket."""
    (acquired,) = await store.acquire([TokenRequest(tenant, endpoint_id, tokens, limit)], now=now)
    return acquired
