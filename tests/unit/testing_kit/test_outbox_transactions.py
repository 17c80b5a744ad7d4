"""An outbox follows the transactions of a host that publishes through SQLAlchemy."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

import notifykit
from notifykit import CannotJoinError
from notifykit.testing import Outbox
from tests.unit.testing_kit.shop import OrderShipped, ship


@pytest.fixture
def engine(tmp_path):
    """The host's own database; it has no tables of notifykit."""
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'host.db'}")
    sa.event.listen(engine, "connect", lambda connection, _: setattr(connection, "isolation_level", None))
    sa.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
    yield engine
    engine.dispose()


def shipped(outbox):
    return [event.data["order_id"] for event in outbox.events]


def test_a_committed_event_stays(outbox, engine):
    """``session=`` works in a test although the outbox is in no database."""
    with Session(engine) as session, session.begin():
        ship("A-1", session=session)

    assert ["A-1"] == shipped(outbox)


def test_an_event_is_seen_before_the_commit(outbox, engine):
    """A test of a function that leaves the commit to its caller need not commit."""
    with Session(engine) as session:
        ship("A-1", session=session)

        assert ["A-1"] == shipped(outbox)


def test_a_rollback_takes_the_event_back(outbox, engine):
    """A test can prove that an error publishes nothing."""
    outbox.subscribe(tenant="acme")
    with Session(engine) as session:
        ship("A-1", session=session)
        session.rollback()
        ship("A-2", session=session)
        session.commit()

    outbox.deliver()

    assert ["A-2"] == shipped(outbox)
    assert ["A-2"] == [delivery.json()["data"]["order_id"] for delivery in outbox.deliveries]


def test_closing_without_a_commit_is_a_rollback(outbox, engine):
    """As it is in the database."""
    with engine.connect() as connection:
        notifykit.publish(OrderShipped("A-1"), tenant="acme", connection=connection)

    assert [] == shipped(outbox)


def test_a_savepoint_takes_back_what_came_after_it(outbox, engine):
    """Nested transactions undo their own events and no others."""
    with Session(engine) as session, session.begin():
        ship("outside", session=session)
        with session.begin_nested():
            ship("kept", session=session)
            inner = session.begin_nested()
            ship("undone", session=session)
            inner.rollback()
        ship("after", session=session)

    assert ["outside", "kept", "after"] == shipped(outbox)


def test_a_rollback_reaches_what_a_released_savepoint_had(outbox, engine):
    """Releasing a savepoint is no commit."""
    with Session(engine) as session:
        with session.begin_nested():
            ship("A-1", session=session)
        session.rollback()

    assert [] == shipped(outbox)


def test_a_commit_is_final(outbox, engine):
    """A rollback of the next transaction on the same connection does not reach back."""
    with engine.connect() as connection, Session(connection) as session:
        ship("A-1", session=session)
        session.commit()
        ship("A-2", session=session)
        session.rollback()

    assert ["A-1"] == shipped(outbox)


def test_tests_inside_of_an_outer_transaction_see_what_the_program_committed(outbox, engine):
    """The usual fixture, which joins the session to a transaction that is rolled back at the end."""
    connection = engine.connect()
    outer = connection.begin()
    session = Session(connection, join_transaction_mode="create_savepoint")

    ship("committed", session=session)
    session.commit()
    ship("rolled back", session=session)
    session.rollback()
    seen = shipped(outbox)
    session.close()
    outer.rollback()
    connection.close()

    assert ["committed"] == seen


def test_a_key_of_a_rolled_back_event_is_free_again(outbox, engine):
    """A rolled-back event does not keep its idempotency key."""
    with Session(engine) as session:
        ship("A-1", session=session, idempotency_key="k")
        session.rollback()
        second = ship("A-2", session=session, idempotency_key="k")
        repeat = ship("A-2", session=session, idempotency_key="k")
        session.commit()

    assert (False, True) == (second.duplicate, repeat.duplicate)
    assert ["A-2"] == shipped(outbox)


def test_a_transaction_may_end_after_the_outbox(engine):
    """Fixtures end in any order."""
    with Session(engine) as session:
        with Outbox():
            ship("A-1", session=session)
        session.rollback()


async def test_an_async_session_is_followed_too(outbox, tmp_path):
    """The same rules for ``await apublish(..., session=async_session)``."""
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'host.db'}")
    async with AsyncSession(engine) as session:
        await notifykit.apublish(OrderShipped("A-1"), tenant="acme", session=session)
        await session.commit()
        await notifykit.apublish(OrderShipped("A-2"), tenant="acme", session=session)
        await session.rollback()
    await engine.dispose()

    assert ["A-1"] == shipped(outbox)


def test_what_is_no_connection_is_refused(outbox):
    """As in production, a mistake is an error."""
    with pytest.raises(CannotJoinError, match="got str"):
        ship("A-1", connection="sqlite:///shop.db")
