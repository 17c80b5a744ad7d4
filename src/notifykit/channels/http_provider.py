"""Providers with an HTTP API: one request a message, or one for several, over connections that stay open.

A vendor's module says what the request is and what an answer means (:class:`Vendor` and :class:`BulkVendor`, without
I/O); :class:`HttpProvider` does the rest, the same for each.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Callable, Hashable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable
from urllib.parse import urlencode

import attrs

from ..errors import ConfigurationError, MissingExtraError
from ..models.delivery import Claim
from ..models.destination import Destination
from ..models.messages import Message
from ..models.outcome import Accepted, CircuitEffect, Outcome, Transient, Uncertain, Unsent
from .coalescer import Coalescer
from .http_answers import HttpAnswer
from .messages import MessageChannel, any_address
from .plain import PlainRenderer
from .provider_url import ProviderUrl
from .webhook.shortage import CONNECTION_LIMIT, NO_FILES, NO_MEMORY, shortage_at_lookup
from .webhook.transport import WireError

if TYPE_CHECKING:
    from ..ports import Provider, Renderer
    from .http1 import Http1Client
    from .http2 import Http2Client

#: How much of an answer is read, and how much more for each message of a batch.
BODY_CAP, _ITEM_CAP = 16 * 1024, 1024
#: How many seconds a check of an account may take, and how many bytes of a refusal are shown.
_CHECK, _SHOWN = 15.0, 200
#: Options of URLs of vendors that take several messages in one request.
BULK_OPTIONS = ("batch", "batch_delay")


@attrs.frozen(kw_only=True)
class BulkPart:
    """How a request can share another one.

    Attributes:
        key: Requests with an equal one can be joined.
        value: What the joined request has of this one.
    """

    key: Hashable
    value: Any


@attrs.frozen(kw_only=True)
class HttpRequest:
    """A request to a vendor, most of them a POST.

    Attributes:
        headers: Without ``Content-Length``; they may have secrets.
        part: How it is joined with others; ``None`` if it must be sent alone.
    """

    url: str
    headers: Mapping[str, str] = attrs.field(repr=False)
    body: bytes = attrs.field(repr=False)
    method: str = "POST"
    part: BulkPart | None = attrs.field(default=None, repr=False)

    @classmethod
    def of_json(cls, url: str, value: Any, headers: Mapping[str, str]) -> HttpRequest:
        """Return a request with a JSON body."""
        body = json.dumps(value, separators=(",", ":")).encode()
        return cls(url=url, headers={"content-type": "application/json", **headers}, body=body)

    @classmethod
    def of_form(
        cls, url: str, fields: Mapping[str, str] | list[tuple[str, str]], headers: Mapping[str, str]
    ) -> HttpRequest:
        """Return a request with the body of an HTML form."""
        head = {"content-type": "application/x-www-form-urlencoded", **headers}
        return cls(url=url, headers=head, body=urlencode(fields, errors="replace").encode())


class Vendor(Protocol):
    """What one vendor's API needs and says; no I/O.

    Attributes:
        name: The scheme of its URLs: ``postmark``.
        account: Whose circuit opens if attempts fail, without secrets.
        secrets: Texts that must not be kept if an answer repeats them.
    """

    @property
    def name(self) -> str: ...
    @property
    def account(self) -> str: ...
    @property
    def secrets(self) -> tuple[str, ...]: ...

    def request(
        self, message: Message, claim: Claim, destination: Destination, *, now: datetime
    ) -> HttpRequest | Outcome:
        """Return the request that sends a message, or the outcome of one that cannot be sent."""
        ...

    def outcome(self, answer: HttpAnswer, *, now: datetime) -> Outcome:
        """Return what an answer means; any answer has a meaning."""
        ...


@runtime_checkable
class BulkVendor(Vendor, Protocol):
    """A vendor whose API takes several messages in one request; no I/O.

    Attributes:
        most: How many messages a request has at the most.
        most_bytes: How large the requests of these messages are together, at the most.
    """

    @property
    def most(self) -> int: ...
    @property
    def most_bytes(self) -> int: ...

    def joined(self, requests: Sequence[HttpRequest], *, now: datetime) -> HttpRequest:
        """Return one request for two or more whose parts have an equal key."""
        ...

    def outcomes(
        self, answer: HttpAnswer, requests: Sequence[HttpRequest], *, now: datetime
    ) -> Sequence[Outcome | None]:
        """Return what an answer to a joined request means for each message, in order.

        ``None`` is for a message that was not taken because of another one, so that it is sent again.
        """
        ...


@attrs.frozen
class _Pending:
    """A request that waits for others.

    Attributes:
        deadline: When its attempt ends, in seconds of the event loop.
    """

    request: HttpRequest
    deadline: float
    now: datetime


class HttpProvider:
    """Sends messages through a vendor's HTTP API.

    Redirects are not followed, and neither proxies nor credentials are read from the environment.  Messages that come
    at the same time share a request if the vendor takes several and they can; each has its own outcome.

    Args:
        vendor: Makes requests and judges answers.
        connections: How many requests are under way at the most.
        batch: How many messages a request has at the most; by default as many as the vendor takes.
        batch_delay: How long a message waits for others while a request is under way.
        http2: The origin (``https://host``) that is asked over HTTP/2, with many requests on each of the connections
            (needs the extra ``push``).
        tls: TLS settings; by default certificates are verified against the system's authorities.

    Raises:
        MissingExtraError: What HTTP/2 needs is not installed.
    """

    def __init__(
        self,
        vendor: Vendor,
        *,
        connections: int = 32,
        batch: int | None = None,
        batch_delay: timedelta = timedelta(milliseconds=20),
        http2: str | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.name = vendor.name
        self.account = vendor.account
        self._vendor = vendor
        self._connections = connections
        self._http2 = http2 if http2 is not None and http2.startswith("https:") else None
        self._tls = tls
        self._multiplexed: Http2Client | None = None
        if http2 is not None and find_spec("h2") is None:
            raise MissingExtraError(f"sending through {vendor.name}", "push")
        self._is_open = False
        self._coalescer: Coalescer[_Pending, Outcome] | None = None
        if isinstance(vendor, BulkVendor) and batch != 1:
            self._bulk = vendor
            self._coalescer = Coalescer(
                self._send_batch,
                most=vendor.most if batch is None else batch,
                most_bytes=vendor.most_bytes,
                delay=batch_delay,
                concurrency=connections,
                cancels=True,
            )

    def __repr__(self) -> str:
        return f"<HttpProvider {self.account}>"

    @cached_property
    def _client(self) -> Http1Client:
        from .http1 import Http1Client  # only where messages are sent

        self._is_open = True
        cap = BODY_CAP if self._coalescer is None else BODY_CAP + _ITEM_CAP * self._bulk.most
        return Http1Client(connections=self._connections, body_cap=cap, tls=self._tls)

    async def send(self, message: Message, claim: Claim, destination: Destination, *, now: datetime) -> Outcome:
        request = self._vendor.request(message, claim, destination, now=now)
        if not isinstance(request, HttpRequest):
            return request
        timeout = destination.timeout.total_seconds()
        if self._coalescer is None or request.part is None:
            return await self._send_one(request, timeout, now)
        pending = _Pending(request, asyncio.get_running_loop().time() + timeout, now)
        try:
            return await self._coalescer.put(pending, key=request.part.key, size=len(request.body), timeout=timeout)
        except TimeoutError:
            return Unsent(reason=CONNECTION_LIMIT)

    async def aclose(self) -> None:
        if self._coalescer is not None:
            await self._coalescer.aclose()
        if self._is_open:
            await self._client.aclose()
        if self._multiplexed is not None:
            await self._multiplexed.aclose()

    async def _send_one(self, request: HttpRequest, timeout: float, now: datetime) -> Outcome:
        answer = await self._post(request, timeout)
        return self._vendor.outcome(answer, now=now) if isinstance(answer, HttpAnswer) else answer

    async def _send_batch(self, batch: Sequence[_Pending]) -> list[Outcome]:
        """Send messages in one request; those that it was refused for are left out of the next one."""
        timeout = min(each.deadline for each in batch) - asyncio.get_running_loop().time()
        requests, now = [each.request for each in batch], max(each.now for each in batch)
        if len(requests) == 1:
            return [await self._send_one(requests[0], timeout, now)]
        answer = await self._post(self._bulk.joined(requests, now=now), timeout, BODY_CAP + _ITEM_CAP * len(requests))
        if not isinstance(answer, HttpAnswer):
            return [answer] * len(requests)
        outcomes = self._bulk.outcomes(answer, requests, now=now)
        left = [each for each, outcome in zip(batch, outcomes, strict=True) if outcome is None]
        # the answer may not say which message was refused: halves find it
        parts = [left] if len(left) < len(batch) else [left[: len(left) // 2], left[len(left) // 2 :]]
        later = iter([outcome for part in parts if part for outcome in await self._send_batch(part)])
        return [next(later) if outcome is None else outcome for outcome in outcomes]

    async def _post(self, request: HttpRequest, timeout: float, cap: int = BODY_CAP) -> HttpAnswer | Outcome:
        """Return the answer to a request, or the outcome of an attempt without one.

        Args:
            cap: How much of the answer is kept.
        """
        headers = {"accept-encoding": "identity", "user-agent": "notifykit", **request.headers}
        if self._http2 is not None and request.url.startswith(f"{self._http2}/"):
            return await self._post_over_http2(self._http2, request, headers, timeout)
        try:
            response = await self._client.send(request.method, request.url, headers, request.body, timeout=timeout)
        except WireError as error:
            return _failure(error)
        found = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}
        return self._answer(response.status, found, response.body[:cap])

    async def _post_over_http2(
        self, origin: str, request: HttpRequest, headers: Mapping[str, str], timeout: float
    ) -> HttpAnswer | Outcome:
        import httpx

        if self._multiplexed is None:
            from .http2 import Http2Client

            tls = self._tls or ssl.create_default_context()
            self._multiplexed = Http2Client(origin, tls=tls, connections=self._connections, body_cap=BODY_CAP)
        exchange = _Exchange()
        try:
            async with asyncio.timeout(timeout):
                await self._multiplexed.post("/" + request.url.split("/", 3)[3], headers, request.body, exchange)
        except TimeoutError:
            failed = exchange.failed("timeout") if exchange.began else Unsent(reason=CONNECTION_LIMIT)
        except (httpx.TransportError, httpx.InvalidURL) as error:
            failed = _http2_failure(error, exchange)
        else:
            return self._answer(exchange.status, exchange.headers, bytes(exchange.body))
        return self._answer(exchange.status, exchange.headers, bytes(exchange.body)) if exchange.status else failed

    def _answer(self, status: int, headers: Mapping[str, str], body: bytes) -> HttpAnswer:
        for secret in self._vendor.secrets:
            body = body.replace(secret.encode(), b"***")
        return HttpAnswer(status=status, headers=headers, body=body)


class ChecksAccount(Protocol):
    """Optional: a vendor whose API has a request that needs the account's key and changes nothing."""

    def check_request(self, *, now: datetime) -> HttpRequest:
        """Return that request."""
        ...

    def check_answer(self, answer: HttpAnswer) -> str | None:
        """Return what its answer says, in a few words; ``None`` if the account cannot be used."""
        ...


class CheckedHttpProvider(HttpProvider):
    """A provider whose account can be tried without sending anything."""

    async def check(self) -> str:
        """See :class:`notifykit.ports.ChecksConnection`."""
        vendor: Any = self._vendor
        now = datetime.now(UTC)
        answer = await self._post(vendor.check_request(now=now), _CHECK)
        if not isinstance(answer, HttpAnswer):
            reason = "accepted" if isinstance(answer, Accepted) else answer.reason
            raise ConfigurationError(f"{self.account}: the vendor cannot be reached: {reason}")
        found = vendor.check_answer(answer)
        if found is None:
            text = answer.body[:_SHOWN].decode("utf-8", "replace")
            raise ConfigurationError(f"{self.account}: the vendor refused: {answer.status} {text}".rstrip())
        return f"{self.account}, {found}"


def http_channel(
    channel: str,
    vendor: Vendor,
    url: ProviderUrl,
    *,
    renderer: Renderer | None = None,
    check_address: Callable[[str], str] = any_address,
    batch: int | None = None,
) -> MessageChannel:
    """Return the channel that sends through a vendor; nothing is connected yet.

    Args:
        channel: Its name: ``email``, ``sms``, ``push`` or ``chat``.
        url: Says how many connections there are and how long an attempt takes.
        renderer: Makes the messages; by default plain texts of what the event says.
        check_address: See :class:`~notifykit.channels.messages.MessageChannel`.
        batch: How many messages share a request if the URL does not say it; by default as many as the vendor takes.
    """
    kind = CheckedHttpProvider if hasattr(vendor, "check_request") else HttpProvider
    return MessageChannel(
        channel,
        renderer or PlainRenderer(),
        kind(vendor, connections=url.connections, **_bulk_options(vendor, url, batch)),
        check_address=check_address,
        timeout=url.timeout,
    )


def _bulk_options(vendor: Vendor, url: ProviderUrl, batch: int | None) -> dict[str, Any]:
    if not isinstance(vendor, BulkVendor):
        return {}
    delay = timedelta(milliseconds=url.whole("batch_delay", 20, most=60_000))
    return {"batch": url.whole("batch", batch or vendor.most, most=vendor.most), "batch_delay": delay}


def _failure(error: WireError) -> Outcome:
    """Return the outcome of an attempt without an answer."""
    if error.own:
        return Unsent(reason=error.reason, pauses=error.reason in (NO_FILES, NO_MEMORY))
    if error.reason in ("bad_response", "response_too_large"):  # whatever answers like this has read the request
        return Uncertain(reason="bad_response")
    if error.uncertain:
        return Uncertain(reason="timeout" if error.reason == "timeout" else "answer_lost")
    if error.reason == "tls_failed":
        return Transient(reason="tls_failed", circuit=CircuitEffect.OPEN)
    return Transient(reason="connect_failed" if error.reason == "dns_failure" else error.reason)


@attrs.define
class _Exchange:
    """The progress of one request over HTTP/2.

    Attributes:
        began: Whether there was a connection for it, or room for one.
        sent: Whether its body was being handed to the network, or had been.
    """

    began: bool = False
    sent: bool = False
    status: int = 0
    headers: Mapping[str, str] = attrs.field(factory=dict)
    body: bytearray = attrs.field(factory=bytearray)

    def failed(self, reason: str) -> Outcome:
        """Return the outcome of an attempt without an answer."""
        return Uncertain(reason=reason) if self.sent else Transient(reason=reason)


def _http2_failure(error: Exception, exchange: _Exchange) -> Outcome:
    import httpx

    if exchange.sent:
        lost = isinstance(error, httpx.NetworkError) or "disconnected" in str(error)
        return Uncertain(reason="answer_lost" if lost else "bad_response")
    causes = _causes(error)
    if any(isinstance(cause, ssl.SSLError) for cause in causes):
        return Transient(reason="tls_failed", circuit=CircuitEffect.OPEN)
    if isinstance(error, httpx.ConnectError):
        lacking = shortage_at_lookup(causes[-1])
        if lacking is not None:
            return Unsent(reason=lacking, pauses=lacking in (NO_FILES, NO_MEMORY))
        return Transient(reason="connect_failed")
    return Transient(reason="reset")


def _causes(error: BaseException) -> list[Exception]:
    """Return an error and what it was raised from, outermost first."""
    causes = []
    cause: BaseException | None = error
    while isinstance(cause, Exception):
        causes.append(cause)
        cause = cause.__cause__ or cause.__context__
    return causes


if TYPE_CHECKING:
    _conforms: type[Provider] = HttpProvider
