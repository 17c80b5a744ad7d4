"""The client of the API: what it publishes is stored once, and what is refused is told as by the kit."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import httpx
import pytest

import notifykit
from notifykit import ConfigurationError, Event, InvalidInputError, NotFoundError, PublishOptions
from notifykit.client import ApiError, ApiUnavailableError, AsyncClient, Client
from notifykit.client.http import TRIES
from notifykit.models.access import Role
from notifykit.web import create_app
from tests.unit.web.world import ACME, GLOBEX

URL = "http://api.test"
EVENT = Event(type="order.shipped", data={"n": 1})


@notifykit.event("order.counted")
@attrs.frozen
class OrderCounted:
    n: int


@pytest.fixture
async def client(kit, world):
    """A client of the tenant's producer."""
    transport = httpx.ASGITransport(create_app(kit))
    async with AsyncClient(URL, world.secrets[ACME, Role.PRODUCER], transport=transport) as client:
        yield client


async def test_a_conflict_tells_what_is_stored(client, kit):
    """As that of the kit does."""
    await client.publish(EVENT, idempotency_key="k")
    events = [EVENT, attrs.evolve(EVENT, data={"n": 2}, idempotency_key="k")]

    with pytest.raises(ApiError) as refused:
        await client.publish_many(events)

    stored, conflict = refused.value.receipts
    assert (409, "idempotency_conflict", None) == (refused.value.status, refused.value.code, conflict)
    assert stored is not None
    assert "order.shipped" == (await kit.events.get(stored.event_id, tenant=ACME)).type


@pytest.mark.parametrize("made", [Client, AsyncClient])
@pytest.mark.parametrize(
    ("url", "key", "message"),
    [
        ("notify.example", "nk_x", "url: 'notify.example' is not the address of an API; write it like https://"),
        ("ftp://notify.example", "nk_x", "url: "),
        ("http://", "nk_x", "url: "),
        (URL, "", "key: is empty"),
    ],
)
def test_what_is_missing_is_told_at_once(made, url, key, message):
    """When the client is made, and not with the first request."""
    with pytest.raises(ConfigurationError, match=message):
        made(url, key)


async def test_an_address_that_does_not_answer_is_named():
    """With why it does not, and without a password."""
    url, said = "http://user:secret@127.0.0.1:1/x", r"the API at http://127.0.0.1:1/ did not answer: .+"
    with Client(url, "nk_x", sleep=lambda _: None) as sync, pytest.raises(ApiUnavailableError, match=said) as refused:
        sync.publish(EVENT)

    assert "refused" in str(refused.value)


async def test_everything_that_can_be_said_of_an_event_arrives(client, kit):
    """With the options of the kit, in JSON and back."""
    said: PublishOptions = {
        "topic": "shop/7",
        "resource": ("order", "A-1"),
        "occurred_at": datetime(2026, 3, 1, tzinfo=UTC),
        "delay": timedelta(seconds=2),
        "priority": "high",
        "metadata": {"a": "b"},
        "to": "user:42",
        "idempotency_key": "k",
    }

    receipt, again = [await client.publish(OrderCounted(3), **said) for _ in range(2)]

    stored = await kit.events.get(receipt.event_id, tenant=ACME)
    assert (receipt.event_id, False, True) == (again.event_id, receipt.duplicate, again.duplicate)
    assert ("order.counted", "shop/7", "A-1", "high", "k", '{"a":"b"}') == (
        stored.type,
        stored.topic,
        stored.resource_id,
        stored.priority,
        stored.idempotency_key,
        stored.metadata,
    )
    assert b'"data":{"n":3}' in stored.body
    assert timedelta(seconds=2) == stored.due_at - stored.published_at


async def test_many_events_are_sent_in_parts(client, kit, monkeypatch):
    """Any iterable of them, answered in order."""
    monkeypatch.setattr("notifykit.client.http.MAX_EVENTS", 2)

    receipts = await client.publish_many(Event(type="a.b", data={"n": n}) for n in range(5))

    stored = [await kit.events.get(receipt.event_id, tenant=ACME) for receipt in receipts]
    assert [f'"n":{n}'.encode() in event.body for n, event in enumerate(stored)] == [True] * 5


async def test_lists_are_read_page_by_page(client):
    """To the end."""
    for _ in range(3):
        await client.publish(EVENT)

    assert 4 == len([event async for event in client.pages("/v1/events", limit=2)])


async def test_refusals_are_errors(client):
    """Of the classes that the kit raises, where it has one."""
    with pytest.raises(InvalidInputError) as wrong:
        await client.publish(Event(type="a b", data={}), priority="soon")
    with pytest.raises(NotFoundError):
        await client.request("GET", "/v1/events/evt_0")
    with pytest.raises(ApiError) as forbidden:
        await client.request("GET", "/v1/keys")
    with pytest.raises(InvalidInputError, match="options"):
        await client.publish(EVENT, color="red")

    assert {"priority"} == {problem.partition(":")[0] for problem in wrong.value.problems}
    assert (403, "forbidden") == (forbidden.value.status, forbidden.value.code)
    assert forbidden.value.request_id


async def test_an_operator_names_the_tenant(kit, world):
    """Of the client, or of the call."""
    transport = httpx.ASGITransport(create_app(kit))
    async with AsyncClient(URL, world.secrets["", Role.OPERATOR], tenant=ACME, transport=transport) as client:
        await client.publish(EVENT)
        await client.publish(EVENT, tenant=GLOBEX)
        with pytest.raises(InvalidInputError, match="one tenant"):
            await client.publish_many([attrs.evolve(EVENT, tenant=ACME), attrs.evolve(EVENT, tenant=GLOBEX)])

    assert [2, 1] == [len(await kit.events.list(tenant=tenant)) for tenant in (ACME, GLOBEX)]


class Server:
    """Answers as a script says, and remembers what it was sent and how long the client waited."""

    def __init__(self, *script: Any) -> None:
        self.script = list(script)
        self.requests: list[httpx.Request] = []
        self.pauses: list[float] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.script.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def client(self) -> Client:
        return Client(URL, "nk_x", transport=httpx.MockTransport(self), sleep=self.pauses.append)


STORED = httpx.Response(202, json={"event_id": "evt_1", "duplicate": False})


def test_a_publish_that_fails_on_the_way_is_sent_again():
    """Under the same key, so that it is stored once; after as long as the server says."""
    server = Server(httpx.ReadTimeout(""), httpx.Response(503, headers={"retry-after": "3"}), STORED)

    with server.client() as client:
        receipt = client.publish(EVENT)

    keys = {request.headers["idempotency-key"] for request in server.requests}
    assert ("evt_1", 1, 3) == (receipt.event_id, len(keys), len(server.requests))
    assert server.pauses[1] == 3


def test_what_may_have_happened_is_not_repeated():
    """A POST without a key is sent again only if it cannot have arrived, or was turned away."""
    made = httpx.Response(201, json={"id": "end_1"})
    sent = Server(httpx.ReadTimeout(""))
    with sent.client() as client, pytest.raises(ApiUnavailableError, match="ReadTimeout"):
        client.request("POST", "/v1/endpoints", {"url": "https://a.example"})
    unsure = Server(httpx.Response(502))
    with unsure.client() as client, pytest.raises(ApiUnavailableError):
        client.request("POST", "/v1/endpoints", {"url": "https://a.example"})
    turned_away = Server(httpx.ConnectError(""), httpx.Response(429), made)
    with turned_away.client() as client:
        answer = client.request("POST", "/v1/endpoints", {"url": "https://a.example"})

    assert [1, 1, 3] == [len(server.requests) for server in (sent, unsure, turned_away)]
    assert {"id": "end_1"} == answer


def test_a_server_that_is_gone_is_given_up():
    """After five tries, with an error that says so."""
    server = Server(*[httpx.ConnectError("")] * TRIES)

    with (
        server.client() as client,
        pytest.raises(ApiUnavailableError, match=r"the API at http://api\.test/ did not answer: ConnectError"),
    ):
        client.publish_many([EVENT])

    assert (TRIES, TRIES - 1) == (len(server.requests), len(server.pauses))


def test_sync_code_reads_lists_and_deletes():
    """Page by page; an answer without a body is nothing."""
    pages = [httpx.Response(200, json={"data": [{"id": n}], "next": cursor}) for n, cursor in ((1, "c"), (2, None))]
    server = Server(*pages, httpx.Response(204), httpx.Response(500, text="?"))

    with server.client() as client:
        found = [*client.pages("/v1/endpoints", limit=1)]
        gone = client.request("DELETE", "/v1/endpoints/end_1")
        with pytest.raises(ApiError, match="unknown"):
            client.request("GET", "/v1/endpoints")

    assert [{"id": 1}, {"id": 2}] == found
    assert "c" == server.requests[1].url.params["cursor"]
    assert gone is None
