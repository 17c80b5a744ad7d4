"""Draws tokens for endpoints with a rate limit, while any has claims that wait for them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from datetime import timedelta

from ...errors import StoreUnavailableError
from ...models.delivery import Claim, Priority
from ...ports import TokenRequest
from ...telemetry import LoopFailed, why
from ..context import Context
from ..directory import Directory
from .backlog import Backlog

#: Seconds between two draws of tokens.
_REFILL_EVERY = 0.05
#: Seconds until tokens are drawn again for an endpoint for which that failed.
_DRY = 1.0


class TokenRefill:
    """Gives the backlogs tokens.

    Attributes:
        shortage: Set when claims wait for tokens.
    """

    def __init__(
        self, context: Context, directory: Directory, backlogs: Mapping[tuple[str, Priority], Backlog]
    ) -> None:
        self._context = context
        self._directory = directory
        self._backlogs = backlogs
        self._dry: dict[str, float] = {}
        self.shortage = asyncio.Event()

    async def run(self) -> None:
        """Draw tokens until cancelled."""
        while True:
            await self.shortage.wait()
            self.shortage.clear()
            try:
                while any([await self.refill(backlog) for backlog in self._backlogs.values()]):
                    await asyncio.sleep(_REFILL_EVERY)
            except Exception as error:  # a loop that fails is tried again, whatever the reason
                self._context.emit(LoopFailed(loop="refill", error=why(error), pause=timedelta(seconds=1)))
                await asyncio.sleep(1)
                self.shortage.set()

    async def refill(self, backlog: Backlog) -> bool:
        """Draw tokens for what waits in one backlog; return whether anything waits."""
        short_of_tokens = backlog.short_of_tokens()
        at = time.monotonic()
        for key, (claim, wanted) in short_of_tokens.items():
            if self._dry.get(key, at) > at:
                continue
            self._dry.pop(key, None)
            try:
                await self._draw(backlog, claim, wanted)
            except StoreUnavailableError:
                raise
            except Exception as error:  # one endpoint's fault must not keep tokens from the others
                self._dry[key] = at + _DRY
                text = f"{claim.subscriber_id}: {why(error)}"
                self._context.emit(LoopFailed(loop="refill", error=text, pause=timedelta(seconds=_DRY)))
        return bool(short_of_tokens)

    async def _draw(self, backlog: Backlog, claim: Claim, wanted: int) -> None:
        tenant, subscriber = claim.tenant, claim.subscriber_id
        destination = await self._directory.find_destination(claim)
        limit = None if destination is None else destination.rate_limit
        acquired = wanted
        if limit is not None:
            share = max(1, min(wanted, round(limit.per_second * _REFILL_EVERY * 2)))
            request = TokenRequest(tenant, subscriber, share, limit)
            (acquired,) = await self._context.store.acquire([request], now=self._context.clock.now())
        backlog.add_tokens(tenant, subscriber, acquired)
