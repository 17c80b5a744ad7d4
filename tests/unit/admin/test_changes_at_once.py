"""Two changes of one endpoint or subscription at the same moment: both are made, or one is refused for a reason."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest

from notifykit import EndpointState, NotFoundError, Notifykit, RateLimit, StateError
from notifykit.models.endpoint import Endpoint
from notifykit.models.subscription import Subscription
from notifykit.signing import generate_secret
from notifykit.stores.memory import MemoryStore

ACME = "acme"
OLD, NEW, THEIRS = (generate_secret() for _ in range(3))

#: A change of an endpoint, and the check that it was made.
Change = Callable[[Notifykit, str], Awaitable[object]]


@pytest.fixture
async def endpoint(kit):
    """An endpoint with two secrets that sign; the newest is ``OLD``."""
    _, endpoint = await kit.subscribe("**", tenant=ACME, endpoint="http://127.0.0.1:8080/hooks", secret=THEIRS)
    return await kit.endpoints.rotate_secret(endpoint.id, tenant=ACME, secret=OLD)


@pytest.fixture
def meanwhile(monkeypatch):
    """Runs a concurrent change after the next read of a record, before it is saved."""

    def arrange(record: type, happens: Callable[[], Awaitable[object]]) -> None:
        read = MemoryStore.get
        left = [happens]

        async def reading(store: MemoryStore, kind: type, tenant: str, ids: Sequence[str]) -> object:
            found: list[Any] = await read(store, kind, tenant, ids)
            if left and kind is record:
                await left.pop()()
            return found

        monkeypatch.setattr(MemoryStore, "get", reading)

    return arrange


CHANGES: dict[str, tuple[Change, Callable[..., object]]] = {
    "rotate": (
        lambda kit, id_: kit.endpoints.rotate_secret(id_, tenant=ACME, secret=NEW),
        lambda e: NEW in [secret.value for secret in e.secrets],
    ),
    "revoke": (
        lambda kit, id_: kit.endpoints.revoke_secret(id_, THEIRS, tenant=ACME),
        lambda e: THEIRS not in [secret.value for secret in e.secrets],
    ),
    "pause": (
        lambda kit, id_: kit.endpoints.pause(id_, tenant=ACME),
        lambda e: e.state is EndpointState.PAUSED,
    ),
    "disable": (
        lambda kit, id_: kit.endpoints.disable(id_, tenant=ACME),
        lambda e: e.state is EndpointState.DISABLED,
    ),
    "url": (
        lambda kit, id_: kit.endpoints.update(id_, tenant=ACME, url="http://127.0.0.1:8080/moved"),
        lambda e: e.url.endswith("/moved"),
    ),
    "limit": (
        lambda kit, id_: kit.endpoints.update(id_, tenant=ACME, rate_limit=RateLimit(per_second=5)),
        lambda e: e.rate_limit == RateLimit(per_second=5),
    ),
}
PAIRS = [
    (first, second)
    for first in CHANGES
    for second in CHANGES
    if first != second and {first, second} != {"pause", "disable"}
]


@pytest.mark.parametrize(("slow", "fast"), PAIRS, ids=map("-".join, PAIRS))
async def test_both_changes_are_made(kit, endpoint, meanwhile, slow, fast):
    """A change that was overtaken is made anew from the result of the faster one."""
    meanwhile(Endpoint, lambda: CHANGES[fast][0](kit, endpoint.id))

    answered = await CHANGES[slow][0](kit, endpoint.id)

    found = await kit.endpoints.get(endpoint.id, tenant=ACME)
    assert found == answered
    assert (True, True) == (CHANGES[slow][1](found), CHANGES[fast][1](found))
    assert endpoint.version + 2 == found.version


@pytest.mark.parametrize(("slow", "fast"), [("pause", "disable"), ("disable", "pause")])
async def test_of_two_states_the_last_one_counts(kit, endpoint, meanwhile, slow, fast):
    """Both changes are made one after the other, as if they had not been concurrent."""
    meanwhile(Endpoint, lambda: CHANGES[fast][0](kit, endpoint.id))

    await CHANGES[slow][0](kit, endpoint.id)

    assert CHANGES[slow][1](await kit.endpoints.get(endpoint.id, tenant=ACME))


async def test_a_resume_leaves_a_rotation_alone(kit, endpoint, meanwhile):
    """What was held for a pause is sent with the secret that was added meanwhile."""
    await kit.endpoints.pause(endpoint.id, tenant=ACME)
    meanwhile(Endpoint, lambda: CHANGES["rotate"][0](kit, endpoint.id))

    resumed = await kit.endpoints.resume(endpoint.id, tenant=ACME)

    assert (EndpointState.ACTIVE, NEW) == (resumed.state, resumed.secrets[0].value)


async def test_two_revocations_leave_a_secret_that_signs(kit, endpoint, meanwhile):
    """Each would leave the other's secret; the second is refused, since it would leave none."""
    meanwhile(Endpoint, lambda: kit.endpoints.revoke_secret(endpoint.id, OLD, tenant=ACME))

    with pytest.raises(StateError, match="only secret"):
        await kit.endpoints.revoke_secret(endpoint.id, THEIRS, tenant=ACME)

    assert [THEIRS] == [secret.value for secret in (await kit.endpoints.get(endpoint.id, tenant=ACME)).secrets]


async def test_concurrent_rotations_keep_to_the_limit(kit, endpoint, meanwhile):
    """A sixth secret is refused also if the fifth came after the endpoint was read."""
    for _ in range(2):
        await kit.endpoints.rotate_secret(endpoint.id, tenant=ACME)
    meanwhile(Endpoint, lambda: kit.endpoints.rotate_secret(endpoint.id, tenant=ACME))

    with pytest.raises(StateError, match="revoke one first"):
        await kit.endpoints.rotate_secret(endpoint.id, tenant=ACME, overlap=timedelta(days=1))

    assert 5 == len((await kit.endpoints.get(endpoint.id, tenant=ACME)).secrets)


@pytest.mark.parametrize("name", CHANGES)
async def test_a_removed_endpoint_does_not_come_back(kit, endpoint, meanwhile, name):
    """A change that was overtaken by a removal finds no endpoint."""
    meanwhile(Endpoint, lambda: kit.endpoints.delete(endpoint.id, tenant=ACME))

    with pytest.raises(NotFoundError, match=endpoint.id):
        await CHANGES[name][0](kit, endpoint.id)

    assert [] == await kit.endpoints.list(tenant=ACME)


async def test_both_changes_of_a_subscription_are_made(kit, endpoint, meanwhile):
    """Each keeps the fields that the other changes."""
    (subscription,) = await kit.subscriptions.list(tenant=ACME)
    meanwhile(Subscription, lambda: kit.subscriptions.update(subscription.id, tenant=ACME, event_types="refund.*"))

    changed = await kit.subscriptions.update(subscription.id, tenant=ACME, topic="shop/7")

    assert changed == await kit.subscriptions.get(subscription.id, tenant=ACME)
    assert (("refund.*",), "shop/7", subscription.version + 2) == (changed.event_types, changed.topic, changed.version)


async def test_a_removed_subscription_does_not_come_back(kit, endpoint, meanwhile):
    """A change that was overtaken by the removal of the endpoint finds no subscription."""
    (subscription,) = await kit.subscriptions.list(tenant=ACME)
    meanwhile(Subscription, lambda: kit.endpoints.delete(endpoint.id, tenant=ACME))

    with pytest.raises(NotFoundError):
        await kit.subscriptions.update(subscription.id, tenant=ACME, enabled=False)

    assert [] == await kit.subscriptions.list(tenant=ACME)


async def test_an_endpoint_that_is_being_removed_cannot_be_subscribed(kit, endpoint, meanwhile):
    """The error says that there is no such endpoint, and no subscription is left behind."""
    meanwhile(Endpoint, lambda: kit.endpoints.delete(endpoint.id, tenant=ACME))

    with pytest.raises(NotFoundError, match=endpoint.id):
        await kit.subscriptions.create("order.*", tenant=ACME, endpoint_id=endpoint.id)

    assert [] == await kit.subscriptions.list(tenant=ACME)
