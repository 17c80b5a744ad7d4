"""Changes of a recipient's addresses that follow from what providers say; what the person does meanwhile is kept."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

import attrs

from ..changes import change
from ..models.addresses import AddressState
from ..models.recipient import Recipient, RecipientAddress
from ..models.suppression import SuppressedAddress, SuppressionEntry, SuppressionReason, suppression_id
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
    """Put an address on the suppression list of its tenant, unless it is there for this reason already."""
    id_ = suppression_id(where.tenant, where.channel, where.address)
    entry = SuppressionEntry(
        reason=SuppressionReason(effect.reason), purposes=effect.purposes, evidence=effect.evidence, since=now
    )

    async def read() -> SuppressedAddress:
        found = await store.get(SuppressedAddress, where.tenant, [id_])
        return next(iter(found), SuppressedAddress(id=id_, tenant=where.tenant, entries=()))

    async def save(wanted: SuppressedAddress) -> SuppressedAddress:
        saved = await store.save(wanted)
        emit(
            AddressSuppressed(
                recipient_id=where.recipient_id,
                tenant=where.tenant,
                channel=where.channel,
                purposes=",".join(effect.purposes),
                reason=effect.reason,
            )
        )
        return saved

    def listed(current: SuppressedAddress) -> SuppressedAddress:
        known = any(each.reason is entry.reason and each.until is None for each in current.entries)
        return current if known else current.with_entries([entry])

    await change(read, listed, save)


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
