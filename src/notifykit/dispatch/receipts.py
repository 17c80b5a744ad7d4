"""What providers report is stored, and then applied: addresses, suppressions, operational events, and the alarm."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

import attrs

from ..models.delivery import Priority
from ..models.event import Event, StoredEvent
from ..models.receipt import ProviderReceipt, ReceiptMatch, derived_id
from ..models.subscription import MatchQuery
from ..models.throttle import bounce_bucket
from ..policies.admit import admit, operational
from ..policies.plan import OPERATIONAL_TYPES
from ..policies.receipts import (
    BOUNCING,
    SPARE_BOUNCES,
    TOLD,
    WINDOW,
    BounceWindow,
    SuppressAddress,
    effect_of,
    is_definitive,
    to_record,
    window_at,
)
from ..ports import Clock, Store, TokenRequest
from ..telemetry import BouncesUnusual, ReceiptRecorded
from .addresses import Emit, Where, mark_gone, suppress

#: Receipts that are stored in one step.
_PAGE: Final = 500
#: Pairs of provider and tenant whose bounces are counted at the same time.
_MOST_WINDOWS: Final = 10_000
#: Stands for all tenants together.
_ALL: Final = ""


class Receipts:
    """Stores and applies receipts; effects may be applied twice, and then change nothing more."""

    def __init__(self, store: Store, clock: Clock, emit: Emit) -> None:
        self._store = store
        self._clock = clock
        self._emit = emit
        #: By provider and tenant, those that were asked for last at the end.
        self._windows: dict[_Key, BounceWindow] = {}

    async def record(self, receipts: Sequence[ProviderReceipt]) -> int:
        """Store receipts and apply what follows; return how many belong to a delivery that is known.

        The others wait for their delivery.
        """
        count = 0
        for at in range(0, len(receipts), _PAGE):
            records = [to_record(each) for each in receipts[at : at + _PAGE]]
            matches = await self._store.record_receipts(records, now=self._clock.now())
            await self._apply(matches)
            count += len(matches)
        return count

    async def look(self) -> int:
        """Apply receipts that have come before their attempt was recorded; return how many."""
        matches = await self._store.record_receipts((), now=self._clock.now())
        if matches:
            await self._apply(matches)
            # Only now, so that they are looked at again if this process dies before.
            await self._store.record_receipts([to_record(each.receipt) for each in matches], now=self._clock.now())
        return len(matches)

    async def _apply(self, matches: Sequence[ReceiptMatch]) -> None:
        now = self._clock.now()
        alarms = await self._count(matches, now)
        doubtful = {key for match in matches for key in _keys(match) if self._windows[key].is_unusual}
        while len(self._windows) > _MOST_WINDOWS:
            del self._windows[next(iter(self._windows))]
        for match in matches:
            await self._change_address(match, now, is_doubtful=not doubtful.isdisjoint(_keys(match)))
        await self._publish([*alarms, *(news for match in matches if (news := _told(match)) is not None)])
        for receipt, delivery in matches:
            self._emit(
                ReceiptRecorded(
                    provider=receipt.provider,
                    kind=receipt.kind.value,
                    code=receipt.code,
                    delivery_id=delivery.id,
                    tenant=delivery.tenant,
                    channel=delivery.channel,
                )
            )

    async def _change_address(self, match: ReceiptMatch, now: datetime, *, is_doubtful: bool) -> None:
        receipt, delivery = match
        effect = effect_of(match)
        if effect is None:
            return
        where = Where(delivery.tenant, delivery.subscriber_id, effect.channel, effect.address)
        if isinstance(effect, SuppressAddress):
            await suppress(self._store, where, effect, now=now, emit=self._emit)
        elif not is_doubtful:
            await mark_gone(self._store, where, effect.reason, now=now, emit=self._emit, said_at=receipt.at)

    # -- the alarm -------------------------------------------------------------------------------

    async def _count(self, matches: Sequence[ReceiptMatch], now: datetime) -> list[_News]:
        """Count receipts, all of a batch before any is applied; return the alarms that begin with them."""
        before: dict[_Key, BounceWindow] = {}
        bounced: Counter[_Key] = Counter()
        for match in matches:
            for key in _keys(match):
                if key not in before:
                    self._windows[key] = before[key] = window_at(self._windows.pop(key, None), now)
                self._windows[key] = self._windows[key].counting(match.receipt)
                bounced[key] += is_definitive(match.receipt)
        for key in await self._many(+bounced, now):
            self._windows[key] = attrs.evolve(self._windows[key], are_many=True)
        began = [key for key, window in before.items() if self._windows[key].is_unusual and not window.is_unusual]
        return [news for key in began for news in self._alarm(key, self._windows[key], now)]

    async def _many(self, bounced: Mapping[_Key, int], now: datetime) -> list[_Key]:
        """Count bounces over all processes; return those of which there are many."""
        requests = [
            TokenRequest(tenant, bounce_bucket(provider), count, SPARE_BOUNCES.rate)
            for (provider, tenant), count in bounced.items()
        ]
        left = await self._store.acquire(requests, now=now) if requests else []
        return [key for (key, count), got in zip(bounced.items(), left, strict=True) if got < count]

    def _alarm(self, key: _Key, window: BounceWindow, now: datetime) -> list[_News]:
        provider, tenant = key
        # Every process that gets receipts may notice; the tenant is told once in the time of a window.
        number = now.timestamp() // WINDOW.total_seconds()
        self._emit(BouncesUnusual(provider=provider, tenant=tenant, bounced=window.bounced, total=window.total))
        data = {"provider": provider, "bounced": window.bounced, "total": window.total}
        return [] if tenant == _ALL else [(tenant, BOUNCING, data, f"{BOUNCING}:{provider}:{number:.0f}")]

    # -- operational events ----------------------------------------------------------------------

    async def _publish(self, news: Sequence[_News]) -> None:
        """Publish events to tenants that subscribe to them."""
        wanted: dict[tuple[str, str], bool] = {}
        events: list[StoredEvent] = []
        for tenant, type_, data, key in news:
            if (tenant, type_) not in wanted:
                (found,) = await self._store.match(tenant, [MatchQuery(type_, named=True)], limit=1)
                wanted[tenant, type_] = bool(found)
            if wanted[tenant, type_]:
                event = Event(type=type_, data=data, priority=Priority.HIGH, idempotency_key=key)
                events.append(operational(admit(event, None, tenant=tenant, now=self._clock.now()), data))
        if events:
            await self._store.append(events)


#: The provider and the tenant whose receipts are counted together.
_Key = tuple[str, str]
#: Tenant, type, data and idempotency key of an operational event.
_News = tuple[str, str, dict[str, object], str]


def _keys(match: ReceiptMatch) -> tuple[_Key, _Key]:
    return (match.receipt.provider, _ALL), (match.receipt.provider, match.delivery.tenant)


def _told(match: ReceiptMatch) -> _News | None:
    """Return the operational event of a receipt, unless it is about an operational event itself."""
    receipt, delivery = match
    type_ = TOLD.get(receipt.kind)
    if type_ is None or delivery.event_type in OPERATIONAL_TYPES:
        return None
    data: dict[str, object] = {
        "delivery_id": delivery.id,
        "event_id": delivery.event_id,
        "event_type": delivery.event_type,
        "subscriber_id": delivery.subscriber_id,
        "channel": delivery.channel,
        "provider": receipt.provider,
        "code": receipt.code,
        "permanent": is_definitive(receipt),
    }
    return delivery.tenant, type_, data, f"receipt:{receipt.provider}:{derived_id(receipt.id)}"
