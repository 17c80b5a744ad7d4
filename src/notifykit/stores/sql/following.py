"""Follows the transaction of a caller's SQLAlchemy connection, for stores that are in no database but join in tests."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, event, select

Withdraw = Callable[[Iterable[str]], None]

_SAVEPOINT = "SAVEPOINT "


class FollowedTransactions:
    """The transactions that events have joined.

    Args:
        withdraw: Called with the ids of events whose transaction or savepoint is rolled back.
    """

    def __init__(self, withdraw: Withdraw) -> None:
        self._withdraw = withdraw
        self._followed: WeakKeyDictionary[Connection, _Transaction] = WeakKeyDictionary()

    def begin(self, connection: object) -> bool:
        """Begin the connection's transaction, as a real insert would; return whether it is SQLAlchemy's."""
        if not isinstance(connection, Connection):
            return False
        connection.execute(select(1))
        return True

    def add(self, connection: object, ids: Iterable[str]) -> None:
        """Withdraw these events if the transaction does not commit them."""
        assert isinstance(connection, Connection)
        transaction = self._followed.get(connection)
        if transaction is None:
            transaction = self._followed[connection] = _Transaction(connection, self._withdraw)
        transaction.ids += ids


class _Transaction:
    """Follows one connection from the first event that joined it."""

    def __init__(self, connection: Connection, withdraw: Withdraw) -> None:
        self._withdraw = withdraw
        self.ids: list[str] = []
        #: How many events there were at each savepoint.  One that was set before we listened had none.
        self._marks: dict[str, int] = {}
        event.listen(connection, "before_cursor_execute", self._on_statement)
        event.listen(connection, "rollback_savepoint", self._on_rollback_savepoint)
        event.listen(connection, "rollback", self._on_rollback)
        event.listen(connection, "commit", self._on_commit)

    def _on_statement(self, _: Connection, __: object, statement: str, *___: object) -> None:
        # The event "savepoint" comes before the savepoint has its name.
        if statement.startswith(_SAVEPOINT):
            self._marks[statement.removeprefix(_SAVEPOINT).strip()] = len(self.ids)

    def _on_rollback_savepoint(self, _: Connection, name: str, __: None) -> None:
        self._undo(self._marks.get(name, 0))

    def _on_rollback(self, _: Connection) -> None:
        self._undo(0)
        self._marks.clear()

    def _on_commit(self, _: Connection) -> None:
        self.ids.clear()
        self._marks.clear()

    def _undo(self, mark: int) -> None:
        undone, self.ids = self.ids[mark:], self.ids[:mark]
        self._withdraw(undone)
