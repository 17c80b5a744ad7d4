"""Circuits, token buckets, and the events that records bring with them."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

import anyio
import attrs

from ....models.circuit import OpenCircuit
from ....models.delivery import Claim, DeliveryState, Priority
from ....models.endpoint import MIN_RATE, Endpoint, RateLimit
from ....models.event import StoredEvent
from ....models.throttle import MAX_PER, Throttle
from ....ports import Record, Store, TokenRequest
from ...builders import make_attempt, make_endpoint, make_event, make_record
from ...clock import FakeClock
from .fixtures import MakeStore, needs
from .steps import (
    ACME,
    GLOBEX,
    HOUR,
    MINUTE,
    OTHER,
    RECEIVER,
    SECOND,
    acquire,
    claim,
    find_event,
    given_claim,
    given_delivery,
    load,
    read,
    save_circuit,
    take,
)

HELD = {"state": DeliveryState.HELD, "reason": "endpoint_failing"}
LIMIT = RateLimit(per_second=2, burst=10)


def failing_endpoint(
    clock: FakeClock, endpoint_id: str = RECEIVER, tenant: str = ACME, *, probes: int = 0
) -> OpenCircuit:
    """Return the open circuit of an endpoint."""
    now = clock.now()
    return OpenCircuit(
        key=endpoint_id, tenant=tenant, since=now, probe_at=now + MINUTE, probes=probes, reason="http_503"
    )


class LimitPromises:
    """What a store promises about circuits and rate limits."""

    async def test_no_circuit_is_open_at_first(self, store: Store, clock: FakeClock) -> None:
        """Only circuits that were saved are open."""
        await store.save(make_endpoint(at=clock.now()))

        assert [] == await store.circuits()

    async def test_circuits_of_all_tenants_read_back_as_they_were_saved(self, store: Store, clock: FakeClock) -> None:
        """The engine reads every open circuit with every field, to the microsecond."""
        open_ones = [
            failing_endpoint(clock),
            failing_endpoint(clock, OTHER, probes=7),
            OpenCircuit(key="end_third", tenant=GLOBEX, since=clock.now(), probe_at=clock.advance(SECOND)),
        ]

        saved = [await self._given_circuit(store, circuit) for circuit in open_ones]
        found = await store.circuits()

        assert [attrs.evolve(circuit, version=1) for circuit in open_ones] == saved
        assert sorted(saved, key=_by_id) == sorted(found, key=_by_id)

    async def test_an_endpoint_has_one_circuit(self, store: Store, clock: FakeClock) -> None:
        """A saved circuit replaces the one before."""
        later = OpenCircuit(
            key=RECEIVER,
            tenant=ACME,
            since=clock.now(),
            probe_at=clock.now() + HOUR,
            probes=3,
            reason="timeout",
            version=1,
        )

        await self._given_circuit(store, failing_endpoint(clock))
        saved = await save_circuit(store, later)

        assert [attrs.evolve(later, version=2)] == [saved] == await store.circuits()

    async def test_circuits_are_not_configuration(self, store: Store, clock: FakeClock) -> None:
        """Opening and closing a circuit does not raise the tenant's version: nothing has to be loaded again."""
        endpoint = make_endpoint(at=clock.now())
        await store.save(endpoint)
        before = await load(store, ACME)

        await save_circuit(store, failing_endpoint(clock, endpoint.id))
        await store.save_circuit(ACME, endpoint.id, None, now=clock.now())
        await acquire(store, ACME, endpoint.id, 1, LIMIT, now=clock.now())

        assert before == await load(store, ACME)

    async def test_a_circuit_is_closed_once(self, store: Store, clock: FakeClock) -> None:
        """Of several processes that close a circuit one gets it back, and other circuits stay open."""
        circuit = await self._given_circuit(store, failing_endpoint(clock))
        other = await self._given_circuit(store, failing_endpoint(clock, OTHER))

        answers = [await store.save_circuit(ACME, RECEIVER, None, now=clock.now()) for _ in range(2)]

        assert [circuit, None] == answers
        assert [other] == await store.circuits()

    async def test_closing_a_circuit_wakes_what_it_holds_back(self, store: Store, clock: FakeClock) -> None:
        """Deliveries that are held for the endpoint become due; others go on waiting."""
        later = clock.now() + HOUR
        parked = await given_delivery(store, clock, due_at=later, **HELD)
        waiting = await given_delivery(store, clock, due_at=later)
        elsewhere = await given_delivery(store, clock, subscriber=OTHER, due_at=later, **HELD)
        await self._given_circuit(store, failing_endpoint(clock))
        now = clock.advance(SECOND)

        await store.save_circuit(ACME, RECEIVER, None, now=now)
        claimed = await claim(store, clock)

        assert [parked.id] == [c.delivery_id for c in claimed]
        assert [later, later] == [(await read(store, new.id)).due_at for new in (waiting, elsewhere)]

    async def test_closing_no_circuit_wakes_nothing(self, store: Store, clock: FakeClock) -> None:
        """What an operator has paused stays held when a process closes a circuit that is not open."""
        paused = await given_delivery(store, clock, state=DeliveryState.HELD, due_at=clock.now() + HOUR)

        recovered = await store.save_circuit(ACME, RECEIVER, None, now=clock.now())

        assert recovered is None
        assert DeliveryState.HELD is (await read(store, paused.id)).state

    async def test_a_stranger_closes_no_circuit(self, store: Store, clock: FakeClock) -> None:
        """Under another tenant's name a circuit is not found, and nothing wakes."""
        parked = await given_delivery(store, clock, due_at=clock.now() + HOUR, **HELD)
        circuit = await self._given_circuit(store, failing_endpoint(clock))

        recovered = await store.save_circuit(GLOBEX, RECEIVER, None, now=clock.now())

        assert recovered is None
        assert [circuit] == await store.circuits()
        assert DeliveryState.HELD is (await read(store, parked.id)).state

    async def test_equal_ids_of_two_tenants_have_circuits_and_buckets_of_their_own(
        self, store: Store, clock: FakeClock
    ) -> None:
        """An id that another tenant uses as well shares neither circuit nor bucket with it."""
        ours = await self._given_circuit(store, failing_endpoint(clock))
        theirs = await self._given_circuit(store, failing_endpoint(clock, tenant=GLOBEX, probes=2))
        await acquire(store, GLOBEX, RECEIVER, 10, LIMIT, now=clock.now())

        both = await store.circuits()
        await store.save_circuit(GLOBEX, RECEIVER, None, now=clock.now())

        assert [ours, theirs] == sorted(both, key=lambda circuit: circuit.tenant)
        assert [ours] == await store.circuits()
        assert 10 == await acquire(store, ACME, RECEIVER, 10, LIMIT, now=clock.now())

    async def test_a_removed_endpoint_leaves_neither_circuit_nor_bucket(self, store: Store, clock: FakeClock) -> None:
        """An endpoint that is saved again under its old id starts without a circuit and with a full bucket."""
        endpoint = make_endpoint(at=clock.now())
        await store.save(endpoint)
        await save_circuit(store, failing_endpoint(clock, endpoint.id))
        await acquire(store, ACME, endpoint.id, 10, LIMIT, now=clock.now())

        await store.remove(Endpoint, ACME, endpoint.id, now=clock.now())
        await store.save(endpoint)

        assert [] == await store.circuits()
        assert 10 == await acquire(store, ACME, endpoint.id, 10, LIMIT, now=clock.now())

    async def test_a_bucket_starts_full_and_gives_no_more_than_it_has(self, store: Store, clock: FakeClock) -> None:
        """The burst is available at once, and each token is acquired once."""
        acquired = [await acquire(store, ACME, RECEIVER, wanted, LIMIT, now=clock.now()) for wanted in (4, 4, 4, 4)]

        assert [4, 4, 2, 0] == acquired

    async def test_a_bucket_fills_at_its_rate_up_to_its_burst(self, store: Store, clock: FakeClock) -> None:
        """So many tokens come in a second, and a long pause saves up no more than the burst."""
        await acquire(store, ACME, RECEIVER, 10, LIMIT, now=clock.now())

        soon = await acquire(store, ACME, RECEIVER, 10, LIMIT, now=clock.advance(2 * SECOND))
        late = await acquire(store, ACME, RECEIVER, 100, LIMIT, now=clock.advance(HOUR))

        assert (4, 10) == (soon, late)

    async def test_parts_of_a_token_add_up(self, store: Store, clock: FakeClock) -> None:
        """Many small requests get as much as a few large ones: what is left of a token stays in the bucket."""
        slow = RateLimit(per_second=0.5, burst=1)
        await acquire(store, ACME, RECEIVER, 1, slow, now=clock.now())

        acquired = [await acquire(store, ACME, RECEIVER, 1, slow, now=clock.advance(SECOND / 2)) for _ in range(8)]

        assert [0, 0, 0, 1, 0, 0, 0, 1] == acquired

    async def test_a_clock_that_is_behind_makes_no_tokens(self, store: Store, clock: FakeClock) -> None:
        """Processes whose clocks differ do not fill a bucket twice, nor empty it."""
        await acquire(store, ACME, RECEIVER, 10, LIMIT, now=clock.now())

        behind = await acquire(store, ACME, RECEIVER, 10, LIMIT, now=clock.now() - HOUR)
        again = await acquire(store, ACME, RECEIVER, 10, LIMIT, now=clock.now())
        later = await acquire(store, ACME, RECEIVER, 10, LIMIT, now=clock.advance(SECOND))

        assert (0, 0, 2) == (behind, again, later)

    async def test_a_changed_limit_counts_from_the_next_request(self, store: Store, clock: FakeClock) -> None:
        """A bucket that is made smaller holds no more than its new burst."""
        await acquire(store, ACME, RECEIVER, 1, LIMIT, now=clock.now())

        acquired = await acquire(store, ACME, RECEIVER, 10, RateLimit(per_second=1, burst=3), now=clock.now())

        assert 3 == acquired

    async def test_each_endpoint_has_a_bucket_of_its_own(self, store: Store, clock: FakeClock) -> None:
        """What one endpoint uses up is not taken from another."""
        await acquire(store, ACME, RECEIVER, 10, LIMIT, now=clock.now())

        assert 10 == await acquire(store, ACME, OTHER, 10, LIMIT, now=clock.now())
        assert 10 == await acquire(store, GLOBEX, "end_third", 10, LIMIT, now=clock.now())

    async def test_many_buckets_are_asked_at_once(self, store: Store, clock: FakeClock) -> None:
        """Each request is answered in its place, and two requests of one bucket share it."""
        requests = [
            TokenRequest(GLOBEX, RECEIVER, 3, LIMIT),
            TokenRequest(ACME, OTHER, 100, RateLimit(per_second=1, burst=5)),
            TokenRequest(ACME, RECEIVER, 7, LIMIT),
            TokenRequest(ACME, RECEIVER, 7, LIMIT),
        ]

        acquired = await store.acquire(requests, now=clock.now())

        assert (3, 5, 10) == (acquired[0], acquired[1], acquired[2] + acquired[3])
        assert [] == await store.acquire([], now=clock.now())

    async def test_buckets_of_people_are_forgotten_when_they_are_full(self, store: Store, clock: FakeClock) -> None:
        """A bucket that fills in 30 days is deleted after that, not before; those of endpoints stay."""
        month = Throttle(2, MAX_PER)
        theirs = TokenRequest(ACME, month.bucket("user:42", "news", "email"), 2, month.rate)
        endpoints = TokenRequest(ACME, RECEIVER, 1, RateLimit(per_second=MIN_RATE, burst=1))
        await store.acquire([theirs, endpoints], now=clock.now())

        early = await store.purge(before=clock.advance(MAX_PER), keys_before=clock.now(), limit=9)
        kept = await store.acquire([theirs._replace(tokens=0)], now=clock.now() - MAX_PER)
        late = await store.purge(before=clock.advance(SECOND), keys_before=clock.now(), limit=9)
        again = await store.acquire([theirs, endpoints], now=clock.now() - MAX_PER)

        assert (0, [0], 1, [2, 0]) == (early, kept, late, again)

    @needs("concurrent")
    async def test_processes_share_many_buckets_in_any_order(
        self, store: Store, clock: FakeClock, make_second_store: MakeStore
    ) -> None:
        """Two processes that ask for the same buckets in opposite orders do not deadlock."""
        other = await make_second_store()
        requests = [TokenRequest(ACME, f"end_{number}", 1, LIMIT) for number in range(8)]

        with anyio.fail_after(30):
            async with anyio.create_task_group() as processes:
                for _ in range(10):
                    processes.start_soon(partial(store.acquire, requests, now=clock.now()))
                    processes.start_soon(partial(other.acquire, requests[::-1], now=clock.now()))

        assert [0] * 8 == await store.acquire(requests, now=clock.now())

    @needs("concurrent")
    async def test_processes_share_one_bucket(
        self, store: Store, clock: FakeClock, make_second_store: MakeStore
    ) -> None:
        """However many processes acquire at the same time, together they get the burst once."""
        other = await make_second_store()
        acquired: list[int] = []

        async def acquire_one(through: Store) -> None:
            acquired.append(await acquire(through, ACME, RECEIVER, 1, LIMIT, now=clock.now()))

        async with anyio.create_task_group() as processes:
            for number in range(30):
                processes.start_soon(acquire_one, other if number % 2 else store)

        assert (30, 10) == (len(acquired), sum(acquired))

    @needs("durable")
    async def test_circuits_outlive_the_process(
        self, store: Store, clock: FakeClock, make_second_store: MakeStore
    ) -> None:
        """A process that starts later reads the open circuits."""
        circuit = await self._given_circuit(store, failing_endpoint(clock))

        assert [circuit] == await (await make_second_store()).circuits()

    async def _given_circuit(self, store: Store, circuit: OpenCircuit) -> OpenCircuit:
        """Save an endpoint and its circuit."""
        await store.save(make_endpoint(id=circuit.key, tenant=circuit.tenant, at=circuit.since))
        return await save_circuit(store, circuit)


class BroughtEventPromises:
    """What a store promises about an event that a record brings with it."""

    async def test_an_event_comes_with_its_record(self, store: Store, clock: FakeClock) -> None:
        """Both are written in one step: the event waits to be planned like one that was published."""
        claimed = await given_claim(store, clock)
        brought = make_event(type="delivery.exhausted", at=clock.now(), topic="!operational", priority=Priority.HIGH)
        attempt = make_attempt(claimed, at=clock.now(), outcome="transient")
        ended = make_record(claimed, DeliveryState.DEAD, at=clock.now(), attempt=attempt, reason="exhausted:http_503")

        written = await store.record([ended._replace(event=brought)])
        taken = await take(store, clock)

        assert {claimed.delivery_id} == written
        assert brought == await find_event(store, ACME, brought.id)
        assert [(brought.id, brought.topic, brought.body)] == [(event.id, event.topic, event.body) for event in taken]

    async def test_a_stale_record_brings_no_event(self, store: Store, clock: FakeClock) -> None:
        """The event of a stale record is not stored, those of the other records are."""
        current = await given_claim(store, clock)
        zombie = (await given_claim(store, clock))._replace(fence=7)
        real, false = (make_event(type="delivery.exhausted", at=clock.now()) for _ in range(2))

        written = await store.record([_dead(zombie, clock, false), _dead(current, clock, real)])

        assert {current.delivery_id} == written
        assert None is await find_event(store, ACME, false.id)
        assert [real.id] == [event.id for event in await take(store, clock)]

    async def test_each_record_of_a_batch_brings_its_own_event(self, store: Store, clock: FakeClock) -> None:
        """Events of several tenants and records without one are written in the same batch."""
        claims = [await given_claim(store, clock, tenant=tenant) for tenant in (ACME, GLOBEX, ACME)]
        brought = [make_event(tenant=c.tenant, type="delivery.exhausted", at=clock.now()) for c in claims[:2]]
        records = [_dead(c, clock, event) for c, event in zip(claims, brought, strict=False)]

        written = await store.record([*records, make_record(claims[2], DeliveryState.DELIVERED, at=clock.now())])

        assert {c.delivery_id for c in claims} == written
        assert brought == [await find_event(store, event.tenant, event.id) for event in brought]
        assert {event.id for event in brought} == {event.id for event in await take(store, clock)}

    async def test_a_retry_may_bring_an_event_too(self, store: Store, clock: FakeClock) -> None:
        """The delivery goes on waiting, and the event is stored."""
        claimed = await given_claim(store, clock)
        brought = make_event(type="endpoint.failing", at=clock.now())
        due_at = clock.now() + timedelta(minutes=5)
        record = make_record(claimed, DeliveryState.PENDING, at=clock.now(), reason="http_503", due_at=due_at)

        await store.record([record._replace(event=brought)])

        assert due_at == (await read(store, claimed.delivery_id)).due_at
        assert [brought.id] == [event.id for event in await take(store, clock)]


def _by_id(circuit: OpenCircuit) -> str:
    return circuit.key


def _dead(claimed: Claim, clock: FakeClock, brought: StoredEvent) -> Record:
    return make_record(claimed, DeliveryState.DEAD, at=clock.now(), reason="exhausted")._replace(event=brought)
