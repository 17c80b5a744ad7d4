"""A person's inbox through the kit: read, mark, follow."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from datetime import datetime, timedelta

import anyio
import pytest

from notifykit import InvalidInputError, Notifykit, Resource, StoreUnavailableError
from notifykit.admin import inbox as module
from notifykit.admin.inbox_watch import InboxWatch
from notifykit.models.inbox import IN_APP, InboxChanges, InboxCounts, UnreadableInboxItem
from notifykit.ports import Inbox
from notifykit.testing import START, FakeClock, make_inbox_item

ACME, ADA = "acme", "user:ada"
HOUR = timedelta(hours=1)


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
async def kit(clock):
    async with Notifykit("memory://", clock=clock) as kit:
        yield kit


@pytest.fixture
def inbox(kit):
    return kit.inbox(ADA, tenant=ACME)


async def given(kit: Notifykit, count: int, **changes: object) -> list[str]:
    """Put items into the inbox; return their ids, newest first."""
    assert isinstance(kit.store, Inbox)
    items = [make_inbox_item(ADA, **changes) for _ in range(count)]  # type: ignore[arg-type]
    await kit.store.inbox_put(items)
    return [item.id for item in reversed(items)]


async def shown(inbox, **wanted: object) -> list[str]:
    return [item.id for item in (await inbox.page(**wanted)).items]


class TestReading:
    async def test_pages(self, kit, inbox):
        """Newest first, by state, category and resource; the next one begins where the last ended."""
        ids = await given(kit, 3)
        (order,) = await given(kit, 1, category="orders", resource=Resource("order", "A-1"))
        await inbox.mark(ids[0], "archived")

        first = await inbox.page(limit=2)
        second = await inbox.page(limit=2, after=first.next)

        assert [order, ids[1], ids[2]] == [item.id for item in (*first.items, *second.items)]
        assert [order] == await shown(inbox, category="orders") == await shown(inbox, resource=Resource("order", "A-1"))
        assert [ids[0]] == await shown(inbox, state="archived")
        assert second.next is None

    async def test_counts(self, kit, inbox):
        """Of active items that are new."""
        ids = await given(kit, 3)
        await inbox.mark(ids[0], "read")
        await inbox.mark(ids[1], "seen")

        assert InboxCounts(1, 2) == await inbox.counts()

    async def test_changes(self, kit, inbox):
        """From the cursor of a page, or from the beginning; nothing new is an answer."""
        ids = await given(kit, 2)
        page = await inbox.page()
        none = await inbox.changes(page.cursor)
        await inbox.mark(ids[1], "read")

        assert InboxChanges((), page.cursor) == none
        assert [ids[1]] == [item.id for item in (await inbox.changes(page.cursor)).items]
        assert [ids[0], ids[1]] == [item.id for item in (await inbox.changes()).items]

    async def test_a_damaged_item_hides_no_other(self, sqlite_store_url):
        """It is shown without what it said, and can be put away."""
        async with Notifykit(sqlite_store_url) as kit:
            ids = await given(kit, 2)
            with closing(sqlite3.connect(sqlite_store_url.removeprefix("sqlite:///"))) as db, db:
                db.execute("UPDATE notifykit_inbox_items SET content = x'5b', category = x'ff' WHERE id = ?", ids[:1])
            inbox = kit.inbox(ADA, tenant=ACME)
            page = await inbox.page()
            await inbox.mark(ids[0], "archived")

            assert [("", True), ("Your order was shipped", False)] == [
                (item.title, isinstance(item, UnreadableInboxItem)) for item in page.items
            ]
            assert ids[1:] == await shown(inbox)


class TestMarking:
    async def test_marks_one_or_several(self, kit, inbox, clock):
        """And returns those that this has changed."""
        ids = await given(kit, 3)

        assert [ids[0]] == await inbox.mark(ids[0], "read")
        assert [ids[1]] == await inbox.mark(ids[:2], "read")
        assert [] == await inbox.mark([], "read")
        clock.advance(HOUR)
        assert [] == await inbox.mark(ids[:2], "seen")
        assert [START, START, None] == [item.marks.read_at for item in (await inbox.page()).items]

    async def test_a_snoozed_item_comes_back(self, kit, inbox, clock):
        """At its time."""
        (id_,) = await given(kit, 1)
        await inbox.mark(id_, "snoozed", until=START + HOUR)

        before = await shown(inbox), await shown(inbox, state="snoozed")
        clock.advance(HOUR)

        assert ([], [id_]) == before
        assert ([id_], []) == (await shown(inbox), await shown(inbox, state="snoozed"))

    async def test_marks_all(self, kit, inbox, monkeypatch):
        """In as many steps as it takes; without a state those that the mark is about."""
        monkeypatch.setattr(module, "BATCH", 2)
        ids = await given(kit, 5)
        (chat,) = await given(kit, 1, category="chat")
        later = {"until": START + HOUR}

        assert 1 == await inbox.mark_all("read", category="chat")
        assert 5 == await inbox.mark_all("archived", state="unread")
        assert 0 == await inbox.mark_all("archived", state="unread")
        assert 5 == await inbox.mark_all("unarchived")
        assert 6 == await inbox.mark_all("snoozed", **later)
        assert 6 == await inbox.mark_all("unsnoozed")
        assert [chat, *ids] == await shown(inbox)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"mark": "opened"}, "mark: must be one of archived, read"),
            ({"mark": "snoozed"}, "until: give the end of a snooze"),
            ({"mark": "read", "until": START + HOUR}, "until: give the end of a snooze, and only"),
            ({"mark": "snoozed", "until": START}, "until: must be later than now"),
            ({"mark": "snoozed", "until": datetime(2030, 1, 1)}, "until: has no zone"),  # noqa: DTZ001
            ({"mark": "read", "ids": ["x"] * 1001}, "ids: at most 1000"),
            ({"mark": "read", "ids": 7}, "ids: must be a list of ids"),
        ],
    )
    async def test_refuses_what_makes_no_sense(self, inbox, arguments, message):
        """The argument is named."""
        with pytest.raises(InvalidInputError, match=message):
            await inbox.mark(**{"ids": "dlv_1", **arguments})

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"state": "new"}, "state: must be one of active"),
            ({"category": 7}, "category: must be text"),
            ({"resource": ("order", "A-1")}, "resource: must be a Resource"),
            ({"limit": 0}, "limit: between 1"),
            ({"after": "dlv_1"}, "after: must be a whole number"),
        ],
    )
    async def test_refuses_pages_of_nothing(self, inbox, arguments, message):
        """The argument is named."""
        with pytest.raises(InvalidInputError, match=message):
            await inbox.page(**arguments)

    @pytest.mark.parametrize("id_", ["", None, "x" * 256])
    async def test_refuses_what_is_no_person(self, kit, id_):
        """Before anything is read."""
        with pytest.raises(InvalidInputError, match="recipient_id"):
            kit.inbox(id_, tenant=ACME)

    async def test_erases(self, kit, inbox, monkeypatch):
        """Everything, in as many steps as it takes."""
        monkeypatch.setattr(module, "BATCH", 2)
        await given(kit, 5)

        assert 5 == await inbox.erase()
        assert ([], InboxCounts(0, 0), 0) == (await shown(inbox), await inbox.counts(), await inbox.erase())


class TestFollowing:
    async def test_another_process_is_heard(self, any_store_url):
        """Every follower has each change once, those from before its cursor too, and other inboxes are not heard."""
        async with Notifykit(any_store_url) as reading, Notifykit(any_store_url) as writing:
            ids = await given(writing, 1)
            inbox = reading.inbox(ADA, tenant=ACME)
            before = (await inbox.page()).cursor - 1
            heard: dict[int, list[str]] = {1: [], 2: [], 3: []}

            async def follow(number: int, cursor: int | None) -> None:
                async for changes in inbox.follow(cursor):
                    heard[number] += [item.id for item in changes.items]
                    if ids[1:] == heard[number][-1:]:
                        return

            with anyio.fail_after(30):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(follow, 1, before)
                    tasks.start_soon(follow, 2, (await inbox.page()).cursor)
                    await asyncio.sleep(0.1)
                    await writing.inbox("user:bob", tenant=ACME).mark_all("read")
                    await writing.inbox(ADA, tenant=ACME).mark(ids[0], "read")
                    await asyncio.sleep(0.1)
                    tasks.start_soon(follow, 3, None)
                    await asyncio.sleep(0.1)
                    ids += await given(writing, 1)

        assert {1: [ids[0], ids[0], ids[1]], 2: [ids[0], ids[1]], 3: [ids[1]]} == heard

    async def test_many_followers_cost_as_much_as_one(self, kit, monkeypatch):
        """One look serves all; a change of one inbox is given to its followers alone, and nobody is left over."""
        looks: list[int] = []
        read = kit.store.inbox_changes

        async def counted(tenant, since, *, limit):
            looks.append(len(since))
            return await read(tenant, since, limit=limit)

        monkeypatch.setattr(kit.store, "inbox_changes", counted)
        watch = InboxWatch(kit.store)
        waits = [asyncio.create_task(watch.next(ACME, f"user:{n}", 0)) for n in range(300)]
        await asyncio.sleep(0.1)
        await kit.store.inbox_put([make_inbox_item("user:7")])

        with anyio.fail_after(20):
            (item,) = (await waits[7]).items

        assert "user:7" == item.recipient
        assert len(looks) < 8
        assert [7] == [n for n, wait in enumerate(waits) if wait.done()]
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
        await watch.aclose()

    async def test_an_erased_inbox_is_said(self, kit, inbox):
        """What was shown must go."""
        await given(kit, 1)
        following = inbox.follow((await inbox.page()).cursor)
        await inbox.erase()

        with anyio.fail_after(20):
            assert (await anext(following)).is_reset

    async def test_following_ends_with_the_kit(self, clock):
        """With an error that says so; what follows later starts anew."""
        async with Notifykit("memory://", clock=clock) as kit:
            waiting = asyncio.ensure_future(anext(kit.inbox(ADA, tenant=ACME).follow()))
            await asyncio.sleep(0.05)

        with pytest.raises(StoreUnavailableError, match="kit was closed"):
            await waiting

    async def test_an_unavailable_store_ends_it(self, kit, inbox, monkeypatch):
        """The error is the follower's, and the next one tries again."""
        cursor = (await inbox.page()).cursor

        async def away(*_: object, **__: object) -> None:
            raise StoreUnavailableError("away")

        with monkeypatch.context() as patch:
            patch.setattr(kit.store, "inbox_changes", away)
            with pytest.raises(StoreUnavailableError, match="away"):
                await anext(inbox.follow(cursor))

        (id_,) = await given(kit, 1)
        with anyio.fail_after(20):
            assert [id_] == [item.id for item in (await anext(inbox.follow(cursor))).items]


def test_sync_callers(any_store_url):
    """The same calls, without a loop."""
    kit = Notifykit(any_store_url)
    blocking = kit.blocking.inbox(ADA, tenant=ACME)
    kit.blocking.subscriptions.create("**", tenant=ACME, subscriber=ADA, channel=IN_APP, address=ADA)

    assert () == blocking.page().items
    assert InboxCounts(0, 0) == blocking.counts()
    assert [] == blocking.mark("dlv_1", "read")
    assert 0 == blocking.mark_all("read") == blocking.erase()
    assert () == blocking.changes().items
    kit.close()
