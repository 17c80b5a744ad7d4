"""Slack's incoming webhooks: the room's URL is the credential, and its last part names what happens."""

from __future__ import annotations

from typing import Any, ClassVar

from ...policies.simulation import Simulated
from ..receiver import ReceivedRequest, Reply
from .base import UNAUTHORIZED, RefusedError
from .rooms import RoomServer

_STATUSES = {"no_service": 404, "invalid_token": 403, "rate_limited": 429, "rollup_error": 500}


class SlackServer(RoomServer):
    """Slack, as far as it posts to rooms."""

    codes: ClassVar = {
        UNAUTHORIZED: "invalid_token",
        Simulated.INVALID: "no_service",
        Simulated.REJECTED: "invalid_payload",
        Simulated.THROTTLED: "rate_limited",
        Simulated.UNAVAILABLE: "rollup_error",
    }
    scheme = "slack"
    room = "https://hooks.slack.com/services/T00000000/B00000000/"

    def check(self, request: ReceivedRequest, body: dict[str, Any]) -> None:
        if not request.path.startswith("/services/"):
            raise RefusedError("no_service")
        if not body.get("text") and not body.get("blocks"):
            raise RefusedError("no_text")

    def success(self, reference: str) -> Reply:  # noqa: ARG002 - Slack tells none
        return Reply(status=200, body=b"ok")

    def error(self, code: Any, detail: str | None = None) -> Reply:  # noqa: ARG002 - Slack names no field
        return Reply(status=_STATUSES.get(code, 400), body=str(code).encode())
