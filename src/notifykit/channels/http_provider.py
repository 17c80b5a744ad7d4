"""Providers with an HTTP API: one request a message, over connections that stay open.

A vendor's module says what the request is and what an answer means (:class:`Vendor`, without I/O);
:class:`HttpProvider` does the rest, the same for each.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cached_property
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlencode

import attrs

from ..errors import ConfigurationError, MissingExtraError
from ..models.delivery import Claim
from ..models.destination import Destination
from ..models.messages import Message
from ..models.outcome import Accepted, CircuitEffect, Outcome, Transient, Uncertain, Unsent
from .http_answers import HttpAnswer
from .messages import MessageChannel, any_address
from .plain import PlainRenderer
from .provider_url import ProviderUrl
from .webhook.shortage import CONNECTION_LIMIT, NO_FILES, NO_MEMORY, shortage_at_lookup

if TYPE_CHECKING:
    import httpx

    from ..ports import Provider, Renderer
    from .http2 import Http2Client

#: How much of an answer is read.
BODY_CAP = 16 * 1024
#: Of every request.
_HEADERS = {"accept-encoding": "identity", "user-agent": "notifykit"}
#: How many seconds a check of an account may take, and how many bytes of a refusal are shown.
_CHECK, _SHOWN = 15.0, 200
#: From here on the request may arrive as a whole, even if this process fails to hear of it.
_SENT = "http11.send_request_body.started"


@attrs.frozen(kw_only=True)
class HttpRequest:
    """A request to a vendor, most of them a POST.

    Attributes:
        headers: Without ``Content-Length``; they may have secrets.
    """

    url: str
    headers: Mapping[str, str] = attrs.field(repr=False)
    body: bytes = attrs.field(repr=False)
    method: str = "POST"

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


class HttpProvider:
    """Sends messages through a vendor's HTTP API.

    Redirects are not followed, and neither proxies nor credentials are read from the environment.

    Args:
        vendor: Makes requests and judges answers.
        connections: How many requests are under way at the most.
        http2: The base of the URLs (``https://host``) that are asked for over HTTP/2, with many requests on each of the
            connections (needs the extra ``push``).
        tls: TLS settings; by default certificates are verified against the system's authorities.

    Raises:
        MissingExtraError: What HTTP/2 needs is not installed.
    """

    def __init__(
        self, vendor: Vendor, *, connections: int = 32, http2: str | None = None, tls: ssl.SSLContext | None = None
    ) -> None:
        self.name = vendor.name
        self.account = vendor.account
        self._vendor = vendor
        self._connections = connections
        self._http2 = http2 if http2 is not None and http2.startswith("https:") else None
        self._tls = tls
        self._is_open = False
        self._multiplexed: Http2Client | None = None
        if http2 is not None and find_spec("h2") is None:
            raise MissingExtraError(f"sending through {vendor.name}", "push")

    def __repr__(self) -> str:
        return f"<HttpProvider {self.account}>"

    @cached_property
    def _transport(self) -> httpx.AsyncHTTPTransport:
        # Only where messages are sent, because this and the certificates take a while.  A client would log URLs, and
        # the URL of a chat room is a secret.
        import httpx

        self._is_open = True
        return httpx.AsyncHTTPTransport(
            verify=self._tls or ssl.create_default_context(),
            limits=httpx.Limits(max_connections=self._connections, keepalive_expiry=30),
            trust_env=False,
        )

    async def send(self, message: Message, claim: Claim, destination: Destination, *, now: datetime) -> Outcome:
        request = self._vendor.request(message, claim, destination, now=now)
        if not isinstance(request, HttpRequest):
            return request
        answer = await self._post(request, destination.timeout.total_seconds())
        return self._vendor.outcome(answer, now=now) if isinstance(answer, HttpAnswer) else answer

    async def aclose(self) -> None:
        if self._is_open:
            await self._transport.aclose()
        if self._multiplexed is not None:
            await self._multiplexed.aclose()

    async def _post(self, request: HttpRequest, timeout: float) -> HttpAnswer | Outcome:
        """Return the answer to a request, or the outcome of an attempt without one."""
        import httpx

        exchange = _Exchange()
        try:
            async with asyncio.timeout(timeout):
                await self._run(request, exchange)
        except TimeoutError:
            failed = exchange.failed("timeout") if exchange.began else Unsent(reason=CONNECTION_LIMIT)
        except (httpx.TransportError, httpx.InvalidURL) as error:
            failed = _failure(error, exchange)
        else:
            return self._answer(exchange)
        return self._answer(exchange) if exchange.status else failed

    async def _run(self, request: HttpRequest, exchange: _Exchange) -> None:
        if self._http2 is None or not request.url.startswith(f"{self._http2}/"):
            await exchange.run(self._transport, request)
            return
        if self._multiplexed is None:
            from .http2 import Http2Client

            tls = self._tls or ssl.create_default_context()
            self._multiplexed = Http2Client(self._http2, tls=tls, connections=self._connections, body_cap=BODY_CAP)
        path = request.url.split("/", 3)[3]
        await self._multiplexed.post(f"/{path}", {**_HEADERS, **request.headers}, request.body, exchange)

    def _answer(self, exchange: _Exchange) -> HttpAnswer:
        body = bytes(exchange.body)
        for secret in self._vendor.secrets:
            body = body.replace(secret.encode(), b"***")
        return HttpAnswer(status=exchange.status, headers=exchange.headers, body=body)


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
) -> MessageChannel:
    """Return the channel that sends through a vendor; nothing is connected yet.

    Args:
        channel: Its name: ``email``, ``sms``, ``push`` or ``chat``.
        url: Says how many connections there are and how long an attempt takes.
        renderer: Makes the messages; by default plain texts of what the event says.
        check_address: See :class:`~notifykit.channels.messages.MessageChannel`.
    """
    kind = CheckedHttpProvider if hasattr(vendor, "check_request") else HttpProvider
    return MessageChannel(
        channel,
        renderer or PlainRenderer(),
        kind(vendor, connections=url.connections),
        check_address=check_address,
        timeout=url.timeout,
    )


@attrs.define
class _Exchange:
    """The progress of one request.

    Attributes:
        began: Whether there was a connection for it, or room for one.
        sent: Whether its body was being handed to the network, or had been.
    """

    began: bool = False
    sent: bool = False
    status: int = 0
    headers: Mapping[str, str] = attrs.field(factory=dict)
    body: bytearray = attrs.field(factory=bytearray)

    async def run(self, transport: httpx.AsyncHTTPTransport, request: HttpRequest) -> None:
        """Send the request and read the answer, as far as the cap."""
        import httpx

        sending = httpx.Request(
            request.method,
            request.url,
            headers={**_HEADERS, **request.headers},
            content=request.body,
            extensions={"trace": self.trace},
        )
        response = await transport.handle_async_request(sending)
        try:
            self.status, self.headers = response.status_code, dict(response.headers.items())
            async for chunk in response.aiter_raw():
                self.body += chunk[: BODY_CAP - len(self.body)]
                if len(self.body) == BODY_CAP:
                    break
        finally:
            await response.aclose()

    async def trace(self, event: str, _: object) -> None:
        self.began = True
        self.sent = self.sent or event == _SENT

    def failed(self, reason: str) -> Outcome:
        """Return the outcome of an attempt without an answer."""
        return Uncertain(reason=reason) if self.sent else Transient(reason=reason)


def _failure(error: Exception, exchange: _Exchange) -> Outcome:
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
