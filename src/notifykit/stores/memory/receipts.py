"""The memory store's receipts of providers, by delivery, and those that wait for theirs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from itertools import islice

import attrs

from ...models.delivery import Attempt, Delivery
from ...models.receipt import FIRST_LOOK, WAITS, ReceiptRecord

#: Receipts that one call looks at.
_PAGE = 500
_Key = tuple[str, str]


@attrs.define
class _Waiting:
    record: ReceiptRecord
    since: datetime
    look_at: datetime


class MemoryReceipts:
    """Every receipt that is kept.

    Attributes:
        references: The delivery of each reference that an attempt has.
    """

    def __init__(self) -> None:
        self.references: dict[str, str] = {}
        self._of: defaultdict[_Key, dict[_Key, ReceiptRecord]] = defaultdict(dict)
        self._waiting: dict[_Key, _Waiting] = {}

    def expect(self, attempt: Attempt) -> None:
        """Remember whose reference it is."""
        if attempt.reference is not None:
            self.references[attempt.reference] = attempt.delivery_id

    def put(self, record: ReceiptRecord, delivery: Delivery | None, now: datetime) -> None:
        """Store a receipt of a delivery, or let it wait."""
        key = record.receipt.provider, record.receipt.id
        if delivery is None:
            self._waiting.setdefault(key, _Waiting(record, now, now + FIRST_LOOK))
            return
        self._waiting.pop(key, None)
        found = record._replace(receipt=attrs.evolve(record.receipt, delivery_id=delivery.id))
        self._of[delivery.tenant, delivery.id].setdefault(key, found)

    def due(self, now: datetime) -> list[ReceiptRecord]:
        """Return receipts that wait and are looked at now; forget those that have waited for too long."""
        for key in [key for key, each in self._waiting.items() if each.since < now - WAITS]:
            del self._waiting[key]
        found = list(islice((each for each in self._waiting.values() if each.look_at <= now), _PAGE))
        for each in found:
            each.look_at = now + max(now - each.since, FIRST_LOOK)
        return [each.record for each in found]

    def of(self, delivery: Delivery) -> Iterable[ReceiptRecord]:
        """Return the receipts of a delivery."""
        return self._of.get((delivery.tenant, delivery.id), {}).values()

    def strongest(self, delivery: Delivery) -> str | None:
        """Return the kind of the strongest receipt of a delivery."""
        best = max(self.of(delivery), key=lambda each: each.rank, default=None)
        return None if best is None else best.receipt.kind.value

    def forget(self, delivery: Delivery, attempts: Iterable[Attempt]) -> None:
        """Forget what is known of a delivery that is deleted."""
        self._of.pop((delivery.tenant, delivery.id), None)
        for attempt in attempts:
            self.references.pop(attempt.reference or "", None)
