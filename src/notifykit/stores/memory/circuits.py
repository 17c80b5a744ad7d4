"""The memory store's open circuits and token buckets."""

from __future__ import annotations

from datetime import datetime

from ...errors import StaleWriteError
from ...models.circuit import OpenCircuit
from ...models.endpoint import RateLimit
from .deliveries import MemoryDeliveries
from .tables import newer


class MemoryHealth(MemoryDeliveries):
    """The verbs of :class:`notifykit.ports.Endpoints` about circuits and rates."""

    async def circuits(self) -> list[OpenCircuit]:
        return list(self._tables.circuits.values())

    async def save_circuit(self, circuit: OpenCircuit) -> OpenCircuit:
        key = circuit.tenant, circuit.key
        if circuit.tenant and key not in self._tables.endpoints:
            raise StaleWriteError("endpoint", circuit.key)
        saved = newer(circuit, self._tables.circuits.get(key), "circuit", circuit.key)
        self._tables.circuits[key] = saved
        return saved

    async def close_circuit(self, tenant: str, key: str, *, now: datetime) -> bool:
        if self._tables.circuits.pop((tenant, key), None) is None:
            return False
        await self.wake(tenant, key, now=now)
        return True

    async def acquire(self, tenant: str, endpoint_id: str, wanted: int, limit: RateLimit, *, now: datetime) -> int:
        tokens, filled_at = self._tables.buckets.get((tenant, endpoint_id), (float(limit.burst), now))
        passed = max((now - filled_at).total_seconds(), 0.0)
        tokens = min(float(limit.burst), tokens + passed * limit.per_second)
        acquired = min(wanted, int(tokens))
        self._tables.buckets[tenant, endpoint_id] = (tokens - acquired, max(now, filled_at))
        return acquired
