"""Microsoft Teams: workflows that post to a channel; the last part of the room's path names what happens."""

from __future__ import annotations

from typing import Any, ClassVar

from ...policies.simulation import Simulated
from ..receiver import ReceivedRequest, Reply
from .base import UNAUTHORIZED, RefusedError, json_reply
from .rooms import RoomServer


class TeamsServer(RoomServer):
    """Teams, as far as it posts to rooms."""

    codes: ClassVar = {
        UNAUTHORIZED: 401,
        Simulated.INVALID: 404,
        Simulated.REJECTED: 400,
        Simulated.THROTTLED: 429,
        Simulated.UNAVAILABLE: 503,
    }
    scheme = "teams"
    room = "https://prod-00.westeurope.logic.azure.com/workflows/00000000/triggers/manual/paths/invoke/"

    def check(self, request: ReceivedRequest, body: dict[str, Any]) -> None:
        if not request.path.startswith("/workflows/"):
            raise RefusedError(404)
        if body.get("type") != "message" or not body.get("attachments"):
            raise RefusedError(400)

    def success(self, reference: str) -> Reply:  # noqa: ARG002 - workflows tell none
        return Reply(status=202)

    def error(self, code: Any, detail: str | None = None) -> Reply:  # noqa: ARG002 - the status says it
        return json_reply(code, {"error": {"code": "error", "message": "error"}})
