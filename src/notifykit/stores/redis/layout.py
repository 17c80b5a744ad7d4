"""Values to what scripts take, and back: the only module that knows how a value is laid out in Redis.

Scripts get JSON, in which ``false`` stands for a value that is absent.  An event is a line of JSON and then its body,
as it was published.  An attempt is a line of JSON.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import attrs

from ...codec import dumps, loads
from ...errors import ValueRefusedError
from ...models.delivery import NO_DETAILS, Attempt, Claim, Delivery, DigestEntry, EventDetails, Lane, NewDelivery
from ...models.event import StoredEvent, TakenEvent
from ...models.receipt import ProviderReceipt, ReceiptRecord
from ...models.unreadable import UnreadableEvent, unreadable_body
from ...policies.digest import DIGEST
from ...ports import DeliveryFilter, Record, Settlement
from ..encoding import readable
from ..encoding.readable import DAMAGED, UNREADABLE
from ..encoding.rows import (
    EPOCH,
    EVENT_COLUMNS,
    PRIORITIES,
    RANK,
    attempt_values,
    event_values,
    instant,
    instant_or_none,
    micros,
    micros_or_none,
)

_BODY: Final = EVENT_COLUMNS.index("body")
_FINGERPRINT: Final = EVENT_COLUMNS.index("fingerprint")
_LINE_COLUMNS: Final = (*EVENT_COLUMNS[:_BODY], *EVENT_COLUMNS[_BODY + 1 :])
_ATTEMPT_COLUMNS: Final = (
    "number", "started_at", "took", "outcome", "reason", "status", "retry_at", "response", "worker", "reference",
    "account", "cost",
)  # fmt: skip
#: Where the response stands in the line of an attempt.
RESPONSE: Final = _ATTEMPT_COLUMNS.index("response")
#: The columns of a delivery's row, in the order of ``scripts/shared/deliveries.lua``, behind its id.
_ROW_COLUMNS: Final = (
    "id", "state", "due_at", "fence", "tries", "attempts", "abandoned", "generation", "reason", "worker", "claimed_at",
    "lease_until", "finished_at", "tenant", "subscriber_id", "channel", "priority", "ordering_key", "event_id",
    "event_type", "created_at", "expires_at", "subscription_id", "address", "digest",
    "receipt",
)  # fmt: skip


def json(value: Any) -> bytes:
    """Return a script's argument.

    Raises:
        ValueRefusedError: Something in it is no JSON, such as half of a surrogate pair.
    """
    try:
        return dumps(value, is_finite=True)
    except (TypeError, ValueError) as error:
        raise ValueRefusedError(f"the store takes no such value ({type(error).__name__})") from error


def or_false(value: Any) -> Any:
    """Return a value, or what stands for its absence."""
    return False if value is None else value


def lane_name(lane: Lane) -> str:
    """Return what scripts call a lane."""
    return f"{RANK[lane.priority]}{lane.channel}"


def lane_from(name: str) -> Lane:
    """Return the lane that scripts call so."""
    return Lane(name[1:], PRIORITIES[int(name[0])])


# ── events ─────────────────────────────────────────────────────────────────────────────────────


def event_text(event: StoredEvent) -> bytes:
    """Return an event as it is kept."""
    values = list(event_values(event))
    del values[_BODY]
    if event.fingerprint is not None:
        values[_FINGERPRINT] = event.fingerprint.hex()
    return json(values) + b"\n" + event.body


def event_meta(event: StoredEvent) -> list[Any]:
    """Return what the scripts themselves know of an event."""
    return [
        event.id,
        event.tenant,
        RANK[event.priority],
        or_false(event.ordering_key),
        micros(event.due_at),
        or_false(event.idempotency_key),
        False if event.fingerprint is None else event.fingerprint.hex(),
        event.type,
        micros(event.published_at),
    ]


def _split(text: bytes) -> tuple[list[Any], bytes]:
    line, _, body = text.partition(b"\n")
    return loads(line), body


def event_row(text: bytes) -> dict[str, Any]:
    """Return the columns of an event."""
    values, body = _split(text)
    row = dict(zip(_LINE_COLUMNS, values, strict=True), body=body)
    if row["fingerprint"] is not None:
        row["fingerprint"] = bytes.fromhex(row["fingerprint"])
    return row


def event_text_of(row: Mapping[str, Any]) -> bytes:
    """Return an event as it is kept, from its columns."""
    fingerprint = row["fingerprint"]
    line = {**row, "fingerprint": None if fingerprint is None else fingerprint.hex()}
    return json([line[name] for name in _LINE_COLUMNS]) + b"\n" + bytes(row["body"])


def event_from(id_: str, tenant: str, text: bytes) -> StoredEvent:
    """Return an event as it was kept, or its stand-in."""
    try:
        row = event_row(text)
    except DAMAGED as error:
        readable.log_damage("event", {"id": id_, "tenant": tenant}, error)
        absent: dict[str, Any] = dict.fromkeys(EVENT_COLUMNS)
        absent |= {"id": id_, "tenant": tenant, "type": "", "version": 0, "priority": PRIORITIES[1]}
        absent |= {"occurred_at": EPOCH, "published_at": EPOCH, "due_at": EPOCH, "body": unreadable_body(UNREADABLE)}
        return UnreadableEvent(**absent)
    return readable.event_from(row)


def _details(values: Sequence[Any]) -> EventDetails:
    _, _, _, _, topic, kind, id_, actor, *_, trace, metadata, category, purpose, _ = values
    details = EventDetails(kind, id_, actor, metadata, category, purpose, topic, trace)
    return NO_DETAILS if details == NO_DETAILS else details


def taken_from(answer: Sequence[Any]) -> TakenEvent:
    """Return a taken event."""
    fence, cursor, version, text = answer
    values, body = _split(text)
    return TakenEvent(
        values[0],
        fence,
        values[1],
        values[2],
        values[4],
        PRIORITIES[values[12]],
        values[13],
        instant(values[9]),
        instant_or_none(values[11]),
        body,
        None if cursor is None else cursor.decode(),
        int(version),
        _details(values),
        values[20],
    )


def each(read: Callable[[Any], Any], answers: Iterable[Any], kind: str) -> list[Any]:
    """Return what is read of answers; those that cannot be read are left out and logged."""
    found = []
    for answer in answers:
        try:
            found.append(read(answer))
        except DAMAGED as error:
            readable.log_damage(kind, {"id": "unknown", "tenant": ""}, error)
    return found


# ── deliveries ─────────────────────────────────────────────────────────────────────────────────


def _digest(entry: DigestEntry | None) -> Any:
    if entry is None:
        return False
    return [
        entry.delivery_id,
        entry.key,
        entry.name,
        micros(entry.closes_at),
        micros(entry.closes_by),
        entry.sends_first,
        or_false(micros_or_none(entry.quiet_since)),
        entry.max_items,
        DIGEST,
    ]


def _planned(new: NewDelivery) -> list[Any]:
    return [
        new.id,
        new.tenant,
        new.subscription_id,
        new.subscriber_id,
        new.channel,
        RANK[new.priority],
        new.state,
        or_false(new.reason),
        micros(new.due_at),
        False if new.expires_at is None else str(micros(new.expires_at)),  # it may be too large for a number in Lua
        or_false(new.ordering_key),
        or_false(new.address),
        _digest(new.digest),
    ]


def attempt_line(attempt: Attempt) -> str:
    """Return an attempt as it is kept."""
    values = list(attempt_values(attempt))
    response = values[7]
    values[7] = None if response is None else response.decode("latin-1")
    return json(values).decode()


def attempt_from(delivery_id: str, line: bytes) -> Attempt:
    """Return an attempt as it was kept, or its stand-in."""
    row: dict[str, Any] = dict.fromkeys(_ATTEMPT_COLUMNS)
    try:
        row |= dict(zip(_ATTEMPT_COLUMNS, loads(line), strict=True))
        row["response"] = (row["response"] or "").encode("latin-1")
    except DAMAGED:
        row["response"] = None
    return readable.attempt_from({"delivery_id": delivery_id, **row})


def receipt_meta(record: ReceiptRecord) -> list[Any]:
    """Return what the scripts themselves know of a receipt."""
    receipt = record.receipt
    return [
        receipt.provider,
        receipt.id,
        or_false(receipt.delivery_id),
        or_false(receipt.reference),
        receipt.kind,
        record.rank,
        record.confirms,
    ]


def receipt_line(receipt: ProviderReceipt) -> bytes:
    """Return a receipt as it is kept."""
    return json(attrs.asdict(receipt) | {"at": micros(receipt.at)})


def receipt_from(line: bytes, delivery_id: str | None = None) -> ProviderReceipt:
    """Return a receipt as it was kept; of the delivery that it is about, if that is known."""
    values = loads(line)
    known = {"at": instant(values["at"]), "delivery_id": delivery_id or values["delivery_id"]}
    return ProviderReceipt(**{**values, **known})


class Brought:
    """The events that records bring: arguments of the script behind the others.

    Args:
        first: The number of the first of these arguments.
    """

    def __init__(self, first: int) -> None:
        self._first = first
        self.texts: list[bytes] = []

    def add(self, event: StoredEvent | None) -> Any:
        """Return what a record says of the event that it brings."""
        if event is None:
            return False
        self.texts.append(event_text(event))
        return [event_meta(event), self._first + len(self.texts) - 1]


def record_values(record: Record, brought: Brought) -> list[Any]:
    """Return a record as scripts take it."""
    attempt = record.attempt
    return [
        record.delivery_id,
        record.fence,
        record.state,
        or_false(record.reason),
        or_false(micros_or_none(record.due_at)),
        micros(record.at),
        0 if attempt is None else attempt.number,
        False if attempt is None else attempt_line(attempt),
        brought.add(record.event),
        _digest(record.digest),
        False if attempt is None else or_false(attempt.reference),
    ]


def settlement_values(settlement: Settlement, brought: Brought) -> list[Any]:
    """Return a settlement as scripts take it."""
    event_id, fence, deliveries, cursor, records = settlement
    return [
        event_id,
        fence,
        or_false(cursor),
        list(map(_planned, deliveries)),
        [record_values(record, brought) for record in records],
    ]


def claim_from(answer: Sequence[Any], lane: Lane, until: datetime, events: Sequence[tuple[list[Any], bytes]]) -> Claim:
    """Return a claim; its event is one of ``events``."""
    (
        id_, fence, attempts, tries, abandoned, tenant, event_id, subscription_id, subscriber_id, ordering_key,
        expires_at, address, digest, version, place,
    ) = answer  # fmt: skip
    values, body = events[place - 1]
    return Claim(
        id_.decode(),
        fence,
        attempts + 1,
        tries,
        abandoned,
        tenant.decode(),
        event_id.decode(),
        values[2],
        subscription_id.decode(),
        subscriber_id.decode(),
        lane.channel,
        lane.priority,
        text_or_none(ordering_key),
        instant(values[9]),
        None if expires_at is None else instant(int(expires_at)),
        until,
        body,
        int(version),
        text_or_none(address),
        _details(values),
        text_or_none(digest),
    )


def claims_from(answer: Sequence[Any], lane: Lane, until: datetime) -> list[Claim]:
    """Return the claims that a script made; those whose event cannot be read are left out."""
    claims, texts = answer
    events: list[Any] = [None] * len(texts)
    for place, text in enumerate(texts):
        try:
            events[place] = _split(text)
        except DAMAGED as error:
            readable.log_damage("event", {"id": "unknown", "tenant": ""}, error)
    return each(lambda claim: claim_from(claim, lane, until, events), claims, "delivery")


def delivery_from(answer: Sequence[Any]) -> Delivery:
    """Return the delivery of a row."""
    row: dict[str, Any] = {
        name: value.decode() if isinstance(value, bytes) else value
        for name, value in zip(_ROW_COLUMNS, answer, strict=True)
    }
    if row["expires_at"] is not None:
        row["expires_at"] = int(row["expires_at"])
    return readable.delivery_from(row)


def text_or_none(value: bytes | None) -> str | None:
    """Return a text of an answer, if it is there."""
    return None if value is None else value.decode()


def filter_values(tenant: str, wanted: DeliveryFilter, states: Iterable[str] | None) -> bytes:
    """Return a filter as scripts take it; absent conditions are left out."""
    given = {
        "tenant": tenant,
        "ids": None if wanted.ids is None else sorted(wanted.ids),
        "states": None if states is None else sorted(states),
        "subscriber": wanted.subscriber_id,
        "event": wanted.event_id,
        "type": wanted.event_type,
        "since": micros_or_none(wanted.since),
        "until": micros_or_none(wanted.until),
    }
    return json({name: value for name, value in given.items() if value is not None})
