"""Receipts of providers, written once for every database.

Each function works on a SQLAlchemy connection inside a transaction that its caller owns.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Column, Connection, Select, and_, case, delete, select, union, update

from ...models.delivery import Delivery, DeliveryState
from ...models.receipt import FIRST_LOOK, UNCERTAIN, WAITS, ProviderReceipt, ReceiptKind, ReceiptMatch, ReceiptRecord
from ..encoding.readable import delivery_from
from ..encoding.readable import each as decoded
from ..encoding.rows import MICRO, Row, instant, micros
from . import schema as s
from .fetching import fetch
from .reading import ended_rows, open_rows
from .writing import upsert

#: Receipts that one statement is about.
_PAGE = 500
_its = s.receipts.c


def record(connection: Connection, records: Sequence[ReceiptRecord], now: datetime) -> list[ReceiptMatch]:
    """Store receipts; return those whose delivery is known."""
    matches: list[ReceiptMatch] = []
    for at in range(0, len(records), _PAGE):
        page = records[at : at + _PAGE]
        found = _matches(connection, [each.receipt for each in page])
        deliveries = {_key(match.receipt): match.delivery for match in found}
        rows = {_key(each.receipt): _values(each, deliveries.get(_key(each.receipt)), now) for each in page}
        # In one order, so that two processes that store the same receipts never wait for each other.
        upsert(connection, s.receipts, [rows[key] for key in sorted(rows)], _owner)
        _confirm(connection, [deliveries.get(_key(each.receipt)) for each in page if each.confirms])
        matches += found
    return matches


def _owner(new: Any) -> dict[str, Any]:
    """Return what changes of a receipt that is there: whose it is, if that was not known before."""
    found = and_(_its.look_at.is_not(None), new.look_at.is_(None))
    return {name: case((found, new[name]), else_=_its[name]) for name in ("tenant", "delivery_id", "look_at")}


def _key(receipt: ProviderReceipt) -> tuple[str, str]:
    return receipt.provider, receipt.id


def _values(record: ReceiptRecord, delivery: Delivery | None, now: datetime) -> dict[str, Any]:
    receipt = record.receipt
    return {
        "provider": receipt.provider,
        "id": receipt.id,
        "tenant": None if delivery is None else delivery.tenant,
        "delivery_id": receipt.delivery_id if delivery is None else delivery.id,
        "reference": receipt.reference,
        "kind": receipt.kind.value,
        "rank": record.rank,
        "permanent": receipt.permanent,
        "at": micros(receipt.at),
        "address": receipt.address,
        "code": receipt.code,
        "received_at": micros(now),
        "look_at": micros(now + FIRST_LOOK) if delivery is None else None,
    }


def _confirm(connection: Connection, deliveries: Iterable[Delivery | None]) -> None:
    """Let deliveries that ended as uncertain be delivered."""
    ids = [each.id for each in deliveries if each and (each.state, each.reason) == (DeliveryState.DEAD, UNCERTAIN)]
    if ids:
        its = s.deliveries.c
        uncertain = and_(its.id.in_(ids), its.address.is_not(None), its.state == "dead", its.reason == UNCERTAIN)
        connection.execute(update(s.deliveries).where(uncertain).values(state="delivered", reason=None))


def _matches(connection: Connection, receipts: Sequence[ProviderReceipt]) -> list[ReceiptMatch]:
    """Return those receipts for which there is a delivery."""
    named = {each.delivery_id for each in receipts if each.delivery_id is not None}
    references = sorted({each.reference for each in receipts if each.reference is not None})
    attempts, ended = s.attempts.c, s.deliveries.c
    owners = connection.execute(
        union(
            _owners(attempts.reference, attempts.delivery_id, references),
            _owners(ended.last_reference, ended.id, references),
        )
    )
    of: dict[str, str] = {row.reference: row.delivery_id for row in owners}
    found = _by_ids(connection, sorted({*named, *of.values()}))
    pairs = (
        (each, found.get(each.delivery_id or "") or found.get(of.get(each.reference or "", ""))) for each in receipts
    )
    return [ReceiptMatch(receipt, delivery) for receipt, delivery in pairs if delivery is not None]


def _owners(reference: Column[Any], delivery_id: Column[Any], references: Sequence[str]) -> Select[Any]:
    # The index has only rows with a reference, and a database may not see that others cannot be meant.
    its = and_(reference.in_(references), reference.is_not(None))
    return select(reference.label("reference"), delivery_id.label("delivery_id")).where(its)


def _by_ids(connection: Connection, ids: Collection[str]) -> dict[str, Delivery]:
    ended = and_(s.deliveries.c.id.in_(ids), s.deliveries.c.address.is_not(None))
    rows = [*fetch(connection, open_rows().where(s.queue.c.id.in_(ids))), *fetch(connection, ended_rows().where(ended))]
    return {row["id"]: delivery_from(row) for row in rows}


def waiting(connection: Connection, now: datetime) -> bool:
    """Return whether a receipt that waits is to be looked at."""
    return connection.execute(select(_its.id).where(_its.look_at <= micros(now)).limit(1)).first() is not None


def look(connection: Connection, now: datetime) -> list[ReceiptMatch]:
    """Return receipts that have waited and whose delivery is known now; delete those that have waited too long."""
    due = select(s.receipts).where(_its.look_at <= micros(now)).order_by(_its.look_at).limit(_PAGE)
    rows = fetch(connection, due.with_for_update(skip_locked=True))
    if not rows:
        return []
    earliest = micros(now - WAITS)
    waited, first = micros(now) - _its.received_at, FIRST_LOOK // MICRO
    later = micros(now) + case((waited > first, waited), else_=first)
    for provider in {row["provider"] for row in rows}:  # by pairs databases read the whole table
        these = and_(_its.provider == provider, _its.id.in_([row["id"] for row in rows if row["provider"] == provider]))
        connection.execute(delete(s.receipts).where(these, _its.received_at < earliest))
        connection.execute(update(s.receipts).where(these).values(look_at=later))
    rows = [row for row in rows if row["received_at"] >= earliest]
    return _matches(connection, decoded(_receipt_from, rows, "receipt"))


def of_delivery(connection: Connection, tenant: str, delivery_id: str) -> list[ProviderReceipt]:
    """Return the receipts of a delivery."""
    its = select(s.receipts).where(_its.tenant == tenant, _its.delivery_id == delivery_id)
    return decoded(_receipt_from, fetch(connection, its), "receipt")


def _receipt_from(row: Row) -> ProviderReceipt:
    return ProviderReceipt(
        provider=row["provider"],
        id=row["id"],
        kind=ReceiptKind(row["kind"]),
        at=instant(row["at"]),
        reference=row["reference"],
        delivery_id=row["delivery_id"],
        permanent=bool(row["permanent"]),
        address=row["address"],
        code=row["code"],
    )
