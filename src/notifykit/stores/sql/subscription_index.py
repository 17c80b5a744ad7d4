"""Which subscriptions may match an event, found by the database: for tenants with too many of them to hold in memory.

A row of ``subscription_index`` holds one match key of a subscription (see
:mod:`notifykit.policies.match_keys`).  It is written with the subscription, under the lock
on the tenant's version, so that the two never differ.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, and_, bindparam, delete, exists, select

from ...models.subscription import Match, MatchQuery, Subscription
from ...policies.match_keys import keys_for, keys_of
from ..encoding.readable import endpoint_state
from ..encoding.records import FORMS
from . import schema as s
from .fetching import fetch
from .writing import insert_new_rows

Row = dict[str, str]


def index_rows_of(subscription: Subscription) -> list[Row]:
    """Return the rows of a subscription."""
    return [
        {
            "tenant": subscription.tenant,
            "types": key.types,
            "topics": key.topics,
            "subscription_id": subscription.id,
        }
        for key in keys_of(subscription)
    ]


_one = s.subscription_index.c
_REMOVE = delete(s.subscription_index).where(
    _one.tenant == bindparam("its_tenant"),
    _one.types == bindparam("its_types"),
    _one.topics == bindparam("its_topics"),
    _one.subscription_id == bindparam("its_subscription_id"),
)


def replace(connection: Connection, old: Iterable[Subscription], new: Iterable[Subscription]) -> None:
    """Remove the rows of subscriptions as they were and write those as they are now; the tenant must be locked."""
    after = [row for subscription in new for row in index_rows_of(subscription)]
    before = (row for subscription in old for row in index_rows_of(subscription))
    if gone := [{f"its_{name}": value for name, value in row.items()} for row in before if row not in after]:
        connection.execute(_REMOVE, gone)
    if after:
        insert_new_rows(connection, s.subscription_index, after)


def matches(connection: Connection, tenant: str, query: MatchQuery, limit: int) -> list[Match]:
    """Return the next matches of one query: first the ids of each match key, then the rows of the first of these."""
    looks = ({"types": key.types, "topics": key.topics} for key in keys_for(query))
    given = {"tenant": tenant, "after": query.after, "limit": limit}
    ids = {id_ for look in looks for id_ in connection.scalars(_LOOK, {**given, **look})}
    if not ids:
        return []
    found = []
    first = sorted(ids)[:limit]
    for at in range(0, len(first), _AT_ONCE):
        chosen = s.subscriptions.c.id.in_(first[at : at + _AT_ONCE])
        rows = _ROWS.where(s.subscriptions.c.tenant == tenant, chosen).order_by(s.subscriptions.c.id)
        found += [match_from(row) for row in fetch(connection, rows)]
    return found


#: Rows that are looked up at a time.
_AT_ONCE = 500

_LOOK = (
    select(_one.subscription_id)
    .where(
        _one.tenant == bindparam("tenant"),
        _one.types == bindparam("types"),
        _one.topics == bindparam("topics"),
        _one.subscription_id > bindparam("after"),
        # A row that outlived its subscription (removed by hand, or by an older process) must not make a page short.
        exists().where(s.subscriptions.c.tenant == _one.tenant, s.subscriptions.c.id == _one.subscription_id),
    )
    .order_by(_one.subscription_id)
    .limit(bindparam("limit"))
)
_ROWS = select(s.subscriptions, s.endpoints.c.state.label("endpoint_state")).join_from(
    s.subscriptions,
    s.endpoints,
    and_(s.endpoints.c.tenant == s.subscriptions.c.tenant, s.endpoints.c.id == s.subscriptions.c.subscriber_id),
    isouter=True,
)


def match_from(row: Any) -> Match:
    """Return the match of a row of ``subscriptions`` with the state of its endpoint."""
    state = row["endpoint_state"]
    return Match(FORMS[Subscription].read(row), None if state is None else endpoint_state(state))
