"""May this claim be sent now: a table, because the rule is one."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifykit.models.circuit import OpenCircuit
from notifykit.models.delivery import WEBHOOK, Claim, Priority
from notifykit.models.destination import destination_of
from notifykit.models.endpoint import EndpointState
from notifykit.policies.decide import HOLD, SEND, Cancel, Expire, Hold, decide
from notifykit.testing import START, make_endpoint

TICK, HOUR = timedelta(microseconds=1), timedelta(hours=1)
ACTIVE, PAUSED, DISABLED = EndpointState.ACTIVE, EndpointState.PAUSED, EndpointState.DISABLED


def claim(expires_at=None) -> Claim:
    return Claim(
        delivery_id="dlv_1",
        fence=1,
        attempt=1,
        tries=0,
        abandoned=0,
        tenant="acme",
        event_id="evt_1",
        event_type="order.shipped",
        subscription_id="sub_1",
        subscriber_id="end_1",
        channel=WEBHOOK,
        priority=Priority.NORMAL,
        ordering_key=None,
        published_at=START,
        expires_at=expires_at,
        lease_until=START + HOUR,
        body=b"{}",
        version=1,
    )


def circuit(probe_at) -> OpenCircuit:
    return OpenCircuit(key="end_1", tenant="acme", since=START, probe_at=probe_at)


@pytest.mark.parametrize(
    ("state", "expires_at", "probe_at", "expected"),
    [
        (ACTIVE, None, None, SEND),
        (PAUSED, None, None, Hold(START + HOLD, "endpoint_paused")),
        (DISABLED, None, None, Cancel("endpoint_disabled")),
        (None, None, None, Cancel("endpoint_deleted")),
        # An expired delivery is not sent in any state of the endpoint; without an endpoint it is cancelled,
        # not expired.
        (ACTIVE, START + TICK, None, SEND),
        (ACTIVE, START, None, Expire()),
        (ACTIVE, START - HOUR, None, Expire()),
        (PAUSED, START, None, Expire()),
        (DISABLED, START, None, Expire()),
        (None, START, None, Cancel("endpoint_deleted")),
        # A delivery to an endpoint with an open circuit is held until the next probe.
        (ACTIVE, None, START + TICK, Hold(START + TICK, "endpoint_failing")),
        (ACTIVE, None, START, SEND),
        (ACTIVE, START, START + HOUR, Expire()),
        (PAUSED, None, START + HOUR, Hold(START + HOLD, "endpoint_paused")),
        (DISABLED, None, START + HOUR, Cancel("endpoint_disabled")),
        (None, None, START + HOUR, Cancel("endpoint_deleted")),
    ],
)
def test_a_claim_is_sent_held_cancelled_or_expired(state, expires_at, probe_at, expected):
    """The endpoint's state, the claim's expiry and the next probe decide."""
    destination = None if state is None else destination_of(make_endpoint(state=state))
    suffers = None if probe_at is None else circuit(probe_at)

    assert expected == decide(claim(expires_at), destination, suffers, now=START)


near = st.none() | st.timedeltas(-HOUR, HOUR).map(lambda offset: START + offset)


@given(st.sampled_from([None, *EndpointState]), near, near)
def test_what_is_held_comes_back_later(state, expires_at, probe_at):
    """A hold always ends in the future, nothing expired is ever sent, and only an active endpoint gets anything."""
    destination = None if state is None else destination_of(make_endpoint(state=state))

    decision = decide(claim(expires_at), destination, None if probe_at is None else circuit(probe_at), now=START)

    if isinstance(decision, Hold):
        assert decision.due_at > START
    if decision == SEND:
        assert state is ACTIVE
        assert expires_at is None or expires_at > START
        assert probe_at is None or probe_at <= START
