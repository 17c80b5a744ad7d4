"""The filters of templates: texts, lists and numbers, and what the person's locale and zone make of them.

Each takes the :class:`Rendering` and the value before its own arguments, counts what it makes before it makes it, and
raises :class:`Problem` for a value that it cannot use.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from copy import copy
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final
from urllib.parse import quote

from babel.dates import format_date, format_datetime, format_time, format_timedelta
from babel.numbers import format_currency, get_currency_precision

from .rendering import Problem, Rendering
from .values import Fields, Items, LongText, length_of

#: Steps of a filter that only handles text, and of one that looks into the locale.
_TEXT, _LOCALE = 10, 200
#: Beyond it, numbers lose digits on their way.
_MAX_NUMBER: Final = 10**15
_FORMATS: Final = ("short", "medium", "long", "full")
_CURRENCY = re.compile("[A-Z]{3}")


def described(value: object) -> str:
    """Return what messages call a value."""
    if isinstance(value, LongText):
        return f"a text of {value.length:,} characters, which is longer than templates take"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, Fields):
        return "an object"
    return "something that is missing or null" if value is None else type(value).__name__


def _str(rendering: Rendering, value: Any, times: int = 1) -> str:
    """Return a value as text, and count what becomes of it."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise Problem(f"must be a text, not {described(value)}")
    text = str(value)
    rendering.step(_TEXT)
    rendering.make(len(text) * times)
    return text


def _int(value: Any, least: int, most: int, what: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise Problem(f"{what} must be a whole number from {least} to {most}")
    return value


def _decimal(value: Any) -> Decimal:
    """Return a number, or a text that is one (decimals of an event are texts)."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)) or len(str(value)) > 40:
        raise Problem(f"must be a number, not {described(value)}")
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite() or abs(number) > _MAX_NUMBER:
        raise Problem(f"must be a number of up to {_MAX_NUMBER:,}")
    return number


# ── texts ──────────────────────────────────────────────────────────────────────────────────────


def upper(rendering: Rendering, value: Any) -> str:
    """Write in capital letters."""
    return _str(rendering, value, 3).upper()


def lower(rendering: Rendering, value: Any) -> str:
    """Write in small letters."""
    return _str(rendering, value, 3).lower()


def capitalize(rendering: Rendering, value: Any) -> str:
    """Begin with a capital letter."""
    text = _str(rendering, value)
    return text[:1].upper() + text[1:]


def trim(rendering: Rendering, value: Any) -> str:
    """Leave out spaces and line breaks at both ends."""
    return _str(rendering, value).strip()


def truncate(rendering: Rendering, value: Any, length: Any, end: Any = "…") -> str:
    """Shorten to ``length`` characters and ``end``."""
    text, most = _str(rendering, value), _int(length, 1, 10_000, "the length")
    return text if len(text) <= most else text[:most].rstrip() + _str(rendering, end)


def replace(rendering: Rendering, value: Any, old: Any, new: Any) -> str:
    """Write ``new`` for each ``old``."""
    text, old, new = (_str(rendering, part) for part in (value, old, new))
    if not old:
        raise Problem("what is replaced must not be empty")
    rendering.make(text.count(old) * len(new))
    return text.replace(old, new)


def urlencode(rendering: Rendering, value: Any) -> str:
    """Escape for a part of a URL."""
    return quote(_str(rendering, value, 12), safe="")


# ── lists ──────────────────────────────────────────────────────────────────────────────────────


def _items(rendering: Rendering, value: Any) -> list[Any]:
    if not isinstance(value, (Items, list)):
        raise Problem(f"must be a list, not {described(value)}")
    rendering.step(_TEXT + 2 * length_of(value))
    return list(value)


def _made(rendering: Rendering, values: list[Any]) -> Items:
    items = Items(values)
    items.step = rendering.step
    return items


def length(rendering: Rendering, value: Any) -> int:
    """Count characters, the items of a list or the fields of an object."""
    if not isinstance(value, (str, Items, Fields, list)):
        raise Problem(f"{described(value)} has no length")
    rendering.step(_TEXT)
    return length_of(value)


def first(rendering: Rendering, value: Any) -> Any:
    """Return the first item of a list, or nothing."""
    return next(iter(_items(rendering, value)), None)


def last(rendering: Rendering, value: Any) -> Any:
    """Return the last item of a list, or nothing."""
    return next(reversed(_items(rendering, value)), None)


def join(rendering: Rendering, value: Any, separator: Any = ", ") -> str:
    """Write the items of a list, with ``separator`` between them."""
    parts, separator = _items(rendering, value), _str(rendering, separator)
    rendering.make(len(separator) * len(parts))
    return str(separator.join(_str(rendering, part) for part in parts))


def items(rendering: Rendering, value: Any) -> Items:
    """Return a list of the names and values of an object: ``{% for name, value in data.tags|items %}``."""
    if not isinstance(value, Fields):
        raise Problem(f"must be an object, not {described(value)}")
    rendering.step(_TEXT + 5 * length_of(value))
    return _made(rendering, [_made(rendering, list(pair)) for pair in dict.items(value)])


def sort(rendering: Rendering, value: Any, attribute: Any = None, reverse: Any = False) -> Items:
    """Sort a list of texts or numbers, or of objects by a field."""
    found = _items(rendering, value)

    def key(item: Any) -> Any:
        wanted = item if attribute is None else dict.get(item, attribute) if isinstance(item, Fields) else None
        if isinstance(wanted, bool) or not isinstance(wanted, (str, int, float)):
            raise Problem("only texts and numbers can be sorted")
        return wanted

    rendering.step(10 * len(found))
    try:
        return _made(rendering, sorted(found, key=key, reverse=bool(reverse)))
    except TypeError:
        raise Problem("texts and numbers cannot be sorted together") from None


# ── numbers ────────────────────────────────────────────────────────────────────────────────────


def _calculated(rendering: Rendering, made: Decimal) -> int | float:
    rendering.step(_TEXT)
    if abs(made) > _MAX_NUMBER:
        raise Problem(f"the result is beyond {_MAX_NUMBER:,}")
    return int(made) if made == made.to_integral_value() else float(made)


def plus(rendering: Rendering, value: Any, other: Any) -> int | float:
    """Add."""
    return _calculated(rendering, _decimal(value) + _decimal(other))


def minus(rendering: Rendering, value: Any, other: Any) -> int | float:
    """Subtract."""
    return _calculated(rendering, _decimal(value) - _decimal(other))


def times(rendering: Rendering, value: Any, other: Any) -> int | float:
    """Multiply."""
    return _calculated(rendering, _decimal(value) * _decimal(other))


def divided_by(rendering: Rendering, value: Any, other: Any) -> int | float:
    """Divide."""
    divisor = _decimal(other)
    if not divisor:
        raise Problem("cannot be divided by 0")
    return _calculated(rendering, _decimal(value) / divisor)


def _in_locale(rendering: Rendering, text: str) -> str:
    rendering.step(_LOCALE)
    rendering.make(len(text))
    return text


def number(rendering: Rendering, value: Any, decimals: Any = None) -> str:
    """Write a number, as many ``decimals`` as it has or as are wanted."""
    return _with_decimals(rendering, rendering.locale.decimal_formats[None], value, decimals)


def percent(rendering: Rendering, value: Any, decimals: Any = 0) -> str:
    """Write 0.25 as 25 %."""
    return _with_decimals(rendering, rendering.locale.percent_formats[None], value, decimals)


def _with_decimals(rendering: Rendering, pattern: Any, value: Any, decimals: Any) -> str:
    if decimals is not None:
        pattern = copy(pattern)  # which the whole process shares
        pattern.frac_prec = (_int(decimals, 0, 15, "decimals"),) * 2
    return _in_locale(rendering, str(pattern.apply(_decimal(value), rendering.locale)))


def money(rendering: Rendering, value: Any, currency: Any, minor: Any = False) -> str:
    """Write an amount; with ``minor=true`` it is in cents, or what the currency has."""
    if not isinstance(currency, str) or not _CURRENCY.fullmatch(currency):
        raise Problem("the currency must be three capital letters, such as EUR")
    amount = _decimal(value)
    if minor:
        amount = amount.scaleb(-get_currency_precision(currency))
    return _in_locale(rendering, format_currency(amount, currency, locale=rendering.locale))


def plural(rendering: Rendering, value: Any, **forms: Any) -> str:
    """Choose the form for a number; ``#`` stands for it: ``|plural(one="# day", other="# days")``."""
    amount = _decimal(value)
    form = forms.get(rendering.locale.plural_form(amount), forms.get("other"))
    if form is None:
        raise Problem('needs at least the form other: |plural(one="# day", other="# days")')
    return _str(rendering, _str(rendering, form).replace("#", number(rendering, value)))


# ── dates ──────────────────────────────────────────────────────────────────────────────────────


def _instant(value: Any) -> datetime | date:
    """Return a time of ISO 8601, or a day, which is the same day in every zone."""
    if not isinstance(value, str) or len(value) > 40:
        raise Problem(f"must be a time such as 2026-01-31T12:00:00Z, not {described(value)}")
    try:
        if len(value) == 10:
            return date.fromisoformat(value)
        instant = datetime.fromisoformat(value)
        return (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise Problem("must be a time such as 2026-01-31T12:00:00Z") from None


def _time(value: Any) -> datetime:
    instant = _instant(value)
    if not isinstance(instant, datetime):
        raise Problem("is a day without a time")
    return instant


def _format(value: Any) -> Any:
    if value not in _FORMATS:
        raise Problem(f"the format is one of {', '.join(_FORMATS)}")
    return value


def date_(rendering: Rendering, value: Any, format: Any = "long") -> str:
    """Write a day."""
    instant = _instant(value)
    day = instant.astimezone(rendering.zone) if isinstance(instant, datetime) else instant
    return _in_locale(rendering, format_date(day, _format(format), locale=rendering.locale))


def time_(rendering: Rendering, value: Any, format: Any = "short") -> str:
    """Write a time of day."""
    wanted = _format(format)
    return _in_locale(rendering, format_time(_time(value), wanted, tzinfo=rendering.zone, locale=rendering.locale))


def datetime_(rendering: Rendering, value: Any, format: Any = "medium") -> str:
    """Write a day with its time."""
    wanted = _format(format)
    return _in_locale(rendering, format_datetime(_time(value), wanted, tzinfo=rendering.zone, locale=rendering.locale))


def relative(rendering: Rendering, value: Any) -> str:
    """Write a time as a distance from now: in 2 hours, 3 days ago."""
    wait = _time(value) - rendering.now
    return _in_locale(rendering, format_timedelta(wait, add_direction=True, locale=rendering.locale))


# ── what is written ────────────────────────────────────────────────────────────────────────────


def write(rendering: Rendering, value: Any) -> Any:
    """Return a value that ends an expression, as it is written."""
    if isinstance(value, str):
        rendering.make(len(value))
        return value  # also one that is marked as safe
    rendering.make(25)  # digits, sign and exponent
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return value
    how = "; write its parts: {% for item in … %}" if isinstance(value, (Items, Fields)) else ""
    raise Problem(f"{described(value)} cannot be written{how}")


FILTERS: Final[Mapping[str, Callable[..., Any]]] = {
    "capitalize": capitalize,
    "date": date_,
    "datetime": datetime_,
    "divided_by": divided_by,
    "first": first,
    "items": items,
    "join": join,
    "last": last,
    "length": length,
    "lower": lower,
    "minus": minus,
    "money": money,
    "number": number,
    "percent": percent,
    "plural": plural,
    "plus": plus,
    "relative": relative,
    "replace": replace,
    "sort": sort,
    "time": time_,
    "times": times,
    "trim": trim,
    "truncate": truncate,
    "upper": upper,
    "urlencode": urlencode,
}
