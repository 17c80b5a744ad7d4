"""The memory store's failing endpoints and token buckets."""

from __future__ import annotations

from datetime import datetime

from ...errors import StaleWriteError
from ...models.endpoint import RateLimit
from ...models.health import Ailment
from .deliveries import MemoryDeliveries
from .tables import newer


class MemoryHealth(MemoryDeliveries):
    """The verbs of :class:`notifykit.ports.Endpoints` about health and rates."""

    async def ailments(self) -> list[Ailment]:
        return list(self._tables.ailments.values())

    async def save_ailment(self, ailment: Ailment) -> Ailment:
        key = ailment.tenant, ailment.endpoint_id
        if key not in self._tables.endpoints:
            raise StaleWriteError("endpoint", ailment.endpoint_id)
        saved = newer(ailment, self._tables.ailments.get(key), "ailment", ailment.endpoint_id)
        self._tables.ailments[key] = saved
        return saved

    async def remove_ailment(self, tenant: str, endpoint_id: str, *, now: datetime) -> bool:
        if self._tables.ailments.pop((tenant, endpoint_id), None) is None:
            return False
        await self.wake(tenant, endpoint_id, now=now)
        return True

    async def draw(self, tenant: str, endpoint_id: str, wanted: int, limit: RateLimit, *, now: datetime) -> int:
        tokens, filled_at = self._tables.buckets.get((tenant, endpoint_id), (float(limit.burst), now))
        passed = max((now - filled_at).total_seconds(), 0.0)
        tokens = min(float(limit.burst), tokens + passed * limit.per_second)
        granted = min(wanted, int(tokens))
        self._tables.buckets[tenant, endpoint_id] = (tokens - granted, max(now, filled_at))
        return granted
