"""Channels up to the socket: they make the signed request or the message, keep it, and give scripted outcomes."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import attrs

from ..channels.catcher import unwritable
from ..channels.email.address import canonical_address
from ..channels.inbox import InboxChannel
from ..channels.messages import MessageChannel, any_address
from ..channels.plain import PlainRenderer
from ..channels.webhook import Guard, Response, Target, WebhookChannel
from ..errors import InvalidInputError
from ..models.checks import kind_of, whole
from ..models.delivery import WEBHOOK, Claim
from ..models.destination import Destination
from ..models.endpoint import Endpoint
from ..models.messages import Message
from ..models.outcome import Accepted, Outcome
from ..policies.sms import canonical_number

if TYPE_CHECKING:
    from ..channels.webhook import Transport
    from ..ports import Channel, Inbox, Provider, Renderer


_TIMES = whole(1, 100_000)


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

    @property
    def tenant(self) -> str:
        """The tenant that the endpoint belongs to."""
        return self.endpoint.tenant

    def json(self) -> Any:
        """Return the body, parsed."""
        return json.loads(self.body)


@attrs.frozen(kw_only=True)
class SentMessage:
    """One attempt to reach a person.

    Attributes:
        recipient: The host's own id of the person.
        message: As it was rendered.
        at: When it was sent, by the outbox's clock.
        outcome: The scripted outcome of the attempt.
    """

    delivery_id: str
    tenant: str
    channel: str
    recipient: str
    address: str
    message: Message
    at: datetime
    outcome: Outcome

    @classmethod
    def of(cls, message: Message, claim: Claim, to: Destination, now: datetime, outcome: Outcome) -> SentMessage:
        """Return what one attempt has sent."""
        return cls(
            delivery_id=claim.delivery_id,
            tenant=claim.tenant,
            channel=to.channel,
            recipient=to.subscriber_id,
            address=to.address,
            message=message,
            at=now,
            outcome=outcome,
        )


#: Every attempt of an outbox, in the order of sending.
Sent = list[SentRequest | SentMessage]


class _Script:
    """Outcomes of the next attempts, each for any destination or for a certain one."""

    def __init__(self) -> None:
        self._next: deque[tuple[Outcome, str | None]] = deque()

    def add(self, outcomes: Sequence[Outcome], destination: str | None, times: int = 1) -> None:
        """Set outcomes, one for each attempt.

        Raises:
            InvalidInputError: There are none, one is no outcome, or they are not to be repeated a number of times.
        """
        given: Sequence[object] = outcomes  # whatever the annotations say
        wrong = [
            f"outcomes: [{at}] must be an outcome such as Transient(reason=...), not {kind_of(each)}"
            for at, each in enumerate(given)
            if not isinstance(each, Outcome)
        ]
        wrong += [] if outcomes else ["outcomes: give at least one, such as Transient(reason=...)"]
        if (problem := _TIMES(times)) is not None:
            wrong.append(f"times: {problem}")
        if wrong:
            raise InvalidInputError(wrong)
        self._next.extend((outcome, destination) for outcome in tuple(outcomes) * times)

    def take(self, *names: str) -> Outcome | None:
        """Return the next outcome for a destination with one of these names, if there is one."""
        for at, (outcome, wanted) in enumerate(self._next):
            if wanted is None or wanted in names:
                del self._next[at]
                return outcome
        return None


class RecordingChannel:
    """The webhook channel up to the socket: guard, headers and signature are the real ones.

    Args:
        sent: Where the requests are kept.
    """

    name = WEBHOOK

    def __init__(self, guard: Guard, sent: Sent | None = None) -> None:
        self._wire = _NoWire()
        self._webhook = WebhookChannel(guard=guard, transport=self._wire)
        self._script = _Script()
        self._sent: Sent = [] if sent is None else sent

    @property
    def requests(self) -> list[SentRequest]:
        """Every request, in the order of sending."""
        return [each for each in self._sent if isinstance(each, SentRequest)]

    def answer(self, *outcomes: Outcome, endpoint_id: str | None = None) -> None:
        """Set the outcomes of the next attempts (at that endpoint)."""
        self._script.add(outcomes, endpoint_id)

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
        outcome = self._script.take(endpoint.id) or outcome
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
        self._sent.append(request)
        return outcome

    async def aclose(self) -> None:
        """Do nothing: there are no connections."""


class RecordingProvider:
    """A provider that keeps the messages of a channel and sends none.

    Attributes:
        name: The channel's name.
    """

    def __init__(self, name: str, sent: Sent) -> None:
        self.name = self.account = name
        self._sent = sent
        self._script = _Script()

    @property
    def messages(self) -> list[SentMessage]:
        """Every attempt on this channel, in the order of sending."""
        return [each for each in self._sent if isinstance(each, SentMessage) and each.channel == self.name]

    def fail_next(self, *outcomes: Outcome, times: int = 1, to: str | None = None) -> None:
        """Let the next attempts lead to ``outcomes``, one each; later ones succeed again.

        Args:
            times: How often ``outcomes`` are repeated.
            to: Only attempts that go to this person or address.

        Raises:
            InvalidInputError: There are no outcomes, one is none, or ``times`` is no number from 1 up.
        """
        self._script.add(outcomes, to, times)

    async def send(self, message: Message, claim: Claim, destination: Destination, *, now: datetime) -> Outcome:
        """Record one attempt; see :class:`notifykit.ports.Provider`."""
        scripted = self._script.take(destination.subscriber_id, destination.address)
        outcome = scripted or unwritable(message, claim, destination, now) or Accepted()
        self._sent.append(SentMessage.of(message, claim, destination, now, outcome))
        return outcome

    async def aclose(self) -> None:
        """Do nothing: there are no connections."""


class RecordingInbox(InboxChannel):
    """The in-app inbox, which also keeps what it has stored."""

    def __init__(self, store: Inbox, sent: Sent) -> None:
        super().__init__(store)
        self._sent = sent

    def use(self, renderer: Renderer) -> None:
        """Make the messages of later attempts with ``renderer``."""
        self._renderer = self._last = _LastMessage(renderer)

    async def send(self, claim: Claim, destination: Destination, *, now: datetime) -> Outcome:
        """Record one attempt; see :class:`notifykit.ports.Channel`."""
        outcome = await super().send(claim, destination, now=now)
        self._sent.append(SentMessage.of(self._last.message, claim, destination, now, outcome))
        return outcome


class _LastMessage:
    """A renderer that keeps the last message; an outbox sends one at a time."""

    message: Message

    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer

    def render(self, claim: Claim, destination: Destination, *, now: datetime) -> Message:
        self.message = self._renderer.render(claim, destination, now=now)
        return self.message


#: What addresses are like, by channel.
_CHECKS = {"email": canonical_address, "sms": canonical_number}


class RecordingPeople:
    """The channels to people, each up to its provider.

    Attributes:
        providers: By the name of the channel.
    """

    def __init__(self, store: Inbox, sent: Sent) -> None:
        self.providers = {name: RecordingProvider(name, sent) for name in ("email", "sms", "push", "chat")}
        self._inbox = RecordingInbox(store, sent)
        self._others = [
            MessageChannel(name, PlainRenderer(), provider, check_address=_CHECKS.get(name, any_address))
            for name, provider in self.providers.items()
        ]

    @property
    def channels(self) -> list[Channel]:
        """All of them, the in-app inbox included."""
        return [self._inbox, *self._others]

    def use(self, renderer: Renderer) -> None:
        """Make the messages of later attempts with ``renderer``."""
        self._inbox.use(renderer)
        for channel in self._others:
            channel.renderer = renderer


class _NoWire:
    """A transport that sends nothing: it keeps the last request and answers 204."""

    posted: tuple[str, bytes, bytes] | None = None

    async def post(self, target: Target, head: bytes, body: bytes, *, timeout: float) -> Response:  # noqa: ARG002
        self.posted = (target.url, head, body)
        return Response(204, [], b"")

    async def aclose(self) -> None:
        """Do nothing."""


if TYPE_CHECKING:
    _provides: type[Provider] = RecordingProvider
    _renders: type[Renderer] = _LastMessage
    _conforms: type[Channel] = RecordingChannel
    _carries: type[Transport] = _NoWire
