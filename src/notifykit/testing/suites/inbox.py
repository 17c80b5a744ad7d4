"""The contract of :class:`notifykit.ports.Inbox`, promise by promise.

Subclass :class:`InboxSuite` as ``TestSomething`` and give it the fixtures of a :class:`~.store.StoreSuite`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Protocol

import anyio
import attrs
import pytest

from ...models.event import Resource
from ...models.inbox import (
    COUNT_CAP,
    NO_MARKS,
    InboxChanges,
    InboxCounts,
    InboxFilter,
    InboxItem,
    InboxMark,
    InboxMarks,
    InboxState,
)
from ...ports import Inbox, Store
from ..builders import make_id, make_inbox_item
from ..clock import START, FakeClock
from .store.fixtures import StoreFixtures, needs

ACME, ADA, BOB = "acme", "user:ada", "user:bob"
HOUR = timedelta(hours=1)


class InboxStore(Store, Inbox, Protocol):
    """A store that keeps inboxes."""


#: Opens another store on the same data, as a second process would.
MakeInboxStore = Callable[[], Awaitable[InboxStore]]


async def given(store: Inbox, count: int, recipient: str = ADA, **changes: object) -> list[InboxItem]:
    """Put some items into an inbox; return them as they are stored, newest first."""
    items = [make_inbox_item(recipient, **changes) for _ in range(count)]  # type: ignore[arg-type]
    await store.inbox_put(items)
    page = await store.inbox_page(items[0].tenant, recipient, InboxFilter(), now=START, limit=count)
    return list(page.items)


async def read(
    store: Inbox,
    state: InboxState = InboxState.ACTIVE,
    *,
    recipient: str = ADA,
    now: datetime = START,
    limit: int = 999,
) -> list[str]:
    """Return the ids of the items in a state, newest first."""
    page = await store.inbox_page(ACME, recipient, InboxFilter(state=state), now=now, limit=limit)
    return [item.id for item in page.items]


async def changes(store: Inbox, since: int, *, recipient: str = ADA, limit: int = 999) -> InboxChanges:
    """Return what has happened to one inbox; nothing new is an answer, too."""
    found = await store.inbox_changes(ACME, {recipient: since}, limit=limit)
    return found.get(recipient, InboxChanges((), since))


def ids(items: Sequence[InboxItem]) -> list[str]:
    """Return the ids of items."""
    return [item.id for item in items]


class InboxSuite(StoreFixtures):
    """Everything that a store promises of inboxes."""

    # -- items -----------------------------------------------------------------------------------

    async def test_an_item_reads_back_as_it_was_put(self, store: InboxStore) -> None:
        """Every field is kept, texts of any alphabet and with any character too."""
        full = make_inbox_item(
            ADA,
            category="orders",
            resource=Resource("order", "A-1"),
            title="Größe: \x00 \ud800 \N{PACKAGE}",
            body="line\nline",
            url="/orders/A-1",
            data={"n": 1, "list": [None, True, "\u2028"], "nested": {"x": 0.5}},
            created_at=START + timedelta(microseconds=1),
        )
        plain = make_inbox_item(ADA)

        await store.inbox_put([full, plain])

        page = await store.inbox_page(ACME, ADA, InboxFilter(), now=START, limit=9)
        assert [plain, full] == [attrs.evolve(item, number=0, change=0) for item in page.items]
        assert [NO_MARKS] * 2 == [item.marks for item in page.items]

    async def test_an_item_is_put_once(self, store: InboxStore) -> None:
        """A second put under the same id changes nothing, in the same batch or later, and makes no new change."""
        (item,) = await given(store, 1)
        await store.inbox_mark(ACME, ADA, InboxMark.READ, now=START, ids=[item.id], limit=1)
        cursor = (await changes(store, 0)).cursor

        await store.inbox_put([attrs.evolve(item, title="again")] * 2)

        page = await store.inbox_page(ACME, ADA, InboxFilter(), now=START, limit=9)
        assert [(item.title, START)] == [(each.title, each.marks.read_at) for each in page.items]
        assert () == (await changes(store, cursor)).items

    async def test_nothing_is_put(self, store: InboxStore) -> None:
        """An empty batch is no mistake, and an inbox that never got anything is empty."""
        await store.inbox_put([])

        page = await store.inbox_page(ACME, ADA, InboxFilter(), now=START, limit=9)
        assert ((), None, 0) == page
        assert InboxCounts(0, 0) == await store.inbox_counts(ACME, ADA, now=START)
        assert [] == await store.inbox_mark(ACME, ADA, InboxMark.READ, now=START, limit=9)
        assert {} == await store.inbox_changes(ACME, {ADA: 0}, limit=9)
        assert 0 == await store.inbox_erase(ACME, ADA, limit=9)

    async def test_an_inbox_is_its_owners(self, store: InboxStore) -> None:
        """The same id in another tenant, or another person's inbox, is another item."""
        item = make_inbox_item(ADA)
        others = [attrs.evolve(item, recipient=BOB), attrs.evolve(item, tenant="globex")]
        await store.inbox_put([item, *others])

        await store.inbox_mark(ACME, ADA, InboxMark.READ, now=START, ids=[item.id], limit=9)
        await store.inbox_erase(ACME, BOB, limit=9)

        left = [
            (await store.inbox_page(tenant, recipient, InboxFilter(), now=START, limit=9)).items
            for tenant, recipient in ((ACME, ADA), (ACME, BOB), ("globex", ADA), ("globex", BOB))
        ]
        assert [[START], [], [None], []] == [[each.marks.read_at for each in items] for items in left]

    # -- pages -----------------------------------------------------------------------------------

    async def test_pages_go_on_where_the_last_one_ended(self, store: InboxStore) -> None:
        """Newest first, each item once, although others come meanwhile."""
        items = await given(store, 7)
        seen: list[str] = []
        after: int | None = None
        sizes = []
        while True:
            page = await store.inbox_page(ACME, ADA, InboxFilter(), now=START, limit=3, after=after)
            await store.inbox_put([make_inbox_item(ADA)])
            seen += ids(page.items)
            sizes.append(len(page.items))
            after = page.next
            if after is None:
                break

        assert ids(items) == seen
        assert [3, 3, 1] == sizes

    async def test_a_page_is_the_last_if_it_ends_with_the_last_item(self, store: InboxStore) -> None:
        """There is no cursor to an empty page."""
        await given(store, 3)

        page = await store.inbox_page(ACME, ADA, InboxFilter(), now=START, limit=3)

        assert (3, None) == (len(page.items), page.next)

    @pytest.mark.parametrize("state", list(InboxState))
    async def test_a_state_has_its_items(self, store: InboxStore, state: InboxState) -> None:
        """What an archived, snoozed, read or seen item is in does not depend on the store."""
        items = await given(store, 8)
        given_marks: list[tuple[InboxMark, ...]] = [
            (),
            (InboxMark.SEEN,),
            (InboxMark.READ,),
            (InboxMark.READ, InboxMark.UNREAD),
            (InboxMark.ARCHIVED,),
            (InboxMark.READ, InboxMark.ARCHIVED, InboxMark.UNARCHIVED),
            (InboxMark.SNOOZED, InboxMark.SEEN),
            (InboxMark.SNOOZED, InboxMark.ARCHIVED),
        ]
        for item, marks in zip(items, given_marks, strict=True):
            for mark in marks:
                await store.inbox_mark(ACME, ADA, mark, now=START, ids=[item.id], until=START + HOUR, limit=1)
        places = {
            InboxState.ACTIVE: ({0, 1, 2, 3, 5}, {0, 1, 2, 3, 5, 6}),
            InboxState.UNSEEN: ({0}, {0}),
            InboxState.UNREAD: ({0, 1, 3}, {0, 1, 3, 6}),
            InboxState.READ: ({2, 5}, {2, 5}),
            InboxState.SNOOZED: ({6}, set()),
            InboxState.ARCHIVED: ({4, 7}, {4, 7}),
        }

        for now, expected in zip((START, START + HOUR), places[state], strict=True):
            assert [items[at].id for at in sorted(expected)] == await read(store, state, now=now)

    async def test_pages_by_category_and_resource(self, store: InboxStore) -> None:
        """Both restrict, alone and together."""
        order, other = Resource("order", "A-1"), Resource("order", "A-2")
        for category, resource in (("orders", order), ("orders", other), ("chat", order), (None, None)):
            await given(store, 1, category=category, resource=resource)

        async def found(**wanted: object) -> list[tuple[str | None, str | None]]:
            chosen = InboxFilter(**wanted)  # type: ignore[arg-type]
            page = await store.inbox_page(ACME, ADA, chosen, now=START, limit=9)
            return [(item.category, None if item.resource is None else item.resource.id) for item in page.items]

        assert [("orders", "A-2"), ("orders", "A-1")] == await found(category="orders")
        assert [("chat", "A-1"), ("orders", "A-1")] == await found(resource=order)
        assert [("orders", "A-1")] == await found(category="orders", resource=order)
        assert [] == await found(resource=Resource("ticket", "A-1"))

    async def test_counts_stop(self, store: InboxStore) -> None:
        """They count active items that are new, and no further than the cap."""
        items = await given(store, COUNT_CAP + 5)
        full = await store.inbox_counts(ACME, ADA, now=START)
        await store.inbox_mark(ACME, ADA, InboxMark.SEEN, now=START, ids=ids(items[3:]), limit=999)
        await store.inbox_mark(ACME, ADA, InboxMark.READ, now=START, ids=ids(items[5:]), limit=999)
        await store.inbox_mark(ACME, ADA, InboxMark.ARCHIVED, now=START, ids=[items[0].id], limit=9)
        await store.inbox_mark(ACME, ADA, InboxMark.SNOOZED, now=START, ids=[items[1].id], until=START + HOUR, limit=9)

        assert InboxCounts(COUNT_CAP, COUNT_CAP) == full
        assert InboxCounts(1, 3) == await store.inbox_counts(ACME, ADA, now=START)
        assert InboxCounts(2, 4) == await store.inbox_counts(ACME, ADA, now=START + HOUR)

    # -- marks -----------------------------------------------------------------------------------

    async def test_marks_have_their_times(self, store: InboxStore, clock: FakeClock) -> None:
        """Each says when it was made first; a read item is seen."""
        (item,) = await given(store, 1)
        times = []
        for mark in (InboxMark.SEEN, InboxMark.READ, InboxMark.READ, InboxMark.ARCHIVED, InboxMark.SNOOZED):
            now = clock.advance(HOUR)
            times.append(now)
            await store.inbox_mark(ACME, ADA, mark, now=now, ids=[item.id], until=now + HOUR, limit=1)

        assert InboxMarks(times[0], times[1], times[3], times[4] + HOUR) == (await changes(store, 0)).items[0].marks

        for mark in (InboxMark.UNREAD, InboxMark.UNARCHIVED, InboxMark.UNSNOOZED):
            await store.inbox_mark(ACME, ADA, mark, now=clock.now(), ids=[item.id], limit=1)
        assert InboxMarks(times[0]) == (await changes(store, 0)).items[0].marks

    async def test_only_what_changes_is_returned(self, store: InboxStore) -> None:
        """A mark that is there already, and an item that is not, are no change."""
        items = await given(store, 3)
        first = await store.inbox_mark(ACME, ADA, InboxMark.READ, now=START, ids=[items[0].id], limit=9)
        cursor = (await changes(store, 0)).cursor

        again = await store.inbox_mark(
            ACME, ADA, InboxMark.READ, now=START + HOUR, ids=[items[0].id, "dlv_none"], limit=9
        )
        snoozes = [
            await store.inbox_mark(
                ACME, ADA, InboxMark.SNOOZED, now=START, ids=[items[1].id], until=START + until, limit=9
            )
            for until in (HOUR, HOUR, 2 * HOUR)
        ]

        assert [items[0].id] == first
        assert [] == again
        assert [[items[1].id], [], [items[1].id]] == snoozes
        assert [items[1].id] == ids((await changes(store, cursor)).items)

    async def test_all_are_marked_in_batches(self, store: InboxStore) -> None:
        """A batch of a filter takes the newest that the mark changes, so the next batch goes on."""
        items = await given(store, 5, category="orders")
        await given(store, 1, category="chat")
        await store.inbox_mark(ACME, ADA, InboxMark.READ, now=START, ids=[items[0].id], limit=1)

        batches = [
            await store.inbox_mark(ACME, ADA, InboxMark.READ, now=START, wanted=InboxFilter(category="orders"), limit=3)
            for _ in range(3)
        ]

        assert [ids(items[1:4]), ids(items[4:]), []] == batches
        assert InboxCounts(1, 1) == await store.inbox_counts(ACME, ADA, now=START)

    # -- changes ---------------------------------------------------------------------------------

    async def test_a_client_catches_up_from_its_page(self, store: InboxStore) -> None:
        """What happened after a page was read, and nothing else, is returned, each item once as it is now."""
        items = await given(store, 4)
        await store.inbox_mark(ACME, ADA, InboxMark.SEEN, now=START, ids=[items[3].id], limit=1)
        page = await store.inbox_page(ACME, ADA, InboxFilter(), now=START, limit=2)
        await store.inbox_mark(ACME, ADA, InboxMark.SEEN, now=START, ids=[items[0].id], limit=1)
        await store.inbox_mark(ACME, ADA, InboxMark.READ, now=START, ids=[items[2].id], limit=1)
        (new, *_) = await given(store, 1)
        await store.inbox_mark(ACME, ADA, InboxMark.READ, now=START, ids=[items[0].id], limit=1)

        found = await changes(store, page.cursor)

        assert [items[2].id, new.id, items[0].id] == ids(found.items)
        assert [START, None, START] == [item.marks.read_at for item in found.items]
        assert (False, False) == (found.has_more, found.is_reset)
        assert InboxChanges((), found.cursor) == await changes(store, found.cursor)

    async def test_many_changes_come_in_parts(self, store: InboxStore) -> None:
        """An item that changes again between two parts comes again, with its new state."""
        items = await given(store, 4)

        first = await changes(store, 0, limit=3)
        await store.inbox_mark(ACME, ADA, InboxMark.READ, now=START, ids=[items[3].id], limit=1)
        second = await changes(store, first.cursor, limit=3)

        assert (3, True) == (len(first.items), first.has_more)
        assert ([items[0].id, items[3].id], False) == (ids(second.items), second.has_more)

    async def test_items_that_were_marked_together_come_together(self, store: InboxStore) -> None:
        """Also where they are more than the limit: the cursor is behind all of them or before all of them."""
        items = await given(store, 7)
        start = (await changes(store, 0)).cursor
        await store.inbox_mark(ACME, ADA, InboxMark.SEEN, now=START, ids=[items[6].id], limit=9)
        for chosen in (items[3:6], items[:2]):
            await store.inbox_mark(ACME, ADA, InboxMark.READ, now=START, ids=ids(chosen), limit=9)

        parts, cursor = [], start
        for _ in range(3):
            found = await changes(store, cursor, limit=2)
            parts.append((ids(found.items), found.has_more))
            cursor = found.cursor

        expected = [(ids(items[6:]), True), (ids(items[5:2:-1]), True), (ids(items[1::-1]), False)]
        assert expected == parts
        assert InboxChanges((), cursor) == await changes(store, cursor)

    async def test_many_inboxes_are_read_at_once(self, store: InboxStore) -> None:
        """Those without changes are left out."""
        cursors = {}
        for recipient in (ADA, BOB, "user:eve"):
            await given(store, 2, recipient)
            cursors[recipient] = (await changes(store, 0, recipient=recipient)).cursor
        (new, *_) = await given(store, 1, BOB)

        found = await store.inbox_changes(ACME, {**cursors, "user:none": 0, "user:eve": 0}, limit=1)

        assert {BOB: [new.id], "user:eve": [(await read(store, recipient="user:eve"))[1]]} == {
            recipient: ids(changes.items) for recipient, changes in found.items()
        }
        assert {BOB: False, "user:eve": True} == {recipient: changes.has_more for recipient, changes in found.items()}

    async def test_an_erased_inbox_is_reset(self, store: InboxStore) -> None:
        """A client that read it before is told, also when it has filled again, and then goes on as usual."""
        await given(store, 3)
        before = (await changes(store, 0)).cursor

        counts = [await store.inbox_erase(ACME, ADA, limit=2) for _ in range(3)]
        empty = await changes(store, before)
        (new, *_) = await given(store, 1, at=START + HOUR)
        filled = await changes(store, before)

        assert [2, 1, 0] == counts
        assert ((), True) == (empty.items, empty.is_reset)
        assert ([new.id], True) == (ids(filled.items), filled.is_reset)
        assert InboxChanges((), filled.cursor) == await changes(store, filled.cursor)
        assert (1, False) == (len((await changes(store, empty.cursor)).items), False)

    async def test_a_change_ends_the_wait(self, store: InboxStore) -> None:
        """A new item and a mark wake the readers."""
        (item,) = await given(store, 1)

        for change in (
            lambda: store.inbox_put([make_inbox_item(BOB)]),
            lambda: store.inbox_mark(ACME, ADA, InboxMark.READ, now=START, ids=[item.id], limit=1),
        ):
            with anyio.fail_after(20):
                while await store.inbox_wait(timedelta(milliseconds=50)):
                    pass  # what was told before
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(store.inbox_wait, timedelta(minutes=1))
                    await asyncio.sleep(0.05)
                    await change()

    async def test_a_wait_ends(self, store: InboxStore) -> None:
        """After its timeout, if nothing happens."""
        with anyio.fail_after(20):
            while await store.inbox_wait(timedelta(milliseconds=1)):
                pass  # what was told before

    # -- marks of events -------------------------------------------------------------------------

    async def test_marks_are_found_by_event(self, store: InboxStore) -> None:
        """Over many inboxes at once; what is not there is left out."""
        event, other = make_id("evt_"), make_id("evt_")
        await store.inbox_put([make_inbox_item(each, event_id=event) for each in (ADA, BOB)])
        await store.inbox_put(
            [make_inbox_item(ADA, event_id=other), make_inbox_item(ADA, event_id=event, tenant="globex")]
        )
        await store.inbox_mark(ACME, BOB, InboxMark.READ, now=START, wanted=InboxFilter(), limit=1)

        wanted = [(ADA, event), (BOB, event), (BOB, other), ("user:none", event)]
        found = await store.inbox_marks(ACME, [*wanted, *((f"user:{n}", event) for n in range(500))])

        assert {(ADA, event): NO_MARKS, (BOB, event): InboxMarks(START, START)} == found
        assert {} == await store.inbox_marks(ACME, [])

    # -- many writers ----------------------------------------------------------------------------

    @needs("concurrent")
    async def test_a_reader_misses_nothing_of_concurrent_writers(
        self, store: InboxStore, make_second_store: MakeInboxStore
    ) -> None:
        """A client that follows the changes gets each one once, and in the end exactly what is stored."""
        writers = [await make_second_store() for _ in range(3)]
        known: dict[str, InboxItem] = {}
        is_over = asyncio.Event()

        async def write(writer: InboxStore) -> None:
            for _ in range(6):
                items = [make_inbox_item(each) for each in (ADA, BOB, ADA)]
                await asyncio.gather(
                    writer.inbox_put(items),
                    writer.inbox_put(items[::-1]),
                    writer.inbox_put([make_inbox_item(ADA)]),
                    writer.inbox_mark(ACME, ADA, InboxMark.READ, now=START, wanted=InboxFilter(), limit=2),
                )

        async def follow() -> None:
            cursor = 0
            while True:
                was_over = is_over.is_set()
                found = await changes(store, cursor, limit=4)
                for item in found.items:
                    assert item.id not in known or known[item.id].change < item.change
                    known[item.id] = item
                cursor = found.cursor
                await asyncio.sleep(0)
                if was_over and not found.has_more:
                    return

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(follow)
            async with anyio.create_task_group() as writing:
                for writer in writers:
                    writing.start_soon(write, writer)
            is_over.set()

        page = await store.inbox_page(ACME, ADA, InboxFilter(), now=START, limit=999)
        assert 54 == len(page.items)
        assert list(page.items) == sorted(known.values(), key=lambda item: item.number, reverse=True)
