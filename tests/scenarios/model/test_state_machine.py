"""Store and policies against a plain dictionary, in every order that hypothesis can think of.

The machine plays planners, senders, crashes, operators and clocks.  The dictionary says
what each step must answer and what people must read after it; it shares no code with the
stores or the policies.  ``NOTIFYKIT_SEED=<seed>`` replays a run that failed; hypothesis
prints the shortest list of steps that still fails.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
from collections.abc import Callable, Coroutine
from datetime import datetime, timedelta
from typing import Any, TypeVar
from unittest.mock import patch

import attrs
import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from notifykit import EndpointState, RetryPolicy
from notifykit.models.delivery import WEBHOOK, Attempt, Claim, DeliveryState, Lane, Priority
from notifykit.models.destination import destination_of
from notifykit.models.endpoint import Endpoint, EndpointSecret
from notifykit.models.event import TakenEvent
from notifykit.models.outcome import Accepted, BadRecipient, Outcome, Permanent, Throttled, Transient, Uncertain
from notifykit.policies.decide import Cancel, Expire, Hold, decide
from notifykit.policies.plan import SubscriptionIndex, plan
from notifykit.policies.retry import Complete, DeadLetter, RetryAt, next_step
from notifykit.ports import DeliveryFilter, Move, Record, Settlement, Store
from notifykit.stores.memory import MemoryStore
from notifykit.stores.sql.sqlite import store as sqlite
from notifykit.stores.sql.sqlite.store import SqliteStore
from notifykit.testing import START, make_endpoint, make_event, make_subscription
from notifykit.testing.suites.store.steps import load

T = TypeVar("T")
S = DeliveryState

LEASE = timedelta(seconds=30)
MAX_ABANDONED = 3
PAUSES = (timedelta(seconds=5), timedelta(minutes=5))
RETRY = RetryPolicy(delays=PAUSES, jitter=0, max_retry_after=timedelta(hours=1))
HOLD = timedelta(minutes=5)
TENANTS = ("acme", "globex")
WAITING = (S.PENDING, S.HELD)
OPEN = (*WAITING, S.SENDING)

OUTCOMES: dict[str, Outcome] = {
    "accepted": Accepted(),
    "transient": Transient(reason="http_503"),
    "later": Transient(reason="http_503", retry_after=timedelta(minutes=20)),
    "throttled": Throttled(reason="http_429"),
    "uncertain": Uncertain(reason="timeout"),
    "permanent": Permanent(reason="http_413"),
    "gone": BadRecipient(reason="http_410"),
}


@attrs.define
class ModelEvent:
    """An event as the dictionary knows it."""

    tenant: str
    ordering_key: str | None
    priority: Priority
    due: datetime
    expires: datetime | None
    key: str | None
    fence: int = 0
    planned: bool = False
    taken_until: datetime | None = None


@attrs.define
class ModelDelivery:
    """A delivery as the dictionary knows it."""

    event: ModelEvent
    event_id: str
    endpoint: str
    state: DeliveryState
    reason: str | None
    due: datetime | None
    expires: datetime | None
    attempts: int = 0
    tries: int = 0
    abandoned: int = 0
    generation: int = 0
    fence: int = 0
    lease_until: datetime | None = None


class EngineMachine(RuleBasedStateMachine):
    """One store, two tenants, and hands that hold what was taken and claimed."""

    exact_lines = True

    def make_store(self) -> Store:
        """Return a new store."""
        return MemoryStore()

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.now = START
        self.store = self.make_store()
        self.run(self.store.open())
        self.events: dict[str, ModelEvent] = {}
        self.rows: dict[str, ModelDelivery] = {}
        self.endpoints: dict[str, Endpoint] = {}
        self.taken: list[TakenEvent] = []
        self.claims: list[Claim] = []
        self.numbers = itertools.count(1)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a verb of the store."""
        return self.runner.run(work)

    def teardown(self) -> None:
        try:
            self.settle_down()
        finally:
            self.run(self.store.aclose())
            self.runner.close()

    @initialize()
    def set_up(self) -> None:
        """Give each tenant two endpoints that want everything."""
        for tenant in TENANTS:
            for _ in range(2):
                number = next(self.numbers)  # ids decide what comes first, so that a life can be played again
                endpoint = attrs.evolve(make_endpoint(tenant=tenant, retry=RETRY), id=f"end_{number:026d}")
                endpoint = self.endpoints[endpoint.id] = self.run(self.store.save(endpoint))
                self.run(self.store.save(attrs.evolve(make_subscription(endpoint), id=f"sub_{number:026d}")))

    # -- publishing and planning -----------------------------------------------------------------

    @rule(
        tenant=st.sampled_from(TENANTS),
        ordering_key=st.sampled_from([None, None, "line"]),
        priority=st.sampled_from(Priority),
        delay=st.sampled_from([0, 0, 0, 60, 3600]),
        life=st.sampled_from([None, None, 90, 7200]),
        key=st.sampled_from([None, None, None, "key-1", "key-2"]),
    )
    def publish(self, tenant, ordering_key, priority, delay, life, key):
        """A new event is stored; a known key is answered with the event that has it."""
        due = self.now + timedelta(seconds=delay)
        expires = None if life is None else due + timedelta(seconds=life)
        event = make_event(
            tenant=tenant, at=self.now, key=key, priority=priority, ordering_key=ordering_key, due_at=due
        )._replace(id=f"evt_{next(self.numbers):026d}", expires_at=expires)

        (answer,) = self.run(self.store.append([event]))

        known = [id_ for id_, e in self.events.items() if key is not None and (e.tenant, e.key) == (tenant, key)]
        assert (known[0] if known else event.id, bool(known)) == answer[:2]
        if not known:
            self.events[event.id] = ModelEvent(tenant, ordering_key, priority, due, expires, key)

    def may_take(self, event_id: str) -> bool:
        """Whether an event may be handed to a planner now."""
        event = self.events[event_id]
        if event.planned or event.due > self.now or (event.taken_until or self.now) > self.now:
            return False
        line = (event.tenant, event.ordering_key)
        return event.ordering_key is None or not any(
            other < event_id and not e.planned and (e.tenant, e.ordering_key) == line
            for other, e in self.events.items()
        )

    @rule(limit=st.integers(1, 5))
    def take(self, limit):
        """A planner gets due events, urgent ones first, none that another one holds."""
        due = {id_ for id_ in self.events if self.may_take(id_)}

        taken = self.run(self.store.take(limit, now=self.now, lease=LEASE))

        got = {event.id for event in taken}
        assert got <= due
        self.assert_enough(got, due, limit, lambda id_: self.events[id_].ordering_key)
        for event in taken:
            model = self.events[event.id]
            model.fence += 1
            model.taken_until = self.now + LEASE
            assert (model.fence, model.tenant, model.priority) == (event.fence, event.tenant, event.priority)
        self.taken += taken

    def assert_enough(self, got: set[str], due: set[str], limit: int, line: Callable[[str], str | None]) -> None:
        """Check that nothing that is due was left although there was room; a store may give less, but never nothing."""
        if self.exact_lines:
            assert min(limit, len(due)) == len(got)
        else:
            assert got or not any(line(id_) is None for id_ in due)

    @precondition(lambda self: self.taken)
    @rule(number=st.integers(0, 99), mine=st.booleans())
    def settle(self, number, mine):
        """A plan counts under the current fence only; it makes one delivery for each endpoint of the tenant."""
        taken = self.taken.pop(number % len(self.taken))
        config = self.run(load(self.store, taken.tenant))
        planned = plan(taken, SubscriptionIndex.of(config), now=self.now)
        if mine and taken.ordering_key is None:
            planned = [new._replace(state=S.SENDING) if new.state is S.PENDING else new for new in planned]

        settled = self.run(
            self.store.settle([Settlement(taken.id, taken.fence, planned)], now=self.now, lease=LEASE, worker="planner")
        )

        event = self.events[taken.id]
        current = not event.planned and event.fence == taken.fence
        assert ({taken.id} if current else set()) == settled
        if not current:
            return
        event.planned = True
        theirs = {id_ for id_, endpoint in self.endpoints.items() if endpoint.tenant == event.tenant}
        assert theirs == {new.subscriber_id for new in planned}
        for new in planned:
            self.rows[new.id] = row = self.born(event, taken.id, self.endpoints[new.subscriber_id])
            if new.state is S.SENDING:
                assert row.state is S.PENDING
                row.state, row.fence, row.lease_until = S.SENDING, 1, self.now + LEASE
                self.claims.append(_claim_of(new, taken, self.now + LEASE))

    def born(self, event: ModelEvent, event_id: str, endpoint: Endpoint) -> ModelDelivery:
        """Return the delivery that planning must make."""
        expired = event.expires is not None and event.expires <= self.now
        state, reason, due = {
            (True, endpoint.state): (S.EXPIRED, "expired", None),
            (False, EndpointState.ACTIVE): (S.PENDING, None, self.now),
            (False, EndpointState.PAUSED): (S.HELD, "endpoint_paused", self.now + HOLD),
            (False, EndpointState.DISABLED): (S.SUPPRESSED, "endpoint_disabled", None),
        }[expired, endpoint.state]
        return ModelDelivery(event, event_id, endpoint.id, state, reason, due, event.expires)

    # -- sending ---------------------------------------------------------------------------------

    def may_claim(self, id_: str, lane: Priority) -> bool:
        """Whether a delivery may be handed to a sender now."""
        row = self.rows[id_]
        if row.state not in WAITING or row.due is None or row.due > self.now or row.event.priority is not lane:
            return False
        if row.event.ordering_key is None:
            return True
        line = [
            (other, r)
            for other, r in self.rows.items()
            if other != id_ and r.state in OPEN and r.endpoint == row.endpoint and r.event.ordering_key
        ]
        return not any(other < id_ or r.state is S.SENDING for other, r in line)

    @rule(lane=st.sampled_from(Priority), limit=st.integers(1, 5))
    def claim(self, lane, limit):
        """A sender gets due deliveries of its lane, each for itself alone."""
        due = {id_ for id_ in self.rows if self.may_claim(id_, lane)}

        claims = self.run(self.store.claim(Lane(WEBHOOK, lane), limit, now=self.now, lease=LEASE, worker="worker"))

        got = {claim.delivery_id for claim in claims}
        assert got <= due
        assert len(got) == len(claims)
        self.assert_enough(got, due, limit, lambda id_: self.rows[id_].event.ordering_key)
        for claim in claims:
            row = self.rows[claim.delivery_id]
            row.state, row.reason, row.lease_until = S.SENDING, None, self.now + LEASE
            row.fence += 1
            assert claim.fence >= row.fence
            row.fence = claim.fence
            assert (row.attempts + 1, row.tries, row.abandoned) == (claim.attempt, claim.tries, claim.abandoned)
            assert (row.event.tenant, row.endpoint) == (claim.tenant, claim.subscriber_id)
        self.claims += claims

    @precondition(lambda self: self.claims)
    @rule(number=st.integers(0, 99), outcome=st.sampled_from(sorted(OUTCOMES)), again=st.booleans())
    def send(self, number, outcome, again):
        """What became of a claim is written if it is still the current one; a second result never is."""
        claim = self.claims.pop(number % len(self.claims))
        record = self.decided(claim, OUTCOMES[outcome])
        row = self.rows[claim.delivery_id]
        current = row.state is S.SENDING and row.fence == claim.fence

        written = self.run(self.store.record([record]))
        repeated = self.run(self.store.record([record])) if again else set()

        assert ({claim.delivery_id} if current else set()) == written
        assert set() == repeated
        if current:
            self.end_claim(row, self.endpoints[row.endpoint], outcome)

    def decided(self, claim: Claim, outcome: Outcome) -> Record:
        """Return the record that the policies make of a claim and an outcome."""
        endpoint = self.endpoints[claim.subscriber_id]
        match decide(claim, destination_of(endpoint), now=self.now):
            case Hold(due_at, why):
                return Record(claim.delivery_id, claim.fence, S.HELD, why, due_at, self.now, None)
            case Cancel(why):
                return Record(claim.delivery_id, claim.fence, S.CANCELLED, why, None, self.now, None)
            case Expire():
                return Record(claim.delivery_id, claim.fence, S.EXPIRED, "expired", None, self.now, None)
        step = next_step(outcome, tries=claim.tries + 1, policy=endpoint.retry, now=self.now, rng=lambda: 0.5)
        state = S.DELIVERED
        reason: str | None = None
        due: datetime | None = None
        match step:
            case Complete():
                pass
            case RetryAt(due_at=due, reason=reason):
                state = S.PENDING
            case DeadLetter(reason=reason):
                state = S.DEAD
        attempt = Attempt(
            delivery_id=claim.delivery_id, number=claim.attempt, started_at=self.now, took=LEASE, outcome="made"
        )
        return Record(claim.delivery_id, claim.fence, state, reason, due, self.now, attempt)

    def end_claim(self, row: ModelDelivery, endpoint: Endpoint, outcome: str) -> None:
        """Do to the dictionary what a current result must do to the store."""
        row.lease_until = None
        if row.expires is not None and row.expires <= self.now:
            row.state, row.reason, row.due = S.EXPIRED, "expired", None
        elif endpoint.state is EndpointState.PAUSED:
            row.state, row.reason, row.due = S.HELD, "endpoint_paused", self.now + HOLD
        elif endpoint.state is EndpointState.DISABLED:
            row.state, row.reason, row.due = S.CANCELLED, "endpoint_disabled", None
        else:
            row.attempts += 1
            row.tries += 1
            self.after_attempt(row, outcome)

    def after_attempt(self, row: ModelDelivery, outcome: str) -> None:
        """Do what follows from an attempt."""
        reasons = {"transient": "http_503", "later": "http_503", "throttled": "http_429", "uncertain": "timeout"}
        if outcome == "accepted":
            row.state, row.reason, row.due = S.DELIVERED, None, None
        elif outcome not in reasons:
            row.state, row.reason, row.due = S.DEAD, {"permanent": "http_413", "gone": "http_410"}[outcome], None
        elif row.tries > len(PAUSES):
            row.state, row.reason, row.due = S.DEAD, f"exhausted:{reasons[outcome]}", None
        else:
            asked = {"later": timedelta(minutes=20), "throttled": timedelta(minutes=1)}.get(outcome, timedelta(0))
            row.state, row.reason = S.PENDING, reasons[outcome]
            row.due = self.now + max(PAUSES[row.tries - 1], asked)

    @precondition(lambda self: self.claims)
    @rule(number=st.integers(0, 99))
    def release(self, number):
        """A claim that is given back counts nothing."""
        claim = self.claims.pop(number % len(self.claims))
        row = self.rows[claim.delivery_id]
        record = Record(claim.delivery_id, claim.fence, S.PENDING, None, self.now, self.now, None)
        current = row.state is S.SENDING and row.fence == claim.fence

        written = self.run(self.store.record([record]))

        assert ({claim.delivery_id} if current else set()) == written
        if current:
            row.state, row.reason, row.due, row.lease_until = S.PENDING, None, self.now, None

    @precondition(lambda self: self.claims)
    @rule()
    def extend(self):
        """Leases are prolonged for those who still hold them."""
        until = self.now + LEASE

        kept = self.run(self.store.extend([(c.delivery_id, c.fence) for c in self.claims], until=until))

        held = {c.delivery_id for c in self.claims if self.rows[c.delivery_id].fence == c.fence}
        expected = {id_ for id_ in held if self.rows[id_].state is S.SENDING}
        assert expected == kept
        for id_ in kept:
            self.rows[id_].lease_until = until

    @rule()
    def crash(self):
        """A process dies with all it holds."""
        self.claims.clear()
        self.taken.clear()

    @rule()
    def rescue(self):
        """Leases that ran out end, are counted, and too many of them end the delivery."""
        expected = {
            id_ for id_, r in self.rows.items() if r.state is S.SENDING and (r.lease_until or self.now) < self.now
        }

        rescued = self.run(self.store.rescue(100, now=self.now, max_abandoned=MAX_ABANDONED))

        assert expected == {delivery.id for delivery in rescued}
        for delivery in rescued:
            row = self.rows[delivery.id]
            row.attempts += 1
            row.abandoned += 1
            row.fence += 1
            row.lease_until = None
            row.state, row.due = S.PENDING, self.now
            if row.abandoned >= MAX_ABANDONED:
                row.state, row.reason, row.due = S.DEAD, "quarantined", None

    # -- operators -------------------------------------------------------------------------------

    @rule(number=st.integers(0, 3), state=st.sampled_from(EndpointState))
    def change_endpoint(self, number, state):
        """Pause, disable or resume; resuming wakes what is held."""
        endpoint = list(self.endpoints.values())[number]
        self.endpoints[endpoint.id] = self.run(self.store.save(attrs.evolve(endpoint, state=state)))
        if state is EndpointState.ACTIVE:
            held = [r for r in self.rows.values() if r.endpoint == endpoint.id and r.state is S.HELD]
            assert len(held) == self.run(
                self.store.move(endpoint.tenant, DeliveryFilter(subscriber_id=endpoint.id), Move.WAKE, now=self.now)
            )
            for row in held:
                row.state, row.reason, row.due = S.PENDING, None, self.now

    @rule(number=st.integers(0, 3))
    def rotate(self, number):
        """A new secret stands first and the old one goes on for a minute; planners and senders see it at once."""
        endpoint = list(self.endpoints.values())[number]
        before = self.run(load(self.store, endpoint.tenant)).version
        new = EndpointSecret(value=f"whsec_{next(self.numbers):032d}", created_at=self.now)
        old = attrs.evolve(endpoint.secrets[0], expires_at=self.now + timedelta(minutes=1))

        changed = self.run(self.store.save(attrs.evolve(endpoint, secrets=(new, old))))

        self.endpoints[endpoint.id] = changed
        config = self.run(load(self.store, endpoint.tenant))
        (held,) = [e for e in config.endpoints if e.id == endpoint.id]
        assert config.version > before
        assert (new.value, old.value) == held.signing_keys(self.now)
        assert (new.value,) == held.signing_keys(self.now + timedelta(minutes=1))

    @precondition(lambda self: self.rows)
    @rule(number=st.integers(0, 99), tenant=st.sampled_from(TENANTS))
    def cancel(self, number, tenant):
        """Who waits is cancelled by its own tenant; nobody else's word counts."""
        id_ = sorted(self.rows)[number % len(self.rows)]
        row = self.rows[id_]
        possible = row.event.tenant == tenant and row.state in WAITING

        count = self.run(self.store.move(tenant, DeliveryFilter(ids=[id_]), Move.CANCEL, now=self.now))

        assert int(possible) == count
        if possible:
            row.state, row.reason, row.due = S.CANCELLED, "cancelled", None

    @precondition(lambda self: self.rows)
    @rule(number=st.integers(0, 99), tenant=st.sampled_from(TENANTS))
    def redrive_one(self, number, tenant):
        """Who has ended starts anew, if its own tenant says so."""
        id_ = sorted(self.rows)[number % len(self.rows)]
        row = self.rows[id_]
        possible = row.event.tenant == tenant and row.state not in OPEN

        done = self.run(self.store.move(tenant, DeliveryFilter(ids=id_), Move.REDRIVE, now=self.now))

        assert possible == done
        if possible:
            self.start_anew(row)

    @rule(
        tenant=st.sampled_from(TENANTS), states=st.sets(st.sampled_from([S.DEAD, S.CANCELLED, S.EXPIRED]), min_size=1)
    )
    def redrive(self, tenant, states):
        """All who ended so start anew."""
        chosen = [r for r in self.rows.values() if r.event.tenant == tenant and r.state in states]

        count = self.run(
            self.store.move(tenant, DeliveryFilter(states=frozenset(states)), Move.REDRIVE, now=self.now, limit=1000)
        )

        assert len(chosen) == count
        for row in chosen:
            self.start_anew(row)

    def start_anew(self, row: ModelDelivery) -> None:
        """Do what a redrive does."""
        row.state, row.reason, row.due, row.expires = S.PENDING, None, self.now, None
        row.tries = row.abandoned = 0
        row.generation += 1

    @rule(seconds=st.sampled_from([1, 6, 31, 61, 301, 3600, -300]))
    def jump(self, seconds):
        """The clock goes on, or was set back."""
        self.now += timedelta(seconds=seconds)

    # -- what must hold --------------------------------------------------------------------------

    @invariant()
    def people_read_what_the_dictionary_says(self):
        """Every delivery reads as it should, in its tenant and nowhere else."""
        found = [
            delivery
            for tenant in TENANTS
            for delivery in self.run(self.store.find_deliveries(tenant, DeliveryFilter(), limit=1000))
            if self.rows[delivery.id].event.tenant == tenant
        ]
        assert {id_: self._facts(row) for id_, row in self.rows.items()} == {
            d.id: (
                d.state,
                d.reason if d.state is not S.PENDING else None,
                d.attempts,
                d.abandoned,
                d.generation,
                d.due_at if self.exact_lines or d.ordering_key is None else None,
            )
            for d in found
            if d.state is not S.SENDING
        } | {d.id: self._facts(self.rows[d.id]) for d in found if d.state is S.SENDING is self.rows[d.id].state}

    def _facts(self, row: ModelDelivery) -> tuple[object, ...]:
        due = row.due if self.exact_lines or row.event.ordering_key is None else None
        reason = row.reason if row.state is not S.PENDING else None
        return row.state, reason, row.attempts, row.abandoned, row.generation, due

    def settle_down(self) -> None:
        """In the end everything published is planned once for each endpoint, and every attempt has its number."""
        for number in range(len(self.endpoints)):
            self.change_endpoint(number, EndpointState.ACTIVE)
        for _ in range(500):
            self.now += timedelta(hours=2)
            self.crash()
            self.rescue()
            self.take(5)
            while self.taken:
                self.settle(0, False)
            for lane in Priority:
                self.claim(lane, 5)
                while self.claims:
                    self.send(0, "accepted", False)
            if all(e.planned for e in self.events.values()) and not any(r.state in OPEN for r in self.rows.values()):
                break
        wanted = {
            (id_, endpoint.id)
            for id_, event in self.events.items()
            for endpoint in self.endpoints.values()
            if endpoint.tenant == event.tenant
        }
        assert wanted == {(row.event_id, row.endpoint) for row in self.rows.values()}
        assert not any(row.state in OPEN for row in self.rows.values())
        for id_, row in self.rows.items():
            attempts = self.run(self.store.attempts(row.event.tenant, id_))
            assert list(range(1, row.attempts + 1)) == [attempt.number for attempt in attempts]
        stats = self.run(self.store.stats(now=self.now))
        dead = sum(row.state is S.DEAD for row in self.rows.values())
        assert (0, 0, 0, dead) == stats[:4]


class Inline:
    """Does the jobs of an SQLite store in the caller's thread: changing threads takes long on a busy machine."""

    def submit(self, job: Callable[[], None]) -> None:
        """Do ``job``."""
        job()

    def end(self) -> None:
        """Every job is done."""


class SqliteMachine(EngineMachine):
    """The same on SQLite, where whoever waits in line may be found to have the turn a little later."""

    exact_lines = False

    def make_store(self) -> Store:
        """Return a new store."""
        return SqliteStore("sqlite://")

    def __init__(self) -> None:
        with patch.object(sqlite, "Writer", Inline):
            super().__init__()
        # The same steps must do the same each time; the store spreads second looks by chance.
        assert isinstance(self.store, SqliteStore)
        assert self.store._db is not None
        self.store._db.create_function("random", 0, itertools.count().__next__)


def _claim_of(new: Any, taken: TakenEvent, until: datetime) -> Claim:
    return Claim(
        delivery_id=new.id,
        fence=1,
        attempt=1,
        tries=0,
        abandoned=0,
        tenant=new.tenant,
        event_id=new.event_id,
        event_type=taken.type,
        subscription_id=new.subscription_id,
        subscriber_id=new.subscriber_id,
        channel=new.channel,
        priority=new.priority,
        ordering_key=new.ordering_key,
        published_at=taken.published_at,
        expires_at=new.expires_at,
        lease_until=until,
        body=taken.body,
        version=taken.tenant_version,
    )


def play(machine: type[EngineMachine], examples: int, steps: int) -> None:
    """Run a machine from a seed; if it fails, say how to run it again."""
    start = int(os.environ.get("NOTIFYKIT_SEED") or random.SystemRandom().getrandbits(32))
    profile = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    try:
        run_state_machine_as_test(seed(start)(machine), settings=profile)
    except BaseException as error:
        error.add_note(f"the state machine failed: replay with NOTIFYKIT_SEED={start}")
        raise


@pytest.mark.parametrize(
    "machine", [EngineMachine, pytest.param(SqliteMachine, marks=pytest.mark.thorough)], ids=["memory", "sqlite"]
)
def test_store_and_policies_agree_with_a_dictionary(machine):
    """A hundred lives of fifty steps each."""
    play(machine, 100, 50)


@pytest.mark.soak
@pytest.mark.parametrize("machine", [EngineMachine, SqliteMachine], ids=["memory", "sqlite"])
def test_store_and_policies_agree_with_a_dictionary_for_long(machine):
    """Thousands of lives of two hundred steps each."""
    play(machine, 3000, 200)
