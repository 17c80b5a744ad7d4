"""What is SQLite's own: files, locks, other processes, and a store that is closed and opened again."""

from __future__ import annotations

import asyncio
import errno
import re
import sqlite3
import sys
import threading
from datetime import timedelta
from pathlib import Path
from shutil import copyfile

import anyio
import pytest
from sqlalchemy import event, exc

from notifykit import DispatchSettings, Notifykit
from notifykit.errors import SchemaError, StoreError, StoreUnavailableError, ValueRefusedError
from notifykit.stores.sql.faults import translated
from notifykit.stores.sql.sqlite import store as sqlite
from notifykit.stores.sql.sqlite.store import SqliteStore
from notifykit.stores.sql.sqlite.verbs import NAMED
from notifykit.telemetry import LoopFailed, TelemetryEvent
from notifykit.testing import START, make_endpoint, make_event

LEASE = timedelta(seconds=30)
#: In real seconds: far longer than anything takes, far shorter than a wait that is not ended.
PROMPTLY, LONG = 45, timedelta(seconds=60)


@pytest.fixture
async def store(sqlite_store_url):
    store = SqliteStore(sqlite_store_url)
    await store.open()
    yield store
    await store.aclose()


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("notifykit-sqlite")]


async def test_tickets_find_their_deliveries_by_their_ids(store):
    """However much waits in the lane, its index is not read."""
    names = ("channel", "rank", "now", "exclude", "exclude_tenants", "only", "named", "window")

    plan = await store._change(lambda db: db.execute(f"EXPLAIN QUERY PLAN {NAMED}", dict.fromkeys(names)).fetchall(), 1)

    assert [] == [step for *_, step in plan if "notifykit_queue_due" in step]
    assert [step for *_, step in plan if "(id=?)" in step]


async def test_a_store_can_be_closed_and_opened_again(store):
    """What was stored is there; a store that is closed twice does not mind."""
    await store.append([make_event()])
    for _ in range(2):
        await store.aclose()

    with pytest.raises(StoreUnavailableError, match="not open"):
        await store.circuits()
    with pytest.raises(StoreUnavailableError, match="not open"):
        await store.next_due()
    with pytest.raises(StoreUnavailableError, match="not open"):
        await store.append([make_event()])
    await store.open()

    assert 1 == len(await store.take(10, now=START, lease=LEASE))


async def test_commits_are_durable(store):
    """A power cut takes nothing that was acknowledged: the log is written ahead, and through to the disk."""
    db = store._db

    assert "wal" == db.execute("PRAGMA journal_mode").fetchone()[0]
    assert 2 == db.execute("PRAGMA synchronous").fetchone()[0]


async def test_durability_can_be_traded(sqlite_store_url):
    """For who says so."""
    store = SqliteStore(sqlite_store_url, synchronous="NORMAL")
    await store.open()
    level = store._db.execute("PRAGMA synchronous").fetchone()[0]  # type: ignore[union-attr]
    await store.aclose()

    assert 1 == level


@pytest.mark.parametrize("what", ["folder", "text", "in a file"])
async def test_what_is_no_database_does_not_open(tmp_path, what):
    """The error names the file, and no thread is left behind."""
    file = tmp_path / "store.db"
    if what == "folder":
        file.mkdir()
    elif what == "text":
        file.write_text("this is no database, " * 100)
    else:
        file.write_text("")
        file /= "store.db"

    with pytest.raises(StoreUnavailableError, match=r"store\.db"):
        await SqliteStore(f"sqlite:///{file}").open()

    assert [] == threads()


async def test_tables_are_not_made_unasked(tmp_path):
    """With ``create=False`` a new file stays empty, and no thread is left behind."""
    with pytest.raises(SchemaError, match="notifykit migrate"):
        await SqliteStore(f"sqlite:///{tmp_path / 'new.db'}", create=False).open()

    assert [] == threads()


async def test_a_lock_that_does_not_end_is_unavailability(store, sqlite_store_url, monkeypatch):
    """Somebody else writes for too long: the caller may try again, and nothing is half-done."""
    monkeypatch.setattr("notifykit.stores.sql.sqlite.store.BUSY", 0.05)
    other = sqlite3.connect(sqlite_store_url.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    with pytest.raises(StoreUnavailableError, match="locked"):
        await store.append([make_event()])
    with pytest.raises(StoreUnavailableError, match="locked"):
        await store.save(make_endpoint())
    readable = await store.circuits()
    other.execute("COMMIT")
    other.close()
    await store.append([make_event()])

    assert [] == readable
    assert 1 == len(await store.take(10, now=START, lease=LEASE))


@pytest.mark.parametrize("part", ["", "-wal", "-shm"])
@pytest.mark.parametrize("fate", ["deleted", "replaced"])
async def test_a_file_that_is_taken_away_is_noticed(store, sqlite_store_url, part, fate):
    """Nothing is written to, or read from, a file that another process would not find; put back, it is used again."""
    file = Path(sqlite_store_url.removeprefix("sqlite:///") + part)
    await store.next_due()
    away = file.rename(f"{file}.away")  # noqa: ASYNC240 - no other task waits for this one
    if fate == "replaced":
        copyfile(away, file)

    with pytest.raises(StoreUnavailableError, match=f"{re.escape(str(file))} was {fate} while"):
        await store.append([make_event()])
    with pytest.raises(StoreUnavailableError, match=f"was {fate} while"):
        await store.next_due()
    away.replace(file)
    await store.append([make_event()])

    assert (await store.next_due()).is_open


async def test_dispatchers_tell_that_the_file_is_gone(sqlite_store_url, tmp_path):
    """An idle dispatcher whose file is deleted reports it within the time between two questions."""
    told: asyncio.Queue[TelemetryEvent] = asyncio.Queue()
    file = sqlite_store_url.removeprefix("sqlite:///")
    often = DispatchSettings(poll=timedelta(milliseconds=50))

    async with Notifykit(sqlite_store_url, subscribers=[told.put_nowait]) as kit, kit.dispatcher(settings=often):
        for path in tmp_path.glob(f"{Path(file).name}*"):
            path.unlink()
        with anyio.fail_after(PROMPTLY):
            while not isinstance(failed := await told.get(), LoopFailed):
                pass

    assert f"{file} was deleted while this process had the database open" in failed.error


async def test_a_lost_table_is_a_schema_error(store):
    """Not a bug in the program, but a database that was tampered with."""
    store._db.execute("DROP TABLE notifykit_outbox")

    with pytest.raises(SchemaError, match="notifykit_outbox"):
        await store.append([make_event()])
    with pytest.raises(SchemaError, match="notifykit_outbox"):
        await store.next_due()


async def test_what_nobody_changed_is_not_asked_again(store, sqlite_store_url):
    """An idle process asks every second; the file is read only after somebody has committed, whoever it was."""
    other = SqliteStore(sqlite_store_url)
    await other.open()
    asked = []
    event.listen(store._engine, "begin", lambda _: asked.append(1))

    before = [await store.next_due() for _ in range(3)]
    await other.append([make_event()])
    after = [await store.next_due() for _ in range(3)]
    await store.append([make_event(due_at=START - LEASE)])
    own = [await store.next_due() for _ in range(3)]
    await other.aclose()

    assert 3 * [None] + 3 * [START] + 3 * [START - LEASE] == [due.event for due in (*before, *after, *own)]
    assert 3 == len(asked)


@pytest.mark.skipif(sys.platform != "linux", reason="files are watched on Linux only")
async def test_a_commit_of_somebody_else_is_heard(store, sqlite_store_url, monkeypatch):
    """Without a look at the file: who says that hints are heard is woken by one, again and again."""
    monkeypatch.setattr(sqlite, "CHECK_EVERY", 60.0)
    monkeypatch.setattr(sqlite, "_IDLE", 0.0)
    other = SqliteStore(sqlite_store_url)
    await other.open()
    heard, woken = [store.hears_notifications], []
    with anyio.fail_after(PROMPTLY):
        for _ in range(3):
            await store.wait(timedelta(milliseconds=10))
            heard.append(store.hears_notifications)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(other.append, [make_event()])
                woken.append(await store.wait(LONG))

    await other.aclose()
    assert ([False, True, True, True], [True] * 3) == (heard, woken)


async def test_a_file_that_cannot_be_watched_is_looked_at(store, sqlite_store_url, monkeypatch):
    """Where the system has no watches (left), others' commits are found by looking, and nobody says otherwise."""

    def refused(*_):
        raise OSError(errno.EMFILE, "too many")

    monkeypatch.setattr(sqlite, "FileWatch", refused)
    other = SqliteStore(sqlite_store_url)
    await other.open()
    with anyio.fail_after(PROMPTLY):
        await store.wait(timedelta(milliseconds=10))
        await other.append([make_event()])
        woken = await store.wait(LONG)

    await other.aclose()
    assert (True, False) == (woken, store.hears_notifications)


async def test_a_failed_batch_leaves_nothing(store):
    """One event of a batch cannot be stored: none of it is, and the store goes on working."""
    broken = make_event()._replace(body=None)  # type: ignore[arg-type]

    with pytest.raises(StoreError):
        await store.append([make_event(), broken])
    taken = await store.take(10, now=START, lease=LEASE)
    await store.append([make_event()])

    assert [] == taken
    assert 1 == len(await store.take(10, now=START, lease=LEASE))


async def test_any_commit_of_another_connection_ends_the_wait(store, sqlite_store_url):
    """A program that publishes through its own connection tells nobody; who waits notices all the same."""
    await store.wait(timedelta(milliseconds=1))
    other = sqlite3.connect(sqlite_store_url.removeprefix("sqlite:///"), isolation_level=None)

    with anyio.fail_after(PROMPTLY):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(store.wait, timedelta(seconds=60))
            await anyio.wait_all_tasks_blocked()
            other.execute("UPDATE notifykit_outbox SET fence = 1")
            other.execute("INSERT INTO notifykit_tenants (tenant, version) VALUES ('acme', 1)")

    other.close()


class DriverError(Exception):
    """Stands for a driver's error."""


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (exc.OperationalError("s", {}, DriverError("no such table: notifykit_queue")), SchemaError),
        (exc.ProgrammingError("s", {}, DriverError('relation "notifykit_queue" does not exist')), SchemaError),
        (exc.ProgrammingError("s", {}, DriverError('relation "orders" does not exist')), StoreError),
        (exc.OperationalError("s", {}, DriverError("gone")), StoreUnavailableError),
        (exc.InterfaceError("s", {}, DriverError("gone")), StoreUnavailableError),
        (exc.TimeoutError("QueuePool limit"), StoreUnavailableError),
        (ConnectionRefusedError("refused"), StoreUnavailableError),
        (exc.DBAPIError("s", {}, DriverError("cut"), connection_invalidated=True), StoreUnavailableError),
        (exc.IntegrityError("s", {}, DriverError("UNIQUE constraint failed")), ValueRefusedError),
        (ValueError("odd"), StoreError),
    ],
)
def test_a_drivers_error_becomes_one_of_ours(error, expected):
    """Who catches ``StoreUnavailableError`` may try again; everything else is another matter."""
    assert expected is type(translated(error))


def test_an_error_shows_no_parameters():
    """What was to be stored, which may be private, is not repeated."""
    error = exc.IntegrityError("INSERT INTO t VALUES (?)", {"body": "P4YL04D"}, DriverError("failed\nDETAIL: P4YL04D"))

    assert "P4YL04D" not in str(translated(error))
