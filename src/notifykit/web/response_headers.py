"""The headers of every response, whatever makes it: what browsers must not do with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

if TYPE_CHECKING:
    from ..kit import Notifykit

#: For a year nothing but HTTPS (RFC 6797).  Subdomains are left out: whoever has them decides about them.
_ONLY_HTTPS = "max-age=31536000"


class ResponseHeaders:
    """Adds headers to every response: it is not cached unless it says otherwise, and its type is not guessed."""

    def __init__(self, app: ASGIApp, kit: Notifykit) -> None:
        self._app = app
        self._kit = kit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Respond as the application does, with the headers."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("Cache-Control", "no-store")
                headers.setdefault("X-Content-Type-Options", "nosniff")
                if is_https(scope, self._kit):
                    headers["Strict-Transport-Security"] = _ONLY_HTTPS
            await send(message)

        await self._app(scope, receive, send_with_headers)


def is_https(scope: Scope, kit: Notifykit) -> bool:
    """Return whether clients use HTTPS: as the server or its proxy says, or the address that clients are told."""
    return scope.get("scheme") == "https" or (kit.public_url or "").startswith("https:")
