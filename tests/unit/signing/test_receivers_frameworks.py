"""The receivers for FastAPI, Starlette, Flask and Django behave alike."""

from __future__ import annotations

import functools
import http.client
import importlib
import json
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import anyio
import attrs
import django.conf
import django.http
import django.test
import fastapi
import flask
import httpx
import pytest
import uvicorn
from asgiref.sync import sync_to_async
from django.test.utils import override_settings
from django.urls import clear_url_caches, path
from sqlalchemy.ext.asyncio import create_async_engine
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from werkzeug.serving import make_server

import notifykit.contrib.receivers.asgi as asgi_receivers
import notifykit.contrib.receivers.django as django_receivers
import notifykit.contrib.receivers.flask as flask_receivers
from notifykit.contrib.receivers import ReceivedEvent
from notifykit.contrib.receivers.sql import AsyncSqlDedupe
from notifykit.errors import MissingExtraError, StoreUnavailableError
from notifykit.signing import MemoryDedupe, Seen
from tests.unit.signing.messages import BODY, ID, OTHER_SECRET, headers, verifier

MAX_BODY = 2000
Post = Callable[[bytes, list[tuple[str, str]]], Coroutine[Any, Any, tuple[int, str]]]


class OutageError(Exception):
    """What a handler's own dependency raises."""


@attrs.define
class Shop:
    """The receiving program: records what it handled, and fails on demand."""

    handled: list[str] = attrs.field(factory=list)
    fails: bool = False

    def on_event(self, event: ReceivedEvent) -> None:
        if self.fails:
            raise OutageError
        assert ("order.shipped", {"order_id": "A-1"}) == (event.type, event.data)
        self.handled.append(event.id)


def _over_asgi(app: Any) -> Post:
    async def post(body: bytes, pairs: list[tuple[str, str]]) -> tuple[int, str]:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://shop.example") as client:
            answer = await client.post("/hooks", content=body, headers=pairs)
        return answer.status_code, _reason(answer.content)

    return post


def _reason(body: bytes) -> str:
    try:
        answer = json.loads(body)
    except ValueError:
        return ""
    return str(answer.get("reason") or answer.get("detail"))


def _fastapi(shop: Shop, dedupe: Any) -> Post:
    app = fastapi.FastAPI()
    receiver = asgi_receivers.WebhookReceiver(verifier(), dedupe=dedupe, source="acme", max_body=MAX_BODY)

    @app.post("/hooks")
    @receiver
    async def on_event(event: ReceivedEvent) -> None:
        shop.on_event(event)

    return _over_asgi(app)


def _fastapi_dependency(shop: Shop, dedupe: Any) -> Post:
    app = fastapi.FastAPI()
    receiver = asgi_receivers.WebhookReceiver(verifier(), dedupe=dedupe, source="acme", max_body=MAX_BODY)

    async def on_event(event: Any) -> None:
        shop.on_event(event)

    on_event.__annotations__["event"] = Annotated[ReceivedEvent, fastapi.Depends(receiver.event)]
    app.post("/hooks", status_code=204)(on_event)
    return _over_asgi(app)


def _starlette(shop: Shop, dedupe: Any) -> Post:
    receiver = asgi_receivers.WebhookReceiver(verifier(), dedupe=dedupe, source="acme", max_body=MAX_BODY)

    @receiver
    def on_event(event: ReceivedEvent) -> None:  # not async: runs in a thread
        shop.on_event(event)

    return _over_asgi(Starlette(routes=[Route("/hooks", on_event, methods=["POST"])]))


def _flask(shop: Shop, dedupe: Any) -> Post:
    app = flask.Flask("shop")
    receiver = flask_receivers.WebhookReceiver(verifier(), dedupe=dedupe, source="acme", max_body=MAX_BODY)

    @app.post("/hooks")
    @receiver
    def on_event(event: ReceivedEvent) -> None:
        shop.on_event(event)

    async def post(body: bytes, pairs: list[tuple[str, str]]) -> tuple[int, str]:
        answer = app.test_client().post("/hooks", data=body, headers=pairs)
        return answer.status_code, _reason(answer.data)

    return post


if not django.conf.settings.configured:
    django.conf.settings.configure()

urlpatterns: list[Any] = []
django_site = functools.partial(
    override_settings,
    ROOT_URLCONF=__name__,
    ALLOWED_HOSTS=["*"],
    MIDDLEWARE=["django.middleware.csrf.CsrfViewMiddleware"],
)


def _django(shop: Shop, dedupe: Any) -> Post:
    receiver = django_receivers.WebhookReceiver(verifier(), dedupe=dedupe, source="acme", max_body=MAX_BODY)

    @receiver
    def on_event(event: ReceivedEvent) -> None:
        shop.on_event(event)

    urlpatterns[:] = [path("hooks", on_event)]
    client = django.test.Client(enforce_csrf_checks=True, raise_request_exception=False)

    async def post(body: bytes, pairs: list[tuple[str, str]]) -> tuple[int, str]:
        # What WSGI servers do with a header that comes twice.
        joined: dict[str, str] = {}
        for name, value in pairs:
            key = name.lower()
            joined[key] = f"{joined[key]},{value}" if key in joined else value
        send = sync_to_async(client.post)
        answer = await send("/hooks", data=body, content_type="application/json", headers=joined)
        return answer.status_code, _reason(answer.content)

    return post


@pytest.fixture(params=[_fastapi, _fastapi_dependency, _starlette, _flask, _django], ids=lambda make: make.__name__[1:])
def site(request):
    """Make a site of one framework around a shop and a dedupe store."""
    if request.param is not _django:
        yield request.param
        return
    clear_url_caches()
    with django_site():
        yield request.param


GOOD = list(headers().items())


async def test_a_message_is_handled_once(site):
    """The first is handled, a repetition is answered with success and not handled."""
    shop = Shop()
    post = site(shop, MemoryDedupe())

    answers = [await post(BODY, GOOD) for _ in range(3)]

    assert [(204, "")] * 3 == answers
    assert [ID] == shop.handled


async def test_a_failed_message_is_handled_again(site):
    """A handler's exception is the framework's 500, and the sender's retry runs it again."""
    shop = Shop(fails=True)
    post = site(shop, MemoryDedupe())

    failed, _ = await post(BODY, GOOD)
    shop.fails = False
    repeated = await post(BODY, GOOD)

    assert 500 == failed
    assert (204, "") == repeated
    assert [ID] == shop.handled


async def test_a_message_in_progress_is_put_off(site):
    """While another process handles the message, the sender is answered "try again later"."""
    shop, dedupe = Shop(), MemoryDedupe()
    dedupe.begin("acme", ID)

    answer = await site(shop, dedupe)(BODY, GOOD)

    assert (503, "in_progress") == answer
    assert [] == shop.handled


async def test_without_a_store_each_repetition_is_handled(site):
    """A dedupe store is optional."""
    shop = Shop()
    post = site(shop, None)

    answers = [await post(BODY, GOOD) for _ in range(2)]

    assert [(204, "")] * 2 == answers
    assert [ID, ID] == shop.handled


@pytest.mark.parametrize(
    ("body", "pairs", "answer"),
    [
        (BODY, list(headers(OTHER_SECRET).items()), (401, "no_match")),
        (BODY + b" ", GOOD, (401, "no_match")),
        (BODY, [], (400, "header_missing")),
        (b"[]", list(headers(body=b"[]").items()), (400, "payload_malformed")),
        (b"x" * 2001, list(headers(body=b"x" * 2001).items()), (413, "body_too_large")),
    ],
)
async def test_bad_requests_are_answered_with_their_reason(site, body, pairs, answer):
    """No forged, malformed or oversized request reaches the handler or the store."""
    shop, dedupe = Shop(), MemoryDedupe()

    refused = await site(shop, dedupe)(body, pairs)

    assert answer == refused
    assert [] == shop.handled
    assert Seen.NEW is dedupe.begin("acme", ID)


async def test_a_doubled_id_is_refused(site):
    """A header that comes twice is refused, whether the server keeps both or joins them."""
    shop = Shop()

    status, reason = await site(shop, MemoryDedupe())(BODY, [*GOOD, ("Webhook-Id", "msg_other")])

    assert (400, True) == (status, reason in {"header_duplicate", "id_malformed"})
    assert [] == shop.handled


class Down:
    """A dedupe store that is unavailable from the chosen step on."""

    def __init__(self, since: str) -> None:
        self._since = since

    def begin(self, source: str, id: str) -> Seen:
        if self._since == "begin":
            raise StoreUnavailableError("down")
        return Seen.NEW

    def finish(self, source: str, id: str) -> None:
        raise StoreUnavailableError("down")

    forget = finish


@pytest.mark.parametrize(("since", "answer"), [("begin", (503, "dedupe_unavailable")), ("end", (204, ""))])
async def test_a_store_that_is_down_does_not_lose_messages(site, since, answer):
    """Before the work the sender is asked to retry; after it the answer is success."""
    shop = Shop()

    assert answer == await site(shop, Down(since))(BODY, GOOD)
    assert ([] if since == "begin" else [ID]) == shop.handled


async def test_fastapi_and_an_async_database(tmp_path):
    """The store may be async; it is then in the program's own database."""
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/shop.db")
    dedupe = AsyncSqlDedupe(engine)
    await dedupe.create_table()
    shop = Shop()
    post = _fastapi(shop, dedupe)

    answers = [await post(BODY, GOOD) for _ in range(2)]

    assert [(204, "")] * 2 == answers
    assert [ID] == shop.handled
    await engine.dispose()


async def test_asgi_handlers_answer_themselves():
    """A 2xx response is passed on and counts; any other is passed on and the retry runs again."""
    answers = [PlainTextResponse("busy", 429), PlainTextResponse("thanks", 202)]
    receiver = asgi_receivers.WebhookReceiver(verifier(), dedupe=MemoryDedupe())

    @receiver
    async def on_event(event: ReceivedEvent) -> PlainTextResponse:
        return answers.pop(0)

    post = _over_asgi(Starlette(routes=[Route("/hooks", on_event, methods=["POST"])]))

    assert [429, 202, 204] == [(await post(BODY, GOOD))[0] for _ in range(3)]


async def test_fastapi_errors_keep_their_status():
    """An ``HTTPException`` of the handler is answered as it says, and the retry runs again."""
    app, tries = fastapi.FastAPI(), [HTTPException(418), None]
    receiver = asgi_receivers.WebhookReceiver(verifier(), dedupe=MemoryDedupe())

    @app.post("/hooks")
    @receiver
    async def on_event(event: ReceivedEvent) -> None:
        """Take orders."""
        error = tries.pop(0)
        if error is not None:
            raise error

    post = _over_asgi(app)

    assert [418, 204, 204] == [(await post(BODY, GOOD))[0] for _ in range(3)]
    assert "Take orders." == app.openapi()["paths"]["/hooks"]["post"]["description"]


async def test_a_cancelled_handler_gives_the_message_back():
    """When the client hangs up the lease does not stay behind."""
    dedupe, started = MemoryDedupe(), anyio.Event()
    receiver = asgi_receivers.WebhookReceiver(verifier(), dedupe=dedupe)

    @receiver
    async def on_event(event: ReceivedEvent) -> None:
        started.set()
        await anyio.sleep_forever()

    post = _over_asgi(Starlette(routes=[Route("/hooks", on_event, methods=["POST"])]))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(post, BODY, GOOD)
        await started.wait()
        tasks.cancel_scope.cancel()

    assert Seen.NEW is dedupe.begin("", ID)


def test_flask_handlers_answer_themselves():
    """URL variables reach the handler; what it returns is the answer and decides whether it counts."""
    app, answers = flask.Flask("shop"), [("busy", 429), {"thanks": True}]
    receiver = flask_receivers.WebhookReceiver(verifier(), dedupe=MemoryDedupe())

    @app.post("/hooks/<shop>")
    @receiver
    def on_event(event: ReceivedEvent, shop: str) -> Any:
        assert "nord" == shop
        return answers.pop(0)

    client = app.test_client()

    assert [429, 200, 204] == [client.post("/hooks/nord", data=BODY, headers=GOOD).status_code for _ in range(3)]


@django_site()
def test_django_handlers_answer_themselves():
    """URL variables reach the handler; what it returns is the answer and decides whether it counts."""
    answers = [django.http.HttpResponse(status=429), django.http.HttpResponse("thanks")]
    receiver = django_receivers.WebhookReceiver(verifier(), dedupe=MemoryDedupe())

    @receiver
    async def on_event(event: ReceivedEvent, shop: str) -> django.http.HttpResponse:
        assert "nord" == shop
        return answers.pop(0)

    clear_url_caches()
    urlpatterns[:] = [path("hooks/<shop>", on_event)]
    client = django.test.Client(enforce_csrf_checks=True)

    def post() -> int:
        return client.post("/hooks/nord", BODY, content_type="application/json", headers=dict(GOOD)).status_code

    assert [429, 200, 204] == [post() for _ in range(3)]
    assert 405 == client.get("/hooks/nord").status_code


@contextmanager
def _served_by_werkzeug(app: flask.Flask) -> Iterator[int]:
    server = make_server("127.0.0.1", 0, app, threaded=False)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Server(uvicorn.Server):
    """Signals when it accepts connections."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        self.ready.set()


@contextmanager
def _served_by_uvicorn(app: Any) -> Iterator[int]:
    server = _Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", ws="none"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        assert server.ready.wait(timeout=60)
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()


def _send(port: int, body: Any, pairs: list[tuple[str, str]]) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.putrequest("POST", "/hooks")
        for name, value in pairs:
            connection.putheader(name, value)
        if isinstance(body, bytes):
            connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
        else:
            connection.putheader("Transfer-Encoding", "chunked")
            connection.endheaders(body, encode_chunked=True)
        answer = connection.getresponse()
        return answer.status, _reason(answer.read())
    finally:
        connection.close()


@pytest.mark.parametrize("server", ["flask on werkzeug", "starlette on uvicorn"])
def test_on_a_real_server(server):
    """Chunked bodies are read to the cap, doubled headers refused, and a good message handled once."""
    shop, dedupe = Shop(), MemoryDedupe()
    if server.startswith("flask"):
        app = flask.Flask("shop")
        flask_receiver = flask_receivers.WebhookReceiver(verifier(), dedupe=dedupe, max_body=MAX_BODY)
        app.add_url_rule("/hooks", view_func=flask_receiver(shop.on_event), methods=["POST"])
        serving = _served_by_werkzeug(app)
    else:
        asgi_receiver = asgi_receivers.WebhookReceiver(verifier(), dedupe=dedupe, max_body=MAX_BODY)
        serving = _served_by_uvicorn(
            Starlette(routes=[Route("/hooks", asgi_receiver(shop.on_event), methods=["POST"])])
        )

    with serving as port:
        answers = [
            _send(port, iter([BODY[:10], BODY[10:]]), GOOD),
            _send(port, BODY, GOOD),
            _send(port, iter([b"x" * 1000] * 3), GOOD),
            _send(port, BODY, list(headers(OTHER_SECRET).items())),
        ]
        doubled, _ = _send(port, BODY, [*GOOD, ("WEBHOOK-ID", ID)])

    assert [(204, ""), (204, ""), (413, "body_too_large"), (401, "no_match")] == answers
    assert 400 == doubled
    assert [ID] == shop.handled


@pytest.mark.parametrize(
    ("module", "package", "extra"),
    [("asgi", "starlette", "fastapi"), ("flask", "flask", "flask"), ("django", "django", "django")],
)
def test_a_missing_framework_names_the_extra(monkeypatch, module, package, extra):
    """Without the framework the error says what to install."""
    name = f"notifykit.contrib.receivers.{module}"
    for loaded in [key for key in sys.modules if key.partition(".")[0] == package]:
        monkeypatch.setitem(sys.modules, loaded, None)
    monkeypatch.delitem(sys.modules, name)

    with pytest.raises(MissingExtraError, match=rf"notifykit-sdk\[{extra}\]"):
        importlib.import_module(name)
