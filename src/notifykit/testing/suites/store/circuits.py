"""Failing endpoints, token buckets, and the events that records bring with them."""

from __future__ import annotations

from datetime import timedelta

import anyio
import attrs

from ....models.circuit import OpenCircuit
from ....models.delivery import Claim, DeliveryState, Priority
from ....models.endpoint import RateLimit
from ....models.event import StoredEvent
from ....ports import Record, Store
from ...builders import make_attempt, make_endpoint, make_event, make_record
from ...clock import FakeClock
from .fixtures import MakeStore, needs
from .steps import ACME, GLOBEX, HOUR, MINUTE, OTHER, RECEIVER, SECOND, claim, given_claim, given_delivery, read, take

HELD = {"state": DeliveryState.HELD, "reason": "endpoint_failing"}
LIMIT = RateLimit(per_second=2, burst=10)


def failing_endpoint(
    clock: FakeClock, endpoint_id: str = RECEIVER, tenant: str = ACME, *, probes: int = 0
) -> OpenCircuit:
    """Return what an endpoint suffers from."""
    now = clock.now()
    return OpenCircuit(
        endpoint_id=endpoint_id, tenant=tenant, since=now, probe_at=now + MINUTE, probes=probes, reason="http_503"
    )


class HealthPromises:
    """What a store promises about the health and the rates of endpoints."""

    async def test_nobody_ails_at_first(self, store: Store, clock: FakeClock) -> None:
        """Only what was saved as failing is failing."""
        await store.save_endpoint(make_endpoint(at=clock.now()))

        assert [] == await store.circuits()

    async def test_ailments_of_all_tenants_read_back_as_they_were_saved(self, store: Store, clock: FakeClock) -> None:
        """The engine sees every failing endpoint with every field, to the microsecond."""
        open_ones = [
            failing_endpoint(clock),
            failing_endpoint(clock, OTHER, probes=7),
            OpenCircuit(endpoint_id="end_third", tenant=GLOBEX, since=clock.now(), probe_at=clock.advance(SECOND)),
        ]

        saved = [await self._given_circuit(store, circuit) for circuit in open_ones]
        found = await store.circuits()

        assert [attrs.evolve(circuit, version=1) for circuit in open_ones] == saved
        assert sorted(saved, key=_by_id) == sorted(found, key=_by_id)

    async def test_an_endpoint_has_one_ailment(self, store: Store, clock: FakeClock) -> None:
        """What is saved last is what the endpoint suffers from."""
        later = OpenCircuit(
            endpoint_id=RECEIVER,
            tenant=ACME,
            since=clock.now(),
            probe_at=clock.now() + HOUR,
            probes=3,
            reason="timeout",
            version=1,
        )

        await self._given_circuit(store, failing_endpoint(clock))
        saved = await store.save_circuit(later)

        assert [attrs.evolve(later, version=2)] == [saved] == await store.circuits()

    async def test_health_is_not_configuration(self, store: Store, clock: FakeClock) -> None:
        """Falling ill and getting well do not raise the tenant's version: nothing has to be read anew."""
        endpoint = make_endpoint(at=clock.now())
        await store.save_endpoint(endpoint)
        before = await store.load_tenant(ACME)

        await store.save_circuit(failing_endpoint(clock, endpoint.id))
        await store.close_circuit(ACME, endpoint.id, now=clock.now())
        await store.acquire(ACME, endpoint.id, 1, LIMIT, now=clock.now())

        assert before == await store.load_tenant(ACME)

    async def test_a_recovery_is_noted_once(self, store: Store, clock: FakeClock) -> None:
        """Of the calls that close a circuit one is told that it was open, and other circuits stay open."""
        await self._given_circuit(store, failing_endpoint(clock))
        other = await self._given_circuit(store, failing_endpoint(clock, OTHER))

        answers = [await store.close_circuit(ACME, RECEIVER, now=clock.now()) for _ in range(2)]

        assert [True, False] == answers
        assert [other] == await store.circuits()

    async def test_a_recovery_wakes_what_is_parked_for_the_endpoint(self, store: Store, clock: FakeClock) -> None:
        """What is held for it becomes due; what waits for its time, or for others, goes on waiting."""
        later = clock.now() + HOUR
        parked = await given_delivery(store, clock, due_at=later, **HELD)
        waiting = await given_delivery(store, clock, due_at=later)
        elsewhere = await given_delivery(store, clock, subscriber=OTHER, due_at=later, **HELD)
        await self._given_circuit(store, failing_endpoint(clock))
        now = clock.advance(SECOND)

        await store.close_circuit(ACME, RECEIVER, now=now)
        claimed = await claim(store, clock)

        assert [parked.id] == [c.delivery_id for c in claimed]
        assert [later, later] == [(await read(store, new.id)).due_at for new in (waiting, elsewhere)]

    async def test_a_recovery_of_the_healthy_wakes_nothing(self, store: Store, clock: FakeClock) -> None:
        """What an operator has paused stays held when a process without news reports that all is well."""
        paused = await given_delivery(store, clock, state=DeliveryState.HELD, due_at=clock.now() + HOUR)

        recovered = await store.close_circuit(ACME, RECEIVER, now=clock.now())

        assert not recovered
        assert DeliveryState.HELD is (await read(store, paused.id)).state

    async def test_a_stranger_recovers_nobody(self, store: Store, clock: FakeClock) -> None:
        """With another tenant's name a circuit is not found, and nothing wakes."""
        parked = await given_delivery(store, clock, due_at=clock.now() + HOUR, **HELD)
        circuit = await self._given_circuit(store, failing_endpoint(clock))

        recovered = await store.close_circuit(GLOBEX, RECEIVER, now=clock.now())

        assert not recovered
        assert [circuit] == await store.circuits()
        assert DeliveryState.HELD is (await read(store, parked.id)).state

    async def test_equal_ids_of_two_tenants_have_health_and_rates_of_their_own(
        self, store: Store, clock: FakeClock
    ) -> None:
        """An id that another tenant uses as well has a circuit and a bucket of its own."""
        ours = await self._given_circuit(store, failing_endpoint(clock))
        theirs = await self._given_circuit(store, failing_endpoint(clock, tenant=GLOBEX, probes=2))
        await store.acquire(GLOBEX, RECEIVER, 10, LIMIT, now=clock.now())

        both = await store.circuits()
        await store.close_circuit(GLOBEX, RECEIVER, now=clock.now())

        assert [ours, theirs] == sorted(both, key=lambda circuit: circuit.tenant)
        assert [ours] == await store.circuits()
        assert 10 == await store.acquire(ACME, RECEIVER, 10, LIMIT, now=clock.now())

    async def test_a_removed_endpoint_leaves_neither_ailment_nor_bucket(self, store: Store, clock: FakeClock) -> None:
        """An endpoint that comes back under its old id starts well and with a full bucket."""
        endpoint = make_endpoint(at=clock.now())
        await store.save_endpoint(endpoint)
        await store.save_circuit(failing_endpoint(clock, endpoint.id))
        await store.acquire(ACME, endpoint.id, 10, LIMIT, now=clock.now())

        await store.remove_endpoint(ACME, endpoint.id, now=clock.now())
        await store.save_endpoint(endpoint)

        assert [] == await store.circuits()
        assert 10 == await store.acquire(ACME, endpoint.id, 10, LIMIT, now=clock.now())

    async def test_a_bucket_starts_full_and_gives_no_more_than_it_has(self, store: Store, clock: FakeClock) -> None:
        """The burst is there at once, and each token is given out once."""
        acquired = [await store.acquire(ACME, RECEIVER, wanted, LIMIT, now=clock.now()) for wanted in (4, 4, 4, 4)]

        assert [4, 4, 2, 0] == acquired

    async def test_a_bucket_fills_at_its_rate_up_to_its_burst(self, store: Store, clock: FakeClock) -> None:
        """So many tokens come in a second, and a long pause saves up no more than the burst."""
        await store.acquire(ACME, RECEIVER, 10, LIMIT, now=clock.now())

        soon = await store.acquire(ACME, RECEIVER, 10, LIMIT, now=clock.advance(2 * SECOND))
        late = await store.acquire(ACME, RECEIVER, 100, LIMIT, now=clock.advance(HOUR))

        assert (4, 10) == (soon, late)

    async def test_parts_of_a_token_add_up(self, store: Store, clock: FakeClock) -> None:
        """Many small requests get as much as a few large ones: the rest of a token stays in the bucket."""
        slow = RateLimit(per_second=0.5, burst=1)
        await store.acquire(ACME, RECEIVER, 1, slow, now=clock.now())

        acquired = [await store.acquire(ACME, RECEIVER, 1, slow, now=clock.advance(SECOND / 2)) for _ in range(8)]

        assert [0, 0, 0, 1, 0, 0, 0, 1] == acquired

    async def test_a_clock_that_is_behind_makes_no_tokens(self, store: Store, clock: FakeClock) -> None:
        """Processes whose clocks differ do not fill a bucket twice, nor empty it."""
        await store.acquire(ACME, RECEIVER, 10, LIMIT, now=clock.now())

        behind = await store.acquire(ACME, RECEIVER, 10, LIMIT, now=clock.now() - HOUR)
        again = await store.acquire(ACME, RECEIVER, 10, LIMIT, now=clock.now())
        later = await store.acquire(ACME, RECEIVER, 10, LIMIT, now=clock.advance(SECOND))

        assert (0, 0, 2) == (behind, again, later)

    async def test_a_changed_limit_counts_from_the_next_draw(self, store: Store, clock: FakeClock) -> None:
        """A bucket that is made smaller holds no more than its new burst."""
        await store.acquire(ACME, RECEIVER, 1, LIMIT, now=clock.now())

        acquired = await store.acquire(ACME, RECEIVER, 10, RateLimit(per_second=1, burst=3), now=clock.now())

        assert 3 == acquired

    async def test_each_endpoint_has_a_bucket_of_its_own(self, store: Store, clock: FakeClock) -> None:
        """What one endpoint uses up is not taken from another."""
        await store.acquire(ACME, RECEIVER, 10, LIMIT, now=clock.now())

        assert 10 == await store.acquire(ACME, OTHER, 10, LIMIT, now=clock.now())
        assert 10 == await store.acquire(GLOBEX, "end_third", 10, LIMIT, now=clock.now())

    @needs("concurrent")
    async def test_processes_share_one_bucket(
        self, store: Store, clock: FakeClock, make_second_store: MakeStore
    ) -> None:
        """However many draw at the same time, they get the burst once."""
        other = await make_second_store()
        acquired: list[int] = []

        async def acquire(through: Store) -> None:
            acquired.append(await through.acquire(ACME, RECEIVER, 1, LIMIT, now=clock.now()))

        async with anyio.create_task_group() as processes:
            for number in range(30):
                processes.start_soon(acquire, other if number % 2 else store)

        assert (30, 10) == (len(acquired), sum(acquired))

    @needs("durable")
    async def test_ailments_outlive_the_process(
        self, store: Store, clock: FakeClock, make_second_store: MakeStore
    ) -> None:
        """A process that starts later reads the open circuits."""
        circuit = await self._given_circuit(store, failing_endpoint(clock))

        assert [circuit] == await (await make_second_store()).circuits()

    async def _given_circuit(self, store: Store, circuit: OpenCircuit) -> OpenCircuit:
        """Save an endpoint and what it suffers from."""
        await store.save_endpoint(make_endpoint(id=circuit.endpoint_id, tenant=circuit.tenant, at=circuit.since))
        return await store.save_circuit(circuit)


class BroughtEventPromises:
    """What a store promises about an event that a record brings with it."""

    async def test_an_event_comes_with_its_record(self, store: Store, clock: FakeClock) -> None:
        """Both are written in one step: the event waits to be planned like one that was published."""
        claimed = await given_claim(store, clock)
        told = make_event(type="delivery.exhausted", at=clock.now(), topic="!operational", priority=Priority.HIGH)
        attempt = make_attempt(claimed, at=clock.now(), outcome="transient")
        ended = make_record(claimed, DeliveryState.DEAD, at=clock.now(), attempt=attempt, reason="exhausted:http_503")

        written = await store.record([ended._replace(event=told)])
        taken = await take(store, clock)

        assert {claimed.delivery_id} == written
        assert told == await store.get_event(ACME, told.id)
        assert [(told.id, told.topic, told.body)] == [(event.id, event.topic, event.body) for event in taken]

    async def test_a_stale_record_brings_no_event(self, store: Store, clock: FakeClock) -> None:
        """The event of a stale record is not stored, those of the other records are."""
        current = await given_claim(store, clock)
        zombie = (await given_claim(store, clock))._replace(fence=7)
        real, false = (make_event(type="delivery.exhausted", at=clock.now()) for _ in range(2))

        written = await store.record([_dead(zombie, clock, false), _dead(current, clock, real)])

        assert {current.delivery_id} == written
        assert None is await store.get_event(ACME, false.id)
        assert [real.id] == [event.id for event in await take(store, clock)]

    async def test_each_record_of_a_batch_brings_its_own_event(self, store: Store, clock: FakeClock) -> None:
        """Events of several tenants and records without one go through in the same batch."""
        claims = [await given_claim(store, clock, tenant=tenant) for tenant in (ACME, GLOBEX, ACME)]
        told = [make_event(tenant=c.tenant, type="delivery.exhausted", at=clock.now()) for c in claims[:2]]
        records = [_dead(c, clock, event) for c, event in zip(claims, told, strict=False)]

        written = await store.record([*records, make_record(claims[2], DeliveryState.DELIVERED, at=clock.now())])

        assert {c.delivery_id for c in claims} == written
        assert told == [await store.get_event(event.tenant, event.id) for event in told]
        assert {event.id for event in told} == {event.id for event in await take(store, clock)}

    async def test_a_retry_may_bring_an_event_too(self, store: Store, clock: FakeClock) -> None:
        """The delivery goes on waiting, and the event is stored."""
        claimed = await given_claim(store, clock)
        told = make_event(type="endpoint.failing", at=clock.now())
        due_at = clock.now() + timedelta(minutes=5)
        record = make_record(claimed, DeliveryState.PENDING, at=clock.now(), reason="http_503", due_at=due_at)

        await store.record([record._replace(event=told)])

        assert due_at == (await read(store, claimed.delivery_id)).due_at
        assert [told.id] == [event.id for event in await take(store, clock)]


def _by_id(circuit: OpenCircuit) -> str:
    return circuit.endpoint_id


def _dead(claimed: Claim, clock: FakeClock, told: StoredEvent) -> Record:
    return make_record(claimed, DeliveryState.DEAD, at=clock.now(), reason="exhausted")._replace(event=told)
