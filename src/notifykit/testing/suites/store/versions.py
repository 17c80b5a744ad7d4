"""Versions: a save of an outdated record is refused, and of simultaneous changes none is lost."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import anyio
import attrs
import pytest

from ....changes import change
from ....errors import StaleWriteError
from ....models.access import OPERATORS, ApiKey, Role
from ....models.audit import AuditEntry, entry_id
from ....models.circuit import OpenCircuit
from ....models.ended_session import EndedSession, ended_id
from ....models.endpoint import Endpoint
from ....models.event_type import StoredEventType
from ....models.provider_account import ProviderAccount
from ....models.recipient import Recipient
from ....models.subscription import MatchQuery, Subscription
from ....models.worker import WorkerRecord
from ....ports import Store
from ...builders import make_endpoint, make_recipient, make_subscription
from ...clock import FakeClock
from .fixtures import MakeStore, needs
from .steps import ACME, HOUR, RECEIVER, get_one, load, save_circuit


class Kind(NamedTuple):
    """One kind of record: how it is made (at version 0), saved, read and removed, and a text that may change."""

    make: Callable[[FakeClock], Any]
    save: Callable[[Store, Any], Awaitable[Any]]
    read: Callable[[Store, Any], Awaitable[Any]]
    remove: Callable[[Store, Any, FakeClock], Awaitable[bool]]
    text: str


async def _read_circuit(store: Store, _: OpenCircuit) -> OpenCircuit | None:
    return next(iter(await store.circuits()), None)


async def _close_circuit(store: Store, it: OpenCircuit, clock: FakeClock) -> bool:
    return await store.save_circuit(ACME, it.key, None, now=clock.now()) is not None


KINDS = {
    "event_type": Kind(
        lambda _: StoredEventType(id="order.paid", tenant=ACME),
        lambda store, it: store.save(it),
        lambda store, it: get_one(store, StoredEventType, ACME, it.id),
        lambda store, it, clock: store.remove(StoredEventType, ACME, it.id, now=clock.now()),
        "description",
    ),
    "endpoint": Kind(
        lambda clock: make_endpoint(at=clock.now()),
        lambda store, it: store.save(it),
        lambda store, it: get_one(store, Endpoint, ACME, it.id),
        lambda store, it, clock: store.remove(Endpoint, ACME, it.id, now=clock.now()),
        "description",
    ),
    "subscription": Kind(
        lambda clock: make_subscription(make_endpoint(id=RECEIVER), at=clock.now()),
        lambda store, it: store.save(it),
        lambda store, it: get_one(store, Subscription, ACME, it.id),
        lambda store, it, clock: store.remove(Subscription, ACME, it.id, now=clock.now()),
        "description",
    ),
    "recipient": Kind(
        lambda clock: make_recipient(at=clock.now()),
        lambda store, it: store.save(it),
        lambda store, it: get_one(store, Recipient, ACME, it.id),
        lambda store, it, clock: store.remove(Recipient, ACME, it.id, now=clock.now()),
        "name",
    ),
    "provider_account": Kind(
        lambda _: ProviderAccount(tenant=ACME, id="email", url="postmark://TOKEN@"),
        lambda store, it: store.save(it),
        lambda store, it: get_one(store, ProviderAccount, ACME, it.id),
        lambda store, it, clock: store.remove(ProviderAccount, ACME, it.id, now=clock.now()),
        "url",
    ),
    "api_key": Kind(
        lambda clock: ApiKey(id="key_1", tenant=ACME, role=Role.VIEWER, created_at=clock.now()),
        lambda store, it: store.save(it),
        lambda store, it: get_one(store, ApiKey, ACME, it.id),
        lambda store, it, clock: store.remove(ApiKey, ACME, it.id, now=clock.now()),
        "name",
    ),
    "audit_entry": Kind(
        lambda clock: AuditEntry(
            id=entry_id(clock.now()),
            at=clock.now(),
            action="a",
            subject="s",
            role="operator",
            status=200,
            request_id="r",
        ),
        lambda store, it: store.save(it),
        lambda store, it: get_one(store, AuditEntry, OPERATORS, it.id),
        lambda store, it, clock: store.remove(AuditEntry, OPERATORS, it.id, now=clock.now()),
        "action",
    ),
    "worker": Kind(
        lambda clock: WorkerRecord(id="host-1", started_at=clock.now(), seen_at=clock.now(), host="host"),
        lambda store, it: store.save(it),
        lambda store, it: get_one(store, WorkerRecord, OPERATORS, it.id),
        lambda store, it, clock: store.remove(WorkerRecord, OPERATORS, it.id, now=clock.now()),
        "host",
    ),
    "ended_session": Kind(
        lambda clock: EndedSession(id=ended_id("nonce", clock.now())),
        lambda store, it: store.save(it),
        lambda store, it: get_one(store, EndedSession, OPERATORS, it.id),
        lambda store, it, clock: store.remove(EndedSession, OPERATORS, it.id, now=clock.now()),
        "area",
    ),
    "circuit": Kind(
        lambda clock: OpenCircuit(key=RECEIVER, tenant=ACME, since=clock.now(), probe_at=clock.now() + HOUR),
        save_circuit,
        _read_circuit,
        _close_circuit,
        "reason",
    ),
}
every_kind = pytest.mark.parametrize("kind", KINDS)


class VersionPromises:
    """What a store promises about changes that are made at the same time."""

    @every_kind
    async def test_each_save_raises_the_version(self, store: Store, clock: FakeClock, kind: str) -> None:
        """A record is born with version 1; what a save returns is what is read."""
        its, record = await self._given(store, clock, kind)

        saved, found = [], []
        for text in ("first", "second", "third"):
            record = await its.save(store, attrs.evolve(record, **{its.text: text}))
            saved.append(record)
            found.append(await its.read(store, record))

        assert [1, 2, 3] == [one.version for one in saved]
        assert saved == found

    @every_kind
    async def test_a_stale_save_changes_nothing(self, store: Store, clock: FakeClock, kind: str) -> None:
        """After two reads of the same version the second save is refused, and the first one stands."""
        its, record = await self._given(store, clock, kind)
        read = await its.save(store, record)
        current = await its.save(store, attrs.evolve(read, **{its.text: "first"}))
        before = await load(store, ACME)

        for version in (read.version, 0, 7):
            with pytest.raises(StaleWriteError, match="changed or removed"):
                await its.save(store, attrs.evolve(read, version=version, **{its.text: "second"}))

        assert current == await its.read(store, record)
        assert before == await load(store, ACME)

    @every_kind
    async def test_a_stale_save_brings_nothing_back(self, store: Store, clock: FakeClock, kind: str) -> None:
        """What was removed since it was read stays removed."""
        its, record = await self._given(store, clock, kind)
        read = await its.save(store, record)
        await its.remove(store, read, clock)
        before = await load(store, ACME)

        with pytest.raises(StaleWriteError, match="changed or removed"):
            await its.save(store, read)

        assert await its.read(store, read) is None
        assert before == await load(store, ACME)

    async def test_a_stale_subscription_is_no_match(self, store: Store, clock: FakeClock) -> None:
        """The patterns of a refused save match nothing, and those that are stored still do."""
        its, subscription = await self._given(store, clock, "subscription")
        read = await its.save(store, attrs.evolve(subscription, event_types=("a.b",)))
        current = await its.save(store, attrs.evolve(read, event_types=("c.d",)))

        with pytest.raises(StaleWriteError):
            await its.save(store, attrs.evolve(read, event_types=("e.f",)))

        found = await store.match(ACME, [MatchQuery("c.d"), MatchQuery("e.f")], limit=9)
        assert [[current], []] == [[one.subscription for one in answer] for answer in found]

    async def test_every_way_to_read_a_record_tells_its_version(self, store: Store, clock: FakeClock) -> None:
        """Pages, matches and whole tenants return records with the version that a save needs."""
        endpoint = await store.save(await store.save(make_endpoint(at=clock.now())))
        subscription = make_subscription(endpoint, at=clock.now())
        subscription = await store.save(await store.save(subscription))

        config = await load(store, ACME)
        ((match,),) = await store.match(ACME, [MatchQuery("a.b")], limit=9)

        assert ((endpoint,), (subscription,)) == (config.endpoints, config.subscriptions)
        assert [endpoint] == await store.page(Endpoint, ACME, limit=9)
        assert [endpoint] == await store.get(Endpoint, ACME, [endpoint.id])
        assert [subscription] == await store.page(Subscription, ACME, limit=9)
        assert subscription == match.subscription
        assert (2, 2) == (endpoint.version, subscription.version)

    async def test_nothing_ails_that_was_removed(self, store: Store, clock: FakeClock) -> None:
        """What a worker found out of an endpoint that is gone by now is not kept."""
        endpoint = await store.save(make_endpoint(id=RECEIVER, at=clock.now()))
        circuit = KINDS["circuit"].make(clock)
        await store.remove(Endpoint, ACME, endpoint.id, now=clock.now())

        with pytest.raises(StaleWriteError):
            await save_circuit(store, circuit)

        assert [] == await store.circuits()

    @needs("concurrent")
    @every_kind
    async def test_of_changes_at_once_none_is_lost(
        self, store: Store, clock: FakeClock, make_second_store: MakeStore, kind: str
    ) -> None:
        """Through two stores, all at the same time, each change of one record is made from the one before."""
        its, record = await self._given(store, clock, kind)
        await its.save(store, attrs.evolve(record, **{its.text: ""}))
        other = await make_second_store()

        async def add(letter: str, through: Store) -> None:
            await change(
                lambda: its.read(through, record),
                lambda it: attrs.evolve(it, **{its.text: getattr(it, its.text) + letter}),
                lambda it: its.save(through, it),
            )

        async with anyio.create_task_group() as tasks:
            for number, letter in enumerate("abcdefghijklmnop"):
                tasks.start_soon(add, letter, other if number % 2 else store)

        changed = await its.read(store, record)
        assert (17, "abcdefghijklmnop") == (changed.version, "".join(sorted(getattr(changed, its.text))))

    async def _given(self, store: Store, clock: FakeClock, kind: str) -> tuple[Kind, Any]:
        """Return a record that was never saved, of an endpoint that was."""
        if kind != "endpoint":
            await store.save(make_endpoint(id=RECEIVER, at=clock.now()))
        return KINDS[kind], KINDS[kind].make(clock)
