"""Items that come together are stored together, in one transaction."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence

from ...errors import ValueRefusedError
from ...models.inbox import InboxItem
from ...ports import Inbox
from ..coalescer import Coalescer

#: Items of one transaction at the most.
MOST = 200
#: A tenant with so many items that wait, or are being stored, has much to store.
_FEW = 20

_Timed = tuple[InboxItem, float]


class Batches:
    """Stores items; while one transaction is under way, the items of the next one gather.

    Items of tenants with much to store have transactions of their own.  These take turns with those of all other
    tenants, whose items therefore wait for two transactions at the most.
    """

    def __init__(self, store: Inbox) -> None:
        self._store = store
        self._held: Counter[str] = Counter()
        self._coalescer: Coalescer[_Timed, ValueRefusedError | None] = Coalescer(self._store_in_time, most=MOST)

    async def put(self, item: InboxItem, timeout: float) -> None:
        """Store an item; return once it is durable.

        Args:
            timeout: In seconds: half of them to wait for the transaction before, half for its own.
        """
        held, tenant = self._held, item.tenant
        has_much = held[tenant] >= _FEW
        held[tenant] += 1
        try:
            refused = await self._coalescer.put((item, timeout / 2), key=has_much, timeout=timeout / 2)
        finally:
            held[tenant] -= 1
            if not held[tenant]:
                del held[tenant]
        if refused is not None:
            raise refused

    async def aclose(self) -> None:
        """Wait until everything has been stored."""
        await self._coalescer.aclose()

    async def _store_in_time(self, items: Sequence[_Timed]) -> Sequence[ValueRefusedError | None]:
        async with asyncio.timeout(min(timeout for _, timeout in items)):
            return await self._store_all([item for item, _ in items])

    async def _store_all(self, items: Sequence[InboxItem]) -> Sequence[ValueRefusedError | None]:
        try:
            await self._store.inbox_put(items)
        except ValueRefusedError as error:
            if len(items) == 1:
                return [error]
            # one item must not keep others from being stored
            return [refused for each in items for refused in await self._store_all([each])]
        return [None] * len(items)
