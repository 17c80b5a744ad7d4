"""A webhook receiver for tests: a real server on the loopback that gives scripted answers.

It runs in a thread of its own, so it serves sync and async tests alike::

    with Receiver() as receiver:                # or: async with
        kit.blocking.subscribe("**", tenant="acme", endpoint=receiver.url, secret=receiver.secret)
        ...
        (request,) = receiver.expect(1)
        assert request.event.type == "order.shipped"
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from datetime import timedelta
from http import HTTPStatus
from typing import Any, Self, cast

import anyio
import attrs
import httptools
from anyio.from_thread import start_blocking_portal

from ..signing import ReceivedEvent, VerificationError, Verifier, generate_secret

HOST = "127.0.0.1"


@attrs.frozen(kw_only=True)
class Reply:
    """What a request is answered with.

    Attributes:
        delay: How long the answer takes.
        hang_up: Close the connection instead of answering.
        is_cut: Close the connection after the first half of the answer.
    """

    status: int = 204
    body: bytes = b""
    headers: Mapping[str, str] = attrs.field(factory=dict)
    delay: timedelta = timedelta(0)
    hang_up: bool = False
    is_cut: bool = False


@attrs.frozen(kw_only=True)
class ReceivedRequest:
    """A request that arrived.

    Attributes:
        headers: As received, names in lower case.
        event: The event, if the signature is right.
        problem: Otherwise why it was refused: the reason of the :class:`~notifykit.signing.VerificationError`.
    """

    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    event: ReceivedEvent | None
    problem: str | None

    def header(self, name: str) -> str | None:
        """Return the value of a header that came once."""
        values = [value for key, value in self.headers if key == name.lower()]
        return values[0] if len(values) == 1 else None

    def json(self) -> Any:
        """Return the body, parsed."""
        return json.loads(self.body)


class Receiver:
    """Receives webhooks, verifies them and keeps them.

    A request that is not authentic is answered with 401, whatever was scripted.

    Args:
        secrets: What signatures are verified with; by default a secret of its own.
        clock: Returns now in Unix seconds, for senders with a clock of their own.
        port: Where it listens; by default on a free port.

    Attributes:
        secret: Give it to the sender's endpoint.
        requests: The requests, in the order of arrival.
    """

    def __init__(
        self,
        secrets: str | Iterable[str] | None = None,
        *,
        clock: Callable[[], float] = time.time,
        port: int = 0,
    ) -> None:
        given = (secrets,) if isinstance(secrets, str) else tuple(secrets or (generate_secret(),))
        self.secret = given[0]
        self.requests: list[ReceivedRequest] = []
        self._verifier = Verifier(given, clock=clock)
        self._port = port
        self._usual = Reply()
        self._script: deque[Reply] = deque()
        self._exchanges: set[_Exchange] = set()
        self._came = threading.Condition()
        self._open = ExitStack()

    # -- life ------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        with ExitStack() as opening:
            portal = opening.enter_context(start_blocking_portal("asyncio", name="notifykit-receiver"))
            server = portal.call(self._listen)
            opening.callback(portal.call, self._close, server)
            self._port = server.sockets[0].getsockname()[1]
            self._open = opening.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(self, *_: object) -> None:
        self.__exit__()

    async def _listen(self) -> asyncio.Server:
        loop = asyncio.get_running_loop()
        return await loop.create_server(lambda: _Exchange(self._exchanges, self._answer), HOST, self._port)

    async def _close(self, server: asyncio.Server) -> None:
        server.close()
        for exchange in list(self._exchanges):
            exchange.close()
        await asyncio.sleep(0)  # lets the loop close the sockets

    # -- for the test -------------------------------------------------------------

    @property
    def url(self) -> str:
        """Where it listens: ``http://127.0.0.1:…/hooks``; any other path works, too."""
        return f"http://{HOST}:{self._port}/hooks"

    def reply(self, *answers: Reply | int) -> None:
        """Set the answers to the next authentic requests (a number is a status); later ones get 204 again."""
        self._script.extend(Reply(status=answer) if isinstance(answer, int) else answer for answer in answers)

    @property
    def events(self) -> list[ReceivedEvent]:
        """The events of all authentic requests, repeats included."""
        return [request.event for request in self.requests if request.event is not None]

    def expect(self, count: int = 1, *, timeout: float = 10) -> list[ReceivedRequest]:
        """Wait until ``count`` requests have come since the start; return all there are.

        Raises:
            TimeoutError: They did not come within ``timeout`` seconds.
        """
        with self._came:
            if not self._came.wait_for(lambda: len(self.requests) >= count, timeout):
                raise TimeoutError(f"{len(self.requests)} of {count} requests came within {timeout} s")
            return list(self.requests)

    async def aexpect(self, count: int = 1, *, timeout: float = 10) -> list[ReceivedRequest]:
        """Do the same as :meth:`expect` while the caller's event loop keeps running."""
        return await anyio.to_thread.run_sync(lambda: self.expect(count, timeout=timeout))

    def _answer(self, method: str, path: str, headers: list[tuple[str, str]], body: bytes) -> Reply:
        event, problem = self._verify(headers, body)
        request = ReceivedRequest(
            method=method, path=path, headers=tuple(headers), body=body, event=event, problem=problem
        )
        with self._came:
            self.requests.append(request)
            self._came.notify_all()
        if problem is not None:
            return Reply(status=401, body=problem.encode())
        return self._script.popleft() if self._script else self._reply_to(request)

    def _reply_to(self, request: ReceivedRequest) -> Reply:  # noqa: ARG002 - an answer may depend on it
        return self._usual

    def _verify(self, headers: list[tuple[str, str]], body: bytes) -> tuple[ReceivedEvent | None, str | None]:
        try:
            return self._verifier.open(body, headers), None
        except VerificationError as error:
            return None, error.reason


class VendorServer(Receiver):
    """Stands in for a vendor's API: it keeps every request and gives scripted answers.

    Args:
        usual: The answer when none is scripted: the vendor's success.
    """

    def __init__(self, usual: Reply) -> None:
        super().__init__()
        self._usual = usual

    @property
    def url(self) -> str:
        """Where it listens, without a path."""
        return super().url.removesuffix("/hooks")

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._exchanges)

    def _verify(self, headers: list[tuple[str, str]], body: bytes) -> tuple[None, None]:  # noqa: ARG002 - no webhooks
        return None, None


class _Exchange(asyncio.Protocol):
    """One connection."""

    def __init__(
        self, others: set[_Exchange], answer: Callable[[str, str, list[tuple[str, str]], bytes], Reply]
    ) -> None:
        self._others = others
        self._answer = answer
        self._parser = httptools.HttpRequestParser(self)
        self._later: asyncio.TimerHandle | None = None

    def close(self) -> None:
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(
            "asyncio.Transport", transport
        )  # transports of uvloop before 0.22 are not declared as such
        self._others.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._others.discard(self)
        if self._later is not None:
            self._later.cancel()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.abort()

    # -- what the parser finds -------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._url = b""
        self._headers: list[tuple[str, str]] = []
        self._body = b""

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.decode("latin-1").lower(), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        if ("expect", "100-continue") in self._headers:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        reply = self._answer(self._parser.get_method().decode(), self._url.decode("latin-1"), self._headers, self._body)
        if reply.delay:
            loop = asyncio.get_running_loop()
            self._later = loop.call_later(reply.delay.total_seconds(), self._send, reply)
        else:
            self._send(reply)

    def _send(self, reply: Reply) -> None:
        if reply.hang_up:
            self._transport.close()
            return
        headers = dict(reply.headers)
        if reply.status not in (204, 304):
            headers["content-length"] = str(len(reply.body))
        keeps = self._parser.should_keep_alive()
        if not keeps:
            headers["connection"] = "close"
        lines = [f"HTTP/1.1 {reply.status} {_phrase(reply.status)}", *(f"{n}: {v}" for n, v in headers.items())]
        body = b"" if reply.status in (204, 304) else reply.body
        answer = "\r\n".join([*lines, "", ""]).encode("latin-1") + body
        self._transport.write(answer[: len(answer) // 2] if reply.is_cut else answer)
        if not keeps or reply.is_cut:
            self._transport.close()


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
