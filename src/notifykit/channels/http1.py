"""Requests to vendors over HTTP/1.1, with the connections that webhooks are sent over.

Unlike a webhook, a request is never sent a second time by itself: a text message that was lost with its answer may have
been paid for.  Where it goes is the operator's decision, so addresses in a private network are as good as any.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import urlsplit

from .webhook.addresses import pack
from .webhook.guard import Guard
from .webhook.limits import Limits
from .webhook.reasons import Refusal
from .webhook.shortage import CONNECTION_LIMIT
from .webhook.transport import Response, WireError
from .webhook.url import DEFAULT_PORTS, Target
from .webhook.wire import Wire


class _Trusting(Guard):
    """Looks names up, and refuses none."""

    def judge(self, address: str) -> Refusal | None:  # noqa: ARG002 - the operator named it
        return None


class Http1Client:
    """Sends requests over connections that stay open.

    Args:
        connections: How many requests are under way at the most; others wait.
        body_cap: How much of an answer is read.
        tls: TLS settings; by default certificates are verified against the system's authorities.
    """

    def __init__(self, *, connections: int, body_cap: int, tls: ssl.SSLContext | None = None) -> None:
        limits = Limits(connections=connections, idle=connections)
        self._wire = Wire(_Trusting(), body_cap=body_cap, tls=tls, limits=limits, resends=False)
        self._connections = connections
        self._loop: asyncio.AbstractEventLoop | None = None
        self._room = asyncio.Semaphore(connections)

    async def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes, *, timeout: float) -> Response:
        """Return the answer to a request.

        Raises:
            WireError: There is none.
        """
        loop = asyncio.get_running_loop()
        if loop is not self._loop:  # calls that waited in an earlier loop ended with it
            self._loop, self._room = loop, asyncio.Semaphore(self._connections)
        room = self._room
        deadline = loop.time() + timeout
        try:
            async with asyncio.timeout(timeout):
                await room.acquire()
        except TimeoutError:
            raise WireError(CONNECTION_LIMIT, own=True) from None
        try:
            target = _target(url)
            left = deadline - loop.time()
            return await self._wire.post(target, _head(method, target, headers, len(body)), body, timeout=left)
        finally:
            room.release()

    async def aclose(self) -> None:
        """Close every connection."""
        await self._wire.aclose()


@lru_cache(maxsize=1024)
def _target(url: str) -> Target:
    parts = urlsplit(url)
    host = parts.hostname or ""
    path = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
    port = parts.port or DEFAULT_PORTS[parts.scheme]
    return Target(scheme=parts.scheme, host=host, port=port, path=path, literal=pack(host) is not None)


def _head(method: str, target: Target, headers: Mapping[str, str], length: int) -> bytes:
    fields = {**headers, "host": target.authority, "content-length": str(length)}
    lines = [f"{method} {target.path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    if any("\r" in line or "\n" in line for line in lines):
        raise ValueError("a header of a request has a line break")
    return "\r\n".join([*lines, "", ""]).encode("latin-1")
