"""Every statement on a tenant's table has the tenant in its condition, outside the engine's own verbs.

All calls of the four facades run on both databases with every statement recorded where
it goes to the driver.  What the engine does for all tenants at once is listed by verb.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import AsyncIterator, Awaitable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event as sqlalchemy_event

from notifykit import DeliveryFilter, EgressRules, Event, InboxMark, Notifykit, NotifykitError, Resource
from notifykit.models.delivery import DeliveryState
from notifykit.models.inbox import InboxFilter
from notifykit.models.subscription import MatchQuery, Subscription
from notifykit.ports import EventFilter, Move, Store
from notifykit.signing import generate_secret
from notifykit.stores.sql.sqlite.store import SqliteStore
from notifykit.testing import START, FakeClock, make_inbox_item

from .test_tenants import ENGINE_VERBS, FACADES, IDS, OWNER, STRANGER, calls, provide
from .verbs import CallsById, verb_of

#: Tables with rows of tenants.  The outbox is the planner's, and only one verb of the facades reads it.
TABLES = (
    "events",
    "deliveries",
    "queue",
    "endpoints",
    "subscriptions",
    "tenants",
    "circuits",
    "buckets",
    "outbox",
    "subscription_index",
    "event_types",
    "recipients",
    "tenant_preferences",
    "inboxes",
    "inbox_items",
    "digests",
    "digest_items",
    "receipts",
)
#: Attempts have no tenant of their own: they are read by the id of a delivery that was found by its tenant, and
#: written and deleted beside one.
BY_DELIVERY = re.compile(
    r"FROM notifykit_attempts WHERE notifykit_attempts\.delivery_id = \S+(?: COLLATE \S+)? ORDER BY"
    r"|^INSERT INTO notifykit_attempts \(delivery_id, "
    r"|^DELETE FROM notifykit_attempts WHERE notifykit_attempts\.delivery_id IN \((?!SELECT)"
)

_REFERENCE = re.compile(
    rf"\b(?P<verb>FROM|JOIN|UPDATE|INTO|USING|,)\s+notifykit_(?P<table>{'|'.join(TABLES)})\b"
    r"(?:\s+(?:AS\s+)?(?!SET\b|WHERE\b|JOIN\b|INNER\b|LEFT\b|ON\b|INDEXED\b|USING\b|ORDER\b|RETURNING\b|GROUP\b)(?P<alias>[a-z_0-9]+))?",
    re.IGNORECASE,
)
_VALUE = r"(?:\?|:\w+|\$\d+(?:::\w+)?|%\(\w+\)s|%s|'[^']*')"


def problems(statement: str) -> list[str]:
    """Return the tenants' tables that a statement touches without a condition on the tenant."""
    text = " ".join(statement.replace("`", "").split())
    text = re.sub(r" RETURNING [\w., ]+$", "", text)  # those are rows that it has written
    if "notifykit_attempts" in text and not BY_DELIVERY.search(text):
        return ["attempts"]
    found = []
    tied = _tied(text)
    for reference in _REFERENCE.finditer(text):
        table, alias = reference["table"], reference["alias"]
        if reference["verb"].upper() == "INTO":
            columns = re.search(rf"INTO notifykit_{table}(?: AS \w+)? \(([^)]*)\)", text)
            if columns is None or "tenant" not in columns[1]:
                found.append(table)
        elif not tied & {alias or f"notifykit_{table}", "" if _is_alone(text) else "-"}:
            found.append(table)
    return found


def _is_alone(text: str) -> bool:
    """Whether there is one table only, so that a column needs no qualifier."""
    return len(_REFERENCE.findall(text)) == 1


def _tied(text: str) -> set[str]:
    """Return the tables (or aliases) whose tenant is compared with a value, directly or through another one."""
    tied = {name or "" for name in re.findall(rf"(?:\b([a-z_0-9]+)\.|(?<![.\w]))tenant (?:= |IN \(){_VALUE}", text)}
    tied |= {""} if re.search(r"\(tenant, id\) IN", text) else set()
    joins = re.findall(r"\b([a-z_0-9]+)\.tenant = ([a-z_0-9]+)\.tenant\b", text)
    for _ in joins:
        for left, right in joins:
            if left in tied or right in tied:
                tied |= {left, right}
    return tied


class Tape:
    """The statements of a store, as the driver gets them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.statements: list[str] = []
        self._patch = monkeypatch

    def listen(self, store: Any) -> None:
        """Record what ``store`` executes from now on."""
        if isinstance(store, SqliteStore):
            connection: Any = store._db
            assert isinstance(connection, sqlite3.Connection)
            connection.set_trace_callback(self.statements.append)
            return
        engine: Any = store._engine.sync_engine
        sqlalchemy_event.listen(
            engine, "before_cursor_execute", lambda _c, _k, statement, *_: self.statements.append(statement)
        )
        import asyncpg

        for name in ("fetch", "fetchrow", "fetchval", "execute", "executemany"):
            self._patch.setattr(asyncpg.Connection, name, self._recorded(getattr(asyncpg.Connection, name)))

    def _recorded(self, method: Any) -> Any:
        async def recorded(connection: Any, statement: str, *args: Any, **options: Any) -> Any:
            self.statements.append(statement)
            return await method(connection, statement, *args, **options)

        return recorded

    def take(self) -> list[str]:
        """Return and forget what was recorded about our tables."""
        taken, self.statements[:] = [s for s in self.statements if "notifykit_" in s], []
        return taken


@pytest.fixture
async def kit(store_url: str) -> AsyncIterator[Notifykit]:
    """A kit on each database in turn."""
    async with Notifykit(store_url, clock=FakeClock(), egress=EgressRules()) as opened:
        yield opened


#: What the calls are given beside ids and the tenant.
GIVEN: dict[str, Any] = {
    "url": "https://203.0.114.7/more",
    "event_types": "**",
    "since": START - timedelta(days=1),
    "secret": generate_secret(),
}
#: The same of recipients.
OF_RECIPIENTS: dict[str, Any] = {
    "channel": "email",
    "address": "ada@example.org",
    "lines": ['{"id":"user:new"}'],
    "token": "ab" * 32,
}


async def test_every_statement_for_people_names_the_tenant(kit, monkeypatch):
    """All methods of all facades, and the rest of the store's verbs that take a tenant."""
    clock: Any = kit._clock
    belongings = [await provide(kit, tenant, clock) for tenant in (OWNER, STRANGER)]
    tape = Tape(monkeypatch)
    tape.listen(kit.store)
    silent, wrong = [], []
    for facade, class_ in FACADES.items():
        last = ("delete", "disable", "cancel", "erase")
        for name, signature in sorted(calls(class_).items(), key=lambda item: item[0] in last):
            given = GIVEN | (OF_RECIPIENTS if facade == "recipients" else {})
            options = {parameter: given[parameter] for parameter in signature.parameters if parameter in given}
            options |= {p: belongings[0].own[IDS[p]] for p in signature.parameters if p in IDS}
            with suppress(NotifykitError):  # the statements matter here, not the results
                await getattr(getattr(kit, facade), name)(**options, tenant=OWNER)
            taken = tape.take()
            silent += [] if taken else [f"{facade}.{name}"]
            wrong += [(f"{facade}.{name}", statement, p) for statement in taken if (p := problems(statement))]

    assert [] == silent
    assert [] == wrong


async def test_every_verb_with_a_tenant_names_it_to_the_database(kit, monkeypatch):
    """Each verb of the store that takes a tenant, with and without every filter."""
    clock: Any = kit._clock
    own = (await provide(kit, OWNER, clock)).own
    store, now = kit.store, clock.now()
    tape = Tape(monkeypatch)
    tape.listen(store)
    filters = [
        DeliveryFilter(),
        DeliveryFilter(states=frozenset({DeliveryState.DELIVERED})),
        DeliveryFilter(states=frozenset({DeliveryState.PENDING}), subscriber_id=own["endpoint"]),
        DeliveryFilter(event_id=own["event"], event_type="later", since=START, until=now),
    ]
    by_id = CallsById(store)
    given = {**{parameter: own[kind] for parameter, kind in IDS.items() if kind in own}, "now": now, "limit": 9}
    given |= {"most": 100, "queries": [MatchQuery("later", named=True), MatchQuery("later", "a/b", after="sub_")]}
    work: dict[str, list[Awaitable[object]]] = {}
    removals = ("remove_of_subscription", "remove_of_endpoint", "remove_of_recipient", "erase")
    names = [name for name in calls(CallsById) if name not in removals]
    for name in (*names, *removals):
        signature = calls(CallsById)[name]
        options = {parameter: given[parameter] for parameter in signature.parameters if parameter in given}
        work[name] = [getattr(by_id, name)(**options, tenant=OWNER)]
    work["move_of_filters"] = [
        store.move(OWNER, wanted, to, now=now, limit=limit) for wanted in filters for to in Move for limit in (None, 9)
    ]
    work["find_deliveries_of_filters"] = [
        store.find_deliveries(OWNER, wanted, limit=10, before=before)
        for wanted in filters
        for before in (None, own["delivery"])
    ]
    work["find_events_of_filters"] = [
        store.find_events(OWNER, EventFilter(type=type_, planned=planned), limit=10, before=before)
        for type_ in (None, "later")
        for planned in (None, True, False)
        for before in (None, own["event"])
    ]
    work["page_of_rest"] = [
        store.page(Subscription, OWNER, subscriber_id=subscriber, limit=10, after=own["subscription"])
        for subscriber in (None, own["endpoint"])
    ]
    work["load_tenants_of_any_size"] = [store.load_tenants([OWNER], most=most) for most in (None, 0)]

    wrong = []
    for verb, runs in work.items():
        for run in runs:
            await run
            taken = tape.take()
            assert taken, f"{verb} was not recorded"
            wrong += [(verb, statement, p) for statement in taken if (p := problems(statement))]

    assert set(calls(Store)) <= set(map(verb_of, work)) | set(ENGINE_VERBS)
    assert [] == wrong


async def test_every_verb_of_inboxes_names_the_tenant(kit, monkeypatch):
    """Whatever is read, marked or erased."""
    store, item = kit.store, make_inbox_item()
    wanted, every = InboxFilter(category="a", resource=Resource("b", "c")), InboxFilter()
    its, at = (item.tenant, item.recipient), {"now": START, "limit": 9}
    tape = Tape(monkeypatch)
    tape.listen(store)

    for run in (
        store.inbox_put([item]),
        *(store.inbox_page(*its, each, **at, after=after) for each in (wanted, every) for after in (None, 7)),
        store.inbox_counts(*its, now=START),
        *(store.inbox_mark(*its, mark, **at, until=START, ids=[item.id]) for mark in InboxMark),
        store.inbox_mark(*its, InboxMark.READ, **at, wanted=wanted),
        store.inbox_changes(item.tenant, {item.recipient: 0}, limit=9),
        store.inbox_marks(item.tenant, [(item.recipient, item.event_id)]),
        store.inbox_erase(*its, limit=9),
    ):
        await run

    taken = tape.take()
    assert 25 < len(taken)
    assert [] == [(statement, p) for statement in taken if (p := problems(statement))]


async def test_publishing_asks_for_keys_of_its_tenant_only(kit, monkeypatch):
    """The one statement of publishing that reads (an idempotency key that is held) names the tenant."""
    tape = Tape(monkeypatch)
    tape.listen(kit.store)
    for _ in range(2):
        await kit.apublish(Event(type="a", data={}), tenant=OWNER, idempotency_key="k")

    reads = [statement for statement in tape.take() if re.search(r"idempotency_key (=|IN)", statement)]
    assert reads
    assert [] == [(statement, p) for statement in reads if (p := problems(statement))]


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("SELECT id FROM notifykit_endpoints WHERE id = ?", ["endpoints"]),
        ("SELECT id FROM notifykit_endpoints WHERE id = ? AND tenant = ?", []),
        ("SELECT id FROM notifykit_endpoints WHERE notifykit_endpoints.tenant IN (?, ?)", []),
        ("SELECT id FROM notifykit_endpoints WHERE tenant IN (SELECT tenant FROM x)", ["endpoints"]),
        ("DELETE FROM notifykit_queue WHERE notifykit_queue.id IN (?)", ["queue"]),
        ("DELETE FROM notifykit_queue WHERE notifykit_queue.tenant = $1 AND notifykit_queue.id IN ($2)", []),
        ("UPDATE notifykit_buckets SET tokens = ? WHERE endpoint_id = ?", ["buckets"]),
        ("SELECT * FROM notifykit_queue q JOIN notifykit_events e ON e.id = q.event_id WHERE q.tenant = ?", ["events"]),
        (
            (
                "SELECT * FROM notifykit_queue q JOIN notifykit_events e ON e.tenant = q.tenant AND e.id = q.event_id "
                "WHERE q.tenant = ?"
            ),
            [],
        ),
        ("SELECT * FROM notifykit_queue q JOIN notifykit_events e ON e.tenant = q.tenant", ["queue", "events"]),
        ("INSERT INTO notifykit_queue (id, state) VALUES (?, ?)", ["queue"]),
        ("INSERT INTO notifykit_queue (id, tenant) VALUES (?, ?)", []),
        ("SELECT number FROM notifykit_attempts WHERE number = ?", ["attempts"]),
    ],
)
def test_a_statement_without_its_tenant_is_found(statement, expected):
    """The check above can fail."""
    assert expected == problems(statement)
