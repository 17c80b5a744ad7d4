"""The suite of inboxes finds stores that break their promises."""

from __future__ import annotations

import asyncio
import inspect
import random

import attrs
import pytest

from notifykit.models.inbox import InboxChanges
from notifykit.stores.memory import MemoryStore
from notifykit.testing import FakeClock, InboxSuite


class NumbersBeforeItCommits(MemoryStore):
    """Takes the numbers of changes out of a sequence, which does not wait for other transactions."""

    async def inbox_put(self, items):
        await super().inbox_put([])
        for item in items:
            inbox = self._inboxes.get((item.tenant, item.recipient))
            number = inbox.number() if inbox is not None else 0
            await asyncio.sleep(random.random() / 1000)
            await super().inbox_put([item])
            if inbox is not None and inbox.items[item.id].number > number:
                inbox.items[item.id] = attrs.evolve(inbox.items[item.id], number=number, change=number)


class PutsAgain(MemoryStore):
    async def inbox_put(self, items):
        for item in items:
            if (inbox := self._inboxes.get((item.tenant, item.recipient))) is not None:
                inbox.items.pop(item.id, None)
        await super().inbox_put(items)


class NumbersFromOne(MemoryStore):
    """Begins anew after an inbox was erased."""

    async def inbox_put(self, items):
        await super().inbox_put(items)
        for inbox in self._inboxes.values():
            if inbox.base:
                inbox.last -= inbox.base
                inbox.items = {
                    id_: attrs.evolve(item, number=item.number - inbox.base, change=item.change - inbox.base)
                    for id_, item in inbox.items.items()
                }
                inbox.base = 0


class PagesWithoutCursor(MemoryStore):
    async def inbox_page(self, tenant, recipient, wanted, *, now, limit, after=None):
        page = await super().inbox_page(tenant, recipient, wanted, now=now, limit=limit, after=after)
        return page._replace(cursor=max((item.change for item in page.items), default=0))


class MarksForAll(MemoryStore):
    async def inbox_mark(self, tenant, recipient, mark, **options):
        marked = []
        for its in list(self._inboxes):
            marked += await super().inbox_mark(*its, mark, **options)
        return marked


class CountsAll(MemoryStore):
    async def inbox_counts(self, tenant, recipient, *, now):
        items = self._inboxes[tenant, recipient].items.values()
        return len([item for item in items if item.marks.seen_at is None]), len(items)


class SkipsTies(MemoryStore):
    """Gives all items of a step the same number."""

    async def inbox_changes(self, tenant, since, *, limit):
        found = await super().inbox_changes(tenant, since, limit=limit)
        return {key: each._replace(cursor=each.items[-1].change + 1) for key, each in found.items() if each.items}


class NeverResets(MemoryStore):
    async def inbox_changes(self, tenant, since, *, limit):
        found = await super().inbox_changes(tenant, since, limit=limit)
        return {key: InboxChanges(*each[:3]) for key, each in found.items()}


SABOTAGE = [
    (NumbersBeforeItCommits, "test_a_reader_misses_nothing_of_concurrent_writers"),
    (PutsAgain, "test_an_item_is_put_once"),
    (NumbersFromOne, "test_an_erased_inbox_is_reset"),
    (PagesWithoutCursor, "test_a_client_catches_up_from_its_page"),
    (MarksForAll, "test_an_inbox_is_its_owners"),
    (CountsAll, "test_counts_stop"),
    (SkipsTies, "test_many_changes_come_in_parts"),
    (NeverResets, "test_an_erased_inbox_is_reset"),
]


async def promise(name, store):
    """Run one test of the suite on ``store``; a second process shares it."""

    async def same():
        return store

    fixtures = {"store": store, "clock": FakeClock(), "make_second_store": same}
    test = getattr(InboxSuite(), name)
    await test(**{name: fixtures[name] for name in inspect.signature(test).parameters})


@pytest.mark.parametrize(("broken", "name"), [pytest.param(*row, id=f"{row[0].__name__}-{row[1]}") for row in SABOTAGE])
async def test_a_broken_store_is_found_out(broken, name):
    """The named test passes for the reference store and fails for one that breaks its promise."""
    await promise(name, MemoryStore())

    with pytest.raises((AssertionError, ExceptionGroup)):
        await promise(name, broken())
