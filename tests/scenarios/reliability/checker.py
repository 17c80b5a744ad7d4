"""Decides from the logs of publishers and receivers and from the database what was lost, repeated or invented.

It does not use notifykit: the logs were written by the processes, and the database is read
with SQL of its own.  The invariants:

I1   every acknowledged event has a delivery to each endpoint it was published for, and it ended as expected;
I2   ``delivered`` means that the receiver answered that id at that endpoint with 2xx;
I3   the attempts of a delivery are numbered 1 to n, and the delivery counts n;
I4   no result of an earlier claim survives: the final state is that of the last attempt;
I5   the receiver saw a delivery again only as often as a claim on it was lost;
I6   every repeat has the same bytes and a valid signature;
I8   an endpoint sees only its own tenant's events;
I9   an event has one delivery per endpoint, and nothing of it is left over;
I11  nothing is left open once the fault is over;
K    one idempotency key is one event, from every caller.
"""

from __future__ import annotations

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import attrs
import psycopg

from .roles.orders import lines

#: How many problems of one kind are listed.
_LISTED = 5
_LOST_CLAIMS = {"abandoned", "uncertain"}


class DeliveryRow(NamedTuple):
    """An ended delivery."""

    id: str
    event_id: str
    tenant: str
    endpoint: str
    state: str
    reason: str | None
    attempts: int
    generation: int


class AttemptRow(NamedTuple):
    """One attempt."""

    delivery_id: str
    number: int
    outcome: str
    worker: str | None


@attrs.frozen(kw_only=True)
class Findings:
    """The result of a run.

    Attributes:
        accepted: Events whose publishing was acknowledged.
        lost: Acknowledged events (times endpoints) that never arrived although they were not given up.
        false_success: Deliveries that are ``delivered`` but were not.
        duplicates: Requests that were answered with 2xx beyond the first of their delivery.
        abandoned: Attempts whose claim ran out.
        problems: Every broken promise, each beginning with its invariant.
    """

    accepted: int
    deliveries: int
    lost: int
    false_success: int
    duplicates: int
    abandoned: int
    problems: Sequence[str]

    @property
    def broken(self) -> set[str]:
        """The names of the invariants that do not hold."""
        return {problem.split(" ", 1)[0] for problem in self.problems}


class Database:
    """A notifykit database, read with plain SQL; for one thread at a time."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: Any = None

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query.

        Raises:
            psycopg.OperationalError: The server is down.
        """
        if self._connection is None:
            self._connection = self._connect()
        try:
            found: list[tuple[Any, ...]] = self._connection.execute(query).fetchall()
        except psycopg.OperationalError:
            self.close()
            raise
        return found

    def execute(self, statement: str) -> None:
        """Run a statement that returns nothing."""
        with closing(self._connect()) as connection:
            connection.execute(statement)

    def _connect(self) -> Any:
        if self._url.startswith("sqlite"):
            file = self._url.removeprefix("sqlite:///")
            return sqlite3.connect(file, timeout=30, isolation_level=None, check_same_thread=False)
        return psycopg.connect(self._url, autocommit=True)

    def close(self) -> None:
        """Disconnect."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def open_work(self) -> tuple[int, int]:
        """Return how many events wait to be planned and how many deliveries are open."""
        ((outbox, queue),) = self.rows(
            "SELECT (SELECT count(*) FROM notifykit_outbox), (SELECT count(*) FROM notifykit_queue)"
        )
        return outbox, queue

    def ended(self) -> list[DeliveryRow]:
        """Return all ended deliveries."""
        found = self.rows(
            "SELECT id, event_id, tenant, subscriber_id, state, reason, attempts, generation FROM notifykit_deliveries"
        )
        return [DeliveryRow(*row) for row in found]

    def attempts(self) -> dict[str, list[AttemptRow]]:
        """Return all attempts by delivery, in order."""
        by_delivery: dict[str, list[AttemptRow]] = defaultdict(list)
        query = (
            "SELECT delivery_id, number, outcome, worker FROM notifykit_attempts"
            " UNION ALL SELECT id, attempts, last_outcome, last_worker FROM notifykit_deliveries"
            " WHERE last_outcome IS NOT NULL ORDER BY 1, 2"
        )
        for row in self.rows(query):
            by_delivery[row[0]].append(AttemptRow(*row))
        return by_delivery


class Checker:
    """Compares what was acknowledged, what was received and what the database says.

    Args:
        database: Where it all was stored.
        acknowledgements: The logs of the publishers.
        receipts: The log of the receiver.
        tags: What each endpoint is called in the receiver's log, and its tenant.
        expected: The state in which deliveries have to end.
        hidden: How many repeats there may be without a recorded attempt: an attempt goes on over a new
            connection if the one that it was given is closed before the first byte of an answer.
    """

    def __init__(
        self,
        database: Database,
        acknowledgements: Iterable[Path],
        receipts: Path,
        tags: dict[str, tuple[str, str]],
        expected: Iterable[str] = ("delivered",),
        hidden: int = 0,
    ) -> None:
        self._database = database
        self._acks = [line for path in acknowledgements for line in lines(path) if "id" in line]
        self._tags = tags
        self._expected = set(expected)
        self._hidden = hidden
        ours = {tag for tag, _ in tags.values()}
        self._receipts: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
        for line in lines(receipts):
            if line["tag"] in ours:
                self._receipts[line["tag"], line["id"]].append(line)
        self._problems: list[str] = []
        self._counts: Counter[str] = Counter()

    def findings(self) -> Findings:
        """Go through every invariant."""
        self._rows = self._database.ended()
        self._ended = {(row.event_id, row.endpoint): row for row in self._rows}
        self._attempts = self._database.attempts()
        self._everything_arrived()
        self._nothing_is_left()
        self._one_event_per_key()
        duplicates = abandoned = 0
        for row in self._rows:
            tried = self._attempts.get(row.id, [])
            abandoned += sum(attempt.outcome == "abandoned" for attempt in tried)
            self._attempts_add_up(row, tried)
            duplicates += self._seen_as_often_as_allowed(row, tried)
        self._nothing_was_changed_on_the_way()
        return Findings(
            accepted=len({ack["id"] for ack in self._acks}),
            deliveries=len(self._ended),
            lost=self._counts["lost"],
            false_success=self._counts["false"],
            duplicates=duplicates,
            abandoned=abandoned,
            problems=tuple(self._problems),
        )

    def _report(self, invariant: str, what: str) -> None:
        self._counts[invariant] += 1
        if self._counts[invariant] <= _LISTED:
            self._problems.append(f"{invariant} {what}")

    def _everything_arrived(self) -> None:
        for ack in self._acks:
            for endpoint in ack["endpoints"]:
                row = self._ended.get((ack["id"], endpoint))
                if row is None:
                    self._counts["lost"] += 1
                    self._report("I1", f"{ack['id']} to {endpoint}: no ended delivery")
                elif row.state not in self._expected:
                    self._counts["lost"] += 1
                    self._report("I1", f"{row.id} is {row.state} ({row.reason})")

    def _nothing_is_left(self) -> None:
        outbox, queue = self._database.open_work()
        if outbox or queue:
            self._report("I11", f"{outbox} events and {queue} deliveries are still open")
        deliveries = Counter(row.event_id for row in self._rows)
        endpoints = Counter(tenant for _, tenant in self._tags.values())
        for event_id, tenant in self._database.rows("SELECT id, tenant FROM notifykit_events WHERE type LIKE 'test.%'"):
            if (found := deliveries[event_id]) != endpoints[tenant]:
                self._report("I9", f"{event_id} has {found} ended deliveries for {endpoints[tenant]} endpoints")

    def _one_event_per_key(self) -> None:
        for tenant, key, count in self._database.rows(
            "SELECT tenant, idempotency_key, count(*) FROM notifykit_events WHERE idempotency_key IS NOT NULL "
            "GROUP BY tenant, idempotency_key HAVING count(*) > 1"
        ):
            self._report("K", f"{tenant}/{key} is {count} events")
        ids: dict[tuple[str, str], set[str]] = defaultdict(set)
        for ack in self._acks:
            ids[ack["tenant"], ack["key"]].add(ack["id"])
        for (tenant, key), found in ids.items():
            if len(found) > 1:
                self._report("K", f"{tenant}/{key} was acknowledged as {sorted(found)}")
        published: dict[tuple[str, Any, Any], set[str]] = defaultdict(set)
        for (tag, id_), seen in self._receipts.items():
            published[tag, *seen[0]["n"]].add(id_)
        for (tag, prefix, n), found in published.items():
            if len(found) > 1:
                self._report("K", f"{prefix}-{n} came to {tag} as {sorted(found)}")
        stored = {row[0] for row in self._database.rows("SELECT id FROM notifykit_events")}
        for ack in self._acks:
            if ack["id"] not in stored:
                self._report("I1", f"{ack['id']} was acknowledged but is not stored")

    def _attempts_add_up(self, row: DeliveryRow, tried: Sequence[AttemptRow]) -> None:
        numbers = [attempt.number for attempt in tried]
        if numbers != list(range(1, row.attempts + 1)):
            self._report("I3", f"{row.id} counts {row.attempts} attempts, has {numbers}")
        outcomes = [attempt.outcome for attempt in tried]
        accepted = outcomes.count("accepted")
        if row.state == "delivered":
            if outcomes[-1:] != ["accepted"] or accepted > 1 + row.generation:
                self._report("I4", f"{row.id} is delivered after {outcomes}")
        elif accepted > row.generation:
            self._report("I4", f"{row.id} is {row.state} after {outcomes}")

    def _seen_as_often_as_allowed(self, row: DeliveryRow, tried: Sequence[AttemptRow]) -> int:
        tag, _ = self._tags.get(row.endpoint, ("", ""))
        good = [line for line in self._receipts.get((tag, row.event_id), []) if 200 <= line["status"] < 300]
        if row.state == "delivered" and not good:
            self._counts["false"] += 1
            self._report("I2", f"{row.id} is delivered, but {tag} never took it")
        lost_claims = sum(attempt.outcome in _LOST_CLAIMS for attempt in tried)
        repeats = max(len(good) - 1 - row.generation, 0)
        self._hidden -= max(repeats - lost_claims, 0)
        if repeats > lost_claims and self._hidden < 0:
            self._report("I5", f"{row.id} was taken {len(good)} times with {lost_claims} lost claims")
        return repeats

    def _nothing_was_changed_on_the_way(self) -> None:
        tenants = dict(self._tags.values())
        for (tag, id_), seen in self._receipts.items():
            if len({line["sha"] for line in seen}) > 1:
                self._report("I6", f"{id_} came to {tag} with different bytes")
            if not all(line["valid"] for line in seen):
                self._report("I6", f"{id_} came to {tag} with a wrong signature")
            if any(line["tenant"] not in (None, tenants[tag]) for line in seen):
                self._report("I8", f"{id_} of {seen[0]['tenant']} came to {tag} of {tenants[tag]}")
