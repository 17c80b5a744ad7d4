"""Caps of text messages by country: which counts for a number, and what is counted when."""

from __future__ import annotations

from datetime import timedelta

import pytest

from notifykit import Throttle
from notifykit.policies.sms_caps import cap_of

GERMANY, AMERICA, OTHERS = (Throttle(limit, timedelta(hours=1)) for limit in (3, 2, 1))


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        ("+4915112345678", GERMANY),
        ("+14165550123", AMERICA),
        ("+436641234567", OTHERS),
        ("+881612345678", OTHERS),
        ("simulated:slow", OTHERS),
    ],
)
def test_which_cap_counts(number, expected):
    """That of the country, of one that shares its calling code, or that of all others; without one there is none."""
    found = cap_of({"DE": GERMANY, "US": AMERICA, "*": OTHERS}, number)

    assert found is not None
    assert expected is found[1]
    assert None is cap_of({"FR": GERMANY}, number)


def test_each_country_has_a_bucket():
    """Also if they have the same cap; another cap is another bucket."""
    numbers = ["+436641234567", "+33612345678", "+881612345678", "+14165550123", "+12125550123"]
    keys = [cap_of({"*": OTHERS}, number)[0] for number in numbers]  # type: ignore[index]

    assert 4 == len(set(keys))
    assert keys[3] == keys[4]
    assert keys[0] != cap_of({"AT": GERMANY}, numbers[0])[0]  # type: ignore[index]
