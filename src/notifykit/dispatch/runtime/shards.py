"""The dispatchers of several shards, as one: none of them waits for another's database."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import Self

import anyio

from .dispatcher import Dispatcher


class ShardsDispatcher(Dispatcher):
    """Runs a dispatcher for each shard, with everything that a process has of its own: backlogs, leases, results.

    Each has the limits that the settings name.

    Args:
        each: The dispatchers, one at least.
    """

    def __init__(self, each: Sequence[Dispatcher]) -> None:
        self.each = each
        self.settings, self.worker = each[0].settings, each[0].worker
        self._entered: list[Dispatcher] = []

    async def __aenter__(self) -> Self:
        try:
            for one in self.each:
                await one.__aenter__()
                self._entered.append(one)
        except BaseException as error:
            await self.__aexit__(type(error), error, None)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        entered, self._entered = self._entered, []
        with anyio.CancelScope(shield=True):
            ends = (one.__aexit__(kind, error, trace) for one in entered)
            failed = [end for end in await asyncio.gather(*ends, return_exceptions=True) if end is not None]
        if failed and error is None:
            raise failed[0]

    def stop(self) -> None:
        for one in self.each:
            one.stop()

    async def aclose(self) -> None:
        await asyncio.gather(*(one.aclose() for one in self.each))

    async def run(self) -> None:
        running = [asyncio.create_task(one.run(), name="notifykit-shard") for one in self.each]
        try:
            await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.stop()  # all together: the tables of one may have become newer than this process knows
            with anyio.CancelScope(shield=True):
                await asyncio.wait(running)
        for task in running:
            task.result()

    async def step(self) -> bool:
        return any([await one.step() for one in self.each])

    async def drained(self) -> None:
        for _ in range(2):  # one may have work for another: a tenant that is moved
            for one in self.each:
                await one.drained()
