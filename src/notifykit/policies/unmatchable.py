"""Conditions of a subscription that are valid, and that no event can meet.

Pure: the declared types are an argument.  A warning is no error: an event of an undeclared type may be published, and
a topic may look as odd as the pattern does.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from math import inf
from typing import Any, Final, NamedTuple

from .patterns import TOPICS, TYPES, compile_pattern

UNKNOWN_TYPE: Final = "unknown_type"
TOPIC_IS_NO_PATH: Final = "topic_is_no_path"
IMPOSSIBLE_RANGE: Final = "impossible_range"

#: What no topic of an event begins with: these are the library's own.
_RESERVED = ("@", "!")
#: What people join the words of other names with: types, resources, Windows paths.
_OTHER_SEPARATORS = (".", ":", "\\")


class SubscriptionWarning(NamedTuple):
    """A condition because of which a subscription, as it seems, never matches.

    Attributes:
        path: Which condition: ``event_types[0]``, ``topic``, ``filter.total[0].numeric``.
        code: ``unknown_type``, ``topic_is_no_path`` or ``impossible_range``.
        text: What is wrong with it, for people.
    """

    path: str
    code: str
    text: str


def unmatchable(
    event_types: Sequence[str], topic: str | None, filter: Mapping[str, Any] | None, *, declared: Collection[str]
) -> tuple[SubscriptionWarning, ...]:
    """Return why events that meet these conditions are not to be expected.

    Args:
        event_types: Valid patterns.
        topic: A valid pattern.
        filter: A valid filter.
        declared: The types that there are; if there are none, nothing is said about types.
    """
    found = list(_types(event_types, declared)) if declared else []
    if topic is not None:
        found += _topic(topic)
    if filter is not None:
        found += _conditions(filter, "filter")
    return tuple(found)


def _types(patterns: Sequence[str], declared: Collection[str]) -> Iterator[SubscriptionWarning]:
    for at, pattern in enumerate(patterns):
        if not any(map(compile_pattern(pattern, TYPES), declared)):
            yield SubscriptionWarning(
                f"event_types[{at}]", UNKNOWN_TYPE, f"no declared type matches {pattern!r}: is it spelt right?"
            )


def _topic(pattern: str) -> Iterator[SubscriptionWarning]:
    if pattern.startswith(_RESERVED):
        text = f"no topic begins with {pattern[0]!r}"
    elif TOPICS not in pattern and any(separator in pattern for separator in _OTHER_SEPARATORS):
        text = f"{pattern!r} is one word: the words of a topic are joined by slashes, as in shop/7/**"
    else:
        return
    yield SubscriptionWarning("topic", TOPIC_IS_NO_PATH, text)


def _conditions(given: Mapping[str, Any], path: str) -> Iterator[SubscriptionWarning]:
    """Every key must match, so one that cannot is enough; of the alternatives in a list all must be impossible."""
    for key, condition in given.items():
        place = f"{path}.{key}"
        if isinstance(condition, Mapping):
            yield from _conditions(condition, place)
        elif all(_is_impossible(alternative) for alternative in condition):
            for at, alternative in enumerate(condition):
                text = f"no number is {_spoken(alternative['numeric'])}"
                yield SubscriptionWarning(f"{place}[{at}].numeric", IMPOSSIBLE_RANGE, text)


def _is_impossible(alternative: Any) -> bool:
    return isinstance(alternative, Mapping) and "numeric" in alternative and _is_empty(alternative["numeric"])


def _is_empty(comparisons: Sequence[Any]) -> bool:
    """Tell whether no number meets all of one or two comparisons."""
    pairs = list(zip(comparisons[::2], comparisons[1::2], strict=True))
    low = max((bound for operator, bound in pairs if operator in (">", ">=", "=")), default=-inf)
    high = min((bound for operator, bound in pairs if operator in ("<", "<=", "=")), default=inf)
    excluded = {bound for operator, bound in pairs if operator in ("<", ">")}
    return low > high or (low == high and low in excluded)


def _spoken(comparisons: Sequence[Any]) -> str:
    pairs = zip(comparisons[::2], comparisons[1::2], strict=True)
    return " and ".join(f"{operator} {bound}" for operator, bound in pairs)
