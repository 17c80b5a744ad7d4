"""One of the databases: opened when it answers, with what it says of where tenants are."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from sqlalchemy import Connection

from ...errors import ConfigurationError, StoreError, StoreUnavailableError
from ...ports import Digests, Inbox, JoinsTransactions, ListsTenants, Rekeys, Store
from ..encoding.encryption import Encryption
from ..sql import placements
from .placing import Placements

T = TypeVar("T")

#: Seconds for which what was read of placements may be relied on.  A mover waits for longer before it begins.
FRESH = 0.5
#: Seconds between two tries to open a database that does not answer.
_REOPEN = 1.0


class DatabaseStore(Store, Inbox, Digests, JoinsTransactions, Rekeys, ListsTenants, Protocol):
    """What a shard's store must be: :class:`~notifykit.stores.sql.store.SqlStore` is."""

    url: str
    encryption: Encryption

    async def transaction(self, work: Callable[[Connection], T], *, write: bool) -> T:
        """Run a function in a transaction."""
        ...


class Shard:
    """One of the databases.

    Attributes:
        name: What it is called in placements.
        store: The store on it.
        read_at: The monotonic time at which its placements were read last.
    """

    def __init__(self, name: str, store: DatabaseStore, known: Placements) -> None:
        self.name, self.store = name, store
        self.read_at = float("-inf")
        self._known = known
        self._seen = -1
        self._is_open = False
        self._tried = float("-inf")
        self._failed: StoreError | None = None
        self._lock = asyncio.Lock()

    async def open(self) -> tuple[str, list[str]] | None:
        """Open the store; return what the database says of which shard it is.

        Raises:
            ConfigurationError: It says that it is another one.
        """
        self._lock = asyncio.Lock()
        self._tried = time.monotonic()
        await self.store.open()
        try:
            found = await self.store.transaction(placements.identity, write=False)
            if found is not None and found[0] != self.name:
                raise self._another(found[0])
        except BaseException:
            await self.store.aclose()
            raise
        self._is_open = True
        return found

    async def join(self, ring: Sequence[str]) -> None:
        """Write into the database which shard it is, if it does not say so yet."""

        def write(connection: Connection) -> None:
            found = placements.identity(connection)
            if found is None:
                placements.identify(connection, self.name, ring)
            elif found[0] != self.name:
                raise self._another(found[0])

        await self.store.transaction(write, write=True)

    def _another(self, name: str) -> ConfigurationError:
        return ConfigurationError(
            f"the database of shard {self.name!r} says that it is shard {name!r}: use the names that they had before, "
            "each for one database"
        )

    async def ready(self) -> DatabaseStore:
        """Return the store, open.

        Raises:
            StoreUnavailableError: The database does not answer, now or when it was tried a moment ago.
        """
        if self._is_open:
            return self.store
        async with self._lock:
            if not self._is_open:
                if time.monotonic() - self._tried < _REOPEN:
                    raise StoreUnavailableError(f"shard {self.name!r} does not answer") from self._failed
                try:
                    if await self.open() is None:
                        await self.join(self._known.first)
                except StoreError as error:
                    self._failed = error
                    raise
        return self.store

    async def refresh(self, age: float) -> None:
        """Read what the database says of where tenants are, unless that was done within ``age`` seconds."""
        if time.monotonic() - self.read_at <= age:
            return
        store = await self.ready()
        async with self._lock:
            if (started := time.monotonic()) - self.read_at <= age:
                return
            changed, self._seen = await store.transaction(
                lambda c: placements.changed_since(c, self._seen), write=False
            )
            self._known.note(changed, self.name)
            self.read_at = started

    async def aclose(self) -> None:
        """Close the store."""
        self._is_open = False
        self.read_at, self._seen = float("-inf"), -1
        await self.store.aclose()
