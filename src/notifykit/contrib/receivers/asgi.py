"""Receive webhooks with FastAPI or Starlette.

As a decorator, for both::

    receiver = WebhookReceiver("whsec_…", dedupe=MemoryDedupe())

    @app.post("/hooks")                              # Starlette: Route("/hooks", on_event, methods=["POST"])
    @receiver
    async def on_event(event: ReceivedEvent) -> None: ...

As a dependency, if the handler needs other dependencies of FastAPI too::

    @app.post("/hooks", status_code=204)
    async def on_event(event: Annotated[ReceivedEvent, Depends(receiver.event)], db: Db) -> None: ...
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any

import anyio

from notifykit.contrib.receivers import HANDLED, MAX_BODY, Answer, ReceivedEvent, VerifyingReceiver
from notifykit.errors import MissingExtraError, StoreError
from notifykit.signing import AsyncDedupeStore, DedupeStore, Seen, Verifier

try:
    from starlette.concurrency import run_in_threadpool
    from starlette.exceptions import HTTPException
    from starlette.requests import Request
    from starlette.responses import JSONResponse, Response
except ImportError as error:
    raise MissingExtraError("receiving webhooks with FastAPI or Starlette", "fastapi") from error

__all__ = ["ReceivedEvent", "WebhookReceiver"]


class WebhookReceiver(VerifyingReceiver):
    """Verifies requests and runs a handler once for each message.

    A duplicate is answered with 204, a message that is being handled with 503, one that is not
    authentic with 401 and a malformed one with 400 or 413, each with its reason code.  If other code
    has read the body and it is gone, the answer is 500 (``body_unavailable``), and the log explains it.
    If the handler raises, the framework gets the error and the sender's next retry runs the handler again.

    Args:
        secrets: The keys, or a :class:`~notifykit.signing.Verifier` with its own tolerance.
        dedupe: Remembers handled messages, blocking (called in a thread) or async; ``None`` if
            the handler may run more than once.
        source: A name for the sender; it separates senders that share a dedupe store.
        max_body: The most bytes of a body that are read.
    """

    def __init__(
        self,
        secrets: Verifier | str | Iterable[str],
        *,
        dedupe: DedupeStore | AsyncDedupeStore | None,
        source: str = "",
        max_body: int = MAX_BODY,
    ) -> None:
        super().__init__(secrets, source=source, max_body=max_body)
        self._dedupe = dedupe

    def __call__(self, handler: Callable[[ReceivedEvent], Any]) -> Callable[[Request], Awaitable[Response]]:
        """Turn ``handler`` into an endpoint.

        The handler takes the event and returns nothing (204) or a response; a response that is not 2xx
        counts as a failure.  A handler that is not async runs in a thread.
        """

        # Not functools.wraps: FastAPI would follow __wrapped__ and not pass the request.
        async def endpoint(request: Request) -> Response:
            opened = self.open(await self._body(request), request.headers.raw)
            if isinstance(opened, Answer):
                return _response(opened)
            turned_away = await self._begin(opened)
            if turned_away is not None:
                return _response(turned_away)
            handled = False
            try:
                response = await _run(handler, opened) or _response(HANDLED)
                handled = 200 <= response.status_code < 300
            finally:
                await self._end(opened, handled=handled)
            return response

        endpoint.__name__, endpoint.__doc__ = handler.__name__, handler.__doc__
        return endpoint

    async def event(self, request: Request) -> AsyncIterator[ReceivedEvent]:
        """Yield the event: a FastAPI dependency.

        A request that must not be handled raises an ``HTTPException`` with the status and, as its
        detail, the reason code.
        """
        opened = self.open(await self._body(request), request.headers.raw)
        if isinstance(opened, Answer):
            raise _exception(opened)
        turned_away = await self._begin(opened)
        if turned_away is not None:
            raise _exception(turned_away)
        handled = False
        try:
            yield opened
            handled = True
        finally:
            await self._end(opened, handled=handled)

    async def _body(self, request: Request) -> bytes | None:
        body = bytearray()
        try:
            async for chunk in request.stream():
                body += chunk
                if len(body) > self.max_body:
                    return None
        except RuntimeError as error:
            if "Stream consumed" not in str(error):
                raise
            return b""  # it was parsed as a form, and Starlette does not keep the bytes
        return bytes(body)

    async def _begin(self, event: ReceivedEvent) -> Answer | None:
        if self._dedupe is None:
            return None
        try:
            seen: Seen = await _run(self._dedupe.begin, self.source, event.id)
        except StoreError as error:
            return self.store_failed("begin", event, error)
        return self.turned_away(seen)

    async def _end(self, event: ReceivedEvent, *, handled: bool) -> None:
        if self._dedupe is None:
            return
        step = self._dedupe.finish if handled else self._dedupe.forget
        with anyio.CancelScope(shield=True):  # a disconnected client must not prevent the release of the lease
            try:
                await _run(step, self.source, event.id)
            except StoreError as error:
                self.store_failed("end", event, error)


async def _run(function: Callable[..., Any], *args: Any) -> Any:
    if inspect.iscoroutinefunction(function):
        return await function(*args)
    return await run_in_threadpool(function, *args)


def _response(answer: Answer) -> Response:
    if answer.status == 204:
        return Response(status_code=204)
    return JSONResponse({"reason": answer.reason}, status_code=answer.status, headers=dict(answer.headers))


def _exception(answer: Answer) -> HTTPException:
    return HTTPException(answer.status, detail=answer.reason, headers=dict(answer.headers))
