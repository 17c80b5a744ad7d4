"""Simulated vendors beside the page: it shows what they take, and they report what becomes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from ...channels.catcher import Catcher
from ...codec import dumps
from ...testing.vendors import (
    MailgunServer,
    PostmarkServer,
    SendGridServer,
    SimulatedMessage,
    SimulatedVendor,
    TwilioServer,
    VonageServer,
)

_POLL = 0.2


class _Kind(NamedTuple):
    """A vendor.

    Attributes:
        secret: Returns what verifies its receipts, as ``receipts_app`` takes it.
    """

    server: type[SimulatedVendor]
    secret: Callable[[Any], str]


_KINDS: Mapping[str, _Kind] = {
    "mailgun": _Kind(MailgunServer, lambda server: server.signing_key),
    "postmark": _Kind(PostmarkServer, lambda server: ":".join(server.user)),
    "sendgrid": _Kind(SendGridServer, lambda server: server.public_key),
    "twilio": _Kind(TwilioServer, lambda server: server.token),
    "vonage": _Kind(VonageServer, lambda server: server.signature_secret),
}


class CaughtVendor:
    """A vendor whose messages are written to the catcher's file; it listens inside a block.

    Args:
        receipts: The URL of the application that receives receipts, without the vendor's name; ``None`` if there is
            none.  What a message names itself goes before.

    Attributes:
        receipts: That URL with the name.
    """

    def __init__(self, name: str, catcher: Catcher, receipts: str | None) -> None:
        self.name = name
        self.server = _KINDS[name].server()
        self._catcher = catcher
        self.receipts = None if receipts is None else f"{receipts.rstrip('/')}/{name}"
        self._seen = 0

    @property
    def variable(self) -> str:
        """The environment variable for the URL of its provider."""
        return f"NOTIFYKIT_{self.server.channel.upper()}"

    @property
    def secret(self) -> str:
        """What verifies its receipts, as ``receipts_app`` takes it."""
        return _KINDS[self.name].secret(self.server)

    async def follow(self) -> None:
        """Write down messages and post their receipts for ever."""
        while True:
            await self.look()
            await asyncio.sleep(_POLL)

    async def look(self) -> None:
        """Write down the messages since the last look, and post their receipts."""
        fresh = self.server.total - self._seen
        for message in list(self.server.messages)[-fresh:] if fresh else ():
            self._seen += 1
            await self._write(message, self.name, _shown(message))
            url = _callback(message.content) or self.receipts
            if url is not None:
                said = await asyncio.to_thread(self._post, url, message)
                await self._write(message, f"{self.name} reports", {"text": said})

    def _post(self, url: str, message: SimulatedMessage) -> str:
        import httpx

        try:
            statuses: Sequence[Any] = self.server.post_receipts(url, [message])
        except httpx.HTTPError as error:
            return f"The receipts cannot be posted to {url}: {error}"
        told = (f"{event}: answered {status}" for event, status in zip(message.later, statuses, strict=True))
        return f"Receipts for {url}: {', '.join(told)}"

    async def _write(self, message: SimulatedMessage, type_: str, shown: Mapping[str, Any]) -> None:
        record = {
            "at": datetime.now(UTC).isoformat(),
            "channel": self.server.channel,
            "to": message.to,
            "type": type_,
            "delivery_id": message.delivery_id,
            "message": {**shown, "reference": message.reference},
        }
        await asyncio.to_thread(self._catcher.append, dumps(record) + b"\n")


def _callback(content: Mapping[str, Any]) -> str | None:
    return content.get("StatusCallback") or content.get("callback")


def _shown(message: SimulatedMessage) -> dict[str, Any]:
    """Return what the page shows of a message, whatever the vendor calls it."""
    content = message.content
    parts = content.get("content", {})  # SendGrid's, by media type
    names = {
        "subject": ("subject", "Subject"),
        "text": ("text", "Body", "TextBody"),
        "html": ("html", "HtmlBody"),
    }
    found = {name: next((content[own] for own in owns if content.get(own)), None) for name, owns in names.items()}
    found["text"] = found["text"] or parts.get("text/plain", "")
    found["html"] = found["html"] or parts.get("text/html")
    return {name: text for name, text in found.items() if text is not None}
