"""Which of several provider accounts carries a message."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

import pytest

from notifykit.errors import ConfigurationError
from notifykit.models.circuit import OpenCircuit
from notifykit.models.delivery import Priority
from notifykit.models.outcome import Accepted, BadRecipient, Outcome, Throttled, Transient, Uncertain, Unsent
from notifykit.models.routing import RouteOptions
from notifykit.policies.routing import Candidate, Health, choose, is_critical
from notifykit.testing import START

GOOD, BAD = Accepted(), Transient(reason="http_503")
MIXED: list[Outcome] = [BAD, GOOD] * 4
FAST, SLOW = timedelta(milliseconds=100), timedelta(seconds=30)


def health(*outcomes: Outcome | None, took: timedelta = FAST, at: datetime = START, **options: Any) -> Health:
    """Return the health of an account with these options after these outcomes."""
    found = Health(RouteOptions(**options))
    for outcome in outcomes:
        found.end(found.begin(at - took), outcome, took)
    return found


def failing(**options: Any) -> Health:
    return health(*[BAD] * 5, **options)


def open_(after: float = 0, **options: Any) -> tuple[Health, OpenCircuit]:
    """Return an account with an open circuit whose probe is due after some seconds."""
    circuit = OpenCircuit(key="a", tenant="", since=START, probe_at=START + timedelta(seconds=after))
    return health(**options), circuit


def busy(attempts: int, since: float = 0, **options: Any) -> Health:
    """Return an account with attempts under way for some seconds."""
    found = health(**options)
    for _ in range(attempts):
        found.begin(START - timedelta(seconds=since))
    return found


def candidate(made: Any) -> Candidate:
    match made:
        case Candidate():
            return made
        case Health():
            return Candidate(made)
        case _:
            return Candidate(*made)


def chosen(made: list[Any], rng: Callable[[], float] = lambda: 0.5, **options: Any) -> int | float:
    """Return the place of the account that is chosen, or for how many seconds the message waits."""
    candidates = [candidate(each) for each in made]
    found = choose(candidates, now=START, rng=rng, **options)
    if isinstance(found, datetime):
        return (found - START).total_seconds()
    return candidates.index(found)


def priced(cost: str | None, of: Health | None = None) -> Candidate:
    return Candidate(of or health(), price=None if cost is None else Decimal(cost))


CASES: dict[str, tuple[list[Any], dict[str, Any], int | float]] = {
    "one account": ([health()], {}, 0),
    "one account that fails is used all the same": ([failing()], {}, 0),
    "the first while it is well": ([health(), health()], {}, 0),
    "the second after so many failures of the first": ([failing(), health()], {}, 1),
    "the third": ([failing(), failing(), health()], {}, 2),
    "not after fewer failures": ([health(*[BAD] * 4), health()], {"rng": lambda: 0.0}, 0),
    "nor after as many without a row": ([health(*MIXED), health()], {"rng": lambda: 0.0}, 0),
    "the second while the circuit of the first is open": ([open_(9), health()], {}, 1),
    "the first again when it is probed": ([open_(0), health()], {}, 0),
    "however bad its health is": ([(failing(), open_(0)[1]), health()], {}, 0),
    "one attempt at a time": ([(busy(1), open_(0)[1], 1), health()], {}, 1),
    "then more": ([(busy(1), open_(0)[1], 2), health()], {}, 0),
    "none while all circuits are open": ([open_(9), open_(7)], {}, 7.0),
    "none while all are probed": ([(busy(1), open_(0)[1], 1), open_(9)], {}, 1.0),
    "the better one if all fail": ([health(*[BAD] * 8), failing(), health(*[BAD] * 9)], {}, 1),
    "the second while the first rests": (
        [health(Throttled(reason="http_429", retry_after=SLOW)), health()],
        {},
        1,
    ),
    "the second while attempts over the first hang": ([busy(5, since=11), health()], {}, 1),
    "not while a few do": ([busy(4, since=11), health()], {}, 0),
    "nor if they are not old": ([busy(9, since=9), health()], {}, 0),
    "the next one for what has failed twice": ([health(), health()], {"tries": 2}, 1),
    "and the first again": ([health(), health()], {"tries": 4}, 0),
    "the rest gets what the first does not": ([health(*[BAD] * 3), health()], {"rng": lambda: 0.9}, 1),
    "by weight, low": ([health(weight=3), health(weight=1)], {"rng": lambda: 0.74}, 0),
    "by weight, high": ([health(weight=3), health(weight=1)], {"rng": lambda: 0.76}, 1),
    "weights shift with health": ([health(*[BAD] * 3, weight=3), health(weight=1)], {"rng": lambda: 0.7}, 1),
    "a weight of 0 is for when no other can be used": ([health(weight=0), failing(weight=1)], {}, 0),
    "and only then": ([health(weight=0), health(weight=1)], {"rng": lambda: 0.0}, 1),
    "what is critical does not ask for the price": ([priced("2"), priced("1")], {}, 0),
    "what is not takes the cheapest": ([priced("2"), priced("1"), priced("3")], {"critical": False}, 1),
    "unknown prices come last": ([priced(None), priced("9")], {"critical": False}, 1),
    "without prices it is as for all": ([priced(None), priced(None)], {"critical": False}, 0),
    "the cheapest that is well": ([priced("2"), priced("1", failing())], {"critical": False}, 0),
    "prices count more than weights": (
        [priced("2", health(weight=9)), priced("1", health(weight=1))],
        {"critical": False},
        1,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_which_account_is_chosen(case: str) -> None:
    """Or, as a float, for how many seconds a message waits."""
    made, options, expected = CASES[case]

    found = chosen(made, **options)

    assert (type(expected), expected) == (type(found), found)


@pytest.mark.parametrize(
    ("outcome", "took", "least", "most"),
    [
        (GOOD, FAST, 1.0, 1.0),
        (GOOD, timedelta(0), 1.0, 1.0),
        (GOOD, timedelta(seconds=10), 0.9, 0.95),
        (BAD, FAST, 0.85, 0.9),
        (Throttled(reason="http_429"), FAST, 0.85, 0.9),
        (Uncertain(reason="timeout"), FAST, 0.85, 0.9),
        (BadRecipient(reason="gone"), FAST, 1.0, 1.0),
        (Unsent(reason="no_files"), FAST, 1.0, 1.0),
        (None, FAST, 1.0, 1.0),
    ],
)
def test_what_an_attempt_does_to_health(outcome: Outcome | None, took: timedelta, least: float, most: float) -> None:
    """Slowness counts in part; what says nothing about the account does not count."""
    assert least <= health(outcome, took=took).now(START) <= most


def test_traffic_drifts_back() -> None:
    """None at first; then a growing share, although nothing was sent in between."""
    account = health(*[BAD] * 10)
    shares = [account.share(START + timedelta(seconds=seconds)) for seconds in (0, 5, 10, 15, 20, 25, 30, 60)]

    assert sorted(shares) == shares
    assert (0.0, 1.0) == (shares[0], shares[-1])
    assert any(0 < share < 1 for share in shares)


def test_an_account_that_is_slow_loses_its_traffic() -> None:
    """Answers that take more than twice as long as is slow count as failures in the end."""
    account = health(*[GOOD] * 50, took=timedelta(seconds=15))

    assert 0 == account.share(START)
    assert 1 == health(*[GOOD] * 50, took=timedelta(seconds=15), slow=timedelta(seconds=15)).share(START)


def test_a_provider_rests_a_minute_at_the_most() -> None:
    """Even if it asks for more."""
    account = health(Throttled(reason="quota", retry_after=timedelta(hours=6)))

    shares = [account.share(START + timedelta(seconds=seconds)) for seconds in (0, 59, 61)]

    assert [0.0, 0.0, 1.0] == shares


def test_attempts_that_end_late_count_from_when_they_ended() -> None:
    """One that began earlier and ended earlier does not set the clock back."""
    account = health(BAD)
    early = account.begin(START - timedelta(minutes=1))

    account.end(early, BAD, timedelta(seconds=1))

    assert START == account.at
    assert 0 == account.in_flight


def test_weights_are_kept_over_many_messages() -> None:
    """Within what chance allows."""
    rng = Random(7)
    made = [candidate(health(weight=weight)) for weight in (1, 3, 6)]

    found = [made.index(choose(made, now=START, rng=rng.random)) for _ in range(10_000)]  # type: ignore[arg-type]

    assert [0.1, 0.3, 0.6] == pytest.approx([found.count(at) / 10_000 for at in range(3)], abs=0.02)


@pytest.mark.parametrize(
    ("purpose", "priority", "critical"),
    [
        ("transactional", Priority.NORMAL, True),
        ("transactional", Priority.LOW, False),
        ("marketing", Priority.NORMAL, False),
        ("marketing", Priority.HIGH, True),
        ("security", Priority.LOW, True),
        (None, Priority.NORMAL, True),
        (None, Priority.LOW, False),
    ],
)
def test_what_is_critical(purpose: str | None, priority: Priority, critical: bool) -> None:
    """Advertising and what is not urgent may take the cheapest way."""
    assert critical is is_critical(purpose, priority)


@pytest.mark.parametrize(
    ("costs", "countries", "expected"),
    [
        ({}, "DE", None),
        ({"DE": "0.075"}, "DE", "0.075"),
        ({"de": 1, "*": 2}, "DE", "1"),
        ({"DE": "1", "*": 0.5}, "FR", "0.5"),
        ({"DE": "1"}, "FR", None),
        ({"US": "1", "CA": "2"}, "US CA", "2"),
        ({"US": "1"}, "US CA", None),
        ({"*": "0.001"}, "", "0.001"),
        ({"DE": "1"}, "", None),
    ],
)
def test_what_a_message_costs(costs: dict[str, Any], countries: str, expected: str | None) -> None:
    """Of countries that share a calling code the dearer one counts; if one of them is unknown, so is the cost."""
    found = RouteOptions(costs=costs).price(frozenset(countries.split()))

    assert (None if expected is None else Decimal(expected)) == found


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"weight": -1}, "weight: between 0 and"),
        ({"failures": 0}, "failures: between 1 and"),
        ({"slow": timedelta(0)}, "slow: between"),
        ({"costs": [1]}, "costs: must be a mapping"),
        ({"costs": {"Germany": 1}}, "neither the two letters of a country"),
        ({"costs": {3: 1}}, "neither the two letters of a country"),
        ({"costs": {"DE": -1}}, "DE: must be between 0 and"),
        ({"costs": {"DE": "NaN"}}, "DE: must be between 0 and"),
        ({"costs": {"DE": "cheap"}}, "DE: must be a Decimal, not str"),
        ({"costs": {"DE": None}}, "DE: must be a Decimal, not None"),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], said: str) -> None:
    """The error names the option."""
    with pytest.raises(ConfigurationError, match=said):
        RouteOptions(**options)
