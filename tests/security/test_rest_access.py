"""The REST API's access: every route, every role, every tenant.

The cases are made from the table of routes.  What a caller may not do is refused, and what belongs to somebody else
is answered as if it did not exist, and stays as it is.
"""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from notifykit.models.access import ROLE_SCOPES, AccessScope, Role
from notifykit.testing import FakeClock
from notifykit.web import EndUser, create_app
from notifykit.web.route import Route
from notifykit.web.routes import TABLE
from tests.unit.web.world import ACME, ADA, BOB, GLOBEX, MARK, client_of, made, new_kit

ROLES = (Role.PRODUCER, Role.VIEWER, Role.TENANT_ADMIN, Role.OPERATOR)
#: Routes about the ids of a tenant's own objects: those of another tenant do not exist.
_IDS_OF_TENANTS = {"endpoint_id", "subscription_id", "event_id", "delivery_id", "key_id"}
#: Routes that answer for any id, because hosts choose the ids of persons: with what their own tenant has, nothing.
_ANY_ID = {"put_recipient", "erase_recipient", "list_inbox", "count_inbox", "mark_inbox", "list_inbox_changes"} | {
    "list_notifications",
    "explain_person",
}
#: A stream does not end, so that the transport of the tests does not answer: ``test_sockets.py`` looks at those.
every_route = pytest.mark.parametrize(
    "route", [route for route in TABLE if not route.is_stream], ids=lambda route: route.name
)


@pytest.fixture
async def kit():
    async with new_kit(FakeClock()) as kit:
        yield kit


@pytest.fixture
async def world(kit):
    return await made(kit)


@every_route
async def test_roles_do_what_their_scopes_say_and_no_more(kit, world, route):
    """With the scope the request is answered, without it refused; refused requests change nothing."""
    before = await world.snapshot()
    async with client_of(create_app(kit)) as client:
        for role in sorted(ROLES, key=lambda role: _may(role, route)):
            if _may(role, route):
                break
            refused = await client.request(**world.request(route, headers=world.headers(ACME, role)))
            assert (403, "forbidden") == (refused.status_code, refused.json()["code"]), role
            assert MARK not in refused.text
        assert before == await world.snapshot()
        answered = await client.request(**world.request(route, headers=world.headers(ACME, Role.OPERATOR)))
    # The delivery has ended: it cannot be cancelled.
    assert (409 if route.name == "cancel_delivery" else route.status) == answered.status_code, answered.text


@every_route
async def test_nobody_gets_in_without_credentials(kit, world, route):
    """Only what tells whether the server works is for all."""
    async with client_of(create_app(kit)) as client:
        for given in (None, "Bearer", "Bearer nk_x", "Basic YTpi", "Bearer eyJhbGciOiJub25lIn0.e30."):
            headers = {} if given is None else {"Authorization": given}
            answer = await client.request(**world.request(route, headers=headers))

            assert (200 if route.scope is None else 401) == answer.status_code
            if route.scope is not None:
                assert answer.headers["www-authenticate"].startswith("Bearer")
                assert MARK not in answer.text


@every_route
async def test_another_tenant_finds_and_changes_nothing(kit, world, route):
    """A foreign id is answered as a missing one is, and the owner's data stay as they were."""
    before = await world.snapshot()
    theirs = _IDS_OF_TENANTS if route.name in _ANY_ID else _IDS_OF_TENANTS | {"recipient_id", "user_id"}

    async with client_of(create_app(kit)) as client:
        for role in ROLES:
            answer = await client.request(**world.request(route, headers=world.headers(GLOBEX, role)))

            assert MARK not in answer.text
            if _may(role, route) and theirs & {*route.parameters}:
                assert 404 == answer.status_code, role
    assert before == await world.snapshot()


@pytest.mark.thorough
@every_route
async def test_an_operator_names_the_tenant(kit, world, route):
    """Without its name there is no answer about any."""
    secret = world.secrets["", Role.OPERATOR]

    async with client_of(create_app(kit)) as client:
        answer = await client.request(**world.request(route, headers={"Authorization": f"Bearer {secret}"}))

    expected = route.status if route.scope is None or route.is_system else 422
    assert expected == answer.status_code
    assert MARK not in answer.text


@every_route
async def test_persons_see_what_is_their_own(kit, world, route):
    """What is somebody else's does not exist for them, whether of their tenant or of another."""
    before = await world.snapshot()

    for tenant, person in ((ACME, BOB), (GLOBEX, ADA)):
        user = EndUser(tenant=tenant, recipient_id=person)
        async with client_of(create_app(kit, recipient=partial(_signed_in, user))) as client:
            answer = await client.request(**world.request(route))

        assert MARK not in answer.text
        if route.scope is not None and (tenant == ACME or not (route.person or route.person_field)):
            assert 404 == answer.status_code
    assert before == await world.snapshot()


@pytest.mark.thorough
@every_route
async def test_persons_use_their_own_inbox_and_preferences(kit, world, route):
    """The routes that name a person are for that person; all others are for programs."""
    app = create_app(kit, recipient=lambda _: EndUser(tenant=ACME, recipient_id=ADA))

    async with client_of(app) as client:
        answer = await client.request(**world.request(route))

    if route.scope is None or route.person is not None or route.person_field is not None:
        assert route.status == answer.status_code, answer.text
    else:
        assert 404 == answer.status_code


@pytest.mark.thorough
@every_route
async def test_scopes_of_a_key_take_away(kit, world, route):
    """A key that has every scope but the route's is refused."""
    others = [scope for scope in AccessScope if scope != route.scope]
    issued = await kit.api_keys.create(tenant=ACME, role=Role.TENANT_ADMIN, scopes=others)

    async with client_of(create_app(kit)) as client:
        answer = await client.request(**world.request(route, headers={"Authorization": f"Bearer {issued.secret}"}))

    assert (200 if route.scope is None else 403) == answer.status_code


def test_every_route_that_names_a_person_is_looked_at():
    """A parameter that is a person's id is declared as one, so that persons are kept to their own."""
    assert all(route.person == "user_id" for route in TABLE if "user_id" in route.parameters)
    assert {"events:read", "events:write"} < {str(route.scope) for route in TABLE}
    assert len(TABLE) == len({route.name for route in TABLE})


async def test_a_session_is_not_used_by_other_sites(kit, world):
    """What a form of another site can send with a browser's session is refused."""
    app = create_app(kit, recipient=lambda _: EndUser(tenant=ACME, recipient_id=ADA))
    before = await world.snapshot()

    async with client_of(app) as client:
        answer = await client.post(
            f"/v1/inbox/{ADA}/marks", content=b'{"mark":"read"}', headers={"Content-Type": "text/plain"}
        )

    assert 415 == answer.status_code
    assert before == await world.snapshot()


async def test_a_key_is_no_way_to_more_rights(kit, world):
    """Neither by a new key nor by the secret of one that may do more."""
    scopes = ["keys:read", "keys:write", "events:read"]
    issued = await kit.api_keys.create(tenant=ACME, role=Role.TENANT_ADMIN, scopes=scopes)
    headers = {"Authorization": f"Bearer {issued.secret}"}

    async with client_of(create_app(kit), headers=headers) as client:
        more = await client.post("/v1/keys", json={"role": "tenant_admin"})
        rotated = await client.post(f"/v1/keys/{world.ids['key_id']}/rotate", json={})
        operator = await client.post("/v1/keys", json={"role": "operator", "scopes": ["events:read"]})
        same = await client.post("/v1/keys", json={"role": "tenant_admin", "scopes": scopes})

    assert [403, 403, 422, 201] == [each.status_code for each in (more, rotated, operator, same)]


async def test_guessing_is_slowed_down(kit, world):
    """After twenty wrong secrets an address is refused, whatever it sends, and told when to come back."""
    right = world.headers(ACME, Role.VIEWER)

    async with client_of(create_app(kit)) as client:
        guesses = [await client.get("/v1/events", headers={"Authorization": f"Bearer nk_{n}"}) for n in range(21)]
        after = await client.get("/v1/events", headers=right)
        token = await client.post("/oauth/token", data={"grant_type": "client_credentials"})

    assert [401] * 20 + [429] == [each.status_code for each in guesses]
    assert [429, 429] == [after.status_code, token.status_code]
    assert 1 <= int(after.headers["retry-after"]) <= 5


async def test_a_revoked_key_ends(kit, world, monkeypatch):
    """As soon as a process does not remember it any more."""
    headers = world.headers(ACME, Role.VIEWER)
    async with client_of(create_app(kit), headers=headers) as client:
        before = await client.get("/v1/events")
        await kit.api_keys.revoke(world.ids["key_id"], tenant=ACME)
        monkeypatch.setattr("notifykit.web.access.keys.time.monotonic", lambda: 10.0**9)
        after = await client.get("/v1/events")

    assert (200, 401) == (before.status_code, after.status_code)


async def test_requests_at_once_do_not_mix_callers(kit, world):
    """Each of many requests of two tenants is answered for its own."""
    async with client_of(create_app(kit)) as client:
        answers = await asyncio.gather(
            *(
                client.get("/v1/endpoints", headers=world.headers(tenant, Role.VIEWER))
                for _ in range(20)
                for tenant in (ACME, GLOBEX)
            )
        )

    assert [1, 0] * 20 == [len(answer.json()["data"]) for answer in answers]


def _signed_in(user: EndUser, _: object) -> EndUser:
    return user


def _may(role: Role, route: Route) -> bool:
    return route.scope is None or route.scope in ROLE_SCOPES[role]
