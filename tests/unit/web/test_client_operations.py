"""The client has a typed method for each operation of the API, for sync and for async code."""

from __future__ import annotations

import ast
import inspect
import json
from typing import Any

import httpx
import pytest

from docs import generate_client
from notifykit.client import ApiError, AsyncClient, Client
from notifykit.client.operations import AsyncOperations, Operations
from notifykit.errors import NotFoundError
from notifykit.models.access import Role
from notifykit.testing import FakeClock, make_inbox_item
from notifykit.web import create_app
from notifykit.web.openapi import document
from notifykit.web.route import Route
from notifykit.web.routes import TABLE
from tests.unit.web.serving import serving
from tests.unit.web.world import ACME, ADA, BODIES, QUERIES, World, made, new_kit

URL = "http://api.test"
OPERATIONS = [route for route in TABLE if route.name not in generate_client.LEFT_OUT]
#: What the world's objects do not allow: its delivery has ended, and was dead.
_REFUSED = {"cancel_delivery": 409}


def _called(client: Any, route: Route, ids: dict[str, str]) -> Any:
    """Call the method of an operation about objects that exist."""
    values = [ids[name] for name in route.parameters]
    body = {
        name: ids["endpoint_id"] if value == "ENDPOINT" else value for name, value in BODIES.get(route.name, {}).items()
    }
    method = getattr(client, route.name)
    if route.name == "publish_events":
        return method(body)
    return method(*values, **body, **QUERIES.get(route.name, {}))


def test_no_operation_of_the_document_is_missing():
    """Neither in the sync nor in the async client; only the token endpoint is no operation for programs with a key."""
    named = {its["operationId"] for path in document(TABLE)["paths"].values() for its in path.values()}
    for client in (Client, AsyncClient):
        methods = {name for name, _ in inspect.getmembers(client, callable)}
        assert {"issue_token"} == named - methods


def test_the_modules_are_fresh():
    """They are what their generator makes now of the table of routes."""
    for name, text in (("shapes", generate_client.shapes()), ("operations", generate_client.operations())):
        written = (generate_client.FOLDER / f"{name}.py").read_text()
        assert ast.dump(ast.parse(text)) == ast.dump(ast.parse(written)), "run: python -m docs.generate_client"


def test_both_clients_have_the_same_signatures():
    """So that a program can change from one to the other."""
    for route in OPERATIONS:
        sync, async_ = (inspect.signature(getattr(kind, route.name)) for kind in (Operations, AsyncOperations))
        assert sync == async_


@pytest.mark.parametrize("route", OPERATIONS, ids=lambda route: route.name)
async def test_each_operation_is_answered(kit, world, route):
    """The method sends what the route takes, and returns what it answers."""
    secret = world.secrets["", Role.OPERATOR]
    async with AsyncClient(URL, secret, tenant=ACME, transport=httpx.ASGITransport(create_app(kit))) as client:
        if route.name in _REFUSED:
            with pytest.raises(ApiError) as raised:
                await _called(client, route, world.ids)
            assert _REFUSED[route.name] == raised.value.status
        else:
            assert (route.answer is None) == (await _called(client, route, world.ids) is None)


async def test_the_sync_client_sends_the_same(world):
    """Method, path, query, headers and body of each operation."""
    sent: list[list[tuple[Any, ...]]] = [[], []]

    def taken(into: list[tuple[Any, ...]]) -> httpx.MockTransport:
        def take(request: httpx.Request) -> httpx.Response:
            kept = {name: value for name, value in request.headers.items() if name != "user-agent"}
            into.append((request.method, request.url, kept, request.content))
            return httpx.Response(200, json={})

        return httpx.MockTransport(take)

    with Client(URL, "nk_x", tenant=ACME, transport=taken(sent[0])) as sync:
        for route in OPERATIONS:
            _called(sync, route, world.ids)
    async with AsyncClient(URL, "nk_x", tenant=ACME, transport=taken(sent[1])) as client:
        for route in OPERATIONS:
            await _called(client, route, world.ids)

    assert len(OPERATIONS) == len(sent[0])
    assert sent[0] == sent[1]


def test_values_of_a_path_are_quoted_and_conditions_are_headers():
    """An id of the host's own may have any character."""
    seen: list[httpx.Request] = []

    def take(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json={})

    with Client(URL, "nk_x", transport=httpx.MockTransport(take)) as client:
        client.put_recipient("a/b?c", if_match='"3"', name=None)
        client.list_deliveries(state=["dead", "held"], limit=2)
        client.notify_person(user_id=ADA, type="a.b", payload={}, idempotency_key="k", tenant="globex")

    put, listed, notified = seen
    assert ("/v1/recipients/a%2Fb%3Fc", '"3"') == (put.url.raw_path.decode(), put.headers["if-match"])
    assert {"name": None} == json.loads(put.content)
    assert ["dead", "held"] == listed.url.params.get_list("state")
    assert ("k", "globex") == (notified.headers["idempotency-key"], notified.headers["notifykit-tenant"])


def test_a_stream_tells_what_changes():
    """Both clients read it, from a real server; a stream of nobody is refused as other requests are."""
    kit = new_kit(FakeClock())
    with serving(create_app(kit)) as server:
        world: World = server.call(made(kit))
        secret = world.secrets[ACME, Role.TENANT_ADMIN]
        with Client(server.url, secret) as client:
            stream = client.stream_inbox(ADA)
            counts = next(stream)
            server.call(kit.store.inbox_put([make_inbox_item(ADA, tenant=ACME, title="new", at=kit.clock.now())]))  # type: ignore[attr-defined]
            changes = next(stream)
            stream.close()  # type: ignore[attr-defined]
            again = client.stream_inbox(ADA, cursor=str(int(changes.id or 0) - 1))
            next(again)
            missed = next(again)
            again.close()  # type: ignore[attr-defined]
        with Client(server.url, "nk_wrong") as stranger, pytest.raises(ApiError) as refused:
            next(stranger.stream_inbox(ADA))

    assert ("counts", None) == (counts.event, counts.id)
    assert "changes" == changes.event
    assert changes == missed
    assert 401 == refused.value.status


async def test_what_is_not_there_is_told_as_by_the_kit(kit, world):
    """As an error of the library."""
    secret = world.secrets[ACME, Role.VIEWER]
    async with AsyncClient(URL, secret, transport=httpx.ASGITransport(create_app(kit))) as client:
        with pytest.raises(NotFoundError):
            await client.get_delivery("dlv_01M8KWCZKFFFM6253565SF24NK")
