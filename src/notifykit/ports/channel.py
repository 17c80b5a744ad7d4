"""What a channel must do, and what one to people is made of: a renderer and a provider."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol, runtime_checkable

from ..models.delivery import (
    Claim,
)
from ..models.destination import Destination
from ..models.messages import ChatMessage, EmailMessage, InAppMessage, Message, PushMessage, SmsMessage
from ..models.outcome import Outcome
from ..models.recipient import Person


class Channel(Protocol):
    """Carries deliveries to one kind of address.

    A channel knows no rules: it neither retries nor decides.  Every failure of
    the outside world is an :data:`~notifykit.models.outcome.Outcome`; an
    exception means a bug, and is recorded as a transient failure, except a
    :class:`~notifykit.errors.TemplateError`: then the delivery is held.  What this
    process itself lacks is :class:`~notifykit.models.outcome.Unsent`, which only
    says so of an attempt of which nothing was sent: it is made again without end.

    An answer is stored as it is returned: a channel removes what must not be kept (secrets that it sent).
    """

    name: str

    async def send(self, claim: Claim, destination: Destination, *, now: datetime) -> Outcome:
        """Make one attempt and return within ``destination.timeout`` (plus half a second at the most).

        Called concurrently for many deliveries.  Cancellation must leave no
        connection in an unknown state.
        """
        ...

    async def aclose(self) -> None:
        """Close idle connections; no ``send`` runs any more."""
        ...


@runtime_checkable
class AddressedChannel(Channel, Protocol):
    """A channel whose addresses need no record: a subscription names the subscriber and the address.

    Webhooks are not one of them: each goes to an endpoint, whose record has the URL, keys and limits.
    """

    def check_address(self, address: str) -> str:
        """Return the canonical form of an address; no I/O.

        Raises:
            InvalidInputError: It is none.
        """
        ...

    def destination(self, *, tenant: str, subscriber_id: str, address: str, app: str | None = None) -> Destination:
        """Return what the engine sends to for an address in its canonical form; no I/O.

        The channel says here how often and for how long an attempt is made, how many at a time, whether it is fast
        (``is_fast``), and which attempts share a circuit: those of one provider's account, if the address itself
        says nothing about others.  The engine keeps what is returned while the address is in use.

        Args:
            app: Only given for a device that was registered with the name of an app.
        """
        ...


class Renderer(Protocol):
    """Makes what a person reads of an event."""

    def render(self, claim: Claim, destination: Destination, *, now: datetime) -> Message:
        """Return the message of a delivery in its recipient's locale and zone; no I/O.

        Raises:
            TemplateError: The template is missing or failed; it says which line and variable.
        """
        ...


class RendersEmail(Protocol):
    """Optional base of a typed event class that makes its e-mails itself; a type checker then checks the method."""

    def email(self, to: Person) -> EmailMessage | None:
        """Return the e-mail of this event for a person; ``None`` leaves it to the templates."""
        ...


class RendersSms(Protocol):
    """As :class:`RendersEmail`, for text messages."""

    def sms(self, to: Person) -> SmsMessage | None: ...


class RendersPush(Protocol):
    """As :class:`RendersEmail`, for notifications on devices."""

    def push(self, to: Person) -> PushMessage | None: ...


class RendersInApp(Protocol):
    """As :class:`RendersEmail`, for rows of the inbox."""

    def in_app(self, to: Person) -> InAppMessage | None: ...


class RendersChat(Protocol):
    """As :class:`RendersEmail`, for messages to chat rooms."""

    def chat(self, to: Person) -> ChatMessage | None: ...


class Provider(Protocol):
    """One vendor's way to carry messages of a channel, such as an SMTP server.

    Like a channel it knows no rules: failures of the outside world are outcomes, and it does not retry.

    Attributes:
        name: The vendor or the protocol: ``smtp``.
        account: Whose circuit opens if attempts fail, without secrets: ``smtp://shop@mail.example.org:587``.
    """

    name: str
    account: str

    async def send(self, message: Message, claim: Claim, destination: Destination, *, now: datetime) -> Outcome:
        """Make one attempt and return within ``destination.timeout`` (plus half a second at the most)."""
        ...

    async def aclose(self) -> None:
        """Close idle connections; no ``send`` runs any more."""
        ...


@runtime_checkable
class ChecksConnection(Protocol):
    """Optional: a provider whose account can be tried without sending anything."""

    async def check(self) -> str:
        """Connect and log in; return in a few words what was found.

        Raises:
            ConfigurationError: It failed; the message says why, and shows no secret.
        """
        ...
