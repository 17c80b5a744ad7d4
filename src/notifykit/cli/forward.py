"""Forward a received webhook to a program on this machine, and return its response."""

from __future__ import annotations

import time
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Self
from urllib.parse import urlsplit

from . import inputs
from .receiver import Reply, Request
from .text import plain

if TYPE_CHECKING:
    import httpx

#: Seconds that the program may take; a dispatcher gives up after 30 at the latest.
TIMEOUT = 30.0
#: Headers that belong to one connection, or are set again for the next one (RFC 9110, 7.6.1).
_NOT_HANDED_ON = frozenset(
    b"connection content-length expect host keep-alive proxy-authenticate proxy-authorization proxy-connection te "
    b"trailer transfer-encoding upgrade".split()
)
#: Headers of a response that are returned: the ones that a dispatcher or a developer reads.
_HANDED_BACK = ("content-type", "retry-after")


@inputs.argument
def local_url(text: str) -> str:
    """Read the URL of a program."""
    try:
        parts = urlsplit(text)
        is_url = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # an invalid port, or brackets that do not match
        is_url = False
    if not is_url:
        raise ValueError(f"{plain(text)!r} is not a URL; write it like http://localhost:8000/webhooks")
    return text


class Forwarded(NamedTuple):
    """The result of forwarding a request.

    Attributes:
        reply: The response to the sender of the request.
        error: Why the program sent no response.
    """

    reply: Reply
    took: timedelta
    error: str | None = None


class Forwarder:
    """Sends requests to one URL, whatever their path, inside a block."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._client: httpx.AsyncClient | None = None

    async def __aenter__(self) -> Self:
        import httpx

        # No proxy of the environment: the program is on this machine or in its network.
        self._client = httpx.AsyncClient(trust_env=False, follow_redirects=False, timeout=TIMEOUT)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._client is not None
        await self._client.aclose()

    async def send(self, request: Request) -> Forwarded:
        """Send a request with its headers and its exact body."""
        import httpx

        assert self._client is not None
        started = time.monotonic()
        headers = [(name, value) for name, value in request.headers if name not in _NOT_HANDED_ON]
        try:
            answer = await self._client.request(request.method, self.url, headers=headers, content=request.body)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            status = 504 if isinstance(error, httpx.TimeoutException) else 502
            why = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            return Forwarded(Reply(status), _since(started), why)
        known = {name: answer.headers.get(name) for name in _HANDED_BACK}
        back = [(name.encode(), value.encode("latin-1")) for name, value in known.items() if value is not None]
        return Forwarded(Reply(answer.status_code, answer.content, back), _since(started))


def _since(started: float) -> timedelta:
    return timedelta(seconds=time.monotonic() - started)
