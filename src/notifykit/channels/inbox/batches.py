"""Items that come together are stored together, in one transaction."""

from __future__ import annotations

from collections.abc import Sequence

from ...errors import ValueRefusedError
from ...models.inbox import InboxItem
from ...ports import Inbox
from ..coalescer import Coalescer

#: Items of one transaction at the most.
MOST = 200


class Batches:
    """Stores items; while one transaction is under way, the items of the next one gather."""

    def __init__(self, store: Inbox) -> None:
        self._store = store
        self._coalescer: Coalescer[InboxItem, ValueRefusedError | None] = Coalescer(self._store_all, most=MOST)

    async def put(self, item: InboxItem) -> None:
        """Store an item; return once it is durable."""
        if (refused := await self._coalescer.put(item)) is not None:
            raise refused

    async def aclose(self) -> None:
        """Wait until everything has been stored."""
        await self._coalescer.aclose()

    async def _store_all(self, items: Sequence[InboxItem]) -> Sequence[ValueRefusedError | None]:
        try:
            await self._store.inbox_put(items)
        except ValueRefusedError as error:
            if len(items) == 1:
                return [error]
            # one item must not keep others from being stored
            return [refused for each in items for refused in await self._store_all([each])]
        return [None] * len(items)
