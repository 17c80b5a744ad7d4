"""What happens after an attempt: a table for the outcomes, properties for the pauses."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import tenacity
from hypothesis import given
from hypothesis import strategies as st

from notifykit.errors import ConfigurationError
from notifykit.models.outcome import Accepted, BadRecipient, Permanent, Throttled, Transient, Uncertain, Unsent
from notifykit.models.retry import DEFAULT_RETRY, MAX_ATTEMPTS, RetryPolicy
from notifykit.policies.retry import Complete, DeadLetter, PutBack, RetryAt, from_tenacity, may_repeat, next_step

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND, MINUTE, HOUR, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
POLICY = RetryPolicy(delays=(10 * SECOND, 100 * SECOND), jitter=0.2, max_retry_after=HOUR)


def middle() -> float:
    """Return the random number that leaves a pause as it is."""
    return 0.5


@pytest.mark.parametrize(
    ("outcome", "tries", "expected"),
    [
        (Accepted(), 1, Complete()),
        (Accepted(), 99, Complete()),
        (Permanent(reason="http_413"), 1, DeadLetter(reason="http_413")),
        (Permanent(reason="http_413"), 3, DeadLetter(reason="http_413")),
        (BadRecipient(reason="http_410"), 1, DeadLetter(reason="http_410", invalidate=True)),
        (Transient(reason="http_503"), 1, RetryAt(due_at=NOW + 10 * SECOND, reason="http_503")),
        (Transient(reason="http_503"), 2, RetryAt(due_at=NOW + 100 * SECOND, reason="http_503")),
        (Transient(reason="http_503"), 3, DeadLetter(reason="exhausted:http_503")),
        (Transient(reason="http_503"), 4, DeadLetter(reason="exhausted:http_503")),
        (Throttled(reason="http_429"), 3, DeadLetter(reason="exhausted:http_429")),
        (Uncertain(reason="timeout"), 1, RetryAt(due_at=NOW + 10 * SECOND, reason="timeout")),
        (Uncertain(reason="timeout"), 3, DeadLetter(reason="exhausted:timeout")),
        # What was never sent has used up nothing, however often it was tried.
        (Unsent(reason="no_files", pauses=True), 1, PutBack(due_at=NOW + 2 * SECOND, reason="no_files")),
        (Unsent(reason="connection_limit"), 99, PutBack(due_at=NOW + 2 * SECOND, reason="connection_limit")),
        # An operator has to do something first: it is held, and can be woken.
        (
            Unsent(reason="template_failed", hold=MINUTE),
            9,
            PutBack(due_at=NOW + MINUTE, reason="template_failed", is_held=True),
        ),
        # A receiver may ask for a longer pause, but not for a shorter one, nor for one without end.
        (Transient(reason="x", retry_after=SECOND), 1, RetryAt(due_at=NOW + 10 * SECOND, reason="x")),
        (Transient(reason="x", retry_after=MINUTE), 1, RetryAt(due_at=NOW + 1.1 * MINUTE, reason="x")),
        (Transient(reason="x", retry_after=DAY), 1, RetryAt(due_at=NOW + 1.1 * HOUR, reason="x")),
        (Transient(reason="x", retry_after=timedelta(0)), 1, RetryAt(due_at=NOW + 10 * SECOND, reason="x")),
        # An answer "too many requests" without a pause means a minute.
        (Throttled(reason="x"), 1, RetryAt(due_at=NOW + 1.1 * MINUTE, reason="x")),
        (Throttled(reason="x"), 2, RetryAt(due_at=NOW + 100 * SECOND, reason="x")),
        (Throttled(reason="x", retry_after=20 * SECOND), 1, RetryAt(due_at=NOW + 22 * SECOND, reason="x")),
        (Throttled(reason="x", retry_after=DAY), 1, RetryAt(due_at=NOW + 1.1 * HOUR, reason="x")),
    ],
)
def test_an_outcome_leads_to_one_step(outcome, tries, expected):
    """Each class of outcomes has its rule."""
    assert expected == next_step(outcome, tries=tries, policy=POLICY, now=NOW, rng=middle)


def test_a_default_pause_is_not_longer_than_the_policy_allows():
    """A policy whose longest pause is ten seconds does not wait a minute."""
    policy = RetryPolicy(delays=(SECOND,), jitter=0, max_retry_after=10 * SECOND)

    step = next_step(Throttled(reason="x"), tries=1, policy=policy, now=NOW, rng=middle)

    assert RetryAt(due_at=NOW + 10 * SECOND, reason="x") == step


def test_a_policy_without_pauses_tries_once():
    """The first failure is the last."""
    step = next_step(Transient(reason="x"), tries=1, policy=RetryPolicy(delays=()), now=NOW, rng=middle)

    assert DeadLetter(reason="exhausted:x") == step


def test_the_default_schedule():
    """Eight attempts over about 28 hours, as the documentation says."""
    *retries, last = [
        next_step(Transient(reason="x"), tries=tries, policy=DEFAULT_RETRY, now=NOW, rng=middle)
        for tries in range(1, DEFAULT_RETRY.max_attempts + 1)
    ]

    pauses = [5 * SECOND, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 10 * HOUR]
    assert [RetryAt(due_at=NOW + pause, reason="x") for pause in pauses] == retries
    assert DeadLetter(reason="exhausted:x") == last


@pytest.mark.parametrize(("throw", "share"), [(0.0, 0.8), (0.25, 0.9), (0.5, 1.0), (0.75, 1.1)])
def test_jitter_spreads_a_pause_to_both_sides(throw, share):
    """The rng stretches or shrinks the pause by up to the policy's share."""
    step = next_step(Transient(reason="x"), tries=2, policy=POLICY, now=NOW, rng=lambda: throw)

    assert RetryAt(due_at=NOW + share * 100 * SECOND, reason="x") == step


@pytest.mark.parametrize(("throw", "share"), [(0.0, 1.0), (0.5, 1.1), (0.75, 1.15)])
@pytest.mark.parametrize("outcome", [Transient, Throttled])
def test_jitter_makes_a_pause_that_was_asked_for_only_longer(outcome, throw, share):
    """Many deliveries get the same time at once; none of them may come earlier."""
    step = next_step(outcome(reason="x", retry_after=MINUTE), tries=1, policy=POLICY, now=NOW, rng=lambda: throw)

    assert RetryAt(due_at=NOW + share * MINUTE, reason="x") == step


pauses = st.timedeltas(timedelta(0), timedelta(days=7))
policies = st.builds(
    RetryPolicy,
    delays=st.lists(pauses, max_size=10),
    jitter=st.floats(0, 0.99),
    max_retry_after=st.timedeltas(timedelta(0), timedelta(days=30)),
)
asked = st.none() | st.timedeltas(timedelta(0), timedelta(days=3650))
failures = st.one_of(
    st.builds(Transient, reason=st.just("x"), retry_after=asked),
    st.builds(Throttled, reason=st.just("x"), retry_after=asked),
    st.builds(Uncertain, reason=st.just("x")),
)


@given(failures, policies, st.integers(1, 12), st.floats(0, 1, exclude_max=True))
def test_a_failure_ends_or_waits_within_bounds(outcome, policy, tries, throw):
    """For any random number and requested pause: no retry comes before now, too late, or after the last attempt."""
    step = next_step(outcome, tries=tries, policy=policy, now=NOW, rng=lambda: throw)

    if tries >= policy.max_attempts:
        assert DeadLetter(reason="exhausted:x") == step
        return
    assert isinstance(step, RetryAt)
    delay = policy.delays[tries - 1]
    spread = delay * policy.jitter
    earliest, latest = delay - spread, max(delay + spread, policy.max_retry_after * (1 + policy.jitter))
    tick = timedelta(microseconds=1)
    assert max(timedelta(0), earliest - tick) <= step.due_at - NOW <= latest + tick
    honoured = getattr(outcome, "retry_after", None)
    if honoured is not None:
        assert min(honoured, policy.max_retry_after) <= step.due_at - NOW


# ── tenacity's strategies ──────────────────────────────────────────────────────────────────────


def seconds(policy: RetryPolicy) -> list[float]:
    return [delay.total_seconds() for delay in policy.delays]


@pytest.mark.parametrize(
    ("wait", "expected"),
    [
        (tenacity.wait_none(), [0, 0, 0, 0]),
        (tenacity.wait_fixed(30), [30, 30, 30, 30]),
        (tenacity.wait_fixed(timedelta(minutes=1)), [60, 60, 60, 60]),
        (tenacity.wait_incrementing(start=10, increment=5), [10, 15, 20, 25]),
        (tenacity.wait_exponential(multiplier=5, max=30), [5, 10, 20, 30]),
        (tenacity.wait_exponential(multiplier=1, exp_base=3), [1, 3, 9, 27]),
        (tenacity.wait_chain(tenacity.wait_fixed(1), tenacity.wait_fixed(60)), [1, 60, 60, 60]),
        (tenacity.wait_fixed(3) + tenacity.wait_fixed(0.5), [3.5, 3.5, 3.5, 3.5]),
        (lambda state: state.attempt_number**2, [1, 4, 9, 16]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_wait_strategy_becomes_a_list_of_pauses(wait, expected):
    """A strategy is called once for each pause between the attempts."""
    policy = from_tenacity(wait, attempts=5, jitter=0.1)

    assert (expected, 5, 0.1) == (seconds(policy), policy.max_attempts, policy.jitter)


def test_a_random_strategy_is_asked_once():
    """The pauses are stored; from then on the policy's own jitter spreads them."""
    policy = from_tenacity(tenacity.wait_random_exponential(multiplier=1, max=60), attempts=20)

    assert all(0 <= pause <= 60 for pause in seconds(policy))
    assert policy == RetryPolicy(delays=policy.delays)


@pytest.mark.parametrize("attempts", [1, MAX_ATTEMPTS])
def test_one_attempt_to_fifty(attempts):
    """Both ends are allowed."""
    assert attempts == from_tenacity(tenacity.wait_fixed(1), attempts=attempts).max_attempts


@pytest.mark.parametrize("attempts", [0, MAX_ATTEMPTS + 1])
def test_another_number_of_attempts_is_refused(attempts):
    """With the bounds in the message."""
    with pytest.raises(ConfigurationError, match="between 1 and 50"):
        from_tenacity(tenacity.wait_fixed(1), attempts=attempts)


@pytest.mark.parametrize("pause", [-1, 8 * 86400, float("nan"), float("inf"), "soon", None], ids=str)
def test_what_is_no_pause_is_refused(pause):
    """A negative, endless or absurdly long pause is a mistake in the program, found when it is configured."""
    with pytest.raises(ConfigurationError):
        from_tenacity(lambda _: pause)


def test_a_jitter_out_of_bounds_is_refused():
    """Pauses would become negative."""
    with pytest.raises(ConfigurationError, match="not a retry policy"):
        from_tenacity(tenacity.wait_fixed(1), jitter=1.0)


@pytest.mark.parametrize(
    ("channel", "purpose", "expected"),
    [
        ("webhook", "marketing", True),
        ("in_app", "marketing", True),
        ("email", "transactional", True),
        ("email", "security", True),
        ("email", None, True),
        ("email", "marketing", False),
        ("push", "security", True),
        ("push", "marketing", False),
        ("sms", "transactional", False),
        ("sms", "security", False),
    ],
)
def test_what_may_have_arrived_is_repeated_only_if_a_repeat_does_little_harm(
    channel: str, purpose: str | None, expected: bool
) -> None:
    """A text message that was paid for, and advertising, end as uncertain; an operator can redrive them."""
    repeats = may_repeat(channel, purpose)

    step = next_step(Uncertain(reason="timeout"), tries=1, policy=POLICY, now=NOW, rng=middle, repeats=repeats)

    retried = RetryAt(due_at=NOW + 10 * SECOND, reason="timeout")
    assert (expected, retried if expected else DeadLetter(reason="uncertain")) == (repeats, step)


def test_only_uncertain_outcomes_end_what_is_not_repeated() -> None:
    """Something that was refused was not sent: it is tried again on every channel."""
    step = next_step(Transient(reason="x"), tries=1, policy=POLICY, now=NOW, rng=middle, repeats=False)

    assert RetryAt(due_at=NOW + 10 * SECOND, reason="x") == step
