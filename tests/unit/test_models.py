"""The models: validated when they are made, and without secrets in their texts."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifykit.errors import InvalidInputError
from notifykit.models.addresses import Address, AddressState, Suppression
from notifykit.models.delivery import FINAL_STATES, OPEN_STATES, DeliveryState, Lane, Priority
from notifykit.models.endpoint import EndpointSecret, RateLimit
from notifykit.models.preferences import Mute, MuteSelector, Scope, Selector, Setting
from notifykit.models.quiet_hours import QuietHours, Weekday, Window
from notifykit.models.retry import MAX_ATTEMPTS, RetryPolicy
from notifykit.testing import START, make_endpoint

SECOND, HOUR, DAY, TICK = timedelta(seconds=1), timedelta(hours=1), timedelta(days=1), timedelta(microseconds=1)


class TestStates:
    def test_every_state_is_open_or_final(self):
        """Nothing more happens in a final one, whatever a later version adds."""
        assert set(DeliveryState) == FINAL_STATES | OPEN_STATES
        assert frozenset() == FINAL_STATES & OPEN_STATES
        assert {DeliveryState.PENDING, DeliveryState.SENDING, DeliveryState.HELD} == OPEN_STATES
        assert [state in FINAL_STATES for state in DeliveryState] == [state.is_final for state in DeliveryState]


class TestLanes:
    @pytest.mark.parametrize(
        ("priority", "name"),
        [(Priority.HIGH, "webhook:high"), (Priority.NORMAL, "webhook"), (Priority.LOW, "webhook:low")],
    )
    def test_a_lane_has_a_short_name(self, priority, name):
        """The default lane has the name of its channel."""
        assert name == str(Lane("webhook", priority))


class TestRetryPolicies:
    def test_there_is_one_attempt_more_than_pauses(self):
        """Any iterable of pauses will do, and is kept as a tuple."""
        policy = RetryPolicy(delays=iter([SECOND, HOUR]))

        assert ((SECOND, HOUR), 3) == (policy.delays, policy.max_attempts)

    @pytest.mark.parametrize(
        "settings",
        [
            {"delays": [SECOND] * MAX_ATTEMPTS},
            {"delays": [-TICK]},
            {"delays": [7 * DAY + TICK]},
            {"delays": [], "jitter": -0.1},
            {"delays": [], "jitter": 1.0},
            {"delays": [], "jitter": float("nan")},
            {"delays": [], "max_retry_after": -TICK},
        ],
    )
    def test_a_policy_that_cannot_work_is_refused(self, settings):
        """Too many, too long or negative pauses are found when the policy is made."""
        with pytest.raises(ValueError, match=r"."):
            RetryPolicy(**settings)

    @pytest.mark.parametrize("delays", [[], [timedelta(0)], [7 * DAY], [SECOND] * (MAX_ATTEMPTS - 1)])
    def test_the_bounds_themselves_are_allowed(self, delays):
        """From no retry to 49, from no pause to a week."""
        assert tuple(delays) == RetryPolicy(delays=delays).delays

    def test_exponential_pauses_grow_up_to_a_cap(self):
        """Each pause is the one before times the factor."""
        policy = RetryPolicy.exponential(first=SECOND, factor=3, cap=20 * SECOND, attempts=6, jitter=0)

        assert [1, 3, 9, 20, 20] == [delay / SECOND for delay in policy.delays]
        assert 0 == policy.jitter

    @given(
        first=st.timedeltas(timedelta(0), DAY),
        factor=st.floats(1, 1e6),
        cap=st.timedeltas(timedelta(0), 7 * DAY),
        attempts=st.integers(1, MAX_ATTEMPTS),
    )
    def test_exponential_pauses_never_shrink_nor_pass_the_cap(self, first, factor, cap, attempts):
        """Whatever the factor, nothing overflows."""
        policy = RetryPolicy.exponential(first=first, factor=factor, cap=cap, attempts=attempts)

        assert attempts == policy.max_attempts
        assert list(policy.delays) == sorted(policy.delays)
        assert all(delay <= cap for delay in policy.delays)

    @pytest.mark.parametrize("attempts", [0, MAX_ATTEMPTS + 1])
    def test_a_number_of_attempts_has_bounds(self, attempts):
        """Which the message names."""
        with pytest.raises(ValueError, match="between 1 and 50"):
            RetryPolicy.exponential(attempts=attempts)


class TestRateLimits:
    @pytest.mark.parametrize(
        "settings",
        [
            {"per_second": 0},
            {"per_second": -1},
            {"per_second": 1, "burst": 0},
            {"per_second": float("inf")},
            {"per_second": float("nan")},
            {"per_second": 1e-300},
            {"per_second": 10**400},
            {"per_second": 1, "burst": 2**70},
        ],
        ids=str,
    )
    def test_a_bucket_that_never_fills_is_refused(self, settings):
        """It would hold deliveries for ever, or break the arithmetic of all buckets."""
        with pytest.raises(ValueError, match=r"."):
            RateLimit(**settings)


class TestEndpoints:
    def test_keys_sign_until_they_expire(self):
        """Newest first, to the microsecond."""
        endpoint = make_endpoint(
            secrets=(
                EndpointSecret(value="whsec_new", created_at=START),
                EndpointSecret(value="whsec_old", created_at=START, expires_at=START + HOUR),
                EndpointSecret(value="whsec_gone", created_at=START, expires_at=START),
            )
        )

        assert ("whsec_new", "whsec_old") == endpoint.signing_keys(START)
        assert ("whsec_new", "whsec_old") == endpoint.signing_keys(START + HOUR - TICK)
        assert ("whsec_new",) == endpoint.signing_keys(START + HOUR)

    def test_a_repr_shows_no_secret(self):
        """Endpoints appear in logs and tracebacks; keys and header values must not."""
        secret = "whsec_" + "c2VjcmV0" * 4
        endpoint = make_endpoint(
            secrets=(EndpointSecret(value=secret, created_at=START),), headers={"authorization": "Bearer hunter2"}
        )

        shown = repr(endpoint)

        assert "authorization" in shown
        assert "hunter2" not in shown
        assert secret[6:-4] not in shown

    def test_values_are_frozen(self):
        """A change is a new value."""
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            make_endpoint().url = "https://elsewhere.example"  # type: ignore[misc]


NOWHERE: Any = "nowhere"


class TestPeople:
    @pytest.mark.parametrize(
        ("kind", "fields", "problem"),
        [
            (Setting, {"scope": Scope.TENANT, "select": Selector(), "value": "maybe"}, "value: must be on, off or"),
            (Setting, {"scope": NOWHERE, "select": Selector(), "value": "on"}, "scope: must be one of"),
            (
                Setting,
                {"scope": Scope.RECIPIENT, "select": Selector(), "value": "on", "locked": True},
                "locked: a setting of scope recipient cannot be locked",
            ),
            (Selector, {"type": "a.*"}, "type: must be words joined by full stops"),
            (Selector, {"type": "a", "category": "b"}, "category: a setting is about a type or about a category"),
            (MuteSelector, {"topic": "a//b"}, "topic: word 2 is empty"),
            (Mute, {"select": MuteSelector(), "until": datetime(2026, 1, 1)}, "until: has no zone"),  # noqa: DTZ001
            (Address, {"channel": "email", "address": "a\0", "state": AddressState.GONE}, "address: has control"),
            (
                Suppression,
                {"channel": "email", "address": "a", "purposes": ("all",)},
                r"purposes: \[0\] must be one of",
            ),
            (Window, {"days": ["mon", "someday"], "from_": "22:00", "to": "07:00"}, r"days: \[1\] must be one of"),
            (Window, {"days": 7, "from_": "22:00", "to": "07:00"}, "days: must be a list of days of the week"),
            (Window, {"days": [Weekday.MON], "from_": "22:00", "to": "24:00"}, "to: must be a time from 00:00"),
            (QuietHours, {"zone": "Nowhere"}, "zone: there is no time zone 'Nowhere'"),
            (QuietHours, {"windows": ["22:00"]}, "windows: must be a list of windows"),
            (
                QuietHours,
                {"windows": [Window(days=Weekday, from_="00:00", to="00:00")]},
                "windows: the windows cover the whole week",
            ),
            (QuietHours, {"exceptions": [""]}, "exceptions: .* is empty"),
        ],
    )
    def test_what_a_person_wishes_is_valid_from_birth(self, kind, fields, problem):
        """A setting, mute, address or window that cannot work is refused when it is made, whoever makes it."""
        with pytest.raises(InvalidInputError, match=problem):
            kind(**fields)

    def test_values_keep_tuples_of_what_they_are_given(self):
        """They can be compared, and nothing changes them afterwards."""
        days: list[Weekday | str] = ["mon"]  # by its name: JSON has no other
        window = Window(days=days, from_="22:00", to="07:00")
        hours = QuietHours(windows=[window], exceptions=["billing", "billing"])
        days.append(Weekday.TUE)

        assert ((Weekday.MON,), (window,)) == (window.days, hours.windows)
        assert type(window.days[0]) is Weekday
        assert frozenset({"billing"}) == hours.exceptions
        assert hours == QuietHours(windows=(window,), exceptions=("billing",))
