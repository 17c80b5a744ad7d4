"""Answers WebSockets with the streams that requests for server-sent events at the same address get."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ..operation import Operation
from ..problems import Refusal, problem_response
from ..reading import REQUEST_ID, request_id
from .stream import PROTOCOL, EventStream

#: What begins the subprotocol with a client's token: a browser cannot send it otherwise.
_TOKEN = "bearer."  # noqa: S105 - the token follows it


class SocketOperation:
    """The WebSocket of one route, with the access rules of the route.

    Browsers let pages of any site open a WebSocket with the user's cookies, so the page's origin is checked.

    Args:
        origins: Sites beside our own whose pages may open it.
    """

    def __init__(self, operation: Operation, origins: frozenset[str]) -> None:
        self._operation = operation
        self._origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one WebSocket."""
        offered = [each.strip() for each in Headers(scope=scope).get("sec-websocket-protocol", "").split(",")]
        request = Request(_as_http(scope, offered), receive)
        response = await self._response_to(request)
        if isinstance(response, EventStream):
            await response.converse(receive, send, subprotocol=PROTOCOL if PROTOCOL in offered else None)
        else:
            await _deny(response, scope, receive, send)

    async def _response_to(self, request: Request) -> Response:
        origin = request.headers.get("origin")
        if origin is None or origin in self._origins or urlsplit(origin).netloc == request.headers.get("host"):
            return await self._operation.response_to(request)
        refusal, id_ = Refusal(403, "forbidden", "pages of this origin may not open it"), request_id(request)
        response = problem_response(refusal, refusal, id_)
        response.headers[REQUEST_ID] = id_
        return response


def _as_http(scope: Scope, offered: list[str]) -> Scope:
    """Return the scope of the request for the same stream as server-sent events."""
    headers = list(scope["headers"])
    token = next((each.removeprefix(_TOKEN) for each in offered if each.startswith(_TOKEN)), None)
    if token is not None and not any(name == b"authorization" for name, _ in headers):
        headers.append((b"authorization", f"Bearer {token}".encode("latin-1")))
    return {**scope, "type": "http", "method": "GET", "headers": headers}


async def _deny(response: Response, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with HTTP, where the server can do that before the WebSocket begins."""
    await receive()  # that it connects
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 1008})
        return
    start = {"status": response.status_code, "headers": response.raw_headers}
    await send({"type": "websocket.http.response.start", **start})
    await send({"type": "websocket.http.response.body", "body": bytes(response.body)})
