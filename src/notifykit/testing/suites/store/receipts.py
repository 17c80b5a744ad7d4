"""Receipts of providers: matched with deliveries, in any order, however often they come."""

from __future__ import annotations

import attrs

from ....models.delivery import Claim, DeliveryState, Lane, NewDelivery, Priority
from ....models.receipt import FIRST_LOOK, WAITS, ProviderReceipt, ReceiptMatch, ReceiptRecord
from ....ports import DeliveryFilter, Move, Store
from ...builders import make_attempt, make_delivery, make_event, make_receipt, make_record
from ...clock import FakeClock
from .steps import ACME, DAY, GLOBEX, MINUTE, SECOND, TICK, claim, plan, read

PERSON, ADDRESS = "user:42", "ada@example.org"
LANE = Lane("email", Priority.NORMAL)


class ReceiptPromises:
    """What a store promises of what providers report."""

    async def test_a_receipt_finds_its_delivery_by_the_reference(self, store: Store, clock: FakeClock) -> None:
        """It is returned with the delivery, and shown with the delivery and the attempt."""
        new = await _given_sent(store, clock)
        receipt = make_receipt(reference="ref-1", kind="bounced", permanent=True, code="5.1.1", address=ADDRESS)

        (match,) = await _record(store, clock, receipt)

        assert (receipt, new.id, ACME) == (match.receipt, match.delivery.id, match.delivery.tenant)
        assert (PERSON, "email", ADDRESS) == (
            match.delivery.subscriber_id,
            match.delivery.channel,
            match.delivery.address,
        )
        assert [(attrs.evolve(receipt, delivery_id=new.id),)] == await _shown(store, new)
        assert "bounced" == (await read(store, new.id)).receipt

    async def test_a_receipt_may_name_its_delivery(self, store: Store, clock: FakeClock) -> None:
        """Then no reference is needed, because the answer that had it may have been lost."""
        new = await _given_sent(store, clock, reference=None)

        (match,) = await _record(store, clock, make_receipt(delivery_id=new.id, reference="unknown"))

        assert new.id == match.delivery.id
        assert [1] == [len(each) for each in await _shown(store, new)]

    async def test_a_receipt_finds_an_earlier_attempt(self, store: Store, clock: FakeClock) -> None:
        """It belongs to the attempt with its reference, while the delivery waits and once it has ended."""
        new, claimed = await _given_claim(store, clock)
        due_at = clock.now() + SECOND
        tried = make_attempt(claimed, at=clock.now(), outcome="transient", reason="busy", reference="ref-1")
        await store.record([make_record(claimed, DeliveryState.PENDING, at=clock.now(), attempt=tried, due_at=due_at)])

        (early,) = await _record(store, clock, make_receipt("r1", reference="ref-1", kind="sent"))
        clock.advance(MINUTE)
        (again,) = await claim(store, clock, lane=LANE)
        await _finish(store, clock, again, reference="ref-2")
        (late,) = await _record(store, clock, make_receipt("r2", reference="ref-1", kind="delivered"))

        assert [DeliveryState.PENDING, DeliveryState.DELIVERED] == [early.delivery.state, late.delivery.state]
        assert [2, 0] == [len(each) for each in await _shown(store, new)]

    async def test_a_receipt_is_stored_once(self, store: Store, clock: FakeClock) -> None:
        """One that is repeated, also in one call, is stored once and returned each time."""
        new = await _given_sent(store, clock)
        receipt = make_receipt(reference="ref-1")

        found = [await _record(store, clock, receipt, receipt) for _ in range(2)]

        assert [2, 2] == [len(matches) for matches in found]
        assert [1] == [len(each) for each in await _shown(store, new)]

    async def test_the_strongest_receipt_is_shown_first(self, store: Store, clock: FakeClock) -> None:
        """Receipts may arrive in any order."""
        new = await _given_sent(store, clock)
        strong, weak = make_receipt("r1", reference="ref-1", kind="bounced"), make_receipt("r2", reference="ref-1")
        await store.record_receipts([ReceiptRecord(strong, 7, False)], now=clock.now())
        await store.record_receipts([ReceiptRecord(weak, 3, True)], now=clock.advance(SECOND))

        (shown,) = await store.find_deliveries(ACME, DeliveryFilter(), limit=9)

        assert ("bounced", DeliveryState.DELIVERED) == (shown.receipt, shown.state)
        assert new.id == shown.id

    async def test_receipts_of_the_same_id_differ_by_their_provider(self, store: Store, clock: FakeClock) -> None:
        """Providers choose ids without regard to each other."""
        new = await _given_sent(store, clock)
        receipts = [make_receipt("r1", provider=name, reference="ref-1") for name in ("postmark", "ses")]

        await _record(store, clock, *receipts)

        assert [2] == [len(each) for each in await _shown(store, new)]

    async def test_an_uncertain_delivery_is_delivered_once_it_is_confirmed(
        self, store: Store, clock: FakeClock
    ) -> None:
        """Other deliveries that have ended stay as they are, and so does one that nothing confirms."""
        ends = [("uncertain", True), ("uncertain", False), ("rejected", True)]
        made = []
        for reason, confirms in ends:
            new = await _given_sent(store, clock, state=DeliveryState.DEAD, reason=reason, reference=None)
            receipt = make_receipt(f"of {new.id}", delivery_id=new.id)
            await store.record_receipts([ReceiptRecord(receipt, 3, confirms)], now=clock.now())
            made.append(await read(store, new.id))

        assert [("delivered", None), ("dead", "uncertain"), ("dead", "rejected")] == [
            (each.state.value, each.reason) for each in made
        ]

    async def test_a_receipt_that_comes_too_early_waits(self, store: Store, clock: FakeClock) -> None:
        """A later call finds it, each time until it is given again with its delivery."""
        new, claimed = await _given_claim(store, clock)
        receipt = make_receipt(reference="ref-1")
        assert [] == await _record(store, clock, receipt)
        await _finish(store, clock, claimed)

        too_soon = await store.record_receipts((), now=clock.now() + FIRST_LOOK - TICK)
        found = await store.record_receipts((), now=clock.advance(FIRST_LOOK))
        at_once = await store.record_receipts((), now=clock.now())
        again = await store.record_receipts((), now=clock.advance(MINUTE))
        given = await _record(store, clock, receipt)
        afterwards = await store.record_receipts((), now=clock.advance(MINUTE))

        assert [[new.id]] * 3 == [[match.delivery.id for match in matches] for matches in (found, again, given)]
        assert ([], [], []) == (too_soon, at_once, afterwards)
        assert [1] == [len(each) for each in await _shown(store, new)]

    async def test_a_receipt_waits_only_so_long(self, store: Store, clock: FakeClock) -> None:
        """One of a message that was not sent from here is deleted."""
        _, claimed = await _given_claim(store, clock)
        await _record(store, clock, make_receipt(reference="ref-1"))
        clock.advance(WAITS + SECOND)

        assert [] == await store.record_receipts((), now=clock.now())
        await _finish(store, clock, claimed)
        assert [] == await store.record_receipts((), now=clock.advance(WAITS))

    async def test_receipts_stay_with_a_delivery_that_is_redriven(self, store: Store, clock: FakeClock) -> None:
        """They are about a message that was sent."""
        new = await _given_sent(store, clock)
        await _record(store, clock, make_receipt(reference="ref-1"))

        await store.move(ACME, DeliveryFilter(ids={new.id}), Move.REDRIVE, now=clock.now())

        assert ("pending", "delivered") == (
            (await read(store, new.id)).state.value,
            (await read(store, new.id)).receipt,
        )
        assert [1] == [len(each) for each in await _shown(store, new)]

    async def test_receipts_go_with_their_delivery(self, store: Store, clock: FakeClock) -> None:
        """Retention deletes them, and the reference of a deleted delivery is unknown."""
        new = await _given_sent(store, clock)
        await _record(store, clock, make_receipt("r1", reference="ref-1"))
        later = clock.advance(2 * DAY)

        await store.purge(before=later - DAY, keys_before=later, limit=100)

        assert [] == await _shown(store, new)
        assert [] == await _record(store, clock, make_receipt("r2", reference="ref-1"))

    async def test_receipts_of_a_person_are_erased(self, store: Store, clock: FakeClock) -> None:
        """They may have an address in them."""
        new = await _given_sent(store, clock)
        await _record(store, clock, make_receipt(reference="ref-1"))

        assert 2 <= await store.erase(ACME, PERSON, now=clock.now())

        assert [] == await _shown(store, new)

    async def test_receipts_belong_to_the_tenant_of_their_delivery(self, store: Store, clock: FakeClock) -> None:
        """For another tenant they do not exist."""
        new = await _given_sent(store, clock)
        await _record(store, clock, make_receipt(reference="ref-1"))

        assert [] == await store.attempts(GLOBEX, new.id)

    async def test_many_receipts_at_once(self, store: Store, clock: FakeClock) -> None:
        """Vendors send hundreds in one request."""
        new = await _given_sent(store, clock)
        receipts = [make_receipt(f"r{i}", reference="ref-1" if i % 2 else f"other {i}") for i in range(1100)]

        found = await _record(store, clock, *receipts)

        assert 550 == len(found)
        assert [550] == [len(each) for each in await _shown(store, new)]


async def _given_claim(store: Store, clock: FakeClock) -> tuple[NewDelivery, Claim]:
    event = make_event(at=clock.now())
    new = make_delivery(event, PERSON, address=ADDRESS, channel="email")
    await plan(store, clock, event, [new])
    (claimed,) = await claim(store, clock, lane=LANE)
    return new, claimed


async def _given_sent(
    store: Store,
    clock: FakeClock,
    *,
    state: DeliveryState = DeliveryState.DELIVERED,
    reason: str | None = None,
    reference: str | None = "ref-1",
) -> NewDelivery:
    new, claimed = await _given_claim(store, clock)
    await _finish(store, clock, claimed, state=state, reason=reason, reference=reference)
    return new


async def _finish(
    store: Store,
    clock: FakeClock,
    claimed: Claim,
    *,
    state: DeliveryState = DeliveryState.DELIVERED,
    reason: str | None = None,
    reference: str | None = "ref-1",
) -> None:
    attempt = make_attempt(claimed, at=clock.now(), reference=reference)
    record = make_record(claimed, state, at=clock.now(), attempt=attempt, reason=reason)
    assert {claimed.delivery_id} == await store.record([record])


async def _record(store: Store, clock: FakeClock, *receipts: ProviderReceipt) -> list[ReceiptMatch]:
    return await store.record_receipts([ReceiptRecord(each, 3, True) for each in receipts], now=clock.now())


async def _shown(store: Store, new: NewDelivery) -> list[tuple[ProviderReceipt, ...]]:
    return [attempt.receipts for attempt in await store.attempts(ACME, new.id)]
