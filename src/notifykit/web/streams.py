"""An inbox as server-sent events; a client that does not read is let go."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ..admin.inbox import RecipientInbox
from ..codec import dumps, unstructure
from ..errors import StoreError

#: A comment is sent when nothing else was for so many seconds: proxies close what is silent.
HEARTBEAT = 15.0
#: A client that has not taken an event for so many seconds is let go; it comes back from where it was.
PATIENCE = 10.0
#: Milliseconds after which a browser comes back.
_RETRY = 2_000


class EventStream(Response):
    """The changes of an inbox from a cursor on, until the client has gone.

    Args:
        cursor: Where it begins; ``None`` for now.
    """

    def __init__(self, inbox: RecipientInbox, cursor: int | None) -> None:
        super().__init__(media_type="text/event-stream")
        del self.headers["content-length"]
        self.headers["X-Accel-Buffering"] = "no"  # nginx would keep events back
        self._inbox = inbox
        self._cursor = cursor

    async def __call__(self, _: Scope, receive: Receive, send: Send) -> None:
        """Send events until the client has gone, or does not read."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        sending = asyncio.create_task(self._send(send), name="notifykit-stream")
        leaving = asyncio.create_task(_gone(receive), name="notifykit-stream-end")
        try:
            await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sending, leaving):
                task.cancel()
            await asyncio.gather(sending, leaving, return_exceptions=True)

    async def _send(self, send: Send) -> None:
        events = self._events()
        waiting = asyncio.ensure_future(anext(events))
        try:
            await _sent(send, b"retry: %d\n\n" % _RETRY)
            while True:
                done, _ = await asyncio.wait({waiting}, timeout=HEARTBEAT)
                if not done:
                    await _sent(send, b": still here\n\n")
                    continue
                await _sent(send, waiting.result())
                waiting = asyncio.ensure_future(anext(events))
        except (StopAsyncIteration, StoreError, OSError, TimeoutError):
            with contextlib.suppress(OSError, TimeoutError):  # the client comes back, and to another process perhaps
                await _sent(send, b"", more=False)
        finally:
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            await events.aclose()

    async def _events(self) -> Any:
        from .routes.inbox import ChangesView, CountsView

        cursor = self._cursor
        if cursor is None:
            cursor = (await self._inbox.page(limit=1)).cursor
        yield _event("counts", None, {"counts": unstructure(CountsView.of(await self._inbox.counts()))})
        found: AsyncIterator[Any] = self._inbox.follow(cursor)
        async for changes in found:
            counts = unstructure(CountsView.of(await self._inbox.counts()))
            yield _event("changes", changes.cursor, {**unstructure(ChangesView.of(changes)), "counts": counts})


def _event(name: str, id_: int | None, data: dict[str, Any]) -> bytes:
    number = b"" if id_ is None else b"id: %d\n" % id_
    return number + b"event: " + name.encode() + b"\ndata: " + dumps(data) + b"\n\n"


async def _sent(send: Send, body: bytes, *, more: bool = True) -> None:
    async with asyncio.timeout(PATIENCE):
        await send({"type": "http.response.body", "body": body, "more_body": more})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
