"""Items that come together are stored together, in one transaction."""

from __future__ import annotations

import asyncio

from ...errors import ValueRefusedError
from ...models.inbox import InboxItem
from ...ports import Inbox

#: Items of one transaction at the most.
MOST = 200

_Waiting = tuple[InboxItem, "asyncio.Future[None]"]


class Batches:
    """Stores items; while one transaction is under way, the items of the next one gather."""

    def __init__(self, store: Inbox) -> None:
        self._store = store
        self._waiting: list[_Waiting] = []
        self._storing: asyncio.Task[None] | None = None

    async def put(self, item: InboxItem) -> None:
        """Store an item; return once it is durable."""
        stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, stored))
        if self._storing is None:
            self._storing = asyncio.create_task(self._store_waiting(), name="notifykit-inbox")
        await stored

    async def aclose(self) -> None:
        """Wait until everything has been stored."""
        if self._storing is not None:
            await asyncio.wait([self._storing])

    async def _store_waiting(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
                await self._store_batch(batch)
        finally:
            self._storing = None
            for _, stored in self._waiting:  # this task was cancelled
                stored.cancel()

    async def _store_batch(self, batch: list[_Waiting]) -> None:
        try:
            await self._store.inbox_put([item for item, _ in batch])
        except ValueRefusedError as error:
            if len(batch) == 1:
                _finish(batch, error)
            else:  # one item must not keep others from being stored
                for each in batch:
                    await self._store_batch([each])
        except Exception as error:  # noqa: BLE001 - any error is raised to the waiting senders
            _finish(batch, error)
        except BaseException:
            for _, stored in batch:
                stored.cancel()
            raise
        else:
            _finish(batch)


def _finish(batch: list[_Waiting], error: Exception | None = None) -> None:
    for _, stored in batch:
        if stored.done():  # the sender was cancelled
            continue
        if error is None:
            stored.set_result(None)
        else:
            stored.set_exception(error)
