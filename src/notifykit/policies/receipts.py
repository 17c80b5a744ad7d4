"""What follows from the receipts of providers.

Pure.  An address is changed only on a definitive code, and not while an unusual share of addresses bounces: then it
is likelier that our sender, domain or account is at fault than that all these people have left.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

import attrs

from ..models.preferences import Purpose
from ..models.receipt import ProviderReceipt, ReceiptKind, ReceiptMatch, ReceiptRecord
from ..models.recipient import EMAIL
from ..models.throttle import Throttle

#: The operational events about receipts.
BOUNCING: Final = "provider.bouncing"
TOLD: Final = {
    ReceiptKind.BOUNCED: "delivery.bounced",
    ReceiptKind.FAILED: "delivery.failed",
    ReceiptKind.COMPLAINED: "delivery.complained",
    ReceiptKind.UNSUBSCRIBED: "delivery.unsubscribed",
}

#: From weak to strong, so that receipts may arrive in any order.
_RANKS: Final = {
    kind: rank
    for rank, kind in enumerate(
        (
            ReceiptKind.SENT,
            ReceiptKind.DEFERRED,
            ReceiptKind.FAILED,
            ReceiptKind.DELIVERED,
            ReceiptKind.OPENED,
            ReceiptKind.CLICKED,
            ReceiptKind.BOUNCED,
            ReceiptKind.UNSUBSCRIBED,
            ReceiptKind.COMPLAINED,
        )
    )
}
_ARRIVED: Final = frozenset(
    {
        ReceiptKind.DELIVERED,
        ReceiptKind.OPENED,
        ReceiptKind.CLICKED,
        ReceiptKind.UNSUBSCRIBED,
        ReceiptKind.COMPLAINED,
    }
)
#: What says how many messages reach their mailboxes.
_FINAL: Final = frozenset({ReceiptKind.DELIVERED, ReceiptKind.BOUNCED, ReceiptKind.FAILED})

#: How long bounces are counted together.
WINDOW: Final = timedelta(minutes=10)
#: So many definitive bounces are needed for an alarm, and this share of all final receipts.
_LEAST_BOUNCES, _UNUSUAL_SHARE = 20, 0.3
#: The bounces that all processes together count before there are so many.
SPARE_BOUNCES: Final = Throttle(_LEAST_BOUNCES - 1, WINDOW)


def to_record(receipt: ProviderReceipt) -> ReceiptRecord:
    """Return what the store has to know of a receipt."""
    return ReceiptRecord(receipt, _RANKS[receipt.kind], receipt.kind in _ARRIVED)


_ALL_BUT_SECURITY: Final[tuple[Purpose, ...]] = (Purpose.MARKETING, Purpose.TRANSACTIONAL)


# ── effects ────────────────────────────────────────────────────────────────────────────────────


@attrs.frozen(kw_only=True)
class MarkGone:
    """The address does not exist: it is not used any more."""

    channel: str
    address: str
    reason: str


@attrs.frozen(kw_only=True)
class SuppressAddress:
    """The address must not be used for some purposes.

    Attributes:
        reason: ``complaint``, ``unsubscribe`` or ``stop``.
        evidence: Where that is from: the provider and the id of its report.
    """

    channel: str
    address: str
    purposes: tuple[Purpose, ...]
    reason: str
    evidence: str


Effect = MarkGone | SuppressAddress


def effect_of(match: ReceiptMatch) -> Effect | None:
    """Return what a receipt changes about the address that the message was sent to, if it does.

    After a complaint only messages about security go to the address.  To unsubscribe from e-mails stops marketing; a
    STOP to a text message has the effect of a complaint.
    """
    receipt, delivery = match
    if delivery.address is None:
        return None
    channel, address = delivery.channel, delivery.address
    if is_definitive(receipt):
        return MarkGone(channel=channel, address=address, reason=f"{receipt.provider}_{receipt.code or 'bounced'}")
    if receipt.kind is ReceiptKind.COMPLAINED:
        reason, purposes = "complaint", _ALL_BUT_SECURITY
    elif receipt.kind is not ReceiptKind.UNSUBSCRIBED:
        return None
    elif channel == EMAIL:
        reason, purposes = "unsubscribe", (Purpose.MARKETING,)
    else:
        reason, purposes = "stop", _ALL_BUT_SECURITY
    return SuppressAddress(
        channel=channel,
        address=address,
        purposes=purposes,
        reason=reason,
        evidence=f"{receipt.provider}:{receipt.id}",
    )


def is_definitive(receipt: ProviderReceipt) -> bool:
    """Tell whether a receipt says that there is no such address."""
    return receipt.kind is ReceiptKind.BOUNCED and receipt.permanent


# ── the alarm ──────────────────────────────────────────────────────────────────────────────────


@attrs.frozen(kw_only=True)
class BounceWindow:
    """The recent receipts of one provider for one tenant that this process has got.

    Other processes get the others, but of the same kinds: the share is the same, and how many they are is counted
    together.

    Attributes:
        bounced: How many were definitive bounces, …
        total: … of how many that said what became of a message.
        are_many: Whether all processes together have counted enough bounces for an alarm.
    """

    since: datetime
    bounced: int = 0
    total: int = 0
    are_many: bool = False

    @property
    def is_unusual(self) -> bool:
        """Whether so many bounce that no address is marked because of it."""
        are_many = self.are_many or self.bounced >= _LEAST_BOUNCES
        return are_many and self.bounced > self.total * _UNUSUAL_SHARE

    def counting(self, receipt: ProviderReceipt) -> BounceWindow:
        """Return the window with one more receipt."""
        if receipt.kind not in _FINAL:
            return self
        return attrs.evolve(self, total=self.total + 1, bounced=self.bounced + is_definitive(receipt))


def window_at(window: BounceWindow | None, now: datetime) -> BounceWindow:
    """Return the window that counts at ``now``.

    One that is over leaves half of its counts to the next, so that an alarm does not end while its cause goes on.
    """
    if window is None or now - window.since >= 2 * WINDOW:
        return BounceWindow(since=now)
    if now - window.since < WINDOW:
        return window
    return BounceWindow(since=now, bounced=window.bounced // 2, total=window.total // 2)
