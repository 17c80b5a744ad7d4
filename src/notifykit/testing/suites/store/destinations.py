"""Destinations without an endpoint's record: their addresses, circuits of accounts, and what providers answer."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import attrs

from ....models.circuit import OpenCircuit
from ....models.delivery import Claim, DeliveryState, EventDetails, Lane, NewDelivery, Priority
from ....models.subscription import MatchQuery, Subscription
from ....ports import DeliveryFilter, Move, Settlement, Store
from ...builders import make_attempt, make_delivery, make_endpoint, make_event, make_record, make_subscription
from ...clock import FakeClock
from .steps import ACME, LEASE, MINUTE, SECOND, claim, find_event, get_one, load, plan, read, save_circuit, take_one

ROOM, ADDRESS, ACCOUNT = "room:5", "toy:room-5", "toy:account"
LANE = Lane("toy", Priority.NORMAL)


class DestinationPromises:
    """What a store promises of deliveries that go to an address, and of what channels answer."""

    async def test_an_address_goes_with_its_delivery(self, store: Store, clock: FakeClock) -> None:
        """It is on the claim and on the delivery, while it waits and once it has ended, after a redrive too."""
        new, claimed = await self._given_claim(store, clock)
        waiting = await read(store, new.id)
        await self._finish(store, clock, claimed)
        ended = await read(store, new.id)
        await self._redrive(store, clock, new)
        (again,) = await claim(store, clock, lane=LANE)

        assert [ADDRESS] * 4 == [one.address for one in (claimed, waiting, ended, again)]

    async def test_deliveries_to_endpoints_have_no_address(self, store: Store, clock: FakeClock) -> None:
        """The endpoint's record says where they go."""
        event = make_event(at=clock.now())
        new = make_delivery(event)
        await plan(store, clock, event, [new])

        (claimed,) = await claim(store, clock)

        assert (None, None) == (claimed.address, (await read(store, new.id)).address)

    async def test_an_address_goes_with_what_was_sent_before_it_is_settled(
        self, store: Store, clock: FakeClock
    ) -> None:
        """Plan and outcome are written in one step, with address, reference, account and cost."""
        event = make_event(at=clock.now())
        await store.append([event])
        taken = await take_one(store, clock)
        new = make_delivery(event, ROOM, address=ADDRESS, channel="toy")
        sent = Claim(
            new.id, 1, 1, 0, 0, ACME, event.id, event.type, new.subscription_id, ROOM, "toy", Priority.NORMAL, None,
            event.published_at, None, clock.now(), event.body, 1, ADDRESS,
        )  # fmt: skip
        attempt = make_attempt(sent, at=clock.now(), reference="ref-1", account="toy://a", cost=Decimal("0.075"))
        record = make_record(sent, DeliveryState.DELIVERED, at=clock.now(), attempt=attempt)

        settlement = Settlement(event.id, taken.fence, [new], None, [record])
        await store.settle([settlement], now=clock.now(), lease=LEASE, worker="worker-1")

        assert ADDRESS == (await read(store, new.id)).address
        assert [attempt] == await store.attempts(ACME, new.id)

    async def test_references_are_kept(self, store: Store, clock: FakeClock) -> None:
        """Account, cost and reference are read of an attempt that is retried, and of the last."""
        new, claimed = await self._given_claim(store, clock)
        failed = make_attempt(
            claimed, at=clock.now(), outcome="transient", reason="busy", reference="ref-1", account="toy://a"
        )
        due_at = clock.now() + SECOND
        await store.record(
            [make_record(claimed, DeliveryState.PENDING, at=clock.now(), attempt=failed, due_at=due_at, reason="busy")]
        )
        clock.advance(MINUTE)
        (again,) = await claim(store, clock, lane=LANE)
        await self._finish(store, clock, again, reference="ref-2", account="toy://b", cost=Decimal("0.000001"))

        found = await store.attempts(ACME, new.id)
        await self._redrive(store, clock, new)

        expected = [("ref-1", "toy://a", None), ("ref-2", "toy://b", Decimal("0.000001"))]
        assert expected == [(one.reference, one.account, one.cost) for one in found]
        assert found == await store.attempts(ACME, new.id)

    async def test_planners_and_workers_get_what_an_event_says_of_itself(self, store: Store, clock: FakeClock) -> None:
        """Metadata, resource, actor, category, purpose, topic and trace come with what is taken, claimed and read."""
        details = EventDetails(
            "room", "5", "user:7", '{"lang":"en"}', "chat", "transactional", "room/5", f"00-{1:032x}-{2:016x}-01"
        )
        event = make_event(at=clock.now(), **details._asdict())
        await store.append([event])

        taken = await take_one(store, clock)
        new = make_delivery(event, ROOM, address=ADDRESS, channel="toy")
        await store.settle([Settlement(event.id, taken.fence, [new])], now=clock.now(), lease=LEASE, worker="w")
        (claimed,) = await claim(store, clock, lane=LANE)

        assert [details] * 2 == [taken.details, claimed.details]
        assert event == await find_event(store, ACME, event.id)

    async def test_an_event_need_not_say_anything(self, store: Store, clock: FakeClock) -> None:
        """Then every detail is empty."""
        await store.append([make_event(at=clock.now())])

        assert EventDetails() == (await take_one(store, clock)).details

    async def test_subscriptions_keep_their_address(self, store: Store, clock: FakeClock) -> None:
        """It is read, loaded and found with them, and so is the reason why one was disabled."""
        subscription = make_subscription(
            make_endpoint(at=clock.now()), at=clock.now(), subscriber_id=ROOM, channel="toy", address=ADDRESS
        )
        saved = await store.save(subscription)

        ((match,),) = await store.match(ACME, [MatchQuery("order.created")], limit=9)
        loaded = (await load(store, ACME)).subscriptions
        off = await store.save(attrs.evolve(saved, enabled=False, disabled_reason="room_gone"))

        assert (saved, None) == match
        assert (saved,) == loaded
        assert off == await get_one(store, Subscription, ACME, saved.id)

    async def test_an_account_needs_no_endpoint(self, store: Store, clock: FakeClock) -> None:
        """Its circuit has no tenant, opens, changes and closes, and makes nothing due that is held for a subscriber."""
        circuit = OpenCircuit(key=ACCOUNT, tenant="", since=clock.now(), probe_at=clock.now() + MINUTE, reason="busy")

        saved = await save_circuit(store, circuit)
        worse = await save_circuit(store, attrs.evolve(saved, probes=1))
        found = await store.circuits()
        closed = [await store.save_circuit("", ACCOUNT, None, now=clock.now()) for _ in range(2)]

        assert [1, 2] == [saved.version, worse.version]
        assert [worse] == found
        assert [worse, None] == closed
        assert [] == await store.circuits()

    async def _given_claim(self, store: Store, clock: FakeClock) -> tuple[NewDelivery, Claim]:
        event = make_event(at=clock.now())
        new = make_delivery(event, ROOM, address=ADDRESS, channel="toy")
        await plan(store, clock, event, [new])
        (claimed,) = await claim(store, clock, lane=LANE)
        return new, claimed

    async def _redrive(self, store: Store, clock: FakeClock, new: NewDelivery) -> None:
        assert 1 == await store.move(ACME, DeliveryFilter(event_id=new.event_id), Move.REDRIVE, now=clock.now())

    async def _finish(self, store: Store, clock: FakeClock, claimed: Claim, **kept: Any) -> None:
        attempt = make_attempt(claimed, at=clock.now(), outcome="permanent", reason="no", **kept)
        record = make_record(claimed, DeliveryState.DEAD, at=clock.now(), attempt=attempt, reason="no")
        assert {claimed.delivery_id} == await store.record([record])
