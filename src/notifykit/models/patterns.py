"""What a pattern of event types (``order.*``) or of topics (``shop/7/**``) may look like.

How one is matched is in :mod:`notifykit.policies.patterns`.
"""

from __future__ import annotations

import re

from .checks import UNPRINTABLE

MAX_PATTERN = 256
MAX_WORDS = 32
ONE, MANY = "*", "**"

TYPES, TOPICS = ".", "/"

_TYPE_WORD = re.compile(r"[A-Za-z0-9_]+")


def check_pattern(pattern: object, separator: str, *, path: str = "pattern") -> list[str]:
    """Return every reason why ``pattern`` is none, each as ``path: what is wrong``.

    Args:
        pattern: What a subscription gave.
        separator: :data:`TYPES` or :data:`TOPICS`.
        path: What the pattern is called in the problems.
    """
    if not isinstance(pattern, str):
        return [f"{path}: must be text"]
    if len(pattern) > MAX_PATTERN:
        return [f"{path}: longer than {MAX_PATTERN} characters"]
    words = pattern.split(separator)
    problems = []
    if len(words) > MAX_WORDS:
        problems.append(f"{path}: more than {MAX_WORDS} words")
    for number, word in enumerate(words, 1):
        if word not in (ONE, MANY) and (problem := _word_problem(word, separator)):
            problems.append(f"{path}: word {number} {problem}")
    return problems


def _word_problem(word: str, separator: str) -> str | None:
    if not word:
        return "is empty"
    if "*" in word:
        return "has a wildcard inside; a wildcard is a word of its own"
    if separator == TYPES and not _TYPE_WORD.fullmatch(word):
        return "may only have letters A-Z, digits and underscores"
    if UNPRINTABLE.search(word):
        return "has control characters"
    return None


def topic_pattern(value: object) -> str | None:
    """Check a pattern of topics (see :mod:`notifykit.models.checks`)."""
    found = check_pattern(value, TOPICS)
    return "; ".join(problem.partition(": ")[2] for problem in found) or None
