"""Publishing: everything is checked first, and what is published at the same time shares a transaction."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone

import anyio
import anyio.lowlevel
import attrs
import pytest

from notifykit import (
    Event,
    IdempotencyConflictError,
    InvalidEventError,
    Limits,
    Notifykit,
    Priority,
    Resource,
    StoreUnavailableError,
    event,
)
from notifykit.catalog import EventCatalog
from notifykit.errors import ValueRefusedError
from notifykit.models.event import StoredEvent
from notifykit.policies.admit import DEFAULT_LIMITS
from notifykit.ports import Appended, EventFilter
from notifykit.publisher import GROUP, GROUP_BESIDE, Publisher
from notifykit.stores.memory import MemoryStore
from notifykit.stores.sql.sqlite.store import SqliteStore
from notifykit.testing import START, FakeClock, make_endpoint

ACME = "acme"
SHIPPED = Event(type="order.shipped", data={"order_id": "A-1"})


@event("order.paid", priority=Priority.HIGH)
@attrs.frozen
class OrderPaid:
    order_id: str
    cents: int


class Watched(MemoryStore):
    """A store that records its transactions, can be paused, and fails on demand."""

    def __init__(self) -> None:
        super().__init__()
        self.appended: list[int] = []
        self.failures: list[Exception | None] = []
        self.may_go_on = anyio.Event()
        self.may_go_on.set()

    async def append(self, events: Sequence[StoredEvent]) -> list[Appended]:
        self.appended.append(len(events))
        await self.may_go_on.wait()
        if self.failures and (failure := self.failures.pop(0)) is not None:
            raise failure
        return await super().append(events)

    def hold_up(self) -> None:
        """Let transactions begin, but not end, until ``may_go_on`` is set."""
        self.may_go_on = anyio.Event()


@pytest.fixture
def store():
    return Watched()


@pytest.fixture
def publisher(store):
    return Publisher(store, EventCatalog(), FakeClock(), DEFAULT_LIMITS)


async def events_in(store, tenant: str = ACME) -> list[StoredEvent]:
    return await store.find_events(tenant, EventFilter(), limit=100_000)


class TestSharedTransactions:
    async def test_publishes_at_the_same_time_share_transactions(self, tmp_path, monkeypatch):
        """Two hundred concurrent publishes take at most two transactions of a real store, not two hundred."""
        sizes = []
        append = SqliteStore.append

        async def counted(self, events):
            sizes.append(len(events))
            return await append(self, events)

        monkeypatch.setattr(SqliteStore, "append", counted)
        receipts = []

        async def publish(kit: Notifykit) -> None:
            receipts.append(await kit.apublish(SHIPPED, tenant=ACME))

        async with Notifykit(f"sqlite:///{tmp_path / 'store.db'}") as kit:
            async with anyio.create_task_group() as tasks:
                for _ in range(200):
                    tasks.start_soon(publish, kit)
            unplanned = (await kit.stats()).unplanned

        assert 200 == len({receipt.event_id for receipt in receipts}) == unplanned == sum(sizes)
        assert len(sizes) <= 2

    async def test_publishes_during_a_transaction_share_the_next(self, publisher, store):
        """While one transaction is under way the others gather for the next, and none is larger than a group."""

        async def publish():
            await publisher.publish(SHIPPED, {"tenant": ACME})

        store.hold_up()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(publish)
            await anyio.wait_all_tasks_blocked()
            for _ in range(2 * GROUP + 7):
                tasks.start_soon(publish)
            await anyio.wait_all_tasks_blocked()

            store.may_go_on.set()

        assert [1, GROUP, GROUP, 7] == store.appended
        assert 2 * GROUP + 8 == len(await events_in(store))

    async def test_sequential_publishes_do_not_wait_for_others(self, publisher, store):
        """Publishes one after the other have a transaction each."""
        for _ in range(3):
            await publisher.publish(SHIPPED, {"tenant": ACME})

        assert [1, 1, 1] == store.appended

    async def test_a_publish_returns_when_it_is_durable(self, publisher, store):
        """No publish returns a receipt before its transaction has ended."""
        receipts = []

        async def publish() -> None:
            receipts.append(await publisher.publish(SHIPPED, {"tenant": ACME}))

        store.hold_up()
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(publish)
            await anyio.wait_all_tasks_blocked()
            early = len(receipts)
            store.may_go_on.set()

        assert (0, 3) == (early, len(receipts))

    async def test_a_conflict_is_that_of_one_publish(self, publisher, store):
        """Other publishes in the transaction of a conflicting event are not affected."""
        outcomes: list[object] = []

        async def publish(order_id: str, key: str) -> None:
            try:
                made = Event(type="order.shipped", data={"order_id": order_id}, idempotency_key=key)
                outcomes.append((await publisher.publish(made, {"tenant": ACME})).duplicate)
            except IdempotencyConflictError as error:
                outcomes.append(error.key)

        async with anyio.create_task_group() as tasks:
            for order_id, key in (("A-1", "a"), ("A-1", "a"), ("A-2", "a"), ("A-2", "b")):
                tasks.start_soon(publish, order_id, key)

        assert [4] == store.appended
        assert [False, True, "a", False] == outcomes

    async def test_a_failing_transaction_fails_its_own_members_only(self, publisher, store):
        """Publishes that share the transaction get the error; those of the next one and later ones do not."""
        outcomes: dict[str, list[object]] = {"first": [], "second": []}

        async def publish(group: str) -> None:
            try:
                outcomes[group].append(await publisher.publish(SHIPPED, {"tenant": ACME}))
            except StoreUnavailableError as error:
                outcomes[group].append(str(error))

        store.hold_up()
        store.failures = [StoreUnavailableError("away")]
        async with anyio.create_task_group() as tasks:
            for group in ("first", "second"):
                for _ in range(5):
                    tasks.start_soon(publish, group)
                await anyio.wait_all_tasks_blocked()
            store.may_go_on.set()
        await publisher.publish(SHIPPED, {"tenant": ACME})

        assert ["away"] * 5 == outcomes["first"]
        assert {str} != {type(receipt) for receipt in outcomes["second"]}
        assert 6 == len(await events_in(store))

    async def test_what_the_store_refuses_fails_its_own_publisher_only(self, publisher, store, monkeypatch):
        """Publishes that share the transaction with a refused value get a receipt, in the order of publishing."""
        outcomes: dict[int, object] = {}
        append = Watched.append

        async def refusing(self: Watched, events: Sequence[StoredEvent]) -> list[Appended]:
            answers = [event for event in events if b'"n":3' in event.body.replace(b" ", b"")]
            if answers:
                self.appended.append(len(events))
                raise ValueRefusedError("no such value")
            return await append(self, events)

        monkeypatch.setattr(Watched, "append", refusing)

        async def publish(n: int) -> None:
            made = Event(type="order.shipped", data={"n": n}, ordering_key="a")
            try:
                outcomes[n] = (await publisher.publish(made, {"tenant": ACME})).event_id
            except ValueRefusedError as error:
                outcomes[n] = str(error)

        async with anyio.create_task_group() as tasks:
            for n in range(8):
                tasks.start_soon(publish, n)

        assert "no such value" == outcomes.pop(3)
        assert sorted(map(str, outcomes.values())) == [outcomes[n] for n in sorted(outcomes)]
        assert {*outcomes.values()} == {event.id for event in await events_in(store)}
        assert [8, 4, 2, 2, 1, 1, 4] == store.appended

    async def test_a_cancelled_publisher_cancels_no_other(self, publisher, store):
        """One of several that share a transaction gives up: the others get their receipts."""
        receipts = []
        gave_up = anyio.CancelScope()

        async def impatient() -> None:
            with gave_up:
                await publisher.publish(SHIPPED, {"tenant": ACME})

        async def patient() -> None:
            receipts.append(await publisher.publish(SHIPPED, {"tenant": ACME}))

        store.hold_up()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(impatient)  # the one that began the transaction
            for _ in range(3):
                tasks.start_soon(patient)
            await anyio.wait_all_tasks_blocked()
            gave_up.cancel()
            await anyio.wait_all_tasks_blocked()
            store.may_go_on.set()

        assert gave_up.cancelled_caught
        assert 3 == len(receipts)
        assert {receipt.event_id for receipt in receipts} < {stored.id for stored in await events_in(store)}

    async def test_a_failure_without_a_waiter_is_not_logged(self, publisher, store):
        """The only publisher gave up, and then the transaction fails: the next one begins afresh."""
        store.hold_up()
        store.failures = [StoreUnavailableError("away")]
        with anyio.move_on_after(0.01):
            await publisher.publish(SHIPPED, {"tenant": ACME})
        store.may_go_on.set()

        receipt = await publisher.publish(SHIPPED, {"tenant": ACME})

        assert [receipt.event_id] == [stored.id for stored in await events_in(store)]

    async def test_closing_waits_for_the_last_transaction(self, publisher, store):
        """What was passed before the end is stored, even if its publisher was cancelled."""
        store.hold_up()
        with anyio.move_on_after(0.01):
            await publisher.publish(SHIPPED, {"tenant": ACME})

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(publisher.aclose)
            await anyio.wait_all_tasks_blocked()
            store.may_go_on.set()

        assert 1 == len(await events_in(store))


class TestMany:
    async def test_ten_thousand_are_stored_in_pages(self, publisher, store):
        """A large batch takes one transaction for each page, and answers in the order of its events."""
        events = [Event(type="order.counted", data={"n": n}) for n in range(10_000)]

        receipts = await publisher.publish_many(events, {"tenant": ACME})

        stored = {found.id: found for found in await events_in(store)}
        assert [GROUP] * (10_000 // GROUP) == store.appended
        assert 10_000 == len(stored)
        assert all(f'"n":{n}}}'.encode() in stored[receipt.event_id].body for n, receipt in enumerate(receipts))

    async def test_beside_others_a_batch_is_stored_in_small_pages(self, publisher, store):
        """A publish of a single event waits for a short transaction at the most, not for one of hundreds."""
        await publisher.publish(SHIPPED, {"tenant": "another"})

        await publisher.publish_many([SHIPPED] * (2 * GROUP_BESIDE + 3), {"tenant": ACME})

        assert [1, GROUP_BESIDE, GROUP_BESIDE, 3] == store.appended

    async def test_other_tasks_run_while_a_batch_is_checked(self, publisher):
        """However many events are checked, other tasks of this process run meanwhile."""
        turns = [0]

        async def count() -> None:
            while True:
                turns[0] += 1
                await anyio.lowlevel.checkpoint()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(count)
            await publisher.publish_many([SHIPPED] * 1000, {"tenant": ACME})
            tasks.cancel_scope.cancel()

        assert 20 <= turns[0]

    async def test_every_problem_of_every_event_is_found_first(self, publisher, store):
        """One refused event is enough to store nothing, and the error lists them all by their place."""
        events = [
            SHIPPED,
            Event(type="not a type", data={}, actor=""),
            SHIPPED,
            Event(type="a.b", data={"x": float("nan")}),
            object(),
        ]

        with pytest.raises(InvalidEventError) as refused:
            await publisher.publish_many(events, {"tenant": ACME})

        found = [problem.partition(":")[0] for problem in refused.value.problems]
        assert ["[1].type", "[1].actor", "[3].data.x", "[4].event"] == found
        assert [] == store.appended

    async def test_nothing_is_an_empty_batch(self, publisher, store):
        """An empty batch has no receipts and needs no transaction."""
        assert [] == await publisher.publish_many([], {"tenant": ACME})
        assert [] == store.appended

    async def test_any_iterable_will_do(self, publisher):
        """A generator is a batch too."""
        assert 3 == len(await publisher.publish_many((SHIPPED for _ in range(3)), {"tenant": ACME}))


class TestOptions:
    async def test_options_say_more_about_an_event(self, publisher, store):
        """What is given with the call is part of the event; texts and pairs become what they stand for."""
        later = START + timedelta(hours=1)

        await publisher.publish(
            OrderPaid("A-1", 1200),
            {
                "tenant": ACME,
                "topic": "shop/7",
                "resource": ("order", "A-1"),
                "actor": "user:42",
                "metadata": {"source": "till"},
                "idempotency_key": "paid-A-1",
                "occurred_at": datetime(2026, 3, 1, 14, tzinfo=timezone(timedelta(hours=2))),
                "deliver_at": later,
                "expires_at": later + timedelta(days=1),
                "priority": "low",
                "ordering_key": "A-1",
            },
        )

        (stored,) = await events_in(store)
        assert ("order.paid", "shop/7", "order", "A-1") == (stored.type, stored.topic, *stored[5:7])
        assert ("user:42", '{"source":"till"}', "paid-A-1") == (stored.actor, stored.metadata, stored.idempotency_key)
        assert datetime(2026, 3, 1, 12, tzinfo=UTC) == stored.occurred_at
        assert (START, later, later + timedelta(days=1)) == (stored.published_at, stored.due_at, stored.expires_at)
        assert (Priority.LOW, "A-1") == (stored.priority, stored.ordering_key)

    async def test_a_typed_event_has_the_priority_of_its_type(self, publisher, store):
        """Unless the call says otherwise."""
        await publisher.publish(OrderPaid("A-1", 1200), {"tenant": ACME})

        assert [Priority.HIGH] == [stored.priority for stored in await events_in(store)]

    async def test_an_option_of_none_keeps_what_the_event_says(self, publisher, store):
        """``None`` means "not given"."""
        mine = Event(type="a.b", data={}, tenant=ACME, actor="me", resource=Resource("order", "A-1"))

        await publisher.publish(mine, {"tenant": None, "actor": None, "resource": None})

        assert [("me", "order")] == [(stored.actor, stored.resource_kind) for stored in await events_in(store)]

    @pytest.mark.parametrize(
        ("options", "path"),
        [
            ({}, "tenant"),
            ({"tenant": "no spaces"}, "tenant"),
            ({"tenant": ACME, "priority": "urgent"}, "priority"),
            ({"tenant": ACME, "resource": ("order",)}, "resource"),
            ({"tenant": ACME, "deliver_at": datetime(2026, 3, 1)}, "deliver_at"),  # noqa: DTZ001
            ({"tenant": ACME, "colour": "red"}, "options"),
            ({"tenant": ACME, "topic": "@end_1"}, "topic"),
        ],
    )
    async def test_a_wrong_option_is_refused_by_its_name(self, publisher, store, options, path):
        """The problem names the option, and nothing is stored."""
        with pytest.raises(InvalidEventError) as refused:
            await publisher.publish(SHIPPED, options)

        assert [path] == [problem.partition(":")[0] for problem in refused.value.problems]
        assert [] == store.appended

    async def test_limits_are_the_kits(self, store):
        """A kit may allow less than the default."""
        publisher = Publisher(store, EventCatalog(), FakeClock(), Limits(body=100))

        with pytest.raises(InvalidEventError, match="at most 100"):
            await publisher.publish(Event(type="a.b", data={"x": "y" * 100}), {"tenant": ACME})

    async def test_an_event_of_the_librarys_own_goes_to_one_endpoint(self, publisher, store):
        """Its topic names the endpoint, which no caller can do."""
        endpoint = make_endpoint()

        await publisher.publish_to(Event(type="notifykit.test", data={}), endpoint)

        assert [(ACME, f"@{endpoint.id}")] == [(stored.tenant, stored.topic) for stored in await events_in(store)]
