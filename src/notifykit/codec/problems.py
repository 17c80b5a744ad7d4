"""What keeps data from being JSON, and where it is."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from datetime import date
from enum import Enum
from math import isfinite
from typing import Any
from uuid import UUID

#: How deep containers may nest: what orjson can write, and so what the standard library may.
MAX_DEPTH = 254
#: Integers beyond 64 bits are read back as floats, or not at all, by half of the world's JSON readers.
MIN_INT, MAX_INT = -(2**63), 2**64 - 1
#: A walk stops after so many problems: more of them help no reader.
MAX_PROBLEMS = 50

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")


def json_problems(
    data: Any,
    *,
    path: str = "",
    max_depth: int = MAX_DEPTH,
    max_keys: int | None = None,
    max_bytes: int | None = None,
) -> list[str]:
    """Return everything that keeps ``data`` from being JSON, each as ``path: what is wrong``.

    Slow beside :func:`dumps`: ask it only when something is known or likely to be wrong.

    Args:
        data: What was meant to be JSON.
        path: What ``data`` itself is called.
        max_depth: How deep containers may nest; ``data`` itself is the first level.
        max_keys: How many keys all objects may have together.
        max_bytes: Give up once the text has more bytes than this at the least (what is shared counts each time).
    """
    walk = _Walk(max_depth, max_bytes)
    walk.start(data, path)
    if max_keys is not None and walk.keys > max_keys:
        walk.problems.append(say_where(path, f"{walk.keys} keys in all, at most {max_keys}"))
    return walk.problems


class _Exhausted(Exception):  # noqa: N818  # a way out of the walk, not an error
    """The walk has seen enough."""


class _Walk:
    """One walk through data that may be anything, cycles included."""

    def __init__(self, max_depth: int, max_bytes: int | None) -> None:
        self.problems: list[str] = []
        self.keys = 0
        self._max_depth = max_depth
        self._max_bytes = sys.maxsize if max_bytes is None else max_bytes
        self._bytes = 0
        self._root = ""
        self._steps: list[object] = []  # from the root to here; a path is made of them only when it is told
        self._open: set[int] = set()  # the containers between the root and here

    def start(self, data: Any, path: str) -> None:
        self._root = path
        try:
            self._visit(data)
        except _Exhausted:
            if self._bytes > self._max_bytes:
                self.problems.append(say_where(path, f"too large, at most {self._max_bytes} bytes"))

    def report(self, what: str) -> None:
        path = self._root
        for step in self._steps:
            path = join_path(path, step)
        self.problems.append(say_where(path, what))
        if len(self.problems) >= MAX_PROBLEMS:
            raise _Exhausted

    def _count(self, size: int) -> None:
        self._bytes += size
        if self._bytes > self._max_bytes:
            raise _Exhausted

    def _visit(self, value: Any) -> None:
        if isinstance(value, Enum):
            value = value.value
        self._count(len(value) if isinstance(value, str) else 1)
        if not isinstance(value, (Mapping, list, tuple)):
            if (problem := _scalar_problem(value)) is not None:
                self.report(problem)
        elif id(value) in self._open:
            self.report("contains itself")
        elif len(self._steps) >= self._max_depth:
            self.report(f"nested deeper than {self._max_depth} levels")
        else:
            self._open.add(id(value))
            self._descend(value)
            self._open.discard(id(value))

    def _descend(self, value: Mapping[Any, Any] | Sequence[Any]) -> None:
        if isinstance(value, Mapping):
            self.keys += len(value)
            for key in value:
                self._key(key)
        for step, item in value.items() if isinstance(value, Mapping) else enumerate(value):
            self._steps.append(step)
            self._visit(item)
            self._steps.pop()

    def _key(self, key: object) -> None:
        self._count(len(key) if isinstance(key, str) else 1)
        if not isinstance(key, str):
            self.report(f"the key {show_key(key)} is not text")
        elif not _is_unicode(key):
            self.report(f"the key {show_key(key)} has half of a surrogate pair")


def _scalar_problem(value: Any) -> str | None:
    """Return what keeps a value that is no container from being JSON."""
    match value:
        case None | bool() | UUID():
            return None
        case str():
            return None if _is_unicode(value) else "half of a surrogate pair is no character"
        case int():
            return None if MIN_INT <= value <= MAX_INT else "an integer beyond 64 bits"
        case float():
            return None if isfinite(value) else f"{_CONSTANTS.get(value, 'NaN')} is not JSON"
        case date():
            return f"{type(value).__name__} is not JSON; give it as text (isoformat), or publish a typed event"
        case _:
            return f"{type(value).__name__} is not JSON"


_CONSTANTS = {float("inf"): "Infinity", float("-inf"): "-Infinity"}


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def say_where(path: str, what: str) -> str:
    """Return a problem with its path in front."""
    return f"{path}: {what}" if path else what


def join_path(path: str, key: object) -> str:
    """Return the path of what stands under ``key`` in what is at ``path``: ``data.items[3]['a key']``."""
    if not isinstance(key, str) or not _IDENTIFIER.fullmatch(key):
        return f"{path}[{show_key(key)}]"
    return f"{path}.{key}" if path else key


def show_key(key: Any) -> str:
    """Return a key, or its beginning, as a message may show it; others than texts and numbers by their type."""
    if isinstance(key, (str, bytes)):
        text = ascii(key[:41])
        return text if len(text) <= 40 else f"{text[:40]}…"
    return ascii(key) if _scalar_problem(key) is None else type(key).__name__
