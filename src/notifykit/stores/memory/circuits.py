"""The memory store's circuits and token buckets."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from ...errors import StaleWriteError
from ...models.circuit import OpenCircuit
from ...models.delivery import DeliveryState
from ...ports import TokenRequest
from .deliveries import MemoryDeliveries
from .tables import newer


class MemoryLimits(MemoryDeliveries):
    """The verbs of :class:`notifykit.ports.Limits`."""

    async def circuits(self) -> list[OpenCircuit]:
        return list(self._tables.circuits.values())

    async def save_circuit(
        self, tenant: str, key: str, circuit: OpenCircuit | None, *, now: datetime
    ) -> OpenCircuit | None:
        its = tenant, key
        if circuit is None:
            closed = self._tables.circuits.pop(its, None)
            if closed is not None:
                held = (row for row in self._tables.rows_of(*its) if row.delivery.state is DeliveryState.HELD)
                self._wake(list(held), now)
            return closed
        if tenant and its not in self._tables.endpoints:
            raise StaleWriteError("endpoint", key)
        saved = newer(circuit, self._tables.circuits.get(its), "circuit", key)
        self._tables.circuits[its] = saved
        return saved

    async def acquire(self, requests: Sequence[TokenRequest], *, now: datetime) -> list[int]:
        return [self._acquire(request, now) for request in requests]

    def _acquire(self, request: TokenRequest, now: datetime) -> int:
        tenant, endpoint_id, wanted, limit = request
        tokens, filled_at = self._tables.buckets.get((tenant, endpoint_id), (float(limit.burst), now))
        passed = max((now - filled_at).total_seconds(), 0.0)
        tokens = min(float(limit.burst), tokens + passed * limit.per_second)
        acquired = min(wanted, int(tokens))
        self._tables.buckets[tenant, endpoint_id] = (tokens - acquired, max(now, filled_at))
        return acquired
