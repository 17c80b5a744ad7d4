"""The store of an :class:`~.outbox.Outbox`: in memory, for every thread and every event loop of a test.

A test's program publishes from wherever it runs: the test's own loop, the loop of a
test client, a worker's thread.  All verbs run in one loop, the one that owns the data, so each
stays one atomic step.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from functools import partial, wraps
from inspect import iscoroutinefunction
from typing import Any, Protocol

from anyio.from_thread import BlockingPortal

from ..errors import CannotJoinError
from ..models.event import StoredEvent
from ..ports import Appended, Inbox
from ..stores.memory import MemoryStore
from ..stores.sql.following import FollowedTransactions


class SharedStore:
    """A memory store whose verbs can be called from any loop, and whose events can join the caller's transaction.

    An event that joins a transaction is stored at once, and is withdrawn if the transaction,
    or the savepoint, is rolled back before the event was planned.  So tests that never commit
    see it, and tests of a rollback see that it is gone.

    Args:
        portal: Runs calls in the loop that owns the data.

    Attributes:
        memory: The data, for code that runs in that loop.
    """

    private = False  # kits in any number of loops may share it

    def __init__(self, portal: BlockingPortal) -> None:
        self._portal = portal
        self._home: asyncio.AbstractEventLoop = portal.call(_running_loop)
        self.memory = _Memory()
        self._published: dict[str, StoredEvent] = {}
        self._sqlalchemy = FollowedTransactions(self._withdraw)
        self._django: list[_DjangoTransaction] = []
        self._is_closed = False

    def published(self) -> list[StoredEvent]:
        """Return what was published, in the order of publishing, without what was rolled back."""
        for transaction in [t for t in self._django if t.is_over()]:
            self._django.remove(transaction)
            if not transaction.committed:
                self._withdraw(transaction.ids)
        return list(self._published.values())

    def close(self) -> None:
        """Stop following transactions; those that end later change nothing."""
        self._is_closed = True

    async def open(self) -> None:
        """Do nothing: the outbox opens and closes."""

    async def aclose(self) -> None:
        """Do nothing: the test may still read the data."""

    async def append(self, events: Sequence[StoredEvent]) -> list[Appended]:
        answers: list[Appended] = await self._at_home(self._append, events)
        return answers

    def append_joined(self, connection: Any, events: Sequence[StoredEvent]) -> list[Appended]:
        of_sqlalchemy = self._sqlalchemy.begin(connection)
        if not of_sqlalchemy and not hasattr(connection, "run_on_commit"):
            raise CannotJoinError(
                f"a SQLAlchemy Connection or a Django connection is needed to join a transaction, "
                f"got {type(connection).__name__}"
            )
        answers = self._portal.call(self._append, events)
        ids = [answer.event_id for answer in answers if not answer.duplicate]
        if of_sqlalchemy:
            self._sqlalchemy.add(connection, ids)
        else:
            self._django.append(_DjangoTransaction(connection, ids))
        return answers

    async def _append(self, events: Sequence[StoredEvent]) -> list[Appended]:
        answers = await self.memory.append(events)
        for stored, answer in zip(events, answers, strict=True):
            if not answer.duplicate:
                self._published[stored.id] = stored
        return answers

    def _withdraw(self, ids: Iterable[str]) -> None:
        if not self._is_closed:
            for id_ in self._portal.call(self.memory.withdraw, list(ids)):
                del self._published[id_]

    async def _at_home(self, verb: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if asyncio.get_running_loop() is self._home:
            return await verb(*args, **kwargs)
        return await asyncio.wrap_future(self._portal.start_task_soon(partial(verb, *args, **kwargs)))

    def __getattr__(self, name: str) -> Any:
        """Return any other verb of the memory store, to be awaited in any loop."""
        if name.startswith("_"):
            raise AttributeError(name)
        verb = getattr(self.memory, name)
        if not iscoroutinefunction(verb):
            return verb
        return wraps(verb)(partial(self._at_home, verb))


class _Verb:
    """A verb of the memory store that the class has, too: there ``isinstance`` looks for those of a protocol."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, store: SharedStore, owner: type[SharedStore]) -> Callable[..., Any]:
        verb: Callable[..., Any] = store.__getattr__(self._name)
        return verb


for _name in vars(Inbox):
    if _name.startswith("inbox_"):
        setattr(SharedStore, _name, _Verb(_name))


class _Memory(MemoryStore):
    def withdraw(self, ids: Iterable[str]) -> list[str]:
        """Forget those events that are not planned yet; return which these were."""
        tables = self._tables
        withdrawn = [id_ for id_ in ids if id_ in tables.outbox]
        for id_ in withdrawn:
            stored = tables.outbox[id_].event
            tables.planned(stored)
            if stored.idempotency_key is not None:
                del tables.keys[stored.tenant, stored.idempotency_key]
        tables.forget((), withdrawn)
        return withdrawn


async def _running_loop() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()


class _DjangoConnection(Protocol):
    in_atomic_block: bool
    run_on_commit: list[tuple[Any, ...]]

    def on_commit(self, func: Callable[[], object]) -> None: ...


class _DjangoTransaction:
    """Follows one publish: its callback has run, or waits for the commit, or was dropped by a rollback."""

    def __init__(self, connection: _DjangoConnection, ids: list[str]) -> None:
        self.ids = ids
        self.committed = not connection.in_atomic_block
        self._connection = connection
        if not self.committed:
            connection.on_commit(self)

    def __call__(self) -> None:
        self.committed = True

    def is_over(self) -> bool:
        return self.committed or all(entry[1] is not self for entry in self._connection.run_on_commit)
