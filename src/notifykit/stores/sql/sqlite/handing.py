"""What is due is handed over to a relay for a while, in a transaction that the caller owns."""

from __future__ import annotations

import sqlite3
from collections import Counter
from typing import Any

from ....models.delivery import Lane
from ....ports import Outstanding, Ticket
from .verbs import DEFER, DUE, NOTHING, hand_out, json_list

_HELD = """
SELECT tenant, subscriber_id FROM notifykit_queue
WHERE channel = :channel AND priority = :rank AND handed IS NOT NULL AND due_at > :now LIMIT :most
"""
_FOUND = """
SELECT q.id, q.tenant, q.subscriber_id FROM json_each(?) c JOIN notifykit_queue q ON q.id = c.value
ORDER BY q.due_at, q.id
"""
_HOLD = """
UPDATE notifykit_queue SET handed = coalesce(handed, due_at), due_at = ?
WHERE id IN (SELECT value FROM json_each(?))
"""


def hand_off(
    db: sqlite3.Connection,
    lane: Lane,
    limit: int,
    binds: dict[str, Any],
    until: int,
    most: Outstanding,
    exclude: set[str],
    exclude_tenants: set[str],
) -> list[Ticket]:
    """Hand over what is due in a lane, as far as not too much is out already."""
    held = db.execute(_HELD, {**binds, "most": most.lane}).fetchall()
    limit = min(limit, most.lane - len(held))
    if limit <= 0:
        return []
    tenants, subscribers = Counter(tenant for tenant, _ in held), Counter(subscriber for _, subscriber in held)
    exclude = exclude | {name for name, count in subscribers.items() if count >= most.subscriber}
    exclude_tenants = exclude_tenants | {name for name, count in tenants.items() if count >= most.tenant}
    binds = {**binds, "exclude": json_list(exclude), "exclude_tenants": json_list(exclude_tenants), "only": None}
    ids = hand_out(db, limit, DUE, DEFER, "SELECT :ids", binds)
    if ids == NOTHING:
        return []
    tickets = []
    for id_, tenant, subscriber in db.execute(_FOUND, (ids,)).fetchall():
        if tenants[tenant] < most.tenant and subscribers[subscriber] < most.subscriber:
            tenants[tenant] += 1
            subscribers[subscriber] += 1
            tickets.append(Ticket(id_, lane, tenant, subscriber))
    db.execute(_HOLD, (until, json_list([ticket.delivery_id for ticket in tickets])))
    return tickets
