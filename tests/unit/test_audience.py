"""Audiences and steps: what an event and a type may say about people, and what publishing makes of it."""

from __future__ import annotations

import inspect
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest

from notifykit import (
    Event,
    EventType,
    InvalidEventError,
    InvalidInputError,
    InvalidSubscriptionError,
    NotFoundError,
    Notifykit,
    event,
)
from notifykit.catalog import EventCatalog, EventTypeOptions
from notifykit.errors import ConfigurationError
from notifykit.models.audience import Audience
from notifykit.models.delivery import DeliveryState
from notifykit.models.event_type import StoredEventType
from notifykit.models.outcome import Accepted
from notifykit.models.preferences import Scope, Selector, Setting
from notifykit.models.steps import Step, Unless, steps_problems
from notifykit.policies.admit import admit
from notifykit.stores.memory import MemoryStore
from notifykit.testing import FakeClock
from notifykit.testing.builders import make_recipient

ACME, ADA = "acme", "user:ada"
NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


class Fax:
    """A channel of a program's own."""

    name = "fax"

    async def send(self, *_: object, **__: object) -> Accepted:
        return Accepted()

    async def aclose(self) -> None:
        """Do nothing."""


# ── values ─────────────────────────────────────────────────────────────────────────────────────


def test_an_audience_is_stored_as_text_and_read_back() -> None:
    """One or several recipients, each once, in their order."""
    audience = Audience(to=[ADA, "user:Ω", ADA], channels="email")

    assert '{"to":["user:ada","user:Ω"],"channels":["email"]}' == audience.to_json()
    assert audience == Audience.from_json(audience.to_json())
    assert '{"to":["user:ada"]}' == Audience(to=ADA).to_json()
    assert Audience(to=ADA) == Audience.from_json('{"to":["user:ada"]}')
    assert Audience() == Audience.from_json(None)
    assert ("a", "b") == Audience(to={"b", "a"}).to


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"to": [f"user:{number}" for number in range(1001)]}, "to: names 1001 recipients, and an event takes at most"),
        ({"to": [""]}, "to: [0] is empty"),
        ({"to": ["x" * 256]}, "to: [0] longer than 255"),
        ({"to": [5]}, "to: [0] must be text, not int"),
        ({"to": {5, "a"}}, "to: "),
        ({"to": (id_ for id_ in [ADA])}, "to: must be a list of ids of recipients, not generator"),
        ({"channels": ["webhook"]}, "channels: [0] must be a channel of people"),
        ({"channels": [f"c{number}" for number in range(21)]}, "channels: at most 20, got 21"),
    ],
)
def test_a_wrong_audience_is_refused(given: dict[str, Any], problem: str) -> None:
    """The error names the field, and for too many people it says what to do."""
    with pytest.raises(InvalidInputError) as refused:
        Audience(**given)
    with pytest.raises(InvalidEventError) as published:
        admit(Event(type="a.b", data={}, **given), None, tenant=ACME, now=NOW)

    assert problem in str(refused.value)
    assert problem in str(published.value)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"channels": ["email", "emial"]}, "channels: 'emial' is none of chat, email, fax, in_app, push, sms; for one"),
        ({"channels": []}, "channels: names none; leave it out"),
        ({"channels": ()}, "channels: names none; leave it out"),
        ({"to": ""}, "to: is empty"),
    ],
)
async def test_what_would_tell_nobody_is_refused(given: dict[str, Any], problem: str) -> None:
    """A typo in a channel's name must not lose the notification; channels of one's own are known."""
    async with Notifykit("memory://", channels=[Fax()]) as kit:
        with pytest.raises(InvalidEventError) as refused:
            await kit.apublish(Event(type="a.b", data={}), tenant=ACME, **given)
        if given != {"channels": ()}:  # the default
            with pytest.raises(InvalidEventError):
                await kit.apublish(Event(type="a.b", data={}, **given), tenant=ACME)
        await kit.apublish(Event(type="a.b", data={}), tenant=ACME, to=[], channels=["fax"])

        assert [problem] == [each[: len(problem)] for each in refused.value.problems]


@pytest.mark.parametrize(
    ("steps", "problem"),
    [
        ([Step("email"), Step("email", after=HOUR)], "steps[1]: can never run: a step before it has the channel email"),
        ([Step("sms", fallback=True)], "steps[0]: is a fallback, and there is no step before it"),
        ([Step("email", after=HOUR, unless="read")], "steps[0]: has unless=, and there is no other step in_app"),
        ([Step("in_app", after=HOUR, unless="read")], "steps[0]: has unless=, and there is no other step in_app"),
        ([Step("in_app"), Step("email", unless="read")], "steps[1]: has unless=, and without after= or a digest"),
        ([Step("in_app"), Step("email", after=2 * HOUR)], "steps[1]: can never run: events of this type expire after"),
        ([Step(f"c{number}") for number in range(21)], "steps: at most 20"),
        (["email"], "steps: must be a list of Step"),
        (None, "steps: must be a list of Step"),
    ],
)
def test_steps_that_cannot_work_are_refused(steps: Any, problem: str) -> None:
    """Where the type is declared, and where it is taken in."""
    with pytest.raises(ConfigurationError) as declared:
        event("a.b", steps=steps, expires_after=2 * HOUR)(attrs.frozen(type("Payload", (), {})))
    with pytest.raises(ConfigurationError) as taken_in:
        EventCatalog([EventType(name="a.b", steps=steps, expires_after=2 * HOUR)])

    assert problem in str(declared.value)
    assert problem in str(taken_in.value)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"channel": ""}, "channel: is empty"),
        ({"channel": "webhook"}, "channel: must be a channel of people"),
        ({"channel": "email", "after": timedelta(-1)}, "after: between 0 s and 365 days"),
        ({"channel": "email", "after": 15}, "after: must be a timedelta, not int"),
        ({"channel": "email", "unless": {"opened"}}, "unless: [0] must be one of read, seen, not 'opened'"),
        ({"channel": "email", "unless": 5}, "unless: must be a list of marks, not int"),
        ({"channel": "email", "fallback": 1}, "fallback: must be true or false"),
    ],
)
def test_a_wrong_step_is_refused(given: dict[str, Any], problem: str) -> None:
    """The error names the field."""
    with pytest.raises(InvalidInputError) as refused:
        Step(**given)

    assert problem in str(refused.value)


def test_a_step_without_conditions_is_never_answered() -> None:
    """Whatever the person has done with the inbox item."""
    assert not Step("email").is_answered_by({Unless.READ, Unless.SEEN})
    assert Step("email", unless=["seen"]).is_answered_by({Unless.READ})
    assert [] == steps_problems((Step("in_app"), Step("sms", unless="seen", after=HOUR, fallback=True)))
    assert [] == steps_problems((Step("email", unless="seen", after=HOUR), Step("in_app")))


def test_a_kit_declares_types_of_its_own() -> None:
    """With every option of ``notifykit.event``; a type is known from then on."""
    kit = Notifykit("memory://")

    @kit.event("a.b", steps=[Step("email")], tells_actor=True)
    @attrs.frozen
    class Payload:
        pass

    declared = kit.catalog.get("a.b")
    assert declared is not None
    assert (Payload, (Step("email"),), True) == (declared.payload, declared.steps, declared.tells_actor)
    assert EventTypeOptions.__annotations__.keys() == inspect.signature(event).parameters.keys() - {"name"}


# ── publishing ─────────────────────────────────────────────────────────────────────────────────


def test_a_type_says_when_its_events_expire() -> None:
    """Unless they say so themselves; no time is too late for it."""
    declared = EventType(name="a.b", expires_after=HOUR)
    last = datetime(9999, 12, 31, 23, 30, tzinfo=UTC)

    def expiry(**fields: Any) -> datetime | None:
        return admit(Event(type="a.b", data={}, **fields), declared, tenant=ACME, now=NOW).expires_at

    assert [NOW + HOUR, NOW + 2 * HOUR, NOW + HOUR / 2] == [
        expiry(),
        expiry(deliver_at=NOW + HOUR),
        expiry(expires_at=NOW + HOUR / 2),
    ]
    assert datetime.max.replace(tzinfo=UTC) == expiry(deliver_at=last)
    with pytest.raises(ConfigurationError, match="expires_after: between 1 s and"):
        EventCatalog([EventType(name="a.b", expires_after=timedelta(0))])


def test_an_audience_is_part_of_what_a_key_stands_for() -> None:
    """Published again to others it is another event; nothing has changed for events without an audience."""

    def fingerprint(now: datetime = NOW, declared: EventType | None = None, **fields: Any) -> bytes | None:
        return admit(
            Event(type="a.b", data={}, idempotency_key="k", **fields), declared, tenant=ACME, now=now
        ).fingerprint

    assert fingerprint(to=[ADA]) == fingerprint(to=ADA)
    assert 3 == len({fingerprint(), fingerprint(to=[ADA]), fingerprint(to=[ADA], channels=["email"])})
    expiring = EventType(name="a.b", expires_after=HOUR)
    assert fingerprint(NOW, expiring) == fingerprint(NOW + HOUR, expiring) == fingerprint()


@pytest.mark.parametrize("how", ["blocking", "joined", "async", "many"])
async def test_everyone_who_publishes_can_name_people(how: str, sqlite_store_url: str) -> None:
    """In sync and async code, one event or many, inside a transaction or not."""
    source = Event(type="a.b", data={})
    async with Notifykit(sqlite_store_url) as kit:
        if how == "async":
            receipt = await kit.apublish(source, tenant=ACME, to=[ADA], channels=["email"])
        elif how == "many":
            (receipt,) = await kit.apublish_many([source], tenant=ACME, to=[ADA], channels=["email"])
        elif how == "blocking":
            receipt = kit.blocking.publish(source, tenant=ACME, to=ADA, channels="email")
            kit.close()
        else:
            from sqlalchemy import create_engine

            engine = create_engine(sqlite_store_url)
            with engine.begin() as connection:
                receipt = kit.publish(source, tenant=ACME, to=[ADA], channels=["email"], connection=connection)
            engine.dispose()
        stored = await kit.events.get(receipt.event_id, tenant=ACME)

    assert '{"to":["user:ada"],"channels":["email"]}' == stored.audience


# ── subscribing and explaining ─────────────────────────────────────────────────────────────────


@pytest.fixture
async def kit() -> Any:
    clock = FakeClock(NOW)
    declared = EventType(name="comment.created", category="comments", steps=[Step("in_app"), Step("email", after=HOUR)])
    async with Notifykit(store=MemoryStore(), clock=clock, event_types=[declared]) as kit:
        off = Setting(scope=Scope.RECIPIENT, select=Selector(channel="email"), value="off")
        await kit.store.save(make_recipient(ADA, at=NOW, settings=(off,)))
        yield kit


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({}, "endpoint: give either endpoint= or recipient="),
        ({"endpoint": "end_1", "recipient": ADA}, "endpoint: give either endpoint= or recipient="),
        ({"recipient": ADA, "timeout": HOUR}, "timeout: is for endpoints only"),
        ({"recipient": "user:nobody"}, "no recipient 'user:nobody'"),
    ],
)
async def test_a_subscription_has_one_target(kit: Notifykit, given: dict[str, Any], error: str) -> None:
    """An endpoint or a recipient, which must exist."""
    with pytest.raises((InvalidSubscriptionError, NotFoundError), match=error):
        await kit.subscribe("comment.*", tenant=ACME, **given)
    with pytest.raises(InvalidSubscriptionError, match="subscriber: not together with recipient"):
        await kit.subscriptions.create("comment.*", tenant=ACME, recipient=ADA, subscriber="room:5")
    with pytest.raises(InvalidSubscriptionError, match="recipient: give either endpoint_id or recipient"):
        await kit.subscriptions.list(tenant=ACME, recipient=ADA, endpoint_id="end_1")

    assert [] == await kit.subscriptions.list(tenant=ACME)


async def test_a_type_is_explained_for_a_person(kit: Notifykit) -> None:
    """Where and when they would be told, by its name or what declares it; for nobody there is no answer."""
    by_name = await kit.explain(ADA, "comment.created", tenant=ACME)
    other = await kit.explain("user:nobody", EventType(name="other.type"), tenant=ACME, at=NOW + HOUR)

    assert """\
comment.created for user:ada
  now, in_app: sent to user:ada at 2026-03-02 12:00:00 UTC (ok)
  now, email: not sent, turned_off: Notifications of this kind are turned off on this channel.""" == str(by_name)
    assert "other.type for user:nobody\n  now: unknown_recipient, there is no such recipient" == str(other)
    for what in ("unknown.type", int):
        with pytest.raises(InvalidInputError, match="what: "):
            await kit.explain(ADA, what, tenant=ACME)


async def test_an_event_is_explained_for_a_person(kit: Notifykit) -> None:
    """What is recorded, why the event concerned the person, and what would become of it now."""
    named = await kit.apublish(Event(type="comment.created", data={}), tenant=ACME, to=[ADA])
    own = await kit.apublish(Event(type="comment.created", data={}), tenant=ACME, to=[ADA], actor=ADA)
    foreign = await kit.apublish(Event(type="comment.created", data={}), tenant=ACME)
    while await kit.dispatcher().step():
        pass
    await kit.subscribe("comment.*", tenant=ACME, recipient=ADA)

    by_id = {each.event_id: await kit.explain(ADA, each.event_id, tenant=ACME) for each in (named, own, foreign)}

    assert ["named", "actor", "subscribed"] == [each.reached_by for each in by_id.values()]
    assert [2, 0, 0] == [len(each.deliveries) for each in by_id.values()]
    assert [["matched"]] * 3 == [[str(code) for _, code in each.verdicts] for each in by_id.values()]
    text = str(by_id[named.event_id])
    assert f"event {named.event_id}: it names the recipient" in text
    assert "email: suppressed, turned_off: Notifications of this kind are turned off on this channel." in text
    assert "  in_app: delivered" in text
    with pytest.raises(NotFoundError):
        await kit.explain(ADA, "evt_" + "0" * 26, tenant=ACME)


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("template_failed", "email: held, template_failed: It waits: its message could not be made."),
        ("smtp_421", "email: held, smtp_421\n"),
        (None, "email: held\n"),
    ],
)
async def test_the_reason_of_a_delivery_is_explained(kit: Notifykit, reason: str | None, told: str) -> None:
    """A code of a provider speaks for itself."""
    receipt = await kit.apublish(Event(type="comment.created", data={}), tenant=ACME, to=[ADA])
    while await kit.dispatcher().step():
        pass
    found = await kit.explain(ADA, receipt.event_id, tenant=ACME)

    deliveries = tuple(attrs.evolve(each, state=DeliveryState.HELD, reason=reason) for each in found.deliveries)

    assert told in str(attrs.evolve(found, deliveries=deliveries))


async def test_an_event_that_is_none_of_a_persons_business(kit: Notifykit) -> None:
    """Then the explanation says just that."""
    receipt = await kit.apublish(Event(type="comment.created", data={}), tenant=ACME)

    found = await kit.explain(ADA, receipt.event_id, tenant=ACME)

    assert "nothing" == found.reached_by
    assert "it does not concern the recipient" in str(found)


def test_a_stored_type_has_what_was_declared() -> None:
    """So that a dispatcher without the producer's code follows the same steps."""
    steps = (Step("in_app"), Step("email"))
    stored = StoredEventType.of(EventType(name="a.b", steps=steps, tells_actor=True))

    assert ("a.b", steps, True) == (stored.name, stored.steps, stored.tells_actor)
