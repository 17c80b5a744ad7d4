"""Tenants: a foreign id is answered as if there were no such object.

The cases are made from the signatures: every public method of the four facades and every
verb of the store that names a tenant, times every id it takes, times every kind of
foreign id.  A new method or verb without a case fails the test that counts them.
"""

from __future__ import annotations

import inspect
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any, NamedTuple

import attrs
import pytest

from notifykit import DeliveryFilter, EgressRules, Event, Notifykit, NotifykitError, RateLimit
from notifykit.admin import Deliveries, Endpoints, Events, Recipients, Subscriptions
from notifykit.models.delivery import DeliveryState
from notifykit.models.outcome import Accepted, Outcome, Permanent, Transient
from notifykit.models.subscription import MatchQuery
from notifykit.ports import Store
from notifykit.testing import START, FakeClock
from notifykit.testing.suites.store.steps import load
from tests import report
from tests.unit.dispatch.support import ScriptedChannel

from .verbs import CallsById, verb_of

OWNER, STRANGER = "acme", "globex"
FACADES = {
    "endpoints": Endpoints,
    "subscriptions": Subscriptions,
    "deliveries": Deliveries,
    "events": Events,
    "recipients": Recipients,
}
#: Calls that any id is good for.
ANY_ID = {
    ("recipients", "save"): "the host chooses the ids of its recipients",
    ("store", "erase"): "also an endpoint's: it erases a subscriber of the tenant",
}
#: Ids of nothing, well formed.
MISSING = {
    "endpoint": "end_01KJMMA2KV0000000000000001",
    "subscription": "sub_01KJMMA2KV0000000000000001",
    "delivery": "dlv_01KJMMA2KV0000000000000001ABCDEFGHJKMNP",
    "event": "evt_01KJMMA2KV0000000000000001",
    "recipient": "user:01KJMMA2KV0000000000000001",
}
#: Which parameters are ids, and of what.
IDS = {
    "endpoint_id": "endpoint",
    "endpoint_ids": "endpoint",
    "subscriber_id": "endpoint",
    "subscription_id": "subscription",
    "delivery_id": "delivery",
    "delivery_ids": "delivery",
    "event_id": "event",
    "recipient_id": "recipient",
}
#: What the other parameters of a call are given.
OTHERS: dict[str, Any] = {
    "url": "https://203.0.114.7/stranger",
    "event_types": "**",
    "description": "mine now",
    "secret": "whsec_x",
    "since": START - timedelta(days=1),
    "now": START + timedelta(days=1),
    "wanted": DeliveryFilter(),
    "most": 100,
    "queries": [MatchQuery("later")],
    "limit": 100,
    "enabled": False,
    "channel": "email",
    "address": "ada@example.org",
    "lines": [],
    "token": "a1b2c3d4",
}
#: Verbs of the store that name no tenant: the engine calls them for all tenants, and no facade does.
ENGINE_VERBS = {
    "load_tenants": "planners and senders serve all tenants; each is told apart",
    "append": "each event names its own",
    "take": "planners serve all tenants",
    "settle": "fenced",
    "claim": "senders serve all tenants",
    "hand_off": "relays serve all tenants",
    "record": "fenced",
    "extend": "fenced",
    "rescue": "any janitor's duty",
    "purge": "any janitor's duty",
    "circuits": "every process reads every open circuit",
    "acquire": "each request names it",
    "save": "the record names it",
    "save_many": "the records name it",
    "record_receipts": "a verified provider names a message",
    "next_due": "times, and nothing else",
    "stats": "counts",
    "open": "life",
    "aclose": "life",
    "wait": "life",
}


#: How many foreign ids were tried, by facade.
_answered: Counter[str] = Counter()


class Belongings(NamedTuple):
    """One of everything that a tenant has, and the ids of what it had."""

    own: dict[str, str]
    dead: str
    deleted: dict[str, str]
    secret: str


async def provide(kit: Notifykit, tenant: str, clock: FakeClock) -> Belongings:
    """Give a tenant an endpoint with a subscription, a dead, a delivered and a waiting delivery."""
    answers: dict[str, Outcome] = {"dead": Permanent(reason="http_413"), "later": Transient(reason="http_503")}
    channel = ScriptedChannel(lambda claim: answers.get(claim.event_type, Accepted()))
    subscription, endpoint = await kit.subscribe(
        "**", tenant=tenant, endpoint="https://203.0.114.7/hooks", rate_limit=RateLimit(per_second=1, burst=50)
    )
    old_subscription, old_endpoint = await kit.subscribe("none", tenant=tenant, endpoint="https://203.0.114.8/")
    await kit.subscriptions.delete(old_subscription.id, tenant=tenant)
    await kit.endpoints.delete(old_endpoint.id, tenant=tenant)
    for type_ in ("dead", "done", "later"):
        await kit.apublish(Event(type=type_, data={}), tenant=tenant, idempotency_key=f"key-{type_}")
    dispatcher = kit.dispatcher([channel])
    while await dispatcher.step():
        clock.advance(timedelta(milliseconds=1))
    for name in ("kept", "gone"):
        await kit.recipients.save(f"user:{tenant}-{name}", tenant=tenant, email="ada@example.org")
    await kit.recipients.delete(f"user:{tenant}-gone", tenant=tenant)
    found = {delivery.event_type: delivery for delivery in await kit.deliveries.list(tenant=tenant)}
    return Belongings(
        {
            "endpoint": endpoint.id,
            "subscription": subscription.id,
            "delivery": found["later"].id,
            "event": found["later"].event_id,
            "recipient": f"user:{tenant}-kept",
        },
        found["dead"].id,
        {"endpoint": old_endpoint.id, "subscription": old_subscription.id, "recipient": f"user:{tenant}-gone"},
        endpoint.secrets[0].value,
    )


class Scene(NamedTuple):
    """Two tenants in one kit."""

    kit: Notifykit
    owner: Belongings
    stranger: Belongings


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def url(request: pytest.FixtureRequest) -> str:
    """The URL of an empty store of each kind in turn."""
    return "memory://" if request.param == "memory" else request.getfixturevalue(f"{request.param}_store_url")


@pytest.fixture
async def scene(url: str) -> AsyncIterator[Scene]:
    """Two tenants that each have one of everything."""
    clock = FakeClock()
    async with Notifykit(url, clock=clock, egress=EgressRules()) as kit:
        yield Scene(kit, await provide(kit, OWNER, clock), await provide(kit, STRANGER, clock))


def calls(owner: type, *, skip: frozenset[str] = frozenset()) -> dict[str, inspect.Signature]:
    """Return the public methods of a class, by name."""
    return {
        name: inspect.signature(method)
        for name, method in inspect.getmembers(owner, inspect.isfunction)
        if not name.startswith("_") and name not in skip
    }


def with_ids() -> list[tuple[str, str, str]]:
    """Return every (facade or ``store``, method, parameter that is an id)."""
    found = [
        (facade, name, parameter)
        for facade, owner in FACADES.items()
        for name, signature in calls(owner).items()
        for parameter in signature.parameters
        if parameter in IDS and (facade, name) not in ANY_ID
    ]
    found += [
        ("store", name, parameter)
        for name, signature in calls(CallsById).items()
        for parameter in signature.parameters
        if parameter in IDS and ("store", name) not in ANY_ID
    ]
    return found


def with_cursors() -> list[tuple[str, str, str]]:
    """Return every (facade or ``store``, method, cursor)."""
    owners: dict[str, type] = {**FACADES, "store": CallsById}
    return [
        (owner, name, parameter)
        for owner, class_ in owners.items()
        for name, signature in calls(class_).items()
        for parameter in signature.parameters
        if parameter in ("before", "after") and "tenant" in signature.parameters
    ]


def bound(scene: Scene, owner: str, name: str) -> Callable[..., Any]:
    """Return the method of the kit's facade or store."""
    method: Callable[..., Any] = getattr(
        CallsById(scene.kit.store) if owner == "store" else getattr(scene.kit, owner), name
    )
    return method


async def ask(scene: Scene, owner: str, name: str, given: dict[str, Any]) -> tuple[str, str]:
    """Call as the other tenant; return the result with the ids that were passed masked."""
    method = bound(scene, owner, name)
    class_: type = CallsById if owner == "store" else FACADES[owner]
    signature = calls(class_)[name]
    options: dict[str, Any] = {}
    for parameter, details in signature.parameters.items():
        if parameter in given:
            options[parameter] = [given[parameter]] if parameter.endswith("_ids") else given[parameter]
        elif parameter == "tenant":
            options[parameter] = STRANGER
        elif parameter in IDS and details.default is inspect.Parameter.empty:
            options[parameter] = scene.stranger.own[IDS[parameter]]
        elif parameter in OTHERS and details.default is inspect.Parameter.empty:
            options[parameter] = OTHERS[parameter]
    try:
        answer = await method(**options)
    except NotifykitError as error:
        text = f"{type(error).__name__}: {error}"
    else:
        text = repr(answer)
    for parameter, handed in given.items():
        # The object of the call may be in the answer: an explanation shows its event.
        if handed not in [value for name_, value in options.items() if name_ != parameter]:
            text = text.replace(repr(handed), "'<id>'")
    return owner, text


async def everything(kit: Notifykit, tenant: str) -> list[object]:
    """Return all that a tenant has."""
    deliveries = await kit.deliveries.list(tenant=tenant, limit=1000)
    return [
        attrs.evolve(config.endpoints[0]) if (config := await load(kit.store, tenant)).endpoints else None,
        config,
        deliveries,
        [await kit.deliveries.attempts(delivery.id, tenant=tenant) for delivery in deliveries],
        await kit.events.list(tenant=tenant, limit=1000),
        await kit.recipients.list(tenant=tenant, limit=1000),
        [circuit for circuit in await kit.store.circuits() if circuit.tenant == tenant],
    ]


def foreign_kinds(scene: Scene, kind: str) -> dict[str, str]:
    """Return ids that do not belong to the calling tenant, by kind."""
    others = {f"a {name} of its own": id_ for name, id_ in scene.stranger.own.items() if name != kind}
    theirs = {f"somebody's {name}": id_ for name, id_ in scene.owner.own.items()}
    kinds = {
        **others,
        **theirs,
        "a condition": f"{MISSING[kind]} OR 1=1 --",
        "a wildcard": f"{MISSING[kind][:4]}%",
        "empty": "",
    }
    if kind in scene.owner.deleted:
        kinds["deleted by its owner"] = scene.owner.deleted[kind]
        kinds["deleted by the stranger"] = scene.stranger.deleted[kind]
    if kind == "delivery":
        kinds["somebody's dead letter"] = scene.owner.dead
    return kinds


@pytest.mark.parametrize(("owner", "name", "parameter"), with_ids(), ids=lambda value: value)
async def test_a_foreign_id_is_answered_like_no_id(scene, owner, name, parameter):
    """Same exception, same message, same value; and the owner's objects stay unchanged."""
    kind = IDS[parameter]
    before = await everything(scene.kit, OWNER)
    expected = await ask(scene, owner, name, {parameter: MISSING[kind]})

    answers = {
        what: await ask(scene, owner, name, {parameter: id_}) for what, id_ in foreign_kinds(scene, kind).items()
    }

    assert dict.fromkeys(answers, expected) == answers
    assert before == await everything(scene.kit, OWNER)
    _answered.update([owner] * len(answers))
    report.note("tenant matrix", calls=len(with_ids()), cases=_answered.total(), leaks=0)


@pytest.mark.parametrize("odd", ["\0", "\udc80"], ids=["NUL", "half a character"])
async def test_an_id_that_no_database_can_hold_is_refused_in_our_words(scene, odd):
    """A kit refuses it with the same message on every store; no driver's error leaves a store either."""
    for owner, name, parameter in with_ids():
        _, answer = await ask(scene, owner, name, {parameter: MISSING[IDS[parameter]] + odd})
        _, expected = await ask(scene, owner, name, {parameter: MISSING[IDS[parameter]]})

        if owner == "store":
            assert answer == expected or answer.startswith(
                ("StoreError: ", "ValueRefusedError: ", "InvalidInputError: ")
            )
        else:
            assert re.fullmatch(rf"Invalid\w*Error: invalid \w+: {parameter}: has control characters", answer)


@pytest.mark.parametrize(("owner", "name", "parameter"), with_cursors(), ids=lambda value: value)
async def test_a_foreign_cursor_opens_no_page(scene, owner, name, parameter):
    """A cursor only sets where a page begins; the tenant decides what is on it."""
    own = repr(await bound(scene, owner, name)(limit=100, tenant=STRANGER))
    for id_ in (*scene.owner.own.values(), *MISSING.values(), scene.owner.dead, "", "\uffff"):
        page = await bound(scene, owner, name)(limit=100, tenant=STRANGER, **{parameter: id_})

        assert all(item.tenant == STRANGER for item in page)
        assert all(repr(item) in own for item in page)


async def test_a_foreign_filter_finds_nothing(scene):
    """Asking for another tenant's endpoint, event or subscriptions finds nothing, and redrives nothing."""
    own = scene.owner.own
    states = frozenset(DeliveryState)
    for wanted in (DeliveryFilter(subscriber_id=own["endpoint"]), DeliveryFilter(event_id=own["event"])):
        assert [] == list(await scene.kit.deliveries.list(wanted, tenant=STRANGER))
        assert 0 == await scene.kit.deliveries.redrive_all(attrs.evolve(wanted, states=states), tenant=STRANGER)
    assert [] == list(await scene.kit.subscriptions.list(tenant=STRANGER, endpoint_id=own["endpoint"]))


async def test_an_idempotency_key_is_its_tenants_own(scene):
    """A key that another tenant has used is free, and reveals nothing of that tenant's event."""
    event = Event(type="mine", data={"of": "the stranger"})

    first = await scene.kit.apublish(event, tenant="initech", idempotency_key="key-dead")
    again = await scene.kit.apublish(event, tenant="initech", idempotency_key="key-dead")

    assert (False, True) == (first.duplicate, again.duplicate)
    assert "initech" == (await scene.kit.events.get(first.event_id, tenant="initech")).tenant


async def test_a_foreign_endpoint_cannot_be_subscribed(scene):
    """Neither directly nor through the shortcut."""
    before = await everything(scene.kit, OWNER)
    shapes = set()
    for endpoint_id in (scene.owner.own["endpoint"], MISSING["endpoint"], scene.owner.deleted["endpoint"]):
        for subscribe in (
            scene.kit.subscribe("**", tenant=STRANGER, endpoint=endpoint_id),
            scene.kit.subscriptions.create("**", tenant=STRANGER, endpoint_id=endpoint_id),
        ):
            with pytest.raises(NotifykitError) as refused:
                await subscribe
            shapes.add(f"{refused.type.__name__}: {refused.value}".replace(endpoint_id, "<id>"))

    assert 1 == len(shapes)
    assert before == await everything(scene.kit, OWNER)


async def test_wishes_are_those_of_a_tenants_own_recipients(scene):
    """Another tenant's recipient is answered like none, whatever is asked of their preferences."""
    before = await everything(scene.kit, OWNER)
    answers = set()
    for recipient_id in (scene.owner.own["recipient"], MISSING["recipient"], scene.owner.deleted["recipient"]):
        its = scene.kit.preferences(recipient_id, tenant=STRANGER)
        for call in (its.set(value="off"), its.unset(), its.mute(), its.unmute(), its.quiet_hours(), its.matrix()):
            with pytest.raises(NotifykitError) as refused:
                await call
            answers.add(f"{refused.type.__name__}: {refused.value}".replace(recipient_id, "<id>"))

    assert {"NotFoundError: no recipient '<id>'"} == answers
    assert before == await everything(scene.kit, OWNER)


async def test_changes_by_another_tenants_cursor_are_empty(scene):
    """Another tenant that has the owner's cursor sees no changes of the owner's deliveries."""
    cursor = (await scene.kit.deliveries.changes(tenant=OWNER)).cursor
    await scene.kit.deliveries.cancel(scene.owner.own["delivery"], tenant=OWNER)

    mine = await scene.kit.deliveries.changes(cursor, tenant=OWNER)
    told = await scene.kit.deliveries.changes(cursor, tenant=STRANGER)

    assert [scene.owner.own["delivery"]] == [change.delivery.id for change in mine.changes]
    assert {STRANGER} >= {change.delivery.tenant for change in told.changes}


async def test_the_publishing_tenant_owns_the_event(scene):
    """The tenant of the publish counts, not one that the event names."""
    before = await everything(scene.kit, OWNER)

    receipt = await scene.kit.apublish(Event(type="a", data={}, tenant=OWNER), tenant=STRANGER)

    assert STRANGER == (await scene.kit.events.get(receipt.event_id, tenant=STRANGER)).tenant
    assert before == await everything(scene.kit, OWNER)


async def test_nothing_can_be_assigned_that_is_not_offered(scene):
    """Tenant, state, secrets and ids are not among what an update changes."""
    changes = ({"tenant": OWNER}, {"state": "active"}, {"secrets": ()}, {"id": "end_x"}, {"subscriber_id": "end_x"})
    for change in changes:
        for facade, kind in ((scene.kit.endpoints, "endpoint"), (scene.kit.subscriptions, "subscription")):
            with pytest.raises((TypeError, NotifykitError)):
                await facade.update(scene.stranger.own[kind], **{"tenant": STRANGER, **change}, **_twice(change))


def _twice(change: dict[str, Any]) -> dict[str, Any]:
    # A second tenant can only be passed under another name.
    return {"tenant_id": OWNER} if "tenant" in change else {}


def test_every_call_has_its_cases():
    """Every method of the facades takes a tenant, and every verb without one is an engine's verb."""
    for facade, owner in FACADES.items():
        for name, signature in calls(owner).items():
            tenant = signature.parameters.get("tenant")
            assert tenant is not None, f"{facade}.{name} takes no tenant"
            assert inspect.Parameter.empty is tenant.default, f"{facade}.{name} has a tenant by default"
    without = {name for name, signature in calls(Store).items() if "tenant" not in signature.parameters}
    assert set(ENGINE_VERBS) == without
    assert set(calls(Store)) - without <= {verb_of(name) for name in calls(CallsById)}
    unknown = {
        parameter for _, name, parameter in with_ids() if parameter.endswith(("_id", "_ids")) and parameter not in IDS
    }
    assert set() == unknown
    assert len(with_ids()) >= 30
