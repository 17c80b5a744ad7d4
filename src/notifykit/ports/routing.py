"""What a channel does that can send the same delivery over one of several accounts."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol, runtime_checkable

from ..models.circuit import OpenCircuit
from ..models.delivery import Claim
from ..models.destination import Destination
from ..policies.decide import Hold
from .channel import AddressedChannel


class CircuitStates(Protocol):
    """The circuits of accounts, as this process knows them."""

    def circuit(self, key: str | None) -> OpenCircuit | None:
        """Return a circuit if it is open."""
        ...

    def places(self, destination: Destination) -> int:
        """Return how many attempts may be in flight with the circuit of a destination in this process."""
        ...


@runtime_checkable
class RoutesDeliveries(AddressedChannel, Protocol):
    """A channel that chooses an account for each attempt.

    The destinations that it makes for addresses have no circuit (``circuit_key``): which one counts is known when the
    attempt is made.
    """

    async def route(
        self, claim: Claim, destination: Destination, circuits: CircuitStates, *, now: datetime
    ) -> Destination | Hold:
        """Choose the account of an attempt.

        If a destination is returned that may be sent to, :meth:`send` is called with it before this task waits for
        anything.

        Returns:
            The destination with the circuit of the account and the timeout of the attempt, or until when the delivery
            is held because no account can take it.

        Raises:
            StoreError: What a tenant says of its accounts cannot be read now.
        """
        ...
