"""Provider receipts: what a provider reports of a message after it has accepted it.

A :class:`~notifykit.models.event.Receipt` is something else: the answer to ``publish``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from typing import Any, NamedTuple

import attrs

from .checks import MAX_ID, field_check, flag, instant, one_of, optional, text
from .delivery import Attempt, Delivery

#: The longest reference that an attempt keeps as well.
MAX_REFERENCE = 512
MAX_CODE = 200
MAX_ADDRESS = 4096
#: Why a delivery ended whose message may have arrived, and is not sent a second time.
UNCERTAIN = "uncertain"
#: How long a receipt without a delivery is kept, and when it is looked at for the first time.
WAITS, FIRST_LOOK = timedelta(days=1), timedelta(seconds=1)


class ReceiptKind(StrEnum):
    """What became of a message.

    Attributes:
        SENT: The provider has handed it on.
        DEFERRED: It could not be handed over yet, and the provider tries again.
        FAILED: The provider has given up; that says nothing definitive about the address.
        BOUNCED: The address did not take it.
        DELIVERED: The network or the mail server of the recipient has taken it.
        OPENED: It was opened, or something has loaded its images.
        CLICKED: A link in it was followed.
        UNSUBSCRIBED: The person wants no more of these.
        COMPLAINED: The person has marked it as spam.
    """

    SENT = "sent"
    DEFERRED = "deferred"
    FAILED = "failed"
    BOUNCED = "bounced"
    DELIVERED = "delivered"
    OPENED = "opened"
    CLICKED = "clicked"
    UNSUBSCRIBED = "unsubscribed"
    COMPLAINED = "complained"


#: By their names, which callers may give in place of the members.
_KINDS: Mapping[Any, ReceiptKind] = {kind.value: kind for kind in ReceiptKind}


def _kind(value: Any) -> Any:
    """Return the kind that is named; what names none stays as it is, for the check to refuse."""
    return _KINDS.get(value, value) if isinstance(value, str) else value


@attrs.frozen(kw_only=True)
class ProviderReceipt:
    """One report of a provider, verified.

    Attributes:
        provider: The vendor: ``sendgrid``.
        id: Of the report itself: a repeated report has the same one, and is stored once.
        reference: The provider's id of the message, as the attempt has it.
        delivery_id: Of the delivery, if the message carried it and the provider repeats it.
        kind: What became of the message.
        permanent: Of a bounce, whether the provider's code says definitively that there is no such address.
        at: When it happened, by the provider's clock, or when the report arrived if the provider does not say.
        address: Of the recipient, as the provider writes it.
        code: The provider's own code, such as ``5.1.1`` or ``30005``.
    """

    provider: str = attrs.field(validator=field_check(text(most=64)))
    id: str = attrs.field(validator=field_check(text(most=MAX_ID)))
    kind: ReceiptKind = attrs.field(validator=field_check(one_of(ReceiptKind)), converter=_kind)
    at: datetime = attrs.field(validator=field_check(instant))
    reference: str | None = attrs.field(default=None, validator=field_check(optional(text(most=MAX_REFERENCE))))
    delivery_id: str | None = attrs.field(default=None, validator=field_check(optional(text(most=MAX_ID))))
    permanent: bool = attrs.field(default=False, validator=field_check(flag))
    address: str | None = attrs.field(default=None, validator=field_check(optional(text(most=MAX_ADDRESS))), repr=False)
    code: str | None = attrs.field(default=None, validator=field_check(optional(text(most=MAX_CODE))))


class ReceiptRecord(NamedTuple):
    """A receipt to be stored.

    Attributes:
        rank: Of several receipts of one delivery the one with the highest rank is shown first.
        confirms: Whether the message has arrived, so that a delivery that ended as ``uncertain`` is delivered.
    """

    receipt: ProviderReceipt
    rank: int
    confirms: bool


class ReceiptMatch(NamedTuple):
    """A receipt, and the delivery that it is about."""

    receipt: ProviderReceipt
    delivery: Delivery


def derived_id(*parts: object) -> str:
    """Return the id of a report that its provider gives none: the same for the same parts."""
    return sha256("\0".join(map(str, parts)).encode("utf-8", "replace")).hexdigest()[:40]


def with_receipts(attempts: Sequence[Attempt], receipts: Iterable[ProviderReceipt]) -> list[Attempt]:
    """Return attempts with their receipts, in the order of time.

    A receipt belongs to the attempt with its reference, or else to the last one: the answer that had the reference
    may have been lost.
    """
    found: list[list[ProviderReceipt]] = [[] for _ in attempts]
    places = {attempt.reference: at for at, attempt in enumerate(attempts)}
    for receipt in sorted(receipts, key=lambda each: (each.at, each.id)):
        if attempts:
            found[-1 if receipt.reference is None else places.get(receipt.reference, -1)].append(receipt)
    return [
        attempt._replace(receipts=tuple(its)) if its else attempt for attempt, its in zip(attempts, found, strict=True)
    ]
