"""Changes of a recipient's addresses that follow from what providers say; what the person does meanwhile is kept."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

import attrs

from ..changes import change
from ..models.addresses import AddressState, Suppression
from ..models.recipient import MAX_SUPPRESSIONS, Recipient, RecipientAddress
from ..policies.receipts import SuppressAddress
from ..ports import Store
from ..telemetry import AddressGone, AddressSuppressed, TelemetryEvent

Emit = Callable[[TelemetryEvent], None]


class Where(NamedTuple):
    """An address of a recipient."""

    tenant: str
    recipient_id: str
    channel: str
    address: str


async def mark_gone(
    store: Store, where: Where, reason: str, *, now: datetime, emit: Emit, said_at: datetime | None = None
) -> None:
    """Mark an address as gone, unless the recipient does not use it any more.

    Args:
        said_at: When the provider said so; an address that was changed after it is left alone.
    """

    def gone(each: RecipientAddress) -> RecipientAddress:
        if (each.channel, each.address) != where[2:] or each.state is not AddressState.ACTIVE:
            return each
        if said_at is not None and each.changed_at is not None and each.changed_at > said_at:
            return each
        return attrs.evolve(each, state=AddressState.GONE, reason=reason, changed_at=now)

    def marked(current: Recipient) -> Recipient:
        addresses = tuple(map(gone, current.addresses))
        return current if addresses == current.addresses else attrs.evolve(current, addresses=addresses)

    told = AddressGone(recipient_id=where.recipient_id, tenant=where.tenant, channel=where.channel, reason=reason)
    await _change(store, where, marked, now, lambda: emit(told))


async def suppress(store: Store, where: Where, effect: SuppressAddress, *, now: datetime, emit: Emit) -> None:
    """Have an address of a recipient not used for some purposes, in addition to those it is suppressed for."""

    def suppressed(current: Recipient) -> Recipient:
        lasting = [
            each for each in current.suppressions if (each.channel, each.address) == where[2:] and not each.until
        ]
        covered = {purpose for each in lasting for purpose in each.purposes}
        if any(not each.purposes for each in lasting) or covered.issuperset(effect.purposes):
            return current
        purposes = tuple(sorted(covered.union(effect.purposes)))
        others = [each for each in current.suppressions if each not in lasting]
        new = Suppression(channel=where.channel, address=where.address, purposes=purposes)
        return attrs.evolve(current, suppressions=(*others[: MAX_SUPPRESSIONS - 1], new))

    told = AddressSuppressed(
        recipient_id=where.recipient_id,
        tenant=where.tenant,
        channel=where.channel,
        purposes=",".join(effect.purposes),
        reason=effect.reason,
    )
    await _change(store, where, suppressed, now, lambda: emit(told))


async def _change(
    store: Store, where: Where, make: Callable[[Recipient], Recipient], now: datetime, told: Callable[[], None]
) -> None:
    async def read() -> Recipient | None:
        return next(iter(await store.get(Recipient, where.tenant, [where.recipient_id])), None)

    async def save(wanted: Recipient | None) -> Recipient | None:
        assert wanted is not None
        saved = await store.save(attrs.evolve(wanted, updated_at=now))
        told()
        return saved

    await change(read, lambda current: None if current is None else make(current), save)
