"""The verbs of the Redis store about what operators read and move, and about circuits and rate limits."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import attrs

from ...codec import loads
from ...errors import StaleWriteError
from ...failpoints import failpoint
from ...models.circuit import OpenCircuit
from ...models.delivery import Attempt, Collected, Delivery
from ...models.event import StoredEvent
from ...models.receipt import FIRST_LOOK, WAITS, ReceiptMatch, ReceiptRecord, with_receipts
from ...models.throttle import CAP
from ...ports import CANCELLED, DeliveryFilter, Dismissal, EventFilter, LaneStats, Move, StoreStats, TokenRequest
from ..encoding.encryption import Encryption
from ..encoding.readable import DAMAGED, log_damage
from ..encoding.rows import MICRO, instant, micros
from .connections import Connections, Listening
from .layout import (
    attempt_from,
    delivery_from,
    each,
    event_from,
    filter_values,
    json,
    lane_from,
    receipt_from,
    receipt_line,
    receipt_meta,
)

#: Rows that one script looks at, so that others are served in between.
_AT_ONCE: Final = 2000
_COUNT_CAP: Final = 10_000
_NO_LIMIT: Final = 2**50
#: Receipts that one script stores or looks at.
_RECEIPTS: Final = 500
_FIRST_LOOK: Final = FIRST_LOOK // MICRO


class RedisOperations:
    """The verbs of :class:`notifykit.ports.Operations` and :class:`notifykit.ports.Limits`."""

    encryption: Encryption
    _connections: Connections
    _listening: Listening

    async def find_deliveries(
        self, tenant: str, wanted: DeliveryFilter, *, limit: int, before: str | None = None
    ) -> list[Delivery]:
        found: list[Delivery] = []
        its = filter_values(tenant, wanted, wanted.states)
        bound: bytes | None = (before or "").encode()
        while bound is not None and len(found) < limit:
            rows, bound = await self._connections.run("find_deliveries", its, limit - len(found), bound, _AT_ONCE)
            found += map(delivery_from, rows)
        return found

    async def find_events(
        self, tenant: str, wanted: EventFilter, *, limit: int, before: str | None = None
    ) -> list[StoredEvent]:
        given = {
            "ids": None if wanted.ids is None else sorted(wanted.ids),
            "type": wanted.type,
            "key": wanted.idempotency_key,
            "planned": wanted.planned,
        }
        its = json({name: value for name, value in given.items() if value is not None})
        bound: bytes | None = (before or "").encode()
        found: list[StoredEvent] = []
        while bound is not None and len(found) < limit:
            answers, bound = await self._connections.run(
                "find_events", tenant, its, limit - len(found), bound, _AT_ONCE // 4
            )
            found += [event_from(id_.decode(), tenant, text) for id_, text in answers]
        return [*map(self.encryption.listed_event, found)]

    async def attempts(self, tenant: str, delivery_id: str) -> list[Attempt]:
        lines, receipts = await self._connections.run("attempts", tenant, delivery_id)
        stored = [attempt_from(delivery_id, line) for line in lines.split(b"\n") if line]
        attempts = [*map(self.encryption.decrypted_attempt, stored)]
        its = each(lambda line: receipt_from(line, delivery_id), receipts, "receipt")
        return with_receipts(attempts, its)

    async def record_receipts(self, records: Sequence[ReceiptRecord], *, now: datetime) -> list[ReceiptMatch]:
        if not records:
            found = await self._connections.run("due_receipts", micros(now), _FIRST_LOOK, WAITS // MICRO, _RECEIPTS)
            return each(_match, found, "receipt")
        matches = []
        for at in range(0, len(records), _RECEIPTS):
            page = records[at : at + _RECEIPTS]
            lines = [receipt_line(record.receipt) for record in page]
            metas = json([*map(receipt_meta, page)])
            answers = await self._connections.run("record_receipts", micros(now), _FIRST_LOOK, metas, *lines)
            matches += [ReceiptMatch(page[place].receipt, delivery_from(row)) for place, row in answers]
        return matches

    async def move(
        self,
        tenant: str,
        wanted: DeliveryFilter,
        to: Move,
        *,
        now: datetime,
        limit: int | None = None,
        reason: str = CANCELLED,
    ) -> int:
        its = filter_values(tenant, wanted, wanted.states_for(to))
        event = wanted.event_id if wanted.means_event(to) else None
        count, events = 0, 0
        bound: bytes | None = b""
        while bound is not None:
            left = _NO_LIMIT if limit is None else limit - count
            moved, cancelled, bound = await self._connections.run(
                "move", its, to, micros(now), left, bound, _AT_ONCE, int(wanted.means_digests(to)), event or "", reason
            )
            count, events = count + moved, events + cancelled
        if to is Move.REDRIVE:
            failpoint("replay.created")
        self._listening.wake()
        return count + events

    async def collected(self, tenant: str, delivery_id: str) -> Collected | None:
        answer = await self._connections.run("collected", tenant, delivery_id)
        if answer is None:
            return None
        total, items = answer
        events = [(id_.decode(), event_from("", tenant, text)) for id_, text in items if text is not None]
        return Collected(total, tuple(self.encryption.digest_items(events)))

    async def dismiss(
        self, tenant: str, delivery_id: str, fence: int, dismissals: Sequence[Dismissal], *, now: datetime
    ) -> bool:
        values = [value for each in dismissals for value in each]
        return bool(await self._connections.run("dismiss", tenant, delivery_id, fence, micros(now), *values))

    async def stats(self, *, now: datetime) -> StoreStats:
        *counts, oldest, lanes = await self._connections.run("stats", micros(now), _COUNT_CAP)
        unplanned, waiting, sending, dead = (min(count, _COUNT_CAP) for count in counts)
        of_lanes = {
            lane_from(name.decode()): LaneStats(number, _due(since))
            for name, number, since in zip(lanes[::3], lanes[1::3], lanes[2::3], strict=True)
        }
        return StoreStats(unplanned, waiting, sending, dead, _due(oldest), of_lanes)

    # -- circuits and buckets --------------------------------------------------------------------

    async def circuits(self) -> list[OpenCircuit]:
        found = (_circuit_from(text) for text in await self._connections.run("circuits"))
        return [circuit for circuit in found if circuit is not None]

    async def save_circuit(
        self, tenant: str, key: str, circuit: OpenCircuit | None, *, now: datetime
    ) -> OpenCircuit | None:
        if circuit is None:
            closed = await self._connections.run("close_circuit", tenant, key, micros(now))
            self._listening.wake()
            return None if closed is None else _circuit_from(closed)
        saved = attrs.evolve(circuit, version=circuit.version + 1)
        if not await self._connections.run("save_circuit", tenant, key, circuit.version, _circuit_text(saved)):
            raise StaleWriteError("circuit", key)
        return saved

    async def acquire(self, requests: Sequence[TokenRequest], *, now: datetime) -> list[int]:
        if not requests:
            return []
        arguments: list[Any] = []
        for tenant, key, wanted, limit in requests:
            arguments += (tenant, key, wanted, repr(float(limit.per_second)), limit.burst)
        acquired: list[int] = await self._connections.run("acquire", micros(now), CAP, *arguments)
        return acquired


def _due(since: bytes | None) -> datetime | None:
    return None if since is None else instant(int(since))


def _match(answer: tuple[bytes, Sequence[Any]]) -> ReceiptMatch:
    line, row = answer
    return ReceiptMatch(receipt_from(line), delivery_from(row))


def _circuit_text(circuit: OpenCircuit) -> bytes:
    its = attrs.asdict(circuit)
    return json({**its, "since": micros(circuit.since), "probe_at": micros(circuit.probe_at)})


def _circuit_from(text: bytes | None) -> OpenCircuit | None:
    """Return a circuit, unless it is damaged: every process reads all of them."""
    try:
        its = loads(text or b"")
        return OpenCircuit(**{**its, "since": instant(its["since"]), "probe_at": instant(its["probe_at"])})
    except DAMAGED as error:
        log_damage("circuit", {"id": "unknown", "tenant": ""}, error)
        return None
