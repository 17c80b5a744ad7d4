"""When the circuit of an endpoint opens, and how it closes again."""

from __future__ import annotations

from datetime import timedelta

import attrs
import pytest

from notifykit.models.circuit import OpenCircuit
from notifykit.models.destination import destination_of
from notifykit.models.outcome import (
    Accepted,
    BadRecipient,
    CircuitEffect,
    Outcome,
    Permanent,
    Throttled,
    Transient,
    Uncertain,
    Unsent,
)
from notifykit.policies.circuits import IN_A_ROW, FailureWindow, is_abandoned, is_success, note
from notifykit.testing import START, make_endpoint

GOOD, BAD = Accepted(), Transient(reason="http_503")
ENDPOINT = attrs.evolve(make_endpoint(), max_in_flight=8)
DESTINATION = destination_of(ENDPOINT)
OPEN = OpenCircuit(key=ENDPOINT.id, tenant=ENDPOINT.tenant, since=START, probe_at=START, reason="http_503")


def after(
    outcomes: list[Outcome], circuit: OpenCircuit | None = None, pulse: FailureWindow | None = None
) -> OpenCircuit | None:
    """Return the circuit of an endpoint after these outcomes."""
    pulse = pulse or FailureWindow()
    for outcome in outcomes:
        circuit = note(pulse, outcome, DESTINATION, circuit, now=START)
    return circuit


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (GOOD, True),
        (BAD, False),
        (Throttled(reason="http_429"), False),
        (Uncertain(reason="timeout"), False),
        (Permanent(reason="http_413"), None),
        (BadRecipient(reason="http_410"), None),
        (Unsent(reason="no_files", pauses=True), None),
        (Transient(reason="mailbox_full", circuit=CircuitEffect.NONE), None),
        (Throttled(reason="greylisted", circuit=CircuitEffect.NONE), None),
    ],
)
def test_which_outcomes_count_against_an_endpoint(outcome: Outcome, expected: bool | None) -> None:
    """A refusal of one message does not count against the endpoint."""
    assert expected is is_success(outcome)


def test_failures_in_a_row_make_it_failing() -> None:
    """Ten in a row do, nine do not."""
    assert after([BAD] * (IN_A_ROW - 1)) is None
    circuit = after([BAD] * IN_A_ROW)
    assert circuit is not None
    assert (ENDPOINT.id, START, "http_503", 0) == (circuit.key, circuit.since, circuit.reason, circuit.probes)
    assert START + timedelta(seconds=10) == circuit.probe_at


def test_a_fault_of_the_configuration_opens_it_at_once() -> None:
    """A wrong password fails every attempt alike: nothing more is tried than one."""
    circuit = after([GOOD, Transient(reason="auth_failed", circuit=CircuitEffect.OPEN)])

    assert circuit is not None
    assert "auth_failed" == circuit.reason


def test_half_of_the_last_ones_make_it_failing() -> None:
    """Every other attempt failing is enough, once there are twenty."""
    assert after([GOOD, BAD] * 9) is None
    assert after([GOOD, BAD] * 10) is not None
    assert after([GOOD, GOOD, BAD] * 20) is None


def test_refusals_of_single_messages_do_not_count() -> None:
    """Any number of permanent refusals leaves the circuit closed."""
    assert after([Permanent(reason="http_413")] * 50) is None


def test_a_failed_probe_doubles_the_pause_up_to_a_limit() -> None:
    """The pauses between probes grow, but never beyond five minutes."""
    first = note(FailureWindow(), BAD, DESTINATION, OPEN, now=START)
    many = note(FailureWindow(), BAD, DESTINATION, attrs.evolve(OPEN, probes=40), now=START)

    assert first is not None
    assert many is not None
    assert (1, START + timedelta(seconds=20)) == (first.probes, first.probe_at)
    assert START + timedelta(minutes=5) == many.probe_at
    assert START == many.since


def test_an_attempt_from_before_the_circuit_opened_changes_nothing() -> None:
    """Earlier attempts that fail while the circuit is open do not delay the probe."""
    parked = attrs.evolve(OPEN, probe_at=START + timedelta(seconds=10))

    assert parked == note(FailureWindow(), BAD, DESTINATION, parked, now=START)


def test_each_success_doubles_the_limit_until_the_circuit_closes() -> None:
    """One probe, then two, four, and at the endpoint's own concurrency limit the circuit closes."""
    pulse = FailureWindow(allowed=1)
    seen = []
    circuit: OpenCircuit | None = OPEN
    while circuit is not None:
        circuit = note(pulse, GOOD, DESTINATION, circuit, now=START)
        seen.append(pulse.allowed)

    assert [2, 4, None] == seen


def test_a_failure_on_the_way_back_starts_over() -> None:
    """The limit falls back to one."""
    pulse = FailureWindow(allowed=1)
    after([GOOD], OPEN, pulse)
    worse = note(pulse, BAD, DESTINATION, OPEN, now=START)

    assert 1 == pulse.allowed
    assert worse is not None


def test_a_success_clears_the_failures() -> None:
    """A success after some failures clears the failures in a row."""
    pulse = FailureWindow()

    assert after([*[BAD] * 5, GOOD], None, pulse) is None
    assert 0 == pulse.row


@pytest.mark.parametrize(
    ("tenant", "hours", "expected"), [("", 25, True), ("", 23, False), (ENDPOINT.tenant, 25, False)]
)
def test_the_circuit_of_an_account_that_is_not_used_any_more(tenant: str, hours: int, expected: bool) -> None:
    """Its key was changed, so that its name is another one; an endpoint's goes with the endpoint."""
    circuit = attrs.evolve(OPEN, tenant=tenant)

    assert expected is is_abandoned(circuit, START + timedelta(hours=hours))
