"""No call reaches another tenant's objects: for the caller they do not exist."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from notifykit import DeliveryFilter, NotFoundError, Notifykit
from notifykit.models.outcome import Permanent, Transient
from notifykit.testing import START

ACME, GLOBEX = "acme", "globex"
MISSING = {
    "endpoints": "end_01KJMMA2KV0000000000000001",
    "subscriptions": "sub_01KJMMA2KV0000000000000001",
    "deliveries": "dlv_01KJMMA2KV0000000000000001ABCDEFGHJKMNP",
    "events": "evt_01KJMMA2KV0000000000000001",
}

#: Every call that takes an id, with what else it needs.
CALLS: list[tuple[str, str, dict[str, Any]]] = [
    ("endpoints", "get", {}),
    ("endpoints", "update", {"description": "mine now"}),
    ("endpoints", "delete", {}),
    ("endpoints", "pause", {}),
    ("endpoints", "resume", {}),
    ("endpoints", "disable", {}),
    ("endpoints", "rotate_secret", {}),
    ("endpoints", "revoke_secret", {"secret": "whsec_x"}),
    ("endpoints", "test", {}),
    ("subscriptions", "get", {}),
    ("subscriptions", "update", {"enabled": False}),
    ("subscriptions", "delete", {}),
    ("subscriptions", "warnings", {}),
    ("deliveries", "get", {}),
    ("deliveries", "attempts", {}),
    ("deliveries", "redrive", {}),
    ("deliveries", "cancel", {}),
    ("events", "get", {}),
    ("events", "explain", {}),
]


@pytest.fixture
async def belongings(kit, world, endpoint):
    """One of everything that a tenant has, with a dead and a waiting delivery."""
    (subscription,) = await kit.subscriptions.list(tenant=ACME)
    world.answers[endpoint.id] = [Permanent(reason="http_413"), Transient(reason="http_503")]
    (dead,) = await world.published()
    await world.published()
    return {
        "endpoints": endpoint.id,
        "subscriptions": subscription.id,
        "deliveries": dead.id,
        "events": dead.event_id,
    }


async def everything(kit: Notifykit, tenant: str) -> list[Any]:
    """Return all that a tenant has."""
    return [
        await kit.endpoints.list(tenant=tenant),
        await kit.subscriptions.list(tenant=tenant),
        await kit.deliveries.list(tenant=tenant),
        await kit.events.list(tenant=tenant),
    ]


@pytest.mark.parametrize(("part", "verb", "options"), CALLS, ids=lambda value: value if isinstance(value, str) else "")
async def test_a_strangers_call_finds_nothing(kit, belongings, part, verb, options):
    """The error is the same as for an id that does not exist, and nothing has changed."""
    before = await everything(kit, ACME)
    call = getattr(getattr(kit, part), verb)

    with pytest.raises(NotFoundError) as foreign:
        await call(belongings[part], **options, tenant=GLOBEX)
    with pytest.raises(NotFoundError) as unknown:
        await call(MISSING[part], **options, tenant=GLOBEX)

    assert (foreign.value.kind, belongings[part]) == (unknown.value.kind, foreign.value.id)
    assert str(unknown.value).replace(MISSING[part], belongings[part]) == str(foreign.value)
    assert before == await everything(kit, ACME)
    assert [[], [], [], []] == await everything(kit, GLOBEX)


async def test_every_call_with_an_id_is_tried(kit):
    """A new method of a part must be added to the table above."""
    known = {(part, verb) for part, verb, _ in CALLS}
    without_id = {"create", "list", "dead", "redrive_all", "recover", "cancel_all", "wake_all", "changes"}
    found = {
        (part, name)
        for part in MISSING
        for name in dir(getattr(kit, part))
        if not name.startswith("_") and name not in without_id
    }

    assert known == found


async def test_a_strangers_lists_are_empty_and_sweeps_move_nothing(kit, belongings, clock):
    """Filters that name another tenant's objects match nothing."""
    before = await everything(kit, ACME)
    since = START - timedelta(days=1)

    assert [] == await kit.deliveries.dead(tenant=GLOBEX)
    assert [] == await kit.deliveries.list(DeliveryFilter(event_id=belongings["events"]), tenant=GLOBEX)
    assert [] == await kit.subscriptions.list(tenant=GLOBEX, endpoint_id=belongings["endpoints"])
    assert [] == await kit.events.list(tenant=GLOBEX, before="evt_~")
    assert 0 == await kit.deliveries.redrive_all(tenant=GLOBEX)
    assert 0 == await kit.deliveries.recover(belongings["endpoints"], tenant=GLOBEX, since=since)
    with pytest.raises(NotFoundError):
        await kit.subscriptions.create("**", tenant=GLOBEX, endpoint_id=belongings["endpoints"])

    assert before == await everything(kit, ACME)
