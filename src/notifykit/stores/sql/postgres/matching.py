"""Matching on PostgreSQL: one statement for many queries (see :mod:`..subscription_index`)."""

from __future__ import annotations

from collections.abc import Sequence

from ....models.subscription import MatchQuery
from ....policies.match_keys import MatchKey, keys_for
from .. import schema as s

MATCH = f"""
WITH keys AS MATERIALIZED (
  SELECT * FROM unnest($2::int[], $3::text[], $4::text[], $5::text[]) AS k(query, types, topics, after)
), found AS (
  SELECT DISTINCT k.query, i.subscription_id FROM keys k CROSS JOIN LATERAL (
    SELECT subscription_id FROM notifykit_subscription_index n
    WHERE n.tenant = $1 AND n.types = k.types AND n.topics = k.topics AND n.subscription_id > k.after
      -- a row that outlived its subscription (removed by hand, or by an older process) must not make a page short
      AND EXISTS (SELECT 1 FROM notifykit_subscriptions x WHERE x.tenant = n.tenant AND x.id = n.subscription_id)
    ORDER BY n.subscription_id LIMIT $6
  ) i
), page AS (
  SELECT query, subscription_id, row_number() OVER (PARTITION BY query ORDER BY subscription_id) AS position FROM found
)
SELECT p.query, {", ".join(f"u.{column.name}" for column in s.subscriptions.c)}, e.state AS endpoint_state
FROM page p JOIN notifykit_subscriptions u ON u.tenant = $1 AND u.id = p.subscription_id
LEFT JOIN notifykit_endpoints e ON e.tenant = u.tenant AND e.id = u.subscriber_id
WHERE p.position <= $6 ORDER BY p.query, p.subscription_id
"""


def key_columns(queries: Sequence[MatchQuery]) -> tuple[list[int], list[str], list[str], list[str]]:
    """Return the arrays of :data:`MATCH`: the query's number, types, topics, and the id to continue after."""
    rows: list[tuple[int, MatchKey, str]] = [
        (number, key, query.after) for number, query in enumerate(queries) for key in keys_for(query)
    ]
    return (
        [number for number, _, _ in rows],
        [key.types for _, key, _ in rows],
        [key.topics for _, key, _ in rows],
        [after for _, _, after in rows],
    )
