"""The audit log: newest first, searched, and kept for its time."""

from __future__ import annotations

from datetime import timedelta

import attrs
import pytest

from notifykit import Notifykit
from notifykit.admin import AuditFilter, audit
from notifykit.dispatch.settings import DispatchSettings
from notifykit.models.audit import AuditEntry, entry_id
from notifykit.telemetry import ActionAudited
from notifykit.testing import FakeClock

SECOND, DAY = timedelta(seconds=1), timedelta(days=1)


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture(params=["memory://", "sqlite:///{}/audit.db"])
async def kit(request, clock, tmp_path):
    async with Notifykit(request.param.format(tmp_path), clock=clock) as kit:
        yield kit


def action(name: str = "update_endpoint", **fields: str) -> ActionAudited:
    told = {"subject": "key_1", "role": "operator", "tenant": "acme", "target": "end_1", "request_id": "req_1"} | fields
    return ActionAudited(action=name, status=200, **told)


async def _filled(kit: Notifykit, clock: FakeClock, count: int) -> list[AuditEntry]:
    entries = []
    for number in range(count):
        entries.append(await kit.audit.add(action(tenant="acme" if number % 3 else "globex", subject=f"key_{number}")))
        clock.advance(SECOND)
    return entries


async def test_the_newest_entries_come_first_page_by_page(kit, clock):
    """Each once, as it was stored."""
    entries = await _filled(kit, clock, 7)

    first = await kit.audit.page(limit=3)
    second = await kit.audit.page(limit=3, after=first.next)
    third = await kit.audit.page(limit=3, after=second.next)

    assert entries[::-1] == [*first.entries, *second.entries, *third.entries]
    assert third.next is None


async def test_a_search_goes_on_where_it_stopped(kit, clock, monkeypatch):
    """It looks at a bounded number of entries, so that a page may be empty and have a next one."""
    monkeypatch.setattr(audit, "_PAGE", 2)
    monkeypatch.setattr(audit, "_SEARCHED", 4)
    entries = await _filled(kit, clock, 9)
    wanted, pages = AuditFilter(about="globex", action="endpoint"), [await kit.audit.page(limit=1)]
    oldest = AuditFilter(subject="key_0")

    while pages[-1].next is not None:
        pages.append(await kit.audit.page(wanted, limit=1, after=pages[-1].next))
    empty = await kit.audit.page(oldest)
    last = await kit.audit.page(oldest, after=(await kit.audit.page(oldest, after=empty.next)).next)

    assert [entries[8], entries[6], entries[3], entries[0]] == [each for page in pages for each in page.entries]
    assert ([], [entries[0]], None) == (empty.entries, *last)


async def test_entries_are_kept_for_their_time(kit, clock):
    """Workers that clean forget what is older."""
    old = await kit.audit.add(action())
    clock.advance(DAY)
    new = await kit.audit.add(action())
    clock.advance(29 * DAY + SECOND)
    dispatcher = kit.dispatcher(settings=DispatchSettings(audit_retention=30 * DAY))

    worked = [await dispatcher.step(), await dispatcher.step()]

    assert old != new
    assert [True, False] == worked
    assert [new] == (await kit.audit.page()).entries


async def test_a_retention_of_a_hundred_years_keeps_everything(kit, clock):
    """Although it reaches back before 1970."""
    entry = await kit.audit.add(action())

    await kit.dispatcher(settings=DispatchSettings(audit_retention=36_500 * DAY)).step()

    assert [entry] == (await kit.audit.page()).entries


def test_ids_of_later_instants_sort_before(clock):
    """To the microsecond."""
    ids = [entry_id(clock.advance(timedelta(microseconds=1))) for _ in range(20)]

    assert sorted(ids, reverse=True) == ids


async def test_sync_code_reads_it(tmp_path):
    """As everything else."""
    kit = Notifykit(f"sqlite:///{tmp_path / 'audit.db'}")
    try:
        entry = kit.blocking.audit.add(action())
        assert [attrs.evolve(entry, version=1)] == kit.blocking.audit.page().entries
    finally:
        kit.close()
