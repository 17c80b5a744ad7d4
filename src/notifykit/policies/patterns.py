"""Patterns of event types (``order.*``) and of topics (``shop/7/**``).

A pattern is words, joined as the text itself is.  A word stands for itself, ``*`` for
exactly one word and ``**`` for any number of words, also none.  There are no wildcards
inside a word, so a pattern can be indexed by the literal words it starts with.  What a
pattern may look like is in :mod:`notifykit.models.patterns`.

Matching takes time proportional to pattern × text at the worst: no backtracking.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

from ..errors import InvalidSubscriptionError
from ..models.patterns import MANY, MAX_PATTERN, MAX_WORDS, ONE, TOPICS, TYPES, check_pattern

__all__ = [
    "MANY",
    "MAX_PATTERN",
    "MAX_WORDS",
    "ONE",
    "TOPICS",
    "TYPES",
    "Matcher",
    "check_pattern",
    "compile_pattern",
    "fits",
    "literal_head",
]

Matcher = Callable[[str], bool]


def fits(pattern: str, separator: str) -> bool:
    """Tell whether ``pattern`` keeps the limits of a pattern: a cheap part of :func:`check_pattern`."""
    return len(pattern) <= MAX_PATTERN and pattern.count(separator) < MAX_WORDS


def literal_head(pattern: str, separator: str) -> str | None:
    """Return the literal words that ``pattern`` starts with, joined; ``None`` if there is no wildcard at all."""
    if "*" not in pattern:
        return None
    words = pattern.split(separator)
    for index, word in enumerate(words):
        if word in (ONE, MANY):
            return separator.join(words[:index])
    return None


@lru_cache(maxsize=4096)
def compile_pattern(pattern: str, separator: str) -> Matcher:
    """Return a function that tells whether a type or a topic matches.

    The empty text has no words: it stands for an event without a topic, and only ``**`` matches it.

    Raises:
        InvalidSubscriptionError: The pattern is not one.
    """
    if problems := check_pattern(pattern, separator):
        raise InvalidSubscriptionError(problems)
    words = pattern.split(separator)
    wild = [word for word in words if word in (ONE, MANY)]
    if not wild:
        return pattern.__eq__
    if MANY not in wild:
        return _fixed(words, separator)
    if words == [MANY]:
        return lambda _: True
    if wild == [MANY] and words[-1] == MANY:
        return _under(separator.join(words[:-1]), separator)
    return _general(words, separator)


def _fixed(words: Sequence[str], separator: str) -> Matcher:
    """Match a pattern that fixes the number of words."""
    count = len(words)
    literals = [(index, word) for index, word in enumerate(words) if word != ONE]

    def matches(text: str) -> bool:
        given = text.split(separator)
        return len(given) == count and text != "" and all(given[index] == word for index, word in literals)

    return matches


def _under(head: str, separator: str) -> Matcher:
    """Match ``head.**``: the head itself and everything below it."""
    below = head + separator
    return lambda text: text.startswith(below) or text == head


def _general(words: Sequence[str], separator: str) -> Matcher:
    """Match any pattern: only the last ``**`` ever has to take one word more."""
    size = len(words)

    def matches(text: str) -> bool:
        given = text.split(separator) if text else []
        at = next_word = 0
        retry_at, retry_word = -1, 0
        while at < len(given):
            word = words[next_word] if next_word < size else None
            if word == MANY:
                next_word += 1
                retry_at, retry_word = at, next_word
            elif word is not None and word in (ONE, given[at]):
                at += 1
                next_word += 1
            elif retry_at >= 0:
                retry_at += 1
                at, next_word = retry_at, retry_word
            else:
                return False
        return all(word == MANY for word in words[next_word:])

    return matches
