"""One key, one event: however often, by whatever process and at whatever moment it is published."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import pytest

from notifykit import Event, IdempotencyConflictError, InvalidEventError, Notifykit, Resource
from notifykit.models.event import Receipt
from notifykit.testing import FakeClock
from tests.scenarios.callers import AsyncSessions

ACME, GLOBEX = "acme", "globex"
KEY = "ship-A-1"
SHIPPED = Event(type="order.shipped", data={"order_id": "A-1"})
WINDOW = timedelta(hours=48)


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture(params=["memory", "sqlite", "postgres", "redis"])
def url(request):
    return "memory://" if request.param == "memory" else request.getfixturevalue(f"{request.param}_store_url")


@pytest.fixture
async def kit(url, clock):
    async with Notifykit(url, clock=clock) as kit:
        yield kit


async def stored(kit: Notifykit, tenant: str = ACME) -> int:
    """Return how many events there are, which must all be in the outbox too."""
    events = len(await kit.events.list(tenant=tenant, limit=1000))
    assert events <= (await kit.stats()).unplanned
    return events


async def at_once(kits: list[Notifykit], times: int, **options: Any) -> list[Receipt]:
    """Publish the same event through each of ``kits`` that many times, all at the same time."""
    receipts = []

    async def publish(kit: Notifykit) -> None:
        receipts.append(await kit.apublish(SHIPPED, tenant=ACME, **options))

    async with anyio.create_task_group() as tasks:
        for _ in range(times):
            for kit in kits:
                tasks.start_soon(publish, kit)
    return receipts


async def test_a_repeated_publish_returns_the_first_receipt(kit, clock):
    """Publishing again with the same key and content stores nothing and names the first event."""
    first = await kit.apublish(SHIPPED, tenant=ACME, idempotency_key=KEY)
    clock.advance(WINDOW - timedelta(microseconds=1))

    again = await kit.apublish(SHIPPED, tenant=ACME, idempotency_key=KEY)

    assert [Receipt(event_id=first.event_id), Receipt(event_id=first.event_id, duplicate=True)] == [first, again]
    assert 1 == await stored(kit)


async def test_without_a_key_equal_events_are_two(kit):
    """Nothing but the key makes two events one."""
    for _ in range(2):
        await kit.apublish(SHIPPED, tenant=ACME)

    assert 2 == await stored(kit)


async def test_fifty_at_once_are_one(kit):
    """Of fifty publishes at the same time one stores the event and all name it."""
    receipts = await at_once([kit], 50, idempotency_key=KEY)

    assert {False: 1, True: 49} == Counter(receipt.duplicate for receipt in receipts)
    assert 1 == len({receipt.event_id for receipt in receipts}) == await stored(kit)


async def test_fifty_at_once_in_two_processes_are_one(any_store_url):
    """Of fifty publishes through two stores on one database one stores the event and all name it."""
    async with Notifykit(any_store_url) as one, Notifykit(any_store_url) as other:
        receipts = await at_once([one, other], 25, idempotency_key=KEY)

        assert {False: 1, True: 49} == Counter(receipt.duplicate for receipt in receipts)
        assert 1 == len({receipt.event_id for receipt in receipts}) == await stored(one)


@pytest.mark.parametrize(
    "other",
    [
        {"data": {"order_id": "A-2"}},
        {"data": {}},
        {"type": "order.returned"},
        {"version": 2},
        {"topic": "shop/7"},
        {"resource": Resource("order", "A-1")},
        {"actor": "user:42"},
        {"metadata": {"source": "till"}},
        {"ordering_key": "A-1"},
        {"priority": "high"},
        {"occurred_at": datetime(2024, 5, 1, tzinfo=UTC)},
    ],
    ids=lambda other: next(iter(other)),
)
async def test_another_content_is_a_conflict(kit, other):
    """The same key with any other content is refused, and the error names the key and its event."""
    first = await kit.apublish(SHIPPED, tenant=ACME, idempotency_key=KEY)
    fields = {"type": SHIPPED.type, "data": SHIPPED.data} | other
    priority = fields.pop("priority", None)

    with pytest.raises(IdempotencyConflictError) as conflict:
        await kit.apublish(Event(**fields), tenant=ACME, idempotency_key=KEY, priority=priority)

    assert (KEY, first.event_id) == (conflict.value.key, conflict.value.event_id)
    assert 1 == await stored(kit)


async def test_the_trace_is_no_content(kit):
    """A retry has another trace than the first try, and is the same event all the same."""
    traces = [f"00-{n:032x}-00000000000000b1-01" for n in (1, 2)]

    receipts = [await kit.apublish(SHIPPED, tenant=ACME, idempotency_key=KEY, trace=trace) for trace in traces]

    assert [False, True] == [receipt.duplicate for receipt in receipts]


async def test_a_conflict_fails_no_other_publish(kit):
    """Publishes that share the transaction of a conflicting one are stored."""
    await kit.apublish(SHIPPED, tenant=ACME, idempotency_key=KEY)
    conflicts = []

    async def conflicting() -> None:
        with pytest.raises(IdempotencyConflictError) as conflict:
            await kit.apublish(Event(type="order.returned", data={}), tenant=ACME, idempotency_key=KEY)
        conflicts.append(conflict.value.key)

    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(conflicting)
            tasks.start_soon(lambda: kit.apublish(SHIPPED, tenant=ACME))

    assert [KEY] * 5 == conflicts
    assert 6 == await stored(kit)


async def test_tenants_do_not_share_keys(kit):
    """The key of one tenant has no meaning for another, whatever its content."""
    ours = await kit.apublish(SHIPPED, tenant=ACME, idempotency_key=KEY)

    theirs = await kit.apublish(Event(type="order.returned", data={}), tenant=GLOBEX, idempotency_key=KEY)

    assert not theirs.duplicate
    assert ours.event_id != theirs.event_id
    assert (1, 1) == (await stored(kit), await stored(kit, GLOBEX))


@pytest.mark.parametrize("key", ["", "k" * 256, "a\nb", "a\x00b", "a\x7f", "a\x85b", "a\u2028b", "a\ud800b"], ids=ascii)
async def test_a_key_that_is_not_plain_text_is_refused(kit, key):
    """Keys have 1 to 255 characters and no control characters; the error names the field."""
    with pytest.raises(InvalidEventError) as refused:
        await kit.apublish(SHIPPED, tenant=ACME, idempotency_key=key)

    assert {"idempotency_key"} == {problem.partition(":")[0] for problem in refused.value.problems}
    assert 0 == await stored(kit)


@pytest.mark.parametrize("key", ["k", "k" * 255, "Ünïcödé ключ 🔑", "' OR 1=1; --", "%s %(x)s :x $1"])
async def test_a_key_of_plain_text_is_kept_as_it_is(kit, key):
    """Any printable text of up to 255 characters is a key, and equal only to itself."""
    first = await kit.apublish(SHIPPED, tenant=ACME, idempotency_key=key)
    again = await kit.apublish(SHIPPED, tenant=ACME, idempotency_key=key)
    upper = await kit.apublish(SHIPPED, tenant=ACME, idempotency_key="x" + key[1:])

    assert (first.event_id, True) == (again.event_id, again.duplicate)
    assert not upper.duplicate
    assert key == (await kit.events.get(first.event_id, tenant=ACME)).idempotency_key


async def test_a_batch_may_repeat_itself(kit):
    """An item of a batch that repeats an earlier one, or a stored one, is a duplicate; the others are stored."""
    known = await kit.apublish(SHIPPED, tenant=ACME, idempotency_key="known")
    keys = ["a", "b", "a", "known", "c", "a"]

    receipts = await kit.apublish_many(
        [Event(type="order.shipped", data={"order_id": "A-1"}, idempotency_key=key) for key in keys], tenant=ACME
    )

    assert [False, False, True, True, False, True] == [receipt.duplicate for receipt in receipts]
    assert known.event_id == receipts[3].event_id
    assert receipts[0].event_id == receipts[2].event_id == receipts[5].event_id
    assert 4 == await stored(kit)


async def test_a_batch_with_a_conflict_stores_the_others(kit):
    """A conflict in a batch is raised once everything else is stored, in whatever page of the batch it is."""
    await kit.apublish(SHIPPED, tenant=ACME, idempotency_key=KEY)
    events = [Event(type="order.counted", data={"n": n}) for n in range(600)]
    events[10] = Event(type="order.returned", data={}, idempotency_key=KEY)

    with pytest.raises(IdempotencyConflictError):
        await kit.apublish_many(events, tenant=ACME)

    assert 600 == await stored(kit)


async def test_a_key_is_free_after_its_window(kit, clock):
    """Once a key has been forgotten a publish with it is a new event, with any content."""
    first = await kit.apublish(SHIPPED, tenant=ACME, idempotency_key=KEY)
    clock.advance(WINDOW)
    within = await kit.apublish(SHIPPED, tenant=ACME, idempotency_key=KEY)
    now = clock.advance(timedelta(microseconds=1))
    await kit.store.purge(before=now - timedelta(days=30), keys_before=now - WINDOW, limit=100)

    after = await kit.apublish(Event(type="order.returned", data={}), tenant=ACME, idempotency_key=KEY)

    assert (True, False) == (within.duplicate, after.duplicate)
    assert first.event_id == within.event_id != after.event_id
    assert 2 == await stored(kit)


@pytest.mark.parametrize("commits", [True, False], ids=["commit", "rollback"])
async def test_a_retry_waits_for_the_first_try(store_url, commits):
    """A publish with the key of an open transaction waits for its end: then it is a duplicate, or the event."""
    caller = AsyncSessions(store_url)
    receipts: dict[str, Receipt] = {}
    kit = Notifykit(store_url)

    async def retry() -> None:
        receipts["retry"] = await kit.apublish(SHIPPED, tenant=ACME, idempotency_key=KEY)

    async with kit, anyio.create_task_group() as tasks:
        try:
            async with caller.transaction() as transaction:
                (receipts["first"],) = await transaction.publish(kit, SHIPPED, tenant=ACME, idempotency_key=KEY)
                tasks.start_soon(retry)
                await anyio.wait_all_tasks_blocked()
                answered_early = "retry" in receipts
                if not commits:
                    raise ZeroDivisionError
        except ZeroDivisionError:
            pass

    await caller.aclose()
    assert not answered_early
    assert commits == receipts["retry"].duplicate
    assert commits == (receipts["first"].event_id == receipts["retry"].event_id)
