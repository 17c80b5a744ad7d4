"""A channel that sends nothing: it builds the signed request, keeps it, and gives scripted outcomes."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

import attrs

from ..channels.webhook import Guard, Response, Target, WebhookChannel
from ..models.delivery import WEBHOOK, Claim
from ..models.destination import Destination
from ..models.endpoint import Endpoint
from ..models.outcome import Outcome


@attrs.frozen(kw_only=True)
class SentRequest:
    """One attempt, as the receiver would have seen it.

    Attributes:
        headers: Names in lower case.
        at: When it was sent, by the outbox's clock.
        outcome: The scripted outcome of the attempt.
    """

    delivery_id: str
    endpoint: Endpoint
    url: str
    headers: Mapping[str, str]
    body: bytes = attrs.field(repr=lambda body: f"<{len(body)} bytes>")
    at: datetime
    outcome: Outcome

    def json(self) -> Any:
        """Return the body, parsed."""
        return json.loads(self.body)


class RecordingChannel:
    """The webhook channel up to the socket: guard, headers and signature are the real ones.

    Attributes:
        requests: Every request, in the order of sending.
    """

    name = WEBHOOK

    def __init__(self, guard: Guard) -> None:
        self._wire = _NoWire()
        self._webhook = WebhookChannel(guard=guard, transport=self._wire)
        self._script: deque[tuple[Outcome, str | None]] = deque()
        self.requests: list[SentRequest] = []

    def answer(self, outcome: Outcome, endpoint_id: str | None = None) -> None:
        """Set the outcome of the next attempt (at that endpoint)."""
        self._script.append((outcome, endpoint_id))

    async def send(self, claim: Claim, destination: Destination, *, now: datetime) -> Outcome:
        """Record one attempt; see :class:`notifykit.ports.Channel`."""
        self._wire.posted = None
        outcome = await self._webhook.send(claim, destination, now=now)
        posted = self._wire.posted
        if posted is None:
            return outcome  # the guard, or the endpoint's own settings, kept it from being sent
        endpoint = destination.config
        assert isinstance(endpoint, Endpoint)
        url, head, body = posted
        outcome = self._scripted(endpoint.id) or outcome
        headers = dict(line.split(": ", 1) for line in head.decode("ascii").split("\r\n")[1:] if line)
        request = SentRequest(
            delivery_id=claim.delivery_id,
            endpoint=endpoint,
            url=url,
            headers=headers,
            body=body,
            at=now,
            outcome=outcome,
        )
        self.requests.append(request)
        return outcome

    def _scripted(self, endpoint_id: str) -> Outcome | None:
        for at, (outcome, wanted) in enumerate(self._script):
            if wanted in (None, endpoint_id):
                del self._script[at]
                return outcome
        return None

    async def aclose(self) -> None:
        """Do nothing: there are no connections."""


class _NoWire:
    """A transport that sends nothing: it keeps the last request and answers 204."""

    posted: tuple[str, bytes, bytes] | None = None

    async def post(self, target: Target, head: bytes, body: bytes, *, timeout: float) -> Response:  # noqa: ARG002
        self.posted = (target.url, head, body)
        return Response(204, [], b"")

    async def aclose(self) -> None:
        """Do nothing."""


if TYPE_CHECKING:
    from ..channels.webhook import Transport
    from ..ports import Channel

    _conforms: type[Channel] = RecordingChannel
    _carries: type[Transport] = _NoWire
