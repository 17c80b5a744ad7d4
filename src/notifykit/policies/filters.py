"""Filters: conditions on an event's ``data``, written as JSON.

::

    {"order": {"total": [{"numeric": [">=", 100]}], "country": ["DE", "AT"]}}

Objects are "and": every key must match.  A list is "or": one of its alternatives must
match.  An alternative is a literal or an object with one operator: ``prefix``,
``suffix``, ``numeric``, ``exists``, ``anything-but``.  Where the data has an array, one
of its elements must match.

A filter comes from a tenant, so it is data, never code: no expressions, no regular
expressions, and bounds on its depth and size.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from typing import Any, Final

from ..codec import MAX_INT, MIN_INT
from ..errors import InvalidSubscriptionError

MAX_DEPTH = 16
MAX_LEAVES = 200
#: The longest key, and the longest text that data is compared with.
MAX_TEXT = 1024
#: Characters of all keys and texts together, with one for each value.
MAX_SIZE = 64 * 1024
#: A check stops after so many problems.
MAX_PROBLEMS = 50

Predicate = Callable[[Any], bool]

_NO_NUMBER = "must be a finite number of up to 64 bits"
_SURROGATES = re.compile("[\ud800-\udfff]")

#: What a key that is not there has for a value.
_MISSING: Final = object()

_COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


# ── what is wrong with a filter ────────────────────────────────────────────────────────────────


def check_filter(filter: object, *, path: str = "filter") -> list[str]:
    """Return every reason why ``filter`` is none, each as ``path: what is wrong``."""
    check = _Check()
    try:
        check.conditions(filter, path, 1)
    except _Exhausted:
        if check.room < 0:
            check.problems.append(f"{path}: more than {MAX_SIZE} characters in all")
        return check.problems
    if check.leaves > MAX_LEAVES:
        check.problems.append(f"{path}: {check.leaves} values in all, at most {MAX_LEAVES}")
    return check.problems


class _Exhausted(Exception):  # noqa: N818  # a way out of the walk, not an error
    """The walk has seen enough."""


class _Check:
    """One walk through what may be a filter; it ends where the filter is larger than one may be.

    Attributes:
        room: How much of the filter may still come; what is shared counts each time.
    """

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.leaves = 0
        self.room = MAX_SIZE

    def report(self, path: str, what: str) -> None:
        self.problems.append(f"{path}: {what}")
        if len(self.problems) >= MAX_PROBLEMS:
            raise _Exhausted

    def count(self, size: int) -> None:
        """Take what is looked at next off the room."""
        self.room -= size
        if self.room < 0:
            raise _Exhausted

    def leaf(self) -> None:
        """Count a value that data is compared with."""
        self.leaves += 1
        self.count(1)

    def conditions(self, given: object, path: str, depth: int) -> None:
        """Check an object whose keys must all match."""
        if not isinstance(given, Mapping):
            self.report(path, "must be an object of conditions" if depth == 1 else "must be a list or an object")
            return
        if not given:
            self.report(path, "is empty")
        if depth > MAX_DEPTH:
            self.report(path, f"nested deeper than {MAX_DEPTH} levels")
            return
        for key, condition in given.items():
            self.count(1)
            if not isinstance(key, str):
                self.report(path, "has a key that is not text")
                continue
            if problem := self.text_problem(key):
                self.report(path, f"has a key {problem}")
                continue
            if isinstance(condition, (list, tuple)):
                self.alternatives(condition, f"{path}.{key}")
            else:
                self.conditions(condition, f"{path}.{key}", depth + 1)

    def alternatives(self, given: Sequence[object], path: str) -> None:
        """Check a list of which one must match."""
        if not given:
            self.report(path, "is empty")
        for index, alternative in enumerate(given):
            place = f"{path}[{index}]"
            self.count(1)
            if not isinstance(alternative, Mapping):
                self.literal(alternative, place)
            elif len(alternative) != 1:
                self.report(place, "must have exactly one operator")
            else:
                ((name, argument),) = alternative.items()
                self.operator(name, argument, place)

    def operator(self, name: object, argument: object, path: str) -> None:
        """Check one operator and its argument."""
        match name:
            case "prefix" | "suffix":
                self.text(argument, f"{path}.{name}")
            case "numeric":
                self.range(argument, f"{path}.numeric")
            case "exists":
                self.leaf()
                if not isinstance(argument, bool):
                    self.report(f"{path}.exists", "must be true or false")
            case "anything-but":
                self.exclusion(argument, f"{path}.anything-but")
            case _:
                self.report(path, "has an unknown operator; there are prefix, suffix, numeric, exists, anything-but")

    def literal(self, given: object, path: str) -> None:
        self.leaf()
        match given:
            case None | bool():
                return
            case str():
                if problem := self.text_problem(given):
                    self.report(path, problem)
            case int() | float() if not _is_number(given):
                self.report(path, _NO_NUMBER)
            case int() | float():
                return
            case _:
                self.report(path, "must be text, a number, true, false, null or an operator")

    def text_problem(self, given: str) -> str | None:
        """Count a text, and return what is wrong with it."""
        if len(given) > MAX_TEXT:
            return f"longer than {MAX_TEXT} characters"
        self.count(len(given))
        return "with half of a surrogate pair" if _SURROGATES.search(given) else None

    def text(self, given: object, path: str) -> None:
        if isinstance(given, str):
            self.literal(given, path)
        else:
            self.report(path, "must be text")

    def range(self, given: object, path: str) -> None:
        self.leaf()
        if not isinstance(given, (list, tuple)) or len(given) not in (2, 4):
            self.report(path, 'must be one or two comparisons, such as [">", 0, "<=", 10]')
            return
        for index in range(0, len(given), 2):
            if not isinstance(given[index], str) or given[index] not in _COMPARISONS:
                self.report(f"{path}[{index}]", "must be one of " + " ".join(_COMPARISONS))
            if not _is_number(given[index + 1]):
                self.report(f"{path}[{index + 1}]", _NO_NUMBER)

    def exclusion(self, given: object, path: str) -> None:
        if isinstance(given, Mapping):
            if len(given) == 1 and "prefix" in given:
                self.text(given["prefix"], f"{path}.prefix")
            else:
                self.report(path, "takes a value, a list of values or a prefix")
        elif isinstance(given, (list, tuple)):
            if not given:
                self.report(path, "is empty")
            for index, value in enumerate(given):
                self.literal(value, f"{path}[{index}]")
        else:
            self.literal(given, path)


def _is_number(given: object) -> bool:
    """Tell whether ``given`` is a number that JSON can have; ``True`` is not 1 here."""
    if isinstance(given, float):
        return isfinite(given)
    return isinstance(given, int) and not isinstance(given, bool) and MIN_INT <= given <= MAX_INT


# ── what a filter means ────────────────────────────────────────────────────────────────────────


def compile_filter(filter: Mapping[str, Any]) -> Predicate:
    """Return a function that tells whether ``data``, as decoded from JSON, satisfies ``filter``.

    Raises:
        InvalidSubscriptionError: The filter is not one.
    """
    if problems := check_filter(filter):
        raise InvalidSubscriptionError(problems)
    return _conditions(filter)


def _conditions(given: Mapping[str, Any]) -> Predicate:
    """Every key must match; where the data has an array, one element must match them all."""
    tests = tuple((key, _condition(condition)) for key, condition in given.items())

    def matches(value: Any) -> bool:
        if type(value) is list:
            return any(map(matches, value))
        if type(value) is dict:
            for key, test in tests:  # noqa: SIM110  # a generator would double the time
                if not test(value.get(key, _MISSING)):
                    return False
            return True
        return all(test(_MISSING) for _, test in tests)

    return matches


def _condition(given: Any) -> Predicate:
    return _conditions(given) if isinstance(given, Mapping) else _alternatives(given)


def _alternatives(given: Sequence[Any]) -> Predicate:
    """One alternative must match the value, or one element of it if it is an array."""
    literals = [alternative for alternative in given if not isinstance(alternative, Mapping)]
    presence = {alternative["exists"] for alternative in given if _operator(alternative) == "exists"}
    tests = [_test(alternative) for alternative in given if _operator(alternative) not in (None, "exists")]
    if literals:
        tests.insert(0, _one_of(literals))
    matches_one = _any_of(tests)
    if_present, if_missing = True in presence, False in presence

    def matches(value: Any) -> bool:
        if value is _MISSING:
            return if_missing
        if if_present:
            return True
        if type(value) is list:
            return any(map(matches, value))
        return matches_one(value)

    return matches


def _operator(alternative: Any) -> str | None:
    return next(iter(alternative)) if isinstance(alternative, Mapping) else None


def _any_of(tests: Sequence[Predicate]) -> Predicate:
    if len(tests) == 1:
        return tests[0]
    return lambda value: any(test(value) for test in tests)


def _test(alternative: Mapping[str, Any]) -> Predicate:
    ((name, argument),) = alternative.items()
    match name:
        case "prefix":
            return lambda value: type(value) is str and value.startswith(argument)
        case "suffix":
            return lambda value: type(value) is str and value.endswith(argument)
        case "numeric":
            return _numeric(argument)
        case _:  # the check lets nothing else through
            return _anything_but(argument)


def _one_of(literals: Sequence[Any]) -> Predicate:
    """Match a literal of the same type; 1 is 1.0, but not ``true``."""
    texts = frozenset(literal for literal in literals if isinstance(literal, str))
    numbers = frozenset(literal for literal in literals if _is_number(literal))
    marks = tuple(literal for literal in literals if literal is None or isinstance(literal, bool))

    def matches(value: Any) -> bool:
        kind = type(value)
        if kind is str:
            return value in texts
        if kind is int or kind is float:
            return value in numbers
        return any(value is mark for mark in marks)

    return matches


def _numeric(argument: Sequence[Any]) -> Predicate:
    bounds = tuple((_COMPARISONS[argument[at]], argument[at + 1]) for at in range(0, len(argument), 2))

    def matches(value: Any) -> bool:
        if type(value) is not int and type(value) is not float:
            return False
        return all(compare(value, bound) for compare, bound in bounds)

    return matches


def _anything_but(argument: Any) -> Predicate:
    if isinstance(argument, Mapping):
        excluded = _test(argument)
    else:
        excluded = _one_of(argument if isinstance(argument, (list, tuple)) else [argument])
    return lambda value: not excluded(value)
