"""Suppression lists: kept exactly, read by the hundred, and noticed by planners from the first address on."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from ....errors import StaleWriteError
from ....models.preferences import Purpose
from ....models.suppression import SuppressedAddress, SuppressionEntry, SuppressionReason, suppression_id
from ....ports import Store
from ...clock import FakeClock
from .steps import ACME, GLOBEX, HOUR, TICK, get_one, load


def _suppressed(
    clock: FakeClock, address: str = "ada@example.org", tenant: str = ACME, **its: Any
) -> SuppressedAddress:
    """Return an address that is suppressed for one reason."""
    entry = SuppressionEntry(**{"reason": SuppressionReason.MANUAL, "since": clock.now(), **its})
    return SuppressedAddress(id=suppression_id(tenant, "email", address), tenant=tenant, entries=[entry])


class SuppressionPromises:
    """What a store promises of suppression lists."""

    async def test_a_suppressed_address_reads_back_as_it_was_saved(self, store: Store, clock: FakeClock) -> None:
        """With every reason; a save replaces it as a whole, and one that is stale changes nothing."""
        now = clock.now()
        one = _suppressed(clock)
        more = SuppressionEntry(
            reason=SuppressionReason.COMPLAINT,
            purposes=[Purpose.MARKETING, Purpose.TRANSACTIONAL],
            evidence="550 5.1.1 ☃",
            since=now + TICK,
            until=now + HOUR,
        )

        first = await store.save(one)
        saved = await store.save(attrs.evolve(first, entries=[*one.entries, more]))
        with pytest.raises(StaleWriteError):
            await store.save(attrs.evolve(first, entries=[]))
        found = await get_one(store, SuppressedAddress, ACME, one.id)
        emptied = await store.save(attrs.evolve(saved, entries=[]))

        assert attrs.evolve(one, entries=[*one.entries, more], version=2) == saved == found
        assert emptied == await get_one(store, SuppressedAddress, ACME, one.id)
        assert [emptied] == await store.page(SuppressedAddress, ACME, limit=9)

    async def test_many_suppressed_addresses_are_saved_and_read_at_once(self, store: Store, clock: FakeClock) -> None:
        """Those that are on the list, of this tenant alone."""
        listed = [_suppressed(clock, f"{number}@example.org") for number in range(600)]
        other = await store.save(_suppressed(clock, tenant=GLOBEX))

        saved = await store.save_many(listed)
        asked = [suppression_id(ACME, "email", f"{number}@example.org") for number in range(0, 1200, 2)]
        found = await store.get(SuppressedAddress, ACME, [*asked, other.id])

        assert [attrs.evolve(one, version=1) for one in listed] == saved
        assert sorted(asked[:300]) == sorted(one.id for one in found)
        assert other.id not in {one.id for one in await store.page(SuppressedAddress, ACME, limit=999)}

    @pytest.mark.parametrize("at_once", [1, 3])
    async def test_the_first_suppressed_address_raises_the_version(
        self, store: Store, clock: FakeClock, at_once: int
    ) -> None:
        """Processes know by it that there is a list to look at; what comes after makes none of them load again."""
        before = await load(store, ACME)

        saved = await store.save_many([_suppressed(clock, f"{number}@example.org") for number in range(at_once)])
        first = await load(store, ACME)
        more = await store.save(_suppressed(clock, "more@example.org"))
        await store.save_many([_suppressed(clock, "most@example.org")])
        await store.save(more)
        later = await load(store, ACME)
        for each in await store.page(SuppressedAddress, ACME, limit=9):
            await store.remove(SuppressedAddress, ACME, each.id, now=clock.now())
        await store.save(_suppressed(clock))

        assert at_once == len(saved)
        assert before.version < first.version == later.version < (await load(store, ACME)).version
