"""Tells browsers to use nothing but HTTPS for this server, once they have reached it by that (RFC 6797)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.types import ASGIApp, Message, Receive, Scope, Send

if TYPE_CHECKING:
    from ..kit import Notifykit

#: For a year.  Subdomains are left out: whoever has them decides about them.
_ONLY_HTTPS = (b"strict-transport-security", b"max-age=31536000")


class StrictTransport:
    """Adds the header to every answer over HTTPS."""

    def __init__(self, app: ASGIApp, kit: Notifykit) -> None:
        self._app = app
        self._kit = kit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request as the application does, with the header if it is due."""

        async def send_with_header(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), _ONLY_HTTPS]}
            await send(message)

        await self._app(scope, receive, send_with_header if is_https(scope, self._kit) else send)


def is_https(scope: Scope, kit: Notifykit) -> bool:
    """Return whether clients use HTTPS: as the server or its proxy says, or the address that clients are told."""
    return scope.get("scheme") == "https" or (kit.public_url or "").startswith("https:")
