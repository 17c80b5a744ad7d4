"""Channels to people: a renderer makes the message, a provider carries it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from ..errors import InvalidInputError, TemplateError
from ..models.addresses import MAX_ADDRESS
from ..models.checks import text
from ..models.delivery import Claim
from ..models.destination import Destination
from ..models.messages import KINDS, Message, is_empty
from ..models.outcome import Outcome
from ..models.retry import DEFAULT_RETRY, RetryPolicy
from ..policies.simulation import PREFIX, SLOW, Simulated, is_simulated, simulated_name, simulated_outcome

if TYPE_CHECKING:
    from ..ports import AddressedChannel, Provider, Renderer

_address = text(most=MAX_ADDRESS)
#: The deadline of an attempt: as long as a dispatcher allows by default.
_TIMEOUT = timedelta(seconds=30)


def any_address(address: str) -> str:
    """Accept every text as an address.

    Raises:
        InvalidInputError: It is empty, too long, or has control characters.
    """
    if (wrong := _address(address)) is not None:
        raise InvalidInputError([f"address: {wrong}"])
    return address


class MessageChannel:
    """Sends messages to people: e-mail, SMS, push, chat.

    What goes to a simulated address (see :mod:`notifykit.policies.simulation`) is rendered and never sent.

    Args:
        name: The channel's name: ``email``.
        renderer: Makes the message of a delivery.
        provider: Carries it.  The channel closes it.
        check_address: Returns the canonical form of an address, or raises
            :class:`~notifykit.errors.InvalidInputError`; by default every text is one.
        timeout: The deadline of one attempt.
        retry: When failed attempts are tried again.
    """

    def __init__(
        self,
        name: str,
        renderer: Renderer,
        provider: Provider,
        *,
        check_address: Callable[[str], str] = any_address,
        timeout: timedelta = _TIMEOUT,
        retry: RetryPolicy = DEFAULT_RETRY,
    ) -> None:
        self.name = name
        self.renderer = renderer
        self.provider = provider
        self._check_address = check_address
        self._timeout = timeout
        self._retry = retry

    def check_address(self, address: str) -> str:
        return any_address(address) if address.startswith(PREFIX) else self._check_address(address)

    @property
    def timeout(self) -> timedelta:
        """The deadline of one attempt."""
        return self._timeout

    def destination(self, *, tenant: str, subscriber_id: str, address: str, app: str | None = None) -> Destination:
        return Destination(
            subscriber_id=subscriber_id,
            tenant=tenant,
            channel=self.name,
            address=address,
            app=app,
            retry=self._retry,
            timeout=self._timeout,
            circuit_key=self.circuit_key(address, app),
        )

    def circuit_key(self, address: str, app: str | None) -> str | None:  # noqa: ARG002 - others choose by the app
        """Return which circuit the attempts to an address share: that of the account; ``None`` if nothing is sent."""
        return None if is_simulated(self.name, address) else self.provider.account

    async def send(self, claim: Claim, destination: Destination, *, now: datetime) -> Outcome:
        """Make one attempt; see :class:`notifykit.ports.Channel`.

        Raises:
            TemplateError: The message cannot be made, so nothing was sent.
        """
        message = self.render(claim, destination, now=now)
        simulated = await self.simulate(claim, destination)
        return simulated or await self.provider.send(message, claim, destination, now=now)

    async def simulate(self, claim: Claim, destination: Destination) -> Outcome | None:
        """Return the outcome of a message to a simulated address, and ``None`` for any other address."""
        if not is_simulated(self.name, destination.address):
            return None
        if simulated_name(destination.address) is Simulated.SLOW:
            await asyncio.sleep(min(SLOW, destination.timeout).total_seconds())
        return simulated_outcome(destination.address, claim.delivery_id)

    async def aclose(self) -> None:
        await self.provider.aclose()

    def render(self, claim: Claim, destination: Destination, *, now: datetime) -> Message:
        """Return the message of a delivery.

        Raises:
            TemplateError: It cannot be made.
        """
        try:
            message = self.renderer.render(claim, destination, now=now)
        except TemplateError:
            raise
        except Exception as error:
            raise TemplateError(f"{claim.event_type} ({self.name}): {type(error).__name__}: {error}") from error
        wanted = KINDS.get(self.name, object)
        if not isinstance(message, wanted):
            found = type(message).__name__
            raise TemplateError(f"{claim.event_type} ({self.name}): made a {found}, not a {wanted.__name__}")
        if isinstance(message, tuple(KINDS.values())) and is_empty(message):
            raise TemplateError(f"{claim.event_type} ({self.name}): made an empty message, which is not sent")
        return message


if TYPE_CHECKING:
    _conforms: type[AddressedChannel] = MessageChannel
