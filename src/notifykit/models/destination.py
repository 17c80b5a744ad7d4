"""What the engine sends to, whatever the channel: a subscriber's address, and the limits that sending keeps."""

from __future__ import annotations

from datetime import timedelta

import attrs

from .delivery import WEBHOOK
from .endpoint import Endpoint, EndpointState, RateLimit
from .retry import DEFAULT_RETRY, RetryPolicy


@attrs.frozen(kw_only=True)
class Destination:
    """One address of a subscriber on one channel.

    The engine knows nothing else of where a delivery goes.  An endpoint yields one (:func:`destination_of`); for an
    address without a record its channel makes one (:class:`notifykit.ports.AddressedChannel`).

    Attributes:
        subscriber_id: The endpoint (``end_…``), or the host's own id of what is reached (``room:5``).
        address: What the channel sends to, in its canonical form: a URL, a mailbox, a telephone number.
        app: Which app of the host a device's token belongs to.
        state: Whether deliveries are sent; ``state_reason`` says why it is not active.
        retry: When failed attempts are tried again.
        timeout: The total deadline of one attempt.
        max_in_flight: How many attempts one process may have open at a time.
        rate_limit: How many attempts a second all processes together may make.
        circuit_key: Whose circuit opens if attempts fail: the endpoint's id, or a provider's account, which many
            destinations share.  ``None``: failures of this address say nothing about others and open no circuit.
        is_fast: Whether an attempt usually takes less than some 100 ms, so that it may be made before the plan of
            its event is written (see ADR 0014).
        config: What the channel needs beside the address; the engine never looks into it.  For a webhook it is the
            :class:`Endpoint` with its signing keys and headers.
        route: What a channel with several accounts has chosen for one attempt (see
            :class:`notifykit.ports.RoutesDeliveries`); the engine never looks into it either.
    """

    subscriber_id: str
    tenant: str
    channel: str
    address: str
    app: str | None = None
    state: EndpointState = EndpointState.ACTIVE
    state_reason: str | None = None
    retry: RetryPolicy = DEFAULT_RETRY
    timeout: timedelta = timedelta(seconds=15)
    max_in_flight: int = 64
    rate_limit: RateLimit | None = None
    circuit_key: str | None = None
    is_fast: bool = False
    config: object = None
    route: object = None

    @property
    def owns_circuit(self) -> bool:
        """Whether the circuit is this subscriber's alone, and not that of a provider's account."""
        return self.circuit_key == self.subscriber_id


def destination_of(endpoint: Endpoint, *, max_timeout: timedelta = timedelta.max) -> Destination:
    """Return what the engine needs to know of an endpoint.

    Args:
        max_timeout: The longest deadline that an attempt may have.
    """
    return Destination(
        subscriber_id=endpoint.id,
        tenant=endpoint.tenant,
        channel=WEBHOOK,
        address=endpoint.url,
        state=endpoint.state,
        state_reason=endpoint.state_reason,
        retry=endpoint.retry,
        timeout=min(endpoint.timeout, max_timeout),
        max_in_flight=endpoint.max_in_flight,
        rate_limit=endpoint.rate_limit,
        circuit_key=endpoint.id,
        is_fast=True,
        config=endpoint,
    )
