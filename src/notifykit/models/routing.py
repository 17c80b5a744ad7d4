"""What an operator says of each of several provider accounts that carry the messages of a channel."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from types import MappingProxyType
from typing import Any, Final

import attrs

from ..errors import ConfigurationError
from .checks import duration, field_check, kind_of, number, optional, whole

#: The entry of a table of costs that counts where no other does.
ANYWHERE: Final = "*"
#: The most that one message may cost.
MAX_COST: Final = Decimal(1_000_000)


def cost(value: object) -> str | None:
    """Say what is wrong with the cost of a message: a decimal number in the operator's currency."""
    if not isinstance(value, Decimal):
        return f"must be a Decimal, not {kind_of(value)}"
    if not value.is_finite() or not 0 <= value < MAX_COST:
        return f"must be between 0 and {MAX_COST:,}"
    return None


def _costs(value: object) -> str | None:
    if not isinstance(value, Mapping):
        return f"must be a mapping of countries to costs, not {kind_of(value)}"
    for country, price in value.items():
        if country != ANYWHERE and not (isinstance(country, str) and len(country) == 2 and country.isalpha()):
            return "has a key that is neither the two letters of a country (ISO 3166-1) nor '*'"
        if (wrong := cost(price)) is not None:
            return f"{country}: {wrong}"
    return None


def _as_costs(given: Any) -> Any:
    """Return costs as decimals; what cannot be one is left to the check."""
    if not isinstance(given, Mapping):
        return given
    return MappingProxyType({_upper(country): _decimal(price) for country, price in given.items()})


def _upper(country: Any) -> Any:
    return country.upper() if isinstance(country, str) else country


def _decimal(price: Any) -> Any:
    try:
        return Decimal(str(price)) if isinstance(price, str | int | float) else price
    except InvalidOperation:
        return price


def _wrong(problems: Any) -> ConfigurationError:
    return ConfigurationError("; ".join(problems))


@attrs.frozen(kw_only=True)
class RouteOptions:
    """How much of a channel's traffic an account gets, and when it gets less.

    Attributes:
        weight: Its share beside the weights of the others; 0 is only used if no other can be.  ``None``: accounts are
            used in the order in which they are given.
        costs: What a message costs (of an SMS each segment) by country, ``"*"`` for all others: numbers in whatever
            currency the operator uses for all accounts.
        failures: How many failures in a row move the traffic to the next account.
        slow: An attempt that takes longer counts as a failure in part: one of twice as long by half.
    """

    weight: float | None = attrs.field(default=None, validator=field_check(optional(number(0, 1_000_000)), _wrong))
    costs: Mapping[str, Decimal] = attrs.field(
        factory=dict, converter=_as_costs, validator=field_check(_costs, _wrong), hash=False
    )
    failures: int = attrs.field(default=5, validator=field_check(whole(1, 1000), _wrong))
    slow: timedelta = attrs.field(
        default=timedelta(seconds=5),
        validator=field_check(duration(timedelta(milliseconds=1), timedelta(minutes=10)), _wrong),
    )

    def price(self, countries: frozenset[str]) -> Decimal | None:
        """Return what a message to one of some countries costs at the most; ``None`` if the table does not say."""
        default = self.costs.get(ANYWHERE)
        prices = [self.costs.get(country, default) for country in countries] or [default]
        known = [price for price in prices if price is not None]
        return max(known) if len(known) == len(prices) else None


#: Of an account that nothing was said of.
DEFAULT_ROUTE: Final = RouteOptions()
