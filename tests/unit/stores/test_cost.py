"""What a verb reads grows neither with what waits nor with history."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from functools import partial
from shutil import copyfile

import psycopg
import pytest
from sqlalchemy import text

from notifykit.models.circuit import OpenCircuit
from notifykit.models.delivery import DeliveryState
from notifykit.models.inbox import InboxFilter, InboxMark, InboxState
from notifykit.policies.receipts import to_record
from notifykit.ports import DeliveryFilter, EventFilter, Move, Settlement
from notifykit.stores.memory import MemoryStore
from notifykit.stores.memory.outbox import MemoryOutbox
from notifykit.stores.sql import inbox, reading, receipts
from notifykit.stores.sql.postgres import statements as sql
from notifykit.stores.sql.postgres.store import PostgresStore
from notifykit.stores.sql.sqlite.store import SqliteStore
from notifykit.stores.sql.sqlite.url import file_of
from notifykit.testing import START, make_delivery, make_endpoint, make_event, make_inbox_item, make_receipt
from notifykit.testing.suites.store.steps import ACME, LANE

ADA = "user:ada"
LEASE, DAY, HOUR = timedelta(seconds=30), timedelta(days=1), timedelta(hours=1)
#: Instructions of SQLite's engine that are counted as one.
_STEP = 50
FEW, MANY = 60, 480


async def crowd(store, count):
    """Fill a store with as many events, waiting and ended deliveries, read items and receipts that wait."""
    for state in (DeliveryState.DELIVERED, DeliveryState.PENDING):
        await store.append([make_event() for _ in range(count)])
        taken = await store.take(count, now=START, lease=LEASE)
        planned = [make_delivery(make_event()._replace(id=event.id), state=state) for event in taken]
        settlements = [Settlement(event.id, event.fence, [new]) for event, new in zip(taken, planned, strict=True)]
        await store.settle(settlements, now=START, lease=LEASE, worker="planner-1")
    await store.inbox_put([make_inbox_item(ADA) for _ in range(count)])
    await store.inbox_mark(ACME, ADA, InboxMark.READ, now=START, limit=count)
    waiting = [to_record(make_receipt(f"report-{n}", reference=f"of-{n}")) for n in range(count)]
    await store.record_receipts(waiting, now=START)


# ── SQLite: steps of its engine ────────────────────────────────────────────────────────────────


async def rescue(store):
    await store.claim(LANE, 1, now=START, lease=timedelta(0), worker="lost")
    return lambda: store.rescue(9, now=START + HOUR, max_abandoned=1)


async def close_circuit(store):
    endpoint = await store.save(make_endpoint())
    circuit = OpenCircuit(key=endpoint.id, tenant=ACME, since=START, probe_at=START, probes=0, reason="503")
    await store.save_circuit(ACME, endpoint.id, circuit, now=START)
    return lambda: store.save_circuit(ACME, endpoint.id, None, now=START)


async def cancel(store):
    its = DeliveryFilter(subscriber_id="end_other")
    return lambda: store.move(ACME, its, Move.CANCEL, now=START)


async def purge(store):
    """Only the first one looks through all history for idempotency keys."""
    edges = {"before": START - DAY, "keys_before": START + 2 * HOUR, "limit": 9}
    await store.purge(**edges)
    return lambda: store.purge(**edges)


async def marks(store):
    return lambda: store.inbox_marks(ACME, [("user:other", make_event().id), ("user:another", make_event().id)])


async def unread(store):
    return lambda: store.inbox_page(ACME, ADA, InboxFilter(state=InboxState.UNREAD), now=START, limit=9)


async def counts(store):
    return lambda: store.inbox_counts(ACME, ADA, now=START)


async def mark_seen(store):
    wanted = InboxFilter(state=InboxState.UNREAD)
    return lambda: store.inbox_mark(ACME, ADA, InboxMark.READ, now=START, wanted=wanted, limit=9)


async def look(store):
    return lambda: store.record_receipts((), now=START + HOUR)


async def stats(store):
    return lambda: store.stats(now=START)


VERBS = [rescue, close_circuit, cancel, purge, marks, unread, counts, mark_seen, look, stats]


@pytest.fixture
def small_pages(monkeypatch):
    """Reads that end after so many rows end soon."""
    monkeypatch.setattr(receipts, "_PAGE", 10)
    monkeypatch.setattr(reading, "_COUNT_CAP", 10)


def _call_at_each_step(call, db):
    db.set_progress_handler(call, _STEP)


async def steps(url, count):
    """Return how many steps the engine takes for each verb beside a crowd."""
    store = SqliteStore(url)
    await store.open()
    await crowd(store, count)
    found: Counter[str] = Counter()
    for verb in VERBS:
        run = await verb(store)
        step = partial(found.update, [verb.__name__])
        await store._change(partial(_call_at_each_step, step), 1)
        await run()
        await store._change(partial(_call_at_each_step, None), 1)
    await store.aclose()
    return found


async def test_a_crowd_costs_sqlite_nothing(sqlite_store_url, tmp_path, small_pages):
    """Whatever the engine does for a verb, it does as often beside ten times as many rows."""
    other = copyfile(file_of(sqlite_store_url) or "", tmp_path / "other.db")

    few, many = await steps(sqlite_store_url, FEW), await steps(f"sqlite:///{other}", MANY)

    assert {} == {name: (few[name], many[name]) for name in many if many[name] > 2 * few[name] + 10}


# ── PostgreSQL: plans that were made while a table was empty, and rows ─────────────────────────


@pytest.fixture
async def store(postgres_store_url):
    """A store whose tables the server knows to be empty."""
    with psycopg.connect(postgres_store_url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
    store = PostgresStore(postgres_store_url)
    await store.open()
    yield store
    await store.aclose()


_LANE = ("webhook", 1, 0, 5, 1)
_NAMES: tuple[object, ...] = ([], [], None)


@pytest.mark.parametrize(
    ("statement", "values"),
    [
        pytest.param(sql.TAKE, (0, 5, 1, [], 0, 5), id="take"),
        pytest.param(sql.CLAIM, (*_LANE, "worker-1", *_NAMES, 5), id="claim"),
        pytest.param(sql.CLAIM_NAMED, (*_LANE, "worker-1", *_NAMES, ["dlv_1"], 5), id="claim by ids"),
        pytest.param(sql.HAND_OFF, (*_LANE, 9, [], [], 9, 9, 5), id="hand off"),
        pytest.param(sql.EXTEND, (["dlv_1"], [1], 1), id="extend"),
        pytest.param(reading.NEXT_DUE, (), id="next due"),
    ],
)
async def test_a_plan_for_an_empty_table_reads_no_whole_index(store, statement, values):
    """Tables are empty in quiet hours, and a connection keeps its plans until the server has counted the rows again."""
    async with store._driver() as pg:
        lines = [row[0].strip() for row in await pg.fetch(f"EXPLAIN {statement}", *values)]

    scans = [at for at, line in enumerate(lines) if "Scan using" in line and _of_hot_table(line)]
    assert scans
    assert [] == [lines[at] for at in scans if "Index Cond" not in lines[at + 1] and not _ends_at_once(lines[at - 1])]


def _of_hot_table(line):
    """Tell whether a scan is of the outbox or the queue; the index of leases has only what is being sent."""
    return (" on notifykit_outbox" in line or " on notifykit_queue" in line) and "notifykit_queue_lease" not in line


def _ends_at_once(above):
    """Tell whether a scan ends at its first row: in ``LIMIT 1``, or in ``EXISTS``."""
    return above.removeprefix("->").strip().startswith(("Limit", "InitPlan"))


_READ = "SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0)) FROM pg_stat_xact_user_tables WHERE relname = :table"


@pytest.mark.parametrize(
    ("table", "verb"),
    [
        ("notifykit_inbox_items", lambda c: inbox.marks_of(c, ACME, [("user:a", "evt_1"), ("user:b", "evt_2")])),
        ("notifykit_receipts", lambda c: receipts.look(c, START + HOUR)),
    ],
)
async def test_a_crowd_costs_postgresql_nothing(store, small_pages, table, verb):
    """A condition that names several rows finds each of them in an index."""
    await crowd(store, 2 * FEW)
    await store._write(lambda connection: connection.execute(text(f"ANALYZE {table}")))

    def rows(connection):
        before = connection.scalar(text(_READ), {"table": table})
        verb(connection)
        return connection.scalar(text(_READ), {"table": table}) - before

    assert 60 >= await store._write(rows)


async def test_a_purge_reads_nothing_recent(store):
    """Also once blocks of the table have been used again, of which a BRIN index remembers what they had before."""
    find = "EXPLAIN SELECT 1 FROM {} WHERE {} < 0 LIMIT 9"
    async with store._driver() as pg:
        plans = [
            [row[0] for row in await pg.fetch(find.format(table, column))]
            for table, column in (
                ("notifykit_deliveries", "finished_at"),
                ("notifykit_events", "published_at"),
            )
        ]

    assert [True, True] == [any("Index Cond" in line for line in plan) for plan in plans]


# ── memory ─────────────────────────────────────────────────────────────────────────────────────


async def test_an_event_is_found_by_its_id_in_memory(monkeypatch):
    """The other events of its tenant are not looked at."""
    store, looked = MemoryStore(), []
    is_wanted = MemoryOutbox._is_wanted

    def look(self, event, wanted):
        looked.append(event)
        return is_wanted(self, event, wanted)

    monkeypatch.setattr(MemoryOutbox, "_is_wanted", look)
    events = [make_event() for _ in range(FEW)]
    await store.append(events)

    found = await store.find_events(ACME, EventFilter(ids=events[0].id), limit=9)

    assert (events[:1], 1) == (found, len(looked))
