"""Discord's webhooks: the room's URL is the credential, and its last part names what happens."""

from __future__ import annotations

from typing import Any, ClassVar

from ...policies.simulation import Simulated
from ..receiver import ReceivedRequest, Reply
from .base import UNAUTHORIZED, RefusedError, json_reply
from .rooms import RoomServer

_STATUSES = {10015: 404, 50027: 401, 429: 429, 503: 503}


class DiscordServer(RoomServer):
    """Discord, as far as it posts to rooms."""

    codes: ClassVar = {
        UNAUTHORIZED: 50027,
        Simulated.INVALID: 10015,
        Simulated.REJECTED: 50035,
        Simulated.THROTTLED: 429,
        Simulated.UNAVAILABLE: 503,
    }
    scheme = "discord"
    room = "https://discord.com/api/webhooks/100000000000000000/"

    def check(self, request: ReceivedRequest, body: dict[str, Any]) -> None:
        if "/webhooks/" not in request.path:
            raise RefusedError(10015)
        if not body.get("content"):
            raise RefusedError(50006)
        if len(body["content"]) > 2000:
            raise RefusedError(50035)

    def success(self, reference: str) -> Reply:
        return json_reply(200, {"id": reference, "type": 0})

    def error(self, code: Any, detail: str | None = None) -> Reply:  # noqa: ARG002 - the code says it
        status = _STATUSES.get(code, 400)
        if status == 429:
            return json_reply(429, {"message": "You are being rate limited.", "retry_after": float(self.retry_after)})
        return json_reply(status, {"code": code, "message": "error"})
