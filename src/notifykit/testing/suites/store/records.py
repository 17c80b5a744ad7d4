"""Records: what became of a claimed delivery is written once, by the worker that still holds it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from ....errors import StoreError, ValueRefusedError
from ....models.delivery import Attempt, DeliveryState
from ....ports import Record, Store
from ...builders import make_attempt, make_record
from ...clock import FakeClock
from .steps import (
    ACME,
    HOUR,
    LEASE,
    MINUTE,
    SECOND,
    TICK,
    claim,
    claim_one,
    finish,
    given_claim,
    given_deliveries,
    given_delivery,
    read,
    release,
    retry,
)


class RecordPromises:
    """What a store promises of records."""

    async def test_a_value_that_is_refused_concerns_itself_alone(self, store: Store, clock: FakeClock) -> None:
        """What no column can hold is written or refused as a value; what stood beside it can be written then."""
        await given_deliveries(store, clock, 2)
        odd, other = (make_record(claimed, DeliveryState.DEAD, at=clock.now()) for claimed in await claim(store, clock))
        odd = odd._replace(reason="half a letter: \ud800")

        blamed: type[Exception] = ValueRefusedError
        try:
            written = await store.record([odd, other])
        except StoreError as error:
            blamed = type(error)
            written = await store.record([other])

        assert ValueRefusedError is blamed
        assert other.delivery_id in written
        assert DeliveryState.DEAD is (await read(store, other.delivery_id)).state

    @pytest.mark.parametrize(
        "state", [DeliveryState.DELIVERED, DeliveryState.DEAD, DeliveryState.CANCELLED, DeliveryState.EXPIRED]
    )
    async def test_a_final_record_ends_the_delivery(self, store: Store, clock: FakeClock, state: DeliveryState) -> None:
        """An ended delivery says how, why, when and after how many attempts it ended."""
        claimed = await given_claim(store, clock)
        before = await read(store, claimed.delivery_id)
        ended_at = clock.advance(SECOND + TICK)
        attempt = make_attempt(claimed, at=ended_at, outcome="permanent")

        written = await store.record([make_record(claimed, state, at=ended_at, attempt=attempt, reason="http_413")])
        after = await read(store, claimed.delivery_id)

        assert {claimed.delivery_id} == written
        assert (state, "http_413", 1, ended_at, None) == (
            after.state,
            after.reason,
            after.attempts,
            after.finished_at,
            after.due_at,
        )
        assert (before.created_at, before.event_type, before.generation) == (
            after.created_at,
            after.event_type,
            after.generation,
        )

    async def test_an_attempt_reads_back_as_it_was_made(self, store: Store, clock: FakeClock) -> None:
        """Every field of an attempt is kept: microseconds, NUL bytes and characters beyond the basic plane."""
        claimed = await given_claim(store, clock)
        attempt = Attempt(
            delivery_id=claimed.delivery_id,
            number=1,
            started_at=clock.now() - timedelta(microseconds=41_007),
            took=timedelta(microseconds=41_007),
            outcome="transient",
            reason="http_503",
            status=503,
            retry_at=clock.now() + MINUTE + TICK,
            response=b"\x00\xff busy \xf0\x9f\x90\x98 \x00",
            worker="worker 𝟙",
        )
        record = make_record(
            claimed, DeliveryState.PENDING, at=clock.now(), attempt=attempt, reason="http_503", due_at=attempt.retry_at
        )

        await store.record([record])

        assert [attempt] == await store.attempts(ACME, claimed.delivery_id)

    async def test_an_attempt_without_an_answer_reads_back(self, store: Store, clock: FakeClock) -> None:
        """An attempt that got no answer has no status and an empty response."""
        claimed = await given_claim(store, clock)
        attempt = make_attempt(claimed, at=clock.now(), outcome="transient", reason="timeout")

        await store.record([make_record(claimed, DeliveryState.DEAD, at=clock.now(), attempt=attempt)])

        assert [attempt] == await store.attempts(ACME, claimed.delivery_id)

    async def test_a_retry_waits_for_its_time(self, store: Store, clock: FakeClock) -> None:
        """A delivery that is tried again is pending until its new ``due_at``, and then has one attempt more."""
        claimed = await given_claim(store, clock)

        written = await retry(store, clock, claimed, after=MINUTE)
        waiting = await read(store, claimed.delivery_id)
        clock.advance(MINUTE - TICK)
        early = await claim(store, clock)
        clock.advance(TICK)
        again = await claim_one(store, clock)

        assert {claimed.delivery_id} == written
        assert (DeliveryState.PENDING, 1, None) == (waiting.state, waiting.attempts, waiting.finished_at)
        assert clock.now() == waiting.due_at
        assert [] == early
        assert (2, 1) == (again.attempt, again.tries)

    async def test_a_released_claim_counts_nothing(self, store: Store, clock: FakeClock) -> None:
        """A claim that is given back unsent makes no attempt and no try."""
        claimed = await given_claim(store, clock)

        written = await release(store, clock, claimed)
        delivery = await read(store, claimed.delivery_id)
        again = await claim_one(store, clock)

        assert {claimed.delivery_id} == written
        assert (DeliveryState.PENDING, 0) == (delivery.state, delivery.attempts)
        assert (1, 0, 0) == (again.attempt, again.tries, again.abandoned)
        assert [] == await store.attempts(ACME, claimed.delivery_id)

    async def test_a_claim_can_be_held(self, store: Store, clock: FakeClock) -> None:
        """A delivery that must wait is held, with the reason and until the instant of the record."""
        claimed = await given_claim(store, clock)
        until = clock.now() + HOUR

        await store.record(
            [make_record(claimed, DeliveryState.HELD, at=clock.now(), reason="circuit_open", due_at=until)]
        )
        delivery = await read(store, claimed.delivery_id)

        assert (DeliveryState.HELD, "circuit_open", until, 0) == (
            delivery.state,
            delivery.reason,
            delivery.due_at,
            delivery.attempts,
        )

    async def test_a_claim_can_be_ended_unsent(self, store: Store, clock: FakeClock) -> None:
        """A delivery that ends without an attempt has none."""
        claimed = await given_claim(store, clock)

        await store.record([make_record(claimed, DeliveryState.EXPIRED, at=clock.now(), reason="expired")])
        delivery = await read(store, claimed.delivery_id)

        assert (DeliveryState.EXPIRED, 0) == (delivery.state, delivery.attempts)
        assert [] == await store.attempts(ACME, claimed.delivery_id)

    async def test_a_zombies_record_changes_nothing(self, store: Store, clock: FakeClock) -> None:
        """A worker that lost its claim to another one can neither end the delivery nor add an attempt."""
        lost = await given_claim(store, clock)
        clock.advance(LEASE + SECOND)
        await store.rescue(10, now=clock.now(), max_abandoned=3)
        owned = await claim_one(store, clock)
        before = await read(store, lost.delivery_id)
        history = await store.attempts(ACME, lost.delivery_id)

        written = await finish(store, clock, lost)

        assert set() == written
        assert before == await read(store, lost.delivery_id)
        assert history == await store.attempts(ACME, lost.delivery_id)
        assert {owned.delivery_id} == await finish(store, clock, owned)

    async def test_a_delivery_is_recorded_once_for_each_claim(self, store: Store, clock: FakeClock) -> None:
        """A record for a delivery that is not being sent, under whatever fence, writes nothing."""
        claimed = await given_claim(store, clock)
        await retry(store, clock, claimed, after=MINUTE)
        before = await read(store, claimed.delivery_id)

        waiting = await finish(store, clock, claimed)
        unclaimed = await store.record(
            [make_record(claimed, DeliveryState.DELIVERED, at=clock.now())._replace(fence=2)]
        )

        assert (set(), set()) == (waiting, unclaimed)
        assert before == await read(store, claimed.delivery_id)
        assert 1 == len(await store.attempts(ACME, claimed.delivery_id))

    async def test_an_ended_delivery_is_not_recorded_again(self, store: Store, clock: FakeClock) -> None:
        """An end is final for the worker that recorded it."""
        claimed = await given_claim(store, clock)
        await finish(store, clock, claimed)
        before = await read(store, claimed.delivery_id)
        clock.advance(SECOND)

        assert set() == await finish(store, clock, claimed, DeliveryState.DEAD)
        assert set() == await retry(store, clock, claimed, after=MINUTE)
        assert before == await read(store, claimed.delivery_id)

    async def test_a_late_record_counts_before_the_rescue(self, store: Store, clock: FakeClock) -> None:
        """The fence decides, not the time: a result that comes before the rescue is not thrown away."""
        claimed = await given_claim(store, clock)

        clock.advance(LEASE + HOUR)
        written = await finish(store, clock, claimed)

        assert {claimed.delivery_id} == written
        assert [] == await store.rescue(10, now=clock.now(), max_abandoned=3)

    async def test_a_stale_record_does_not_stop_the_others(self, store: Store, clock: FakeClock) -> None:
        """In a batch each record stands or falls with its own fence, also when the ends differ."""
        await given_deliveries(store, clock, 6)
        claims = await claim(store, clock)
        states = [DeliveryState.DELIVERED, DeliveryState.PENDING, DeliveryState.DEAD] * 2
        records = [
            make_record(one, state, at=clock.now(), attempt=make_attempt(one, at=clock.now()), due_at=clock.now())
            for one, state in zip(claims, states, strict=True)
        ]
        records[0] = records[0]._replace(fence=claims[0].fence - 1)
        records[4] = records[4]._replace(fence=claims[4].fence + 1)

        written = await store.record(records)

        fresh = {records[i].delivery_id for i in (1, 2, 3, 5)}
        assert fresh == written
        assert {one.delivery_id for one in claims} - fresh == {
            one.delivery_id for one in claims if DeliveryState.SENDING is (await read(store, one.delivery_id)).state
        }
        assert [] == await store.attempts(ACME, claims[0].delivery_id)

    async def test_unknown_deliveries_are_not_recorded(self, store: Store, clock: FakeClock) -> None:
        """A batch of no records, and a record of a delivery that is not there, write nothing."""
        unknown = Record("dlv_unknown", 1, DeliveryState.DELIVERED, None, None, clock.now(), None)

        assert set() == await store.record([])
        assert set() == await store.record([unknown])

    async def test_attempts_are_numbered_without_gaps(self, store: Store, clock: FakeClock) -> None:
        """Attempts, abandoned ones included, are counted 1, 2, 3 …, whatever is released in between."""
        await given_delivery(store, clock)
        await retry(store, clock, await claim_one(store, clock), after=MINUTE)
        clock.advance(MINUTE)
        await release(store, clock, await claim_one(store, clock))
        await retry(store, clock, await claim_one(store, clock), after=MINUTE)
        clock.advance(MINUTE)
        await claim_one(store, clock)
        clock.advance(LEASE + SECOND)
        await store.rescue(10, now=clock.now(), max_abandoned=3)
        last = await claim_one(store, clock)

        await finish(store, clock, last)

        history = await store.attempts(ACME, last.delivery_id)
        assert [1, 2, 3, 4] == [attempt.number for attempt in history]
        assert ["transient", "transient", "abandoned", "accepted"] == [attempt.outcome for attempt in history]
        assert 4 == (await read(store, last.delivery_id)).attempts

    async def test_a_batch_of_records_may_be_large(self, store: Store, clock: FakeClock) -> None:
        """A batch is not limited by what one statement of a database may hold."""
        await given_deliveries(store, clock, 2500)
        claims = await claim(store, clock, 2500)
        records = [
            make_record(one, state, at=clock.now(), attempt=make_attempt(one, at=clock.now()), due_at=clock.now())
            for i, one in enumerate(claims)
            for state in [DeliveryState.DELIVERED if i % 2 else DeliveryState.PENDING]
        ]

        written = await store.record(records)

        assert {one.delivery_id for one in claims} == written
        assert 1250 == len(await claim(store, clock, 2500))
