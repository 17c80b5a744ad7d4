"""What carries tickets from the relay to workers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, NamedTuple, Protocol, Self, runtime_checkable

from ..errors import InvalidInputError
from ..models.delivery import Lane


class Ticket(NamedTuple):
    """The news that a delivery is due: the worker that gets it may claim the delivery in the store.

    Attributes:
        tenant: Of the delivery, so that a broker can partition by tenant.
        subscriber_id: Of the delivery, so that a worker which may hold no more for a subscriber need not claim it.
    """

    delivery_id: str
    lane: Lane
    tenant: str
    subscriber_id: str

    def to_bytes(self) -> bytes:
        """Return what a broker carries; the lane is where it is carried."""
        return json.dumps([self.delivery_id, self.tenant, self.subscriber_id], separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, body: bytes, lane: Lane) -> Self:
        """Return the ticket of a message.

        Raises:
            InvalidInputError: The message is none of ours.
        """
        try:
            parts = json.loads(body)
        except ValueError as error:
            raise InvalidInputError([f"ticket: {error}"]) from error
        if not (isinstance(parts, list) and len(parts) == 3 and all(isinstance(part, str) for part in parts)):
            raise InvalidInputError(["ticket: must be three strings"])
        delivery_id, tenant, subscriber_id = parts
        return cls(delivery_id, lane, tenant, subscriber_id)


class Received(NamedTuple):
    """A ticket that a broker handed to this process.

    Attributes:
        handle: What the broker needs to have it acknowledged.
    """

    ticket: Ticket
    handle: Any = None


class Broker(Protocol):
    """Carries tickets to workers.

    A broker may lose, repeat or reorder tickets: the store decides what is due, and hands a delivery over again when
    its hold runs out.  So a broker needs neither durability nor delays, and must not retry on its own.

    It connects at its first call and again after a connection was lost or :meth:`aclose` was called.  It makes the
    queues, topics or streams that are missing.  It belongs to one event loop.
    """

    async def put(self, tickets: Sequence[Ticket]) -> None:
        """Hand over tickets; return once the broker has accepted all of them.

        Raises:
            BrokerUnavailableError: Perhaps none, or only a part, was accepted.
        """
        ...

    async def receive(self, wanted: Mapping[Lane, int], *, wait: timedelta) -> list[Received]:
        """Return tickets of these lanes, at the most as many of each as are wanted.

        Returns as soon as there are any, and with none after about ``wait``.  Calls do not overlap.  A ticket is handed
        to one of the processes that receive.  One that is not acknowledged may be handed out again, to this process
        or another.  A message that is no ticket is dropped.

        Raises:
            BrokerUnavailableError: The broker does not answer.
        """
        ...

    async def ack(self, received: Sequence[Received]) -> None:
        """Tell the broker that tickets are done with; it forgets them.

        Raises:
            BrokerUnavailableError: They may be handed out again.
        """
        ...

    async def aclose(self) -> None:
        """Disconnect; tickets that were received and not acknowledged may be handed to other processes."""
        ...


class BrokerNote(NamedTuple):
    """What was found out about a broker.

    Attributes:
        remedy: What to do, if something needs attention.
    """

    found: str
    remedy: str = ""


@runtime_checkable
class ChecksBroker(Protocol):
    """Optional: a broker that can say whether it is set up well."""

    async def check(self, lanes: Sequence[Lane]) -> list[BrokerNote]:
        """Connect, make what is missing of these lanes as a worker does, and look at the settings.

        Raises:
            BrokerUnavailableError: The broker does not answer, or does not allow what workers need.
        """
        ...
