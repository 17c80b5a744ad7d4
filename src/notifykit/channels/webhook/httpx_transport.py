"""A transport over httpcore, the engine of httpx, for a proxy or HTTP/2.

It costs some fifty times the processor time of the wire.  The same guard decides,
inside the network backend (:mod:`.httpx_network`): the vetted address is dialled, while
TLS and the ``Host`` header keep the name.  Redirects, cookies, credentials from ``.netrc``,
proxies from the environment and decompression belong to httpx's client, which is
not used here, so there is nothing to switch off.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Any

import attrs
import h11
import httpcore

from ...errors import ConfigurationError
from .guard import Guard
from .httpx_network import Backend, TlsError
from .limits import Limits
from .pool import client_context
from .shortage import CONNECTION_LIMIT, NO_FILES
from .transport import BODY_CAP, BODY_GRACE, MAX_HEAD_BYTES, MAX_HEAD_LINES, Response, Transport, WireError
from .url import DEFAULT_PORTS, Target

#: A pool of httpcore goes through all its connections and requests several times for each request: with hundreds of
#: them that takes ten milliseconds.  So there are many small ones, and an origin moves on to the next when its own has
#: so many requests under way.
_POOLS, _FEW = 64, 8
_SENT = frozenset({"http11.send_request_body.complete", "http2.send_request_body.complete"})


class HttpxTransport:
    """Posts with httpcore, the engine of httpx.

    Args:
        guard: What decides on every address that is dialled.  With a proxy it still judges the URL
            and its address if it has one, but names are resolved, and must be judged, by the proxy.
        body_cap: How much of an answer's body is kept.
        tls: TLS settings; by default certificates are verified against the system's authorities.
        http2: Whether to offer HTTP/2 (needs the extra ``http2``).
        proxy: The URL of an HTTP proxy; the environment is never read.
        limits: How many connections there may be, and for how long.
    """

    def __init__(
        self,
        guard: Guard,
        *,
        body_cap: int = BODY_CAP,
        tls: ssl.SSLContext | None = None,
        http2: bool = False,
        proxy: str | None = None,
        limits: Limits | None = None,
    ) -> None:
        self._body_cap = body_cap
        self._proxied = proxy is not None
        limits = limits or Limits()
        count = min(_POOLS, limits.connections)
        options: dict[str, Any] = {
            # httpcore changes the settings that it is given, so the default is one of its own.
            "ssl_context": tls or client_context(),
            "http2": http2,
            "max_connections": limits.connections // count,
            "max_keepalive_connections": -(-limits.idle // count),
            "keepalive_expiry": limits.idle_for,
            "network_backend": Backend(guard if proxy is None else None, body_cap),
        }
        try:
            if proxy is None:
                self._pools = [_Pool(httpcore.AsyncConnectionPool(**options)) for _ in range(count)]
            else:
                options |= _proxy_options(proxy)
                self._pools = [_Pool(httpcore.AsyncHTTPProxy(**options)) for _ in range(count)]
        except ImportError as error:
            raise ConfigurationError(str(error)) from error

    async def post(self, target: Target, head: bytes, body: bytes, *, timeout: float) -> Response:
        """Send one request and return its answer; see :class:`~.transport.Transport`."""
        tunnels = self._proxied and target.scheme == "https"
        exchange = _Exchange(tunnels)
        try:
            async with asyncio.timeout(timeout) as scope:
                try:
                    await self._perform(exchange, target, head, body, scope)
                except _LOST as error:
                    if exchange.fresh or exchange.status or _complaint(error) is not None:
                        raise
                    # A kept connection was closed as it was used again: once more, within the same attempt.
                    exchange = _Exchange(tunnels)
                    await self._perform(exchange, target, head, body, scope)
        except TimeoutError as error:
            if not exchange.began:
                raise WireError(CONNECTION_LIMIT, own=True) from error
            if not exchange.status:
                raise WireError("timeout", uncertain=exchange.sent) from error
        except (WireError, *_HTTPCORE_ERRORS) as error:
            if not exchange.status:
                raise await self._failure(error, exchange) from error
        return exchange.response()

    async def aclose(self) -> None:
        """Close every connection."""
        for pool in self._pools:
            await pool.engine.aclose()
        await asyncio.sleep(0)  # the loop closes aborted sockets in its next iteration

    async def _perform(
        self, exchange: _Exchange, target: Target, head: bytes, body: bytes, scope: asyncio.Timeout
    ) -> None:
        request = httpcore.Request(
            b"POST",
            _Url(target),
            headers=_headers(head),
            content=body,
            extensions={"trace": exchange.trace},
        )
        with self._pool(target) as pool:
            await self._exchange(pool, request, exchange, scope)

    def _pool(self, target: Target) -> _Pool:
        """Return the pool of the tenant and the origin, or a later one that is not busy."""
        own = hash(target.pool_key) % len(self._pools)
        in_turn = self._pools[own:] + self._pools[:own]
        return min(in_turn, key=lambda pool: pool.under_way // _FEW)

    async def _exchange(
        self, pool: httpcore.AsyncConnectionPool, request: httpcore.Request, exchange: _Exchange, scope: asyncio.Timeout
    ) -> None:
        response = await pool.handle_async_request(request)
        try:
            size = sum(len(name) + len(value) for name, value in response.headers)
            if size > MAX_HEAD_BYTES or len(response.headers) > MAX_HEAD_LINES:
                raise WireError("response_too_large")
            exchange.status, exchange.headers = response.status, response.headers
            grace = asyncio.get_running_loop().time() + BODY_GRACE
            scope.reschedule(min(scope.when() or grace, grace))
            async for chunk in response.aiter_stream():
                exchange.body += chunk[: self._body_cap + 1 - len(exchange.body)]
                if len(exchange.body) > self._body_cap:
                    del exchange.body[self._body_cap :]
                    break
        finally:
            await response.aclose()

    async def _failure(self, error: Exception, exchange: _Exchange) -> WireError:
        if isinstance(error, WireError) and error.own:
            if error.reason == NO_FILES:
                await self._close_idle()
            return error
        if isinstance(error, TlsError) or (_has_tls_cause(error) and not exchange.sent):
            return WireError("tls_failed")
        if exchange.tunnelling:
            return WireError("proxy_failed")
        match error:
            case WireError():
                return error
            case httpcore.ConnectError() | httpcore.ConnectTimeout():
                return WireError("proxy_failed" if self._proxied else "connect_failed")
            case httpcore.RemoteProtocolError() if (complaint := _complaint(error)) is not None:
                return WireError("response_too_large" if complaint.error_status_hint == 431 else "bad_response")
            case httpcore.RemoteProtocolError():
                return WireError("closed_early", uncertain=exchange.sent)
            case httpcore.ReadError() | httpcore.WriteError():
                return WireError("reset", uncertain=exchange.sent)
        return WireError("bad_response")

    async def _close_idle(self) -> None:
        """Close idle connections, so that a new one gets their file descriptors."""
        for pool in self._pools:
            for connection in pool.engine.connections:
                if connection.is_idle():
                    await connection.aclose()


@attrs.define(eq=False)
class _Pool:
    """A pool of httpcore, entered by each request that it carries."""

    engine: httpcore.AsyncConnectionPool
    under_way: int = 0

    def __enter__(self) -> httpcore.AsyncConnectionPool:
        self.under_way += 1
        return self.engine

    def __exit__(self, *_: object) -> None:
        self.under_way -= 1


@attrs.define(eq=False)
class _Exchange:
    """The progress of one request.

    Attributes:
        tunnels: Whether a new connection begins with a ``CONNECT`` to the proxy.
        tunnelling: Whether the exchange is still with the proxy, before the tunnel is open.
        began: Whether there was a connection for it, or room for one.
        fresh: Whether a connection was opened for it.
        sent: Whether all of it was handed to the network.
    """

    tunnels: bool
    tunnelling: bool = False
    began: bool = False
    fresh: bool = False
    sent: bool = False
    status: int = 0
    headers: list[tuple[bytes, bytes]] = attrs.field(factory=list)
    body: bytearray = attrs.field(factory=bytearray)

    async def trace(self, event: str, _: object) -> None:
        self.began = True
        if event == "connection.connect_tcp.started":
            self.fresh, self.tunnelling = True, self.tunnels
        elif event == "proxy.start_tls.complete":
            self.tunnelling = False
        elif event in _SENT and not self.tunnelling:
            self.sent = True

    def response(self) -> Response:
        return Response(self.status, self.headers, bytes(self.body))


class _Origin(httpcore.Origin):
    """An origin as one tenant sees it, so that httpcore keeps the connections of tenants apart."""

    def __init__(self, target: Target) -> None:
        super().__init__(target.scheme.encode(), target.host.encode(), target.port)
        self.tenant = target.tenant

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Origin) and self.tenant == other.tenant and super().__eq__(other)

    __hash__ = None  # type: ignore[assignment]  # as in the class above


class _Url(httpcore.URL):
    """The URL of a target."""

    def __init__(self, target: Target) -> None:
        super().__init__(
            scheme=target.scheme.encode(),
            host=target.host.encode(),
            port=None if target.port == DEFAULT_PORTS[target.scheme] else target.port,
            target=target.path.encode(),
        )
        self._origin = _Origin(target)

    @property
    def origin(self) -> httpcore.Origin:
        return self._origin


def _proxy_options(proxy: str) -> dict[str, Any]:
    url = httpcore.URL(proxy)
    if url.scheme not in (b"http", b"https") or not url.host:
        raise ConfigurationError("proxy is the URL of an HTTP proxy, such as http://proxy.example:4750")
    if b"@" in url.host:
        raise ConfigurationError("proxy credentials in the URL are not supported")
    return {"proxy_url": url}


def _headers(head: bytes) -> list[tuple[bytes, bytes]]:
    lines = head[:-4].split(b"\r\n")[1:]
    return [(name, value) for name, _, value in (line.partition(b": ") for line in lines)]


def _complaint(error: BaseException) -> h11.RemoteProtocolError | None:
    """Return what the parser found wrong with the answer; without it, there was none."""
    found = error.__cause__ or error.__context__  # httpcore's pool clears the cause
    return found if isinstance(found, h11.RemoteProtocolError) else None


def _has_tls_cause(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return True
        error = error.__cause__ or error.__context__
    return False


_LOST = (httpcore.RemoteProtocolError, httpcore.ReadError, httpcore.WriteError)
_HTTPCORE_ERRORS = (
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.ProxyError,
    httpcore.TimeoutException,
    httpcore.UnsupportedProtocol,
    httpcore.ConnectionNotAvailable,
)


if TYPE_CHECKING:
    _conforms: type[Transport] = HttpxTransport
