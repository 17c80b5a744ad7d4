"""Something reads the body before the receiver does: an authentic request is not refused as a forgery."""

from __future__ import annotations

import http.client
import io
import json
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import django.conf
import fastapi
import flask
import pytest
import uvicorn
from django.core.handlers.wsgi import WSGIHandler
from django.test.utils import override_settings
from django.urls import clear_url_caches, path
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.routing import Route
from werkzeug.serving import make_server

import notifykit.contrib.receivers.asgi as asgi_receivers
import notifykit.contrib.receivers.django as django_receivers
import notifykit.contrib.receivers.flask as flask_receivers
from notifykit.contrib.receivers import ReceivedEvent
from tests.unit.signing.messages import BODY, ID, OTHER_SECRET, headers, verifier

JSON, FORM, MULTIPART = "application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"
HANDLED, GONE, FORGED = (204, ""), (500, "body_unavailable"), (401, "no_match")

if not django.conf.settings.configured:
    django.conf.settings.configure()

urlpatterns: list[Any] = []
handled: list[str] = []


def on_event(event: ReceivedEvent) -> None:
    handled.append(event.id)


@pytest.fixture(autouse=True)
def _nothing_handled_yet():
    handled.clear()


# -- what applications do with a body before a view gets it ---------------------------------------


def flask_hook(name: str) -> Callable[[], Any]:
    request = flask.request
    return {
        "nothing": lambda: None,
        "get_data": lambda: request.get_data() and None,
        "get_json": lambda: request.get_json(silent=True) and None,
        "form": lambda: request.form.get("x"),
        "get_data without the cache": lambda: request.get_data(cache=False) and None,
        "a part of the stream": lambda: request.stream.read(5) and None,
    }[name]


def django_hook(name: str) -> Callable[[Any], object]:
    return {
        "nothing": lambda request: None,
        "body": lambda request: request.body,
        "body, then the stream": lambda request: (request.body, json.load(request)),
        "POST": lambda request: request.POST.get("x"),
        "read": lambda request: request.read(),
    }[name]


class DjangoMiddleware:
    hook = "nothing"

    def __init__(self, get_response: Any) -> None:
        self._get_response = get_response

    def __call__(self, request: Any) -> Any:
        django_hook(self.hook)(request)
        return self._get_response(request)


def asgi_hook(name: str) -> Callable[[Any], Any]:
    async def drain(request: Any) -> None:
        async for _ in request.stream():
            pass

    return {
        "nothing": lambda request: None,
        "body": lambda request: request.body(),
        "stream": drain,  # as a form is parsed
    }[name]


async def read_first(request: Any, hook: str) -> None:
    if (reading := asgi_hook(hook)(request)) is not None:
        await reading


# -- the sites ------------------------------------------------------------------------------------


@contextmanager
def flask_site(hook: str) -> Iterator[int]:
    app = flask.Flask("shop")
    app.before_request(flask_hook(hook))
    receiver = flask_receivers.WebhookReceiver(verifier(), dedupe=None)
    app.add_url_rule("/hooks", view_func=receiver(on_event), methods=["POST"])
    with served(app) as port:
        yield port


@contextmanager
def django_site(hook: str) -> Iterator[int]:
    receiver = django_receivers.WebhookReceiver(verifier(), dedupe=None)
    clear_url_caches()
    urlpatterns[:] = [path("hooks", receiver(on_event))]
    DjangoMiddleware.hook = hook
    site = override_settings(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], MIDDLEWARE=[f"{__name__}.DjangoMiddleware"])
    with site, served(WSGIHandler()) as port:
        yield port


@contextmanager
def starlette_site(hook: str) -> Iterator[int]:
    async def middleware(request: Any, call_next: Any) -> Any:
        await read_first(request, hook)
        return await call_next(request)

    receiver = asgi_receivers.WebhookReceiver(verifier(), dedupe=None)
    routes = [Route("/hooks", receiver(on_event), methods=["POST"])]
    app = Starlette(routes=routes, middleware=[Middleware(BaseHTTPMiddleware, dispatch=middleware)])
    with served_by_uvicorn(app) as port:
        yield port


@contextmanager
def fastapi_site(hook: str) -> Iterator[int]:
    """A dependency that shares the request with the receiver."""

    async def dependency(request: fastapi.Request) -> None:
        await read_first(request, hook)

    dependency.__annotations__["request"] = fastapi.Request
    app = fastapi.FastAPI()
    receiver = asgi_receivers.WebhookReceiver(verifier(), dedupe=None)
    app.post("/hooks", dependencies=[fastapi.Depends(dependency)])(receiver(on_event))
    with served_by_uvicorn(app) as port:
        yield port


@contextmanager
def served(app: Any) -> Iterator[int]:
    server = make_server("127.0.0.1", 0, app, threaded=False)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def served_by_uvicorn(app: Any) -> Iterator[int]:
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="critical", ws="none"))
    ready = threading.Event()
    startup = server.startup

    async def started(sockets: Any = None) -> None:
        await startup(sockets)
        ready.set()

    server.startup = started  # type: ignore[method-assign]
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        assert ready.wait(timeout=60)
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()


def send(port: int, *, chunked: bool = False, kind: str = JSON, secret: str | None = None) -> tuple[int, str]:
    signed = headers() if secret is None else headers(secret)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        body: Any = iter([BODY[:10], BODY[10:]]) if chunked else BODY
        connection.request("POST", "/hooks", body, {**signed, "Content-Type": kind}, encode_chunked=chunked)
        answer = connection.getresponse()
        text = answer.read()
        return answer.status, json.loads(text)["reason"] if text else ""
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("site", "hook", "kind", "answer"),
    [
        (flask_site, "nothing", JSON, HANDLED),
        (flask_site, "get_data", JSON, HANDLED),
        (flask_site, "get_json", JSON, HANDLED),
        (flask_site, "form", JSON, HANDLED),
        (flask_site, "form", FORM, GONE),
        (flask_site, "get_data without the cache", JSON, GONE),
        (django_site, "nothing", JSON, HANDLED),
        (django_site, "POST", JSON, HANDLED),
        (starlette_site, "nothing", JSON, HANDLED),
        (starlette_site, "body", JSON, HANDLED),
        (starlette_site, "stream", JSON, GONE),
        (fastapi_site, "nothing", JSON, HANDLED),
        (fastapi_site, "body", JSON, HANDLED),
        (fastapi_site, "stream", JSON, GONE),
    ],
)
def test_a_body_that_was_read_before_is_found_again_or_its_loss_is_named(site, hook, kind, answer, caplog):
    """With a Content-Length or chunked: authentic messages are handled, or the error names what consumed the body."""
    with caplog.at_level(logging.ERROR, "notifykit"), site(hook) as port:
        answers = [send(port, kind=kind), send(port, kind=kind, chunked=True)]

    assert [answer] * 2 == answers
    assert ([ID] * 2 if answer == HANDLED else []) == handled
    assert ([] if answer == HANDLED else ["ERROR"] * 2) == [
        record.levelname for record in caplog.records if record.name.startswith("notifykit")
    ]


@pytest.mark.parametrize(
    ("site", "hook", "kind", "answer"),
    [
        (flask_site, "a part of the stream", JSON, GONE),
        (django_site, "body", JSON, HANDLED),
        (django_site, "body, then the stream", JSON, HANDLED),
        (django_site, "POST", FORM, HANDLED),
        (django_site, "POST", MULTIPART, GONE),
        (django_site, "read", JSON, GONE),
    ],
)
def test_a_body_with_a_length_that_was_read_before(site, hook, kind, answer):
    """Cases that only a Content-Length distinguishes: a partly consumed body, and what Django keeps."""
    with site(hook) as port:
        assert answer == send(port, kind=kind)

    assert ([ID] if answer == HANDLED else []) == handled


@pytest.mark.parametrize("site", [flask_site, django_site, starlette_site, fastapi_site])
def test_forgeries_stay_forgeries(site):
    """A body that is there and fits no signature is 401, whatever has read it before."""
    with site("get_data" if site is flask_site else "body") as port:
        answers = [send(port, secret=OTHER_SECRET)]
        if site is not django_site:  # which takes a chunked body for empty, and keeps that
            answers.append(send(port, secret=OTHER_SECRET, chunked=True))

    assert {FORGED} == set(answers)
    assert [] == handled


@pytest.mark.parametrize(("puts_back", "answer"), [(True, HANDLED), (False, GONE)])
@pytest.mark.parametrize("framework", ["flask", "django"])
def test_a_wsgi_middleware_that_reads_the_input(framework, puts_back, answer):
    """One that puts a copy in its place is invisible; one that does not is named as the cause."""
    app, environ = _wsgi_app(framework), _environ()
    body = environ["wsgi.input"].read()
    if puts_back:
        environ["wsgi.input"] = io.BytesIO(body)

    assert answer == _call(app, environ)


def test_a_server_that_does_not_pass_on_chunked_bodies():
    """A WSGI server without support for them makes every chunked body empty: a fault of the server, not a forgery."""
    environ = _environ()
    del environ["CONTENT_LENGTH"]
    environ["HTTP_TRANSFER_ENCODING"] = "chunked"

    assert GONE == _call(_wsgi_app("flask"), environ)


def _wsgi_app(framework: str) -> Any:
    if framework == "flask":
        app = flask.Flask("shop")
        receiver = flask_receivers.WebhookReceiver(verifier(), dedupe=None)
        app.add_url_rule("/hooks", view_func=receiver(on_event), methods=["POST"])
        return app

    def django_app(environ: Any, start_response: Any) -> Any:
        clear_url_caches()
        urlpatterns[:] = [path("hooks", django_receivers.WebhookReceiver(verifier(), dedupe=None)(on_event))]
        with override_settings(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], MIDDLEWARE=[]):
            return list(WSGIHandler()(environ, start_response))

    return django_app


def _environ() -> dict[str, Any]:
    named = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers().items()}
    return {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/hooks",
        "SERVER_NAME": "shop.example",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "CONTENT_TYPE": JSON,
        "CONTENT_LENGTH": str(len(BODY)),
        "wsgi.input": io.BytesIO(BODY),
        "wsgi.errors": io.StringIO(),
        "wsgi.url_scheme": "http",
        "wsgi.version": (1, 0),
        "wsgi.multithread": False,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        **named,
    }


def _call(app: Any, environ: dict[str, Any]) -> tuple[int, str]:
    statuses: list[str] = []
    text = b"".join(app(environ, lambda status, headers, *_: statuses.append(status)))
    return int(statuses[0].split()[0]), json.loads(text)["reason"] if text else ""
