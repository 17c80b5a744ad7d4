"""What may be given for an argument: one rule for each kind of value.

A :data:`Check` returns what is wrong with a value, in words that follow the argument's name, or
``None``.  The same checks stand behind the parameters of functions (:func:`checked`) and behind
the fields of settings (:func:`field_check`), so a wrong value has one answer wherever it is given.

A message names the type of a wrong value, and shows only numbers, durations and choices: other
values may be private, or a megabyte long.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import Enum
from functools import wraps
from inspect import Parameter, iscoroutinefunction, signature
from itertools import islice
from math import isfinite
from typing import Any, TypeVar, cast

import attrs

from ..errors import InvalidInputError, NotifykitError

#: Returns what is wrong with a value, or ``None``.
Check = Callable[[object], str | None]
#: Makes an error of problems, each as ``path: what is wrong``.
Refusal = Callable[[Sequence[str]], NotifykitError]

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

#: Control characters, and halves of surrogate pairs, which no database takes.
UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
#: The same without tabs and line breaks: what texts for people must not have.
_UNWRITABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
TENANT_GRAMMAR = r"[A-Za-z0-9_.:@-]{1,128}"
TENANT_RULE = "must be 1 to 128 characters of A-Z, a-z, 0-9 and _.:@-"
#: The longest id that is looked up; those that are made have at most 43 characters.
MAX_ID = 255
#: The longest description, or reason that an operator gives.
MAX_DESCRIPTION = 500
#: How far instants and durations may go: stores count microseconds in 64 bits, and add one to the other.
MAX_DURATION = timedelta(days=36_500)

_TENANT = re.compile(TENANT_GRAMMAR)


def kind_of(value: object) -> str:
    """Return what messages call the type of ``value``."""
    return "None" if value is None else type(value).__name__


# ── kinds ──────────────────────────────────────────────────────────────────────────────────────


def text(*, most: int | None = None, empty: bool = False, lines: bool = False) -> Check:
    """Return a check for text that every store can keep.

    Args:
        most: How many characters it may have.
        empty: Whether it may have none.
        lines: Whether it may have tabs and line breaks.
    """
    unfit = _UNWRITABLE if lines else UNPRINTABLE

    def problem(value: object) -> str | None:
        if not isinstance(value, str):
            return _not_a("text", value)
        if most is not None and len(value) > most:
            return f"longer than {most} characters"
        if not value and not empty:
            return "is empty"
        # The first is the faster, and says no too often.
        return "has control characters" if not value.isprintable() and unfit.search(value) else None

    return problem


def string(value: object) -> str | None:
    """Check text of any kind, where tighter rules follow."""
    return None if isinstance(value, str) else _not_a("text", value)


def tenant(value: object) -> str | None:
    """Check the name of a tenant."""
    return None if isinstance(value, str) and _TENANT.fullmatch(value) else TENANT_RULE


#: An id, whether or not there is such an object: an empty one is answered like any other that is not there.
identifier: Check = text(most=MAX_ID, empty=True)
#: Text for people: a description, or why an operator did something.
prose: Check = text(most=MAX_DESCRIPTION, empty=True, lines=True)


def flag(value: object) -> str | None:
    """Check a truth value."""
    return None if isinstance(value, bool) else _not_a("true or false", value)


def integer(value: object) -> str | None:
    """Check a whole number of any size; ``True`` is not 1 here."""
    return None if isinstance(value, int) and not isinstance(value, bool) else _not_a("a whole number", value)


def whole(least: int, most: int) -> Check:
    """Return a check for a whole number between two others."""

    def problem(value: object) -> str | None:
        if not isinstance(value, int) or isinstance(value, bool):
            return _not_a("a whole number", value)
        return None if least <= value <= most else f"between {least} and {most}, got {_shown(value)}"

    return problem


def number(least: float, most: float) -> Check:
    """Return a check for a finite number."""

    def problem(value: object) -> str | None:
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            return _not_a("a number", value)
        if isinstance(value, float) and not isfinite(value):
            return f"must be a finite number, got {value}"
        return None if least <= value <= most else f"between {least:g} and {most:g}, got {_shown(value)}"

    return problem


def duration(least: timedelta, most: timedelta = MAX_DURATION) -> Check:
    """Return a check for a duration."""

    def problem(value: object) -> str | None:
        if not isinstance(value, timedelta):
            return _not_a("a timedelta", value)
        return None if least <= value <= most else f"between {_span(least)} and {_span(most)}, got {value}"

    return problem


def instant(value: object) -> str | None:
    """Check an instant: a datetime with a zone."""
    if not isinstance(value, datetime):
        return _not_a("a datetime", value)
    if value.utcoffset() is None:
        return "has no zone"
    try:
        value.astimezone(UTC)
    except OverflowError:
        return "is out of range"
    return None


def one_of(choices: Iterable[str]) -> Check:
    """Return a check for one of a few words (or the members of a text enum)."""
    known = {choice.value if isinstance(choice, Enum) else choice for choice in choices}
    named = ", ".join(sorted(known))

    def problem(value: object) -> str | None:
        if not isinstance(value, str):
            return _not_a(f"one of {named}", value)
        return None if value in known else f"must be one of {named}, not {value[:40]!r}"

    return problem


def instance(*kinds: type) -> Check:
    """Return a check for an instance of one of some classes."""
    named = " or ".join(kind.__name__ for kind in kinds)
    return lambda value: None if isinstance(value, kinds) else _not_a(_a(named), value)


def having(*methods: str, what: str) -> Check:
    """Return a check for an object with some methods, where a protocol is all that is asked for."""

    def problem(value: object) -> str | None:
        if not isinstance(value, type) and all(callable(getattr(value, name, None)) for name in methods):
            return None
        return _not_a(_a(what), value)

    return problem


def function(value: object) -> str | None:
    """Check something that can be called."""
    return None if callable(value) else _not_a("a function", value)


def many(each: Check, *, most: int, what: str) -> Check:
    """Return a check for a list, tuple or set of values; it looks at no more than may be there."""

    def problem(value: object) -> str | None:
        if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Collection):
            return _not_a(f"a list of {what}", value)
        if len(value) > most:
            return f"at most {most}, got {len(value)}"
        for at, item in enumerate(value):
            if (wrong := each(item)) is not None:
                return f"[{at}] {wrong}"
        return None

    return problem


def mapping(key: Check, value: Check, *, most: int) -> Check:
    """Return a check for a mapping; it looks at no more entries than may be there."""

    def problem(given: object) -> str | None:
        if not isinstance(given, Mapping):
            return _not_a("a mapping", given)
        if len(given) > most:
            return f"at most {most} entries, got {len(given)}"
        for at, (name, item) in enumerate(given.items(), 1):
            if (wrong := key(name)) is not None:
                return f"key {at} {wrong}"
            if (wrong := value(item)) is not None:
                return f"the value of {str(name)[:40]!r} {wrong}"
        return None

    return problem


def optional(check: Check) -> Check:
    """Return a check that also accepts ``None``."""
    return lambda value: None if value is None else check(value)


def either(*checks: Check) -> Check:
    """Return a check that accepts what one of some checks accepts; the last one's words count."""

    def problem(value: object) -> str | None:
        wrong = None
        for check in checks:
            if (wrong := check(value)) is None:
                return None
        return wrong

    return problem


def iterable(value: object) -> str | None:
    """Check something that can be gone through; a text is no list of letters."""
    fits = isinstance(value, Iterable) and not isinstance(value, (str, bytes, Mapping))
    return None if fits else _not_a("a list", value)


def anything(_: object) -> None:
    """Accept any value: it is checked where it is used."""


def _not_a(wanted: str, value: object) -> str:
    return f"must be {wanted}, not {kind_of(value)}"


def _a(named: str) -> str:
    return f"an {named}" if named[:1].lower() in "aeiou" else f"a {named}"


def _shown(value: float) -> str:
    return "a number beyond 64 bits" if isinstance(value, int) and value.bit_length() > 64 else str(value)


def _span(value: timedelta) -> str:
    if value.days >= 1 and value == timedelta(days=value.days):
        return f"{value.days} days"
    return f"{value.total_seconds():g} s"


# ── where they stand ───────────────────────────────────────────────────────────────────────────


def problems(values: Mapping[str, object], checks: Mapping[str, Check]) -> list[str]:
    """Return what is wrong with named values, each as ``name: what is wrong``."""
    return [
        f"{name}: {wrong}"
        for name, check in checks.items()
        if name in values and (wrong := check(values[name])) is not None
    ]


class FieldCheck:
    """A check as a validator of an attrs field.

    Attributes:
        check: What is checked; the JSON reader asks it for each field, to report all problems at once.
    """

    def __init__(self, check: Check, refusal: Refusal) -> None:
        self.check = check
        self._refusal = refusal

    def __call__(self, _: object, field: attrs.Attribute[Any], value: object) -> None:
        if (wrong := self.check(value)) is not None:
            raise self._refusal([f"{field.name}: {wrong}"])


def unchecked(cls: type[T], **values: object) -> T:
    """Return an object of an attrs class whose values were checked when they were stored.

    Args:
        values: All fields, in their canonical form.
    """
    made = cls.__new__(cls)
    for name, value in values.items():
        object.__setattr__(made, name, value)
    return made


def field_check(check: Check, refusal: Refusal = InvalidInputError) -> FieldCheck:
    """Return ``check`` as a validator of an attrs field, which raises what ``refusal`` makes."""
    return FieldCheck(check, refusal)


def listed(values: Iterable[Any], most: int) -> tuple[Any, ...] | Any:
    """Return values as a tuple, of one more than may be there at the most; what is no iterable stays as it is.

    A converter for attrs fields, whose check then says what is wrong.
    """
    if isinstance(values, (str, bytes, Mapping)) or not isinstance(values, Iterable):
        return values
    return tuple(islice(values, most + 1))


def checked(table: Mapping[str, Check], *, refusal: Refusal = InvalidInputError, **own: Check) -> Callable[[F], F]:
    """Return a decorator that checks the arguments of a function before it runs.

    The name of a parameter says what kind of value it takes, the same in every function; a parameter
    without a check is a mistake that the first import shows.

    Args:
        table: The checks by the names of parameters.
        refusal: Makes the error that is raised, of all problems.
        own: Checks of this function alone.
    """

    def decorate(function: F) -> F:
        parameters = signature(function).parameters
        checks = {
            name: own[name] if name in own else table[name]
            for name, parameter in parameters.items()
            if name not in {"self", "cls"} and parameter.kind is not Parameter.VAR_KEYWORD
        }
        names = list(parameters)

        def check(arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
            # A missing or unknown argument is reported by the call itself.
            found = problems({**dict(zip(names, arguments, strict=False)), **options}, checks)
            if found:
                raise refusal(found)

        if iscoroutinefunction(function):

            @wraps(function)
            async def call(*arguments: Any, **options: Any) -> Any:
                check(arguments, options)
                return await function(*arguments, **options)

        else:

            @wraps(function)
            def call(*arguments: Any, **options: Any) -> Any:
                check(arguments, options)
                return function(*arguments, **options)

        return cast("F", call)

    return decorate
