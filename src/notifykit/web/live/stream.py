"""Sends the messages of a feed until the client has gone: as server-sent events, or over a WebSocket."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ...errors import StoreError
from .feeds import Feed, StreamMessage

#: Something is sent when nothing else was for so many seconds: proxies close what is silent.
HEARTBEAT = 15.0
#: A client that has not taken a message for so many seconds is let go; it comes back from where it was.
PATIENCE = 10.0
#: A stream ends after about so many seconds, and the client comes back: with credentials that are valid then.
LIFE = 900.0
#: Milliseconds after which a browser comes back.
_RETRY = 2_000
#: The subprotocol, which a client in a browser names beside the one with its token.
PROTOCOL = "notifykit"

#: Sends a message, or ``None`` to show that the stream is there.
_Tell = Callable[[StreamMessage | None], Awaitable[None]]


class EventStream(Response):
    """The answer to a request for a stream."""

    def __init__(self, feed: Feed) -> None:
        super().__init__(media_type="text/event-stream")
        del self.headers["content-length"]
        self.headers["X-Accel-Buffering"] = "no"  # nginx would keep events back
        self._feed = feed

    async def __call__(self, _: Scope, receive: Receive, send: Send) -> None:
        """Send server-sent events."""

        async def write(body: bytes, *, more: bool = True) -> None:
            await send({"type": "http.response.body", "body": body, "more_body": more})

        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await write(b"retry: %d\n\n" % _RETRY)
        await _until_gone(self._feed, lambda message: write(_event(message)), receive)
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(PATIENCE):
                await write(b"", more=False)

    async def converse(self, receive: Receive, send: Send, *, subprotocol: str | None) -> None:
        """Accept a WebSocket and send the same over it; what the client sends ends it."""
        headers = [(name, value) for name, value in self.raw_headers if name == b"x-request-id"]
        await receive()  # that it connects
        await send({"type": "websocket.accept", "subprotocol": subprotocol, "headers": headers})
        await _until_gone(
            self._feed, lambda message: send({"type": "websocket.send", "text": _json(message).decode()}), receive
        )
        with contextlib.suppress(OSError, TimeoutError, RuntimeError):  # servers raise what they like if it has gone
            async with asyncio.timeout(PATIENCE):
                await send({"type": "websocket.close", "code": 1012, "reason": "come back"})


async def _until_gone(feed: Feed, tell: _Tell, receive: Receive) -> None:
    telling = asyncio.create_task(_tell_all(feed, tell), name="notifykit-stream")
    leaving = asyncio.create_task(_gone(receive), name="notifykit-stream-end")
    try:
        await asyncio.wait({telling, leaving}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (telling, leaving):
            task.cancel()
        await asyncio.gather(telling, leaving, return_exceptions=True)


async def _tell_all(feed: Feed, tell: _Tell) -> None:
    """Send messages until the feed fails, or the client does not take one, or the stream has lived long enough."""
    time = asyncio.get_running_loop().time
    end = time() + LIFE * random.uniform(0.8, 1.2)  # noqa: S311 - so that not all clients come back at once
    with contextlib.suppress(StoreError, OSError, TimeoutError):
        while time() < end:
            message = await _next(feed)
            async with asyncio.timeout(PATIENCE):
                await tell(message)


async def _next(feed: Feed) -> StreamMessage | None:
    try:
        async with asyncio.timeout(HEARTBEAT) as limit:
            return await feed.next()
    except TimeoutError:
        if not limit.expired():
            raise
        return None


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] == "http.request":
        pass


def _event(message: StreamMessage | None) -> bytes:
    if message is None:
        return b": still here\n\n"
    event, id_, data = message
    return b"id: %s\nevent: %s\ndata: %s\n\n" % (id_.encode(), event.encode(), data)


def _json(message: StreamMessage | None) -> bytes:
    if message is None:
        return b'{"event":"heartbeat"}'
    event, id_, data = message
    return b'{"event":"%s","id":"%s","data":%s}' % (event.encode(), id_.encode(), data)
