"""Joins what comes at the same time into batches; each item keeps its own result."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from datetime import timedelta
from typing import Generic, TypeVar

import attrs

Item = TypeVar("Item")
Result = TypeVar("Result")


@attrs.define(eq=False)
class _Waiting(Generic[Item, Result]):
    """An item whose sender waits for its result.

    Attributes:
        batch: All items of the batch that it is sent with, and the task that sends it.
    """

    item: Item
    size: int
    result: asyncio.Future[Result]
    batch: tuple[list[_Waiting[Item, Result]], asyncio.Task[None]] | None = None

    def expire(self) -> None:
        """Give up waiting for a batch."""
        if self.batch is None and not self.result.done():
            self.result.set_exception(TimeoutError())


@attrs.define(eq=False)
class _Group(Generic[Item, Result]):
    """The items that may share a batch.

    Attributes:
        due_at: When the first of them has waited long enough, in seconds of the event loop.
        under_way: How many batches of them are being sent.
        is_queued: Whether it waits until fewer batches are under way.
    """

    key: Hashable
    waiting: deque[_Waiting[Item, Result]] = attrs.field(factory=deque)
    size: int = 0
    due_at: float = 0.0
    timer: asyncio.Handle | None = None
    under_way: int = 0
    is_queued: bool = False


class Coalescer(Generic[Item, Result]):
    """Sends items in batches.

    While no batch of a key is under way, what comes is sent with the next turn of the event loop, so that an item never
    waits for others that may not come.  Meanwhile the next ones gather, until a batch is full or its first item has
    waited for ``delay``.  No more items are held than callers wait for.

    Args:
        send: Sends a batch, and returns the result of each item in their order.  What it raises is raised to all of
            their senders.
        most: How many items a batch has at the most.
        most_bytes: How large they are together; a larger item is sent alone.
        delay: How long an item waits at the most while another batch is under way; ``None`` for as long as that is.
        concurrency: How many batches are under way at a time.
        cancels: Whether a batch is cancelled once all of its senders have been.
    """

    def __init__(
        self,
        send: Callable[[Sequence[Item]], Awaitable[Sequence[Result]]],
        *,
        most: int,
        most_bytes: int | None = None,
        delay: timedelta | None = None,
        concurrency: int = 1,
        cancels: bool = False,
    ) -> None:
        self._send = send
        self._most = most
        self._most_bytes = most_bytes
        self._delay = None if delay is None else delay.total_seconds()
        self._free = concurrency
        self._cancels = cancels
        self._groups: dict[Hashable, _Group[Item, Result]] = {}
        self._queued: deque[_Group[Item, Result]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()

    async def put(self, item: Item, *, key: Hashable = None, size: int = 0, timeout: float | None = None) -> Result:
        """Return the result of an item.  If its sender is cancelled before its batch is sent, it is not in it.

        Args:
            key: Only items with an equal one share a batch.
            timeout: How long it may wait for its batch to be sent, in seconds.

        Raises:
            TimeoutError: It has waited for so long, and was not sent.
        """
        loop = asyncio.get_running_loop()
        waiting: _Waiting[Item, Result] = _Waiting(item, size, loop.create_future())
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = _Group(key)
        if not group.waiting:
            group.due_at = loop.time() + (self._delay or 0)
        group.waiting.append(waiting)
        group.size += size
        if group.under_way or group.is_queued:
            self._start(group)
        elif group.timer is None:
            group.timer = loop.call_soon(self._wake, group)
        expiry = None if timeout is None else loop.call_later(timeout, waiting.expire)
        try:
            return await waiting.result
        except asyncio.CancelledError:
            if self._cancels and waiting.batch is not None:
                batch, task = waiting.batch
                if _are_cancelled(batch):
                    task.cancel()
            raise
        finally:
            if expiry is not None:
                expiry.cancel()

    async def aclose(self) -> None:
        """Wait until everything has been sent."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _start(self, group: _Group[Item, Result]) -> None:
        """Send what is ready of a group, as far as the number of batches under way allows it."""
        while group.waiting and self._is_ready(group):
            if not self._free:
                if not group.is_queued:
                    group.is_queued = True
                    self._queued.append(group)
                return
            if batch := self._next_batch(group):
                self._free -= 1
                group.under_way += 1
                task = asyncio.create_task(self._send_batch(group, batch), name="notifykit-batch")
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
                for each in batch:
                    each.batch = batch, task
        if group.waiting:
            self._wake_when_due(group)
        elif not group.under_way and self._groups.get(group.key) is group:
            del self._groups[group.key]

    def _is_ready(self, group: _Group[Item, Result]) -> bool:
        if not group.under_way or len(group.waiting) >= self._most:
            return True
        if self._most_bytes is not None and group.size >= self._most_bytes:
            return True
        return self._delay is not None and asyncio.get_running_loop().time() >= group.due_at

    def _wake_when_due(self, group: _Group[Item, Result]) -> None:
        if self._delay is not None and group.timer is None:
            group.timer = asyncio.get_running_loop().call_at(group.due_at, self._wake, group)

    def _wake(self, group: _Group[Item, Result]) -> None:
        group.timer = None
        self._start(group)

    def _next_batch(self, group: _Group[Item, Result]) -> list[_Waiting[Item, Result]]:
        """Take the items of a batch out of a group; those whose senders have gone are dropped."""
        batch: list[_Waiting[Item, Result]] = []
        size = 0
        while group.waiting and len(batch) < self._most:
            first = group.waiting[0]
            if batch and self._most_bytes is not None and size + first.size > self._most_bytes:
                break
            group.waiting.popleft()
            group.size -= first.size
            if not first.result.done():
                size += first.size
                batch.append(first)
        if group.timer is not None:
            group.timer.cancel()
            group.timer = None
        if self._delay is not None:
            group.due_at = asyncio.get_running_loop().time() + self._delay
        return batch

    async def _send_batch(self, its: _Group[Item, Result], batch: list[_Waiting[Item, Result]]) -> None:
        try:
            results = await self._send([each.item for each in batch])
            for each, result in list(zip(batch, results, strict=True)):
                if not each.result.done():  # otherwise its sender was cancelled
                    each.result.set_result(result)
        except Exception as error:  # noqa: BLE001 - any error is raised to the waiting senders
            for each in batch:
                if not each.result.done():
                    each.result.set_exception(error)
        except BaseException:
            if _are_cancelled(batch):
                return  # no call waits for it
            # the event loop ends
            waiting = [each for group in self._groups.values() for each in group.waiting]
            for each in batch + waiting:
                each.result.cancel()
            raise
        finally:
            self._free += 1
            its.under_way -= 1
            self._after(its)

    def _after(self, group: _Group[Item, Result]) -> None:
        """Send what a batch that has ended held up: first of the groups that have waited longest."""
        while self._queued and self._free:
            queued = self._queued.popleft()
            queued.is_queued = False
            self._start(queued)
        if self._groups.get(group.key) is group and not group.is_queued:
            self._start(group)


def _are_cancelled(batch: Sequence[_Waiting[Item, Result]]) -> bool:
    return all(each.result.cancelled() for each in batch)
