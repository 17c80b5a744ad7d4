"""Callers with an API key or an access token."""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import TYPE_CHECKING

from ...admin.api_keys import hash_of, place_of
from ...channels.single_flight import SingleFlight
from ...models.access import OPERATORS, effective_scopes
from .callers import Caller

if TYPE_CHECKING:
    from ...kit import Notifykit

#: For how many seconds a key is not looked up again: so long a revoked one may still be accepted.
REMEMBERED = 5.0
_MOST = 1_000


class KeyAccess:
    """Finds callers by their secrets; valid ones are remembered for a few seconds."""

    def __init__(self, kit: Notifykit) -> None:
        self._kit = kit
        self._known: OrderedDict[str, tuple[float, Caller]] = OrderedDict()
        self._looking: dict[str, SingleFlight[Caller | None]] = {}

    async def find(self, secret: str) -> Caller | None:
        """Return the caller whose secret or access token this is, if it is valid."""
        if place_of(secret) is None:
            return None
        hashed, now = hash_of(secret), time.monotonic()
        known = self._known.get(hashed)
        if known is not None and known[0] > now:
            return known[1]
        looking = self._looking.get(hashed)
        if looking is None:  # of many requests at that moment one asks the store
            looking = self._looking[hashed] = SingleFlight(lambda: self._look_up(secret, hashed))
        try:
            return await looking.get()
        finally:
            self._looking.pop(hashed, None)

    async def _look_up(self, secret: str, hashed: str) -> Caller | None:
        keys, now = self._kit.api_keys, time.monotonic()
        key = await keys.find(secret)
        if key is None:
            self._known.pop(hashed, None)
            return None
        await keys.note_use(key)
        caller = Caller(
            subject=key.id,
            role=key.role,
            scopes=effective_scopes(key.role, key.scopes),
            tenant=None if key.tenant == OPERATORS else key.tenant,
        )
        self._known[hashed] = (now + REMEMBERED, caller)
        self._known.move_to_end(hashed)
        if len(self._known) > _MOST:
            self._known.popitem(last=False)
        return caller
