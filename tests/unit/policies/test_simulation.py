"""Simulated addresses: which they are, and what follows from each."""

from __future__ import annotations

import pytest

from notifykit.models.outcome import (
    Accepted,
    BadRecipient,
    CircuitEffect,
    Permanent,
    Throttled,
    Transient,
    Uncertain,
)
from notifykit.policies.simulation import Simulated, is_simulated, simulated_name, simulated_outcome

NONE = CircuitEffect.NONE


@pytest.mark.parametrize(
    ("channel", "address", "expected"),
    [
        ("email", "bounce@simulated.invalid", True),
        ("email", "bounce@simulated.invalid.example", False),
        ("email", "bounce@example.org", False),
        ("email", "bounce@notsimulated.invalid", False),
        ("sms", "+447700900123", True),
        ("sms", "+4477009001234", False),
        ("sms", "+447700901123", False),
        ("sms", "+12025550123", False),
        ("sms", "simulated:slow", True),
        ("push", "simulated:bounce", True),
        ("push", "+447700900123", False),
        ("chat", "https://hooks.slack.com/services/T/B/X", False),
    ],
)
def test_what_is_simulated(channel, address, expected):
    """Nothing that can be anybody's address is."""
    assert expected is is_simulated(channel, address)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("bounce@simulated.invalid", Simulated.BOUNCE),
        ("Slow+17@shop.example", Simulated.SLOW),
        ("ada@simulated.invalid", Simulated.DELIVERED),
        ("simulated:throttled", Simulated.THROTTLED),
        ("/services/T0/B0/rejected", Simulated.REJECTED),
        ("+447700900000", Simulated.DELIVERED),
        ("+447700900992", Simulated.INVALID),
        ("+12025550109", Simulated.COMPLAINT),
        ("12025550106", Simulated.UNCERTAIN),
        ("+4915123456789", Simulated.DELIVERED),
    ],
)
def test_what_an_address_names(address, expected):
    """What precedes the @ or a +, or the last digit."""
    assert expected is simulated_name(address)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("bounce", BadRecipient(reason="simulated_bounce")),
        ("invalid", BadRecipient(reason="simulated_invalid")),
        ("rejected", Permanent(reason="simulated_rejected")),
        ("throttled", Throttled(reason="simulated_throttled", circuit=NONE)),
        ("unavailable", Transient(reason="simulated_unavailable", circuit=NONE)),
        ("uncertain", Uncertain(reason="simulated_uncertain")),
    ],
)
def test_what_fails(name, expected):
    """No failure counts against the account's circuit."""
    assert expected == simulated_outcome(f"{name}@simulated.invalid", "dlv_1")


@pytest.mark.parametrize("name", ["delivered", "slow", "deferred", "complaint", "ada"])
def test_what_is_taken(name):
    """The reference is the delivery's id."""
    outcome = simulated_outcome(f"{name}@simulated.invalid", "dlv_1")

    assert isinstance(outcome, Accepted)
    assert "simulated:dlv_1" == outcome.answer.reference
