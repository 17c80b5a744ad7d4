"""An event is part of the caller's transaction: it happens if and only if the rest happens."""

from __future__ import annotations

import contextlib
import re
import traceback
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from typing import Any, TypeVar

import anyio
import psycopg
import pytest
from sqlalchemy import Connection, NullPool, create_engine, make_url, text
from sqlalchemy.event import listen
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from notifykit import CannotJoinError, Event, IdempotencyConflictError, InvalidEventError, Notifykit, SchemaError
from notifykit.testing import FakeClock
from tests.databases import async_url, new_database, sync_url
from tests.scenarios.callers import CALLERS, ORDERS, AsyncSessions, SyncSession
from tests.stores import create_tables

T = TypeVar("T")

ACME = "acme"
SHIPPED = Event(type="order.shipped", data={"order_id": "A-1"})


class ShopIsClosedError(Exception):
    """What makes the caller's transaction fail."""


@pytest.fixture
async def kit(store_url):
    async with Notifykit(store_url) as kit:
        yield kit


@pytest.fixture(params=CALLERS, ids=lambda kind: kind.__name__)
async def caller(request, store_url):
    engine = create_engine(sync_url(store_url), poolclass=NullPool)
    with engine.begin() as connection:
        connection.execute(text(ORDERS))
        connection.execute(text("DELETE FROM orders"))
    caller = request.param(store_url)
    yield caller
    await caller.aclose()


@asynccontextmanager
async def failing(transaction: AbstractAsyncContextManager[T]) -> AsyncIterator[T]:
    """Run a transaction that fails when everything in it is done."""
    with contextlib.suppress(ShopIsClosedError):
        async with transaction as begun:
            yield begun
            raise ShopIsClosedError


async def published(kit: Notifykit) -> list[str]:
    """Return the types of everything that was published, oldest first."""
    return [event.type for event in reversed(await kit.events.list(tenant=ACME))]


async def unplanned(kit: Notifykit) -> int:
    return (await kit.stats()).unplanned


async def test_a_commit_publishes(kit, caller):
    """After the commit both are there, the caller's row and the event, and the event waits to be planned."""
    async with caller.transaction() as transaction:
        await transaction.order("A-1")
        (receipt,) = await transaction.publish(kit, SHIPPED, tenant=ACME, resource=("order", "A-1"))

    stored = await kit.events.get(receipt.event_id, tenant=ACME)
    assert ["A-1"] == await caller.orders()
    assert ("order", "A-1") == (stored.resource_kind, stored.resource_id)
    assert 1 == await unplanned(kit)


async def test_before_the_commit_the_event_is_invisible(kit, caller):
    """An event is not taken while its transaction is open: the caller may still roll back."""
    async with caller.transaction() as transaction:
        await transaction.publish(kit, SHIPPED, tenant=ACME)

        seen = await published(kit)

    assert [] == seen
    assert ["order.shipped"] == await published(kit)


async def test_a_rollback_leaves_nothing(kit, caller):
    """When the caller's transaction fails there is no row, no event, no outbox entry, and the key is free."""
    async with failing(caller.transaction()) as transaction:
        await transaction.order("A-1")
        await transaction.publish(kit, SHIPPED, tenant=ACME, idempotency_key="ship-A-1")

    again = await kit.apublish(SHIPPED, tenant=ACME, idempotency_key="ship-A-1")

    assert [] == await caller.orders()
    assert not again.duplicate
    assert (1, 1) == (len(await published(kit)), await unplanned(kit))


async def test_a_savepoint_takes_its_events_with_it(kit, caller):
    """What was published inside of a savepoint goes with it; what was published outside stays."""
    async with caller.transaction() as transaction:
        await transaction.order("A-1")
        await transaction.publish(kit, Event(type="kept.before", data={}), tenant=ACME)
        async with failing(transaction.savepoint()):
            await transaction.order("A-2")
            await transaction.publish(kit, SHIPPED, tenant=ACME)
        await transaction.publish(kit, Event(type="kept.after", data={}), tenant=ACME)

    assert ["A-1"] == await caller.orders()
    assert ["kept.before", "kept.after"] == await published(kit)
    assert 2 == await unplanned(kit)


async def test_one_statement_is_added(kit, caller, store_url):
    """Publishing adds one statement to a transaction on PostgreSQL, two on SQLite; ten events add no more."""
    most = 1 if store_url.startswith("postgres") else 2
    async with caller.transaction() as transaction:
        await transaction.order("A-1")
        before = len(caller.statements)
        await transaction.publish(kit, SHIPPED, tenant=ACME)
        one = len(caller.statements)
        await transaction.publish(kit, *[SHIPPED] * 10, tenant=ACME)
        ten = len(caller.statements)

    assert (most, most) == (one - before, ten - one)
    assert 11 == await unplanned(kit)


async def test_a_thousand_events_join_as_one(kit, caller):
    """Any number of events can join, in the order in which they were given, and commit or roll back together."""
    events = [Event(type="order.counted", data={"n": n}) for n in range(1000)]

    async with caller.transaction() as transaction:
        receipts = await transaction.publish(kit, *events, tenant=ACME)

    assert 1000 == len({receipt.event_id for receipt in receipts}) == await unplanned(kit)
    assert b'"n":999' in (await kit.events.get(receipts[999].event_id, tenant=ACME)).body


async def test_a_refused_event_leaves_the_transaction_usable(kit, caller):
    """An event that is not acceptable is refused before anything is sent, so the caller may go on."""
    async with caller.transaction() as transaction:
        await transaction.order("A-1")
        with pytest.raises(InvalidEventError) as refused:
            await transaction.publish(kit, SHIPPED, Event(type="not a type", data={}), tenant=ACME)
        await transaction.order("A-2")

    assert all(problem.startswith("[1].type") for problem in refused.value.problems)
    assert ["A-1", "A-2"] == await caller.orders()
    assert [] == await published(kit)


async def test_a_key_is_shared_with_other_transactions(kit, caller):
    """A key that is taken, in this transaction or before, answers with its first event."""
    first = await kit.apublish(SHIPPED, tenant=ACME, idempotency_key="known")

    async with caller.transaction() as transaction:
        (known,) = await transaction.publish(kit, SHIPPED, tenant=ACME, idempotency_key="known")
        fresh, repeated = await transaction.publish(kit, SHIPPED, SHIPPED, tenant=ACME, idempotency_key="new")

    assert (first.event_id, True) == (known.event_id, known.duplicate)
    assert (False, True) == (fresh.duplicate, repeated.duplicate)
    assert fresh.event_id == repeated.event_id
    assert 2 == await unplanned(kit)


async def test_a_conflict_is_found_inside_a_transaction(kit, caller):
    """The same key with another content is refused, and the caller decides about its transaction."""
    await kit.apublish(SHIPPED, tenant=ACME, idempotency_key="k")

    async with caller.transaction() as transaction:
        with pytest.raises(IdempotencyConflictError) as conflict:
            await transaction.publish(
                kit, Event(type="order.shipped", data={"order_id": "B-2"}), tenant=ACME, idempotency_key="k"
            )
        await transaction.order("A-1")

    assert "k" == conflict.value.key
    assert ["A-1"] == await caller.orders()
    assert 1 == await unplanned(kit)


async def test_missing_tables_are_named(tmp_path, postgres_database):
    """Without tables the error says how to make them, through every kind of caller."""
    for url in (f"sqlite:///{tmp_path / 'empty.db'}", postgres_database):
        kit = Notifykit(url)
        for kind in CALLERS:
            caller = kind(url)
            with pytest.raises(SchemaError, match="notifykit migrate"):
                async with caller.transaction() as transaction:
                    await transaction.publish(kit, SHIPPED, tenant=ACME)
            await caller.aclose()


async def test_an_unopened_kit_can_join(caller, store_url):
    """Joining needs no connection of the kit's own, so a program that only publishes need not open it."""
    unopened = Notifykit(store_url)

    async with caller.transaction() as transaction:
        await transaction.publish(unopened, SHIPPED, tenant=ACME)

    async with Notifykit(store_url) as kit:
        assert 1 == await unplanned(kit)


# ── what cannot be joined ──────────────────────────────────────────────────────────────────────


@pytest.fixture
def sqlite_session(sqlite_store_url):
    engine = create_engine(sqlite_store_url)
    with Session(engine) as session:
        yield session
    engine.dispose()


def test_a_memory_store_refuses(sqlite_session):
    """A store that is in no database cannot be part of a transaction, and says so."""
    with pytest.raises(CannotJoinError, match="memory"):
        Notifykit("memory://").publish(SHIPPED, tenant=ACME, session=sqlite_session)


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:"])
def test_an_sqlite_database_in_memory_refuses(url):
    """Two databases in memory are two databases, although their URLs are equal."""
    engine = create_engine(url)

    with Session(engine) as session, pytest.raises(CannotJoinError, match="no other connection can join"):
        Notifykit(url).publish(SHIPPED, tenant=ACME, session=session)

    engine.dispose()


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_another_kind_of_database_refuses(sqlite_session, scheme):
    """A session on SQLite cannot carry an event to PostgreSQL."""
    kit = Notifykit(f"{scheme}://nobody@127.0.0.1:1/nowhere")

    with pytest.raises(CannotJoinError, match="on sqlite but the kit's store is on postgresql"):
        kit.publish(SHIPPED, tenant=ACME, session=sqlite_session)


def test_another_file_refuses(sqlite_session, tmp_path):
    """A session on one file cannot carry an event to another."""
    with pytest.raises(CannotJoinError, match=re.escape("other.db")):
        Notifykit(f"sqlite:///{tmp_path / 'other.db'}").publish(SHIPPED, tenant=ACME, session=sqlite_session)


def test_the_same_file_by_another_name_is_joined(sqlite_session, sqlite_store_url, tmp_path, monkeypatch):
    """A relative path and a link lead to the same file."""
    (tmp_path / "link.db").symlink_to(sqlite_store_url.removeprefix("sqlite:///"))
    monkeypatch.chdir(tmp_path)

    for name in ("link.db", "store.db", "./store.db"):
        Notifykit(f"sqlite:///{name}").publish(SHIPPED, tenant=ACME, session=sqlite_session)

    rows = sqlite_session.connection().exec_driver_sql("SELECT count(*) FROM notifykit_outbox").scalar_one()
    assert 3 == rows


def test_after_a_change_of_the_folder_the_connection_says_which_file_it_has(tmp_path, monkeypatch):
    """A relative name of an engine is that of the folder in which it was made; the file decides, not the name."""
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    for folder in (home, elsewhere):
        folder.mkdir()
        create_tables(f"sqlite:///{folder / 'shop.db'}")
    monkeypatch.chdir(home)
    engine = create_engine("sqlite:///shop.db")
    monkeypatch.chdir(elsewhere)

    with Session(engine) as session, session.begin():
        Notifykit(f"sqlite:///{home / 'shop.db'}").publish(SHIPPED, tenant=ACME, session=session)
        with pytest.raises(CannotJoinError, match=r"on .*home/shop\.db but the kit's store is .*elsewhere/shop\.db"):
            Notifykit("sqlite:///shop.db").publish(SHIPPED, tenant=ACME, session=session)

    engine.dispose()


@pytest.mark.parametrize("argument", ["session", "connection"])
async def test_sync_publish_with_an_asynchronous_transaction_names_the_other_call(sqlite_store_url, argument):
    """An AsyncSession that is passed to ``publish`` raises an error that names ``apublish``."""
    engine = create_async_engine(sqlite_store_url.replace("://", "+aiosqlite://", 1))
    kit = Notifykit(sqlite_store_url)

    async with AsyncSession(engine) as session:
        given: dict[str, Any] = {argument: session if argument == "session" else await session.connection()}
        with pytest.raises(CannotJoinError, match="use 'await apublish"):
            kit.publish(SHIPPED, tenant=ACME, **given)

    await engine.dispose()


async def test_what_is_no_transaction_is_refused(sqlite_session, sqlite_store_url):
    """Two handles, or something else than a session or connection, are refused before anything is stored."""
    kit = Notifykit(sqlite_store_url)
    both = {"session": sqlite_session, "connection": sqlite_session.connection()}
    neither: Any = object()

    with pytest.raises(CannotJoinError, match="either session= or connection="):
        kit.publish(SHIPPED, tenant=ACME, **both)
    with pytest.raises(CannotJoinError, match="either session= or connection="):
        await kit.apublish(SHIPPED, tenant=ACME, **both)
    with pytest.raises(CannotJoinError, match="takes a SQLAlchemy Session, got Engine"):
        kit.publish(SHIPPED, tenant=ACME, session=sqlite_session.get_bind())
    with pytest.raises(CannotJoinError, match="got object"):
        kit.publish(SHIPPED, tenant=ACME, connection=neither)
    with pytest.raises(CannotJoinError, match="got object"):
        await kit.apublish(SHIPPED, tenant=ACME, connection=neither)


# ── connections that commit by themselves ──────────────────────────────────────────────────────


def by_option(url: str) -> Connection:
    return create_engine(url, poolclass=NullPool).connect().execution_options(isolation_level="AUTOCOMMIT")


def by_engine_option(url: str) -> Connection:
    return create_engine(url, poolclass=NullPool).execution_options(isolation_level="AUTOCOMMIT").connect()


def by_engine(url: str) -> Connection:
    return create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT").connect()


def by_driver(url: str) -> Connection:
    mode: dict[str, Any] = {"isolation_level": None} if url.startswith("sqlite") else {"autocommit": True}
    return create_engine(url, poolclass=NullPool, connect_args=mode).connect()


@pytest.mark.parametrize("made", [by_option, by_engine_option, by_engine, by_driver], ids=lambda made: made.__name__)
@pytest.mark.parametrize("handle", ["session", "connection"])
def test_a_connection_that_commits_by_itself_refuses(store_url, made, handle):
    """The event would stay after a rollback; however the mode was set, nothing is stored."""
    with made(sync_url(store_url)) as connection:
        given: dict[str, Any] = {handle: Session(connection) if handle == "session" else connection}

        with pytest.raises(CannotJoinError, match="AUTOCOMMIT"):
            Notifykit(store_url).publish(SHIPPED, tenant=ACME, **given)

        connection.rollback()
        assert 0 == connection.execute(text("SELECT count(*) FROM notifykit_events")).scalar_one()


async def test_an_asynchronous_connection_that_commits_by_itself_refuses(store_url):
    """The asynchronous drivers have the mode, too."""
    url = async_url(store_url)
    for engine in (
        create_async_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT"),
        create_async_engine(url, poolclass=NullPool).execution_options(isolation_level="AUTOCOMMIT"),
    ):
        async with AsyncSession(engine) as session:
            with pytest.raises(CannotJoinError, match="AUTOCOMMIT"):
                await Notifykit(store_url).apublish(SHIPPED, tenant=ACME, session=session)
        await engine.dispose()


def test_transactions_that_are_begun_by_hand_are_joined(sqlite_store_url):
    """SQLAlchemy's recipe for SQLite switches the driver's transactions off and begins them itself."""
    engine = create_engine(sqlite_store_url, poolclass=NullPool, connect_args={"isolation_level": None})
    listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
    kit = Notifykit(sqlite_store_url)

    with engine.connect() as connection:  # nothing has been executed, so nothing has begun
        kit.publish(SHIPPED, tenant=ACME, connection=connection)
        connection.rollback()
        kit.publish(Event(type="order.kept", data={}), tenant=ACME, connection=connection)
        connection.commit()
        types = connection.execute(text("SELECT type FROM notifykit_events")).scalars().all()

    assert ["order.kept"] == types


# ── texts of errors ─────────────────────────────────────────────────────────────────────────

SECRET, NOTE = "correct-horse", "battery-staple"


@pytest.mark.parametrize("driver", ["pysqlite", "aiosqlite", "psycopg", "psycopg2", "asyncpg"])
async def test_an_error_of_the_database_does_not_repeat_what_was_published(request, driver):
    """Neither payload nor metadata is in the text of a failed publish, or of the errors that caused it."""
    if driver == "psycopg2":
        pytest.importorskip("psycopg2")
    is_postgres = "pg" in driver
    store_url = request.getfixturevalue("postgres_store_url" if is_postgres else "sqlite_store_url")
    url = store_url.replace("://", f"+{driver}://", 1)
    sync = create_engine(store_url.replace("://", f"+{'psycopg' if is_postgres else 'pysqlite'}://", 1))
    with sync.begin() as connection:
        if is_postgres:  # its error quotes the whole row
            connection.execute(text("ALTER TABLE notifykit_events ADD CONSTRAINT closed CHECK (type <> 'shop.open')"))
        else:
            connection.execute(
                text(
                    "CREATE TRIGGER closed BEFORE INSERT ON notifykit_events WHEN NEW.type = 'shop.open' "
                    "BEGIN SELECT RAISE(ABORT, 'closed'); END"
                )
            )
    kit = Notifykit(store_url)
    published = Event(type="shop.open", data={"card": SECRET}, metadata={"note": NOTE})

    async def publish() -> None:
        if driver in {"aiosqlite", "asyncpg"}:
            async with AsyncSession(create_async_engine(url, poolclass=NullPool)) as session:
                await kit.apublish(published, tenant=ACME, session=session)
        else:
            with Session(create_engine(url, poolclass=NullPool)) as session:
                kit.publish(published, tenant=ACME, session=session)

    with pytest.raises(DBAPIError, match="closed") as failed:
        await publish()
    with sync.begin() as connection:
        drop = "ALTER TABLE notifykit_events DROP CONSTRAINT closed" if is_postgres else "DROP TRIGGER closed"
        connection.execute(text(drop))
    sync.dispose()

    shown_text = "".join(traceback.format_exception(failed.value)) + repr(failed.value.params) + str(failed.value.orig)
    assert not [shown for shown in (SECRET, SECRET.encode().hex(), NOTE) if shown in shown_text]
    assert "closed" in shown_text


# ── the notification ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", [SyncSession, AsyncSessions], ids=lambda kind: kind.__name__)
async def test_the_notification_arrives_after_the_commit_only(postgres_store_url, kind):
    """Dispatchers are notified when an event can be taken: at the commit, not before, and never after a rollback."""
    caller = kind(postgres_store_url)
    async with await psycopg.AsyncConnection.connect(postgres_store_url, autocommit=True) as listener:
        await listener.execute("LISTEN notifykit")

        async def heard() -> int:
            # What has been sent to this connection arrives before the answer to its next statement.
            await listener.execute("SELECT 1")
            return len([hint async for hint in listener.notifies(timeout=0)])

        async with failing(caller.transaction()) as transaction:
            await transaction.publish(Notifykit(postgres_store_url), SHIPPED, tenant=ACME)
        after_rollback = await heard()
        async with caller.transaction() as transaction:
            await transaction.publish(Notifykit(postgres_store_url), SHIPPED, tenant=ACME)
            before_commit = await heard()
        after_commit = await heard()

    await caller.aclose()
    assert (0, 0, 1) == (after_rollback, before_commit, after_commit)


@pytest.fixture
def prepares(postgres_store_url: str) -> str:
    """A PostgreSQL database that lets transactions be prepared."""
    with psycopg.connect(postgres_store_url) as connection:
        if connection.execute("SHOW max_prepared_transactions").fetchone() == ("0",):
            pytest.skip("needs a server with max_prepared_transactions")
    return postgres_store_url


@pytest.mark.parametrize("through", ["session", "connection"])
async def test_a_two_phase_commit_publishes_without_a_notification(prepares, through):
    """A transaction that is prepared must not have a NOTIFY; its event is found by polling."""
    engine = create_engine(make_url(prepares).set(drivername="postgresql+psycopg"))
    kit = Notifykit(prepares)

    for rolled_back in (False, True):
        with Session(engine, twophase=True) as session, engine.connect() as connection:
            transaction: Any = session if through == "session" else connection.begin_twophase()
            given: dict[str, Any] = {"session": session} if through == "session" else {"connection": connection}
            kit.publish(SHIPPED, tenant=ACME, **given)
            with session.begin_nested() if through == "session" else connection.begin_nested():
                kit.publish(SHIPPED, tenant=ACME, **given)
            transaction.prepare()
            transaction.rollback() if rolled_back else transaction.commit()

    engine.dispose()
    async with Notifykit(prepares) as again:
        assert 2 == await unplanned(again)


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
async def test_an_asynchronous_two_phase_commit_publishes_without_a_notification(prepares, driver):
    """The same through an ``AsyncSession``."""
    engine = create_async_engine(make_url(prepares).set(drivername=f"postgresql+{driver}"))
    async with Notifykit(prepares) as kit:
        async with AsyncSession(engine, twophase=True) as session, session.begin():
            await kit.apublish(SHIPPED, tenant=ACME, session=session)

        assert 1 == await unplanned(kit)
    await engine.dispose()


async def test_a_transaction_that_is_prepared_by_hand_sends_no_notifications(prepares):
    """``notify=False``, for programs that prepare transactions in a way that the kit cannot detect."""
    engine = create_engine(make_url(prepares).set(drivername="postgresql+psycopg"))
    with engine.connect() as connection:
        Notifykit(prepares, notify=False).publish(SHIPPED, tenant=ACME, connection=connection)
        connection.exec_driver_sql("PREPARE TRANSACTION 'by hand'")
        connection.rollback()
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("COMMIT PREPARED 'by hand'")
    engine.dispose()

    async with Notifykit(prepares, notify=False) as kit:
        await kit.apublish(SHIPPED, tenant=ACME)
        assert 2 == await unplanned(kit)


@pytest.mark.parametrize("store", ["sqlite", "postgres"])
async def test_a_waiting_store_is_woken_by_the_commit(request, store):
    """A dispatcher in another process does not wait for its next poll."""
    store_url = request.getfixturevalue(f"{store}_store_url")
    caller = SyncSession(store_url)
    async with Notifykit(store_url) as kit:
        await kit.store.wait(timedelta(milliseconds=50))  # receives the notification of its own start

        with anyio.fail_after(45):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(kit.store.wait, timedelta(seconds=60))
                await anyio.wait_all_tasks_blocked()
                async with caller.transaction() as transaction:
                    await transaction.publish(Notifykit(store_url), SHIPPED, tenant=ACME)

    await caller.aclose()


async def test_a_database_of_its_own_is_not_confused_with_another(postgres_store_url, postgres_url):
    """A session on another PostgreSQL database has other tables, or none: nothing appears in the kit's store."""
    with new_database(postgres_url) as other:
        caller = SyncSession(other)
        async with Notifykit(postgres_store_url, clock=FakeClock()) as kit:
            with pytest.raises(SchemaError):
                async with caller.transaction() as transaction:
                    await transaction.publish(kit, SHIPPED, tenant=ACME)

            assert [] == await published(kit)
        await caller.aclose()
