"""Makes the application of the table of routes."""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, WebSocketRoute
from starlette.routing import Route as StarletteRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from ..contrib.unsubscribe import UnsubscribeApp
from ..errors import ConfigurationError
from .access.callers import TENANT_HEADER, FindEndUser
from .access.gate import Gate
from .access.jwt import JwtAccess
from .access.tokens import token_route
from .audit import AuditTrail
from .limits import Limiter, RequestLimits
from .live.feeds import Live
from .live.socket import SocketOperation
from .operation import Operation, Server
from .pages.assets import Assets
from .pages.options import PageOptions
from .pages.serve import PageServer
from .problems import Refusal, problem_response
from .reading import REQUEST_ID, request_id
from .reference_page import reference_routes
from .response_headers import ResponseHeaders
from .route import Route
from .routes import TABLE
from .types import StoredTypes

if TYPE_CHECKING:
    from ..kit import Notifykit

#: The most bytes of a body by default: room for a thousand small events.
MAX_BODY = 1024 * 1024
_COMPRESSED_FROM = 1024
#: What a browser sends as ``Origin``: without a path.
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^\s/?#@]+")


def create_app(
    kit: Notifykit,
    *,
    jwt: JwtAccess | None = None,
    recipient: FindEndUser | None = None,
    limits: RequestLimits | None = None,
    origins: Sequence[str] = (),
    max_body: int = MAX_BODY,
    dispatch: bool = False,
    pages: PageOptions | None = None,
) -> Starlette:
    """Return the REST API over a kit as an ASGI application.

    Served on its own it opens the kit and closes it again; mounted in an application of yours it uses the kit that
    you have opened, or opens it with the first request.  It keeps nothing outside of itself, so that several can
    be mounted.

    Args:
        kit: What it works on.
        jwt: Accept tokens of your identity provider as well as API keys.
        recipient: Returns the person whom the session in a request is of; only asked for a request without an
            ``Authorization`` header.
        limits: How many requests are accepted.
        origins: Sites whose pages may call it from browsers, such as ``https://shop.example``.
        max_body: The most bytes of a body.
        dispatch: Deliver in this process as well, while the application is served on its own.
        pages: How the pages look, and who may embed the portal.

    Raises:
        ConfigurationError: An option cannot work.
    """
    if isinstance(origins, str) or {"*", "null"} & {*origins}:
        raise ConfigurationError(
            "origins: list the sites, such as ['https://shop.example']; '*' and 'null' are not accepted"
        )
    if wrong := [origin for origin in origins if not _ORIGIN.fullmatch(origin)]:
        raise ConfigurationError(
            f"origins: {wrong[0][:200]!r} is not a site; write it as browsers do, like https://shop.example"
        )
    limits = limits or RequestLimits()
    gate = Gate(kit, jwt, recipient, limits)
    server = Server(
        kit=kit,
        gate=gate,
        limiter=Limiter(kit, limits),
        types=StoredTypes(kit),
        audit=AuditTrail(kit),
        live=Live(kit),
        max_body=max_body,
    )
    pages = pages or PageOptions()
    assets = Assets({"theme.css": pages.theme()})
    operations = [(route, Operation(route, server)) for route in TABLE]
    routes: list[BaseRoute] = [
        StarletteRoute(path, Resource(its), methods=[*its]) for path, its in _by_path(operations).items()
    ]
    allowed = frozenset(origins)
    routes += [
        WebSocketRoute(route.path, SocketOperation(operation, allowed))
        for route, operation in operations
        if route.is_stream
    ]

    app = Starlette(
        routes=[
            *routes,
            token_route(kit, gate),
            *reference_routes(TABLE, assets),
            *PageServer(server, pages, assets).routes(),
            Mount("/unsubscribe", _unsubscribe_page(kit, pages)),
            *assets.routes(),
        ],
        middleware=[Middleware(ResponseHeaders, kit=kit), *_middleware(origins)],
        exception_handlers={HTTPException: _no_route},
        lifespan=_lifespan(kit, dispatch=dispatch),
    )
    app.router.redirect_slashes = False
    return app


def _lifespan(kit: Notifykit, *, dispatch: bool) -> Callable[[Starlette], AbstractAsyncContextManager[None]]:
    """Return what opens the kit, and delivers if that is wanted, as long as the application is served."""

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with contextlib.AsyncExitStack() as stack:
            if not kit.is_open:
                await stack.enter_async_context(kit)
            await kit.sync_event_types()
            if dispatch:
                await stack.enter_async_context(kit.dispatcher())
            yield

    return lifespan


def _unsubscribe_page(kit: Notifykit, pages: PageOptions) -> ASGIApp:
    page = UnsubscribeApp(kit, look=pages.look_of)

    async def opened(scope: Scope, receive: Receive, send: Send) -> None:
        await kit.open()
        await page(scope, receive, send)

    return opened


class Resource:
    """The operations of one path."""

    def __init__(self, operations: Mapping[str, Operation]) -> None:
        self._operations = operations

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request with the operation of its method; the router lets no other method pass."""
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        await self._operations[method](scope, receive, send)


def _by_path(operations: Sequence[tuple[Route, Operation]]) -> dict[str, dict[str, Operation]]:
    found: dict[str, dict[str, Operation]] = {}
    for route, operation in operations:
        found.setdefault(route.path, {})[route.method] = operation
    return found


def _middleware(origins: Sequence[str]) -> list[Middleware]:
    used = [Middleware(GZipMiddleware, minimum_size=_COMPRESSED_FROM, compresslevel=6)]
    if origins:
        cors = Middleware(
            CORSMiddleware,
            allow_origins=list(origins),
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=[
                "Authorization",
                "Content-Type",
                "If-Match",
                "Idempotency-Key",
                "Last-Event-ID",
                TENANT_HEADER,
            ],
            expose_headers=["ETag", "Retry-After", "RateLimit", "RateLimit-Policy", REQUEST_ID],
            allow_credentials=True,
            max_age=600,
        )
        used.insert(0, cors)
    return used


async def _no_route(request: Request, error: Exception) -> Response:
    """Answer a request that no route takes."""
    assert isinstance(error, HTTPException)
    headers = dict(error.headers or {})
    refusal = (
        Refusal(405, "method_not_allowed", f"{request.method} is not possible here", headers)
        if error.status_code == 405
        else Refusal(404, "not_found", "there is no such path")
    )
    id_ = request_id(request)
    response = problem_response(refusal, error, id_)
    response.headers[REQUEST_ID] = id_
    return response
