"""JSON texts: written and read with orjson where it is installed (extra ``speed``), else with the standard library.

What either of them writes is the same, byte for byte, so processes with and without orjson can share one store; what
only one of them could write is refused by both.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from enum import Enum
from importlib import import_module
from math import isfinite
from typing import Any, NoReturn
from uuid import UUID

from .problems import MAX_DEPTH, MAX_INT, MAX_PROBLEMS, MIN_INT, join_path, json_problems


def _orjson_if_installed() -> Any:
    """Return orjson, unless it is missing or a release (before 3.12) that writes other bytes, or nests deeper."""
    try:
        module = import_module("orjson")
    except ImportError:
        return None
    too_deep: list[Any] = []
    for _ in range(MAX_DEPTH):
        too_deep = [too_deep]
    try:
        module.dumps(too_deep)
    except TypeError:
        return module if module.dumps([1e16, 1e-5, 1e-7]) == b"[1e+16,0.00001,1e-7]" else None
    return None


orjson = _orjson_if_installed()
_OPTIONS = 0 if orjson is None else orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME


def _default(value: Any) -> Any:
    """Convert values that the writers do not know into JSON types."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (tuple, list)):
        return list(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, float):
        return float(value)
    raise TypeError(f"{type(value).__name__} is not JSON")


def _orjson_dumps(data: Any, is_finite: bool = False) -> bytes:
    try:
        body: bytes = orjson.dumps(data, _default, _OPTIONS)
    except TypeError:
        return _stdlib_dumps(data)  # which says what is wrong, or takes it (keys that are enums)
    # orjson writes NaN and the infinities as null: a null that does not come back as it went in may be one.
    if not is_finite and b"null" in body and orjson.loads(body) != data:
        _refuse(data)
    return body


def _stdlib_dumps(data: Any, _is_finite: bool = False) -> bytes:
    # json takes keys and integers of any kind, and writes thousands of digits.
    if not _is_plain((data,), 0):
        _refuse(data)
    try:
        text = json.dumps(data, default=_default, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        body = (_STRING_OR_NUMBER.sub(_respell, text) if "e-" in text else text).encode()
    except (TypeError, ValueError, RecursionError) as error:
        _refuse(data, error)
    return body


def _refuse(data: Any, error: Exception | None = None) -> None:
    """Raise if ``data`` is not JSON, or if there is an ``error``."""
    problems = json_problems(data) or ([] if error is None else [str(error)])
    if problems:
        raise TypeError("; ".join(problems)) from error


def _is_plain(container: Any, depth: int) -> bool:
    """Tell whether there are only JSON types in ``container``; "no" may also mean "unknown"."""
    if depth > MAX_DEPTH:
        return False
    items = container
    if type(container) is dict:
        items = container.values()
        for key in container:
            if type(key) is not str:
                return False
    for item in items:
        kind = type(item)
        if kind is str or kind is float or kind is bool or item is None:
            continue
        if kind is int:
            if not MIN_INT <= item <= MAX_INT:
                return False
        elif not ((kind is dict or kind is list or kind is tuple) and _is_plain(item, depth + 1)):
            return False
    return True


#: Strings are matched first, so that what looks like a number inside of one is left alone.
_STRING_OR_NUMBER = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|-?\d+(?:\.\d+)?e-\d+')


def _respell(match: re.Match[str]) -> str:
    """Spell a small number as orjson does: ``1.5e-05`` is ``0.000015``, ``1e-07`` is ``1e-7``."""
    token = match[0]
    if token[0] == '"':
        return token
    digits, _, exponent = token.partition("e-")
    if int(exponent) > 5:
        return f"{digits}e-{int(exponent)}"
    sign = "-" if digits[0] == "-" else ""
    return f"{sign}0.0000{digits.lstrip('-').replace('.', '')}"


def _stdlib_loads(body: bytes, made_of: Callable[[list[tuple[str, Any]]], Any] | None = None) -> Any:
    try:
        text = body.decode()
        value = json.loads(
            text, parse_constant=_no_constant, parse_int=_integer, parse_float=_number, object_pairs_hook=made_of
        )
        if "\\u" in text:  # half of a surrogate pair is no character
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    return value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _integer(text: str) -> int | float:
    """Read an integer; beyond 64 bits it is a float, as orjson has it."""
    value = int(text) if len(text) <= 20 else None
    return value if value is not None and MIN_INT <= value <= MAX_INT else _number(text)


def _number(text: str) -> float:
    value = float(text)
    if not isfinite(value):
        raise ValueError("a number is too large")
    return value


_dumps: Callable[[Any, bool], bytes] = _stdlib_dumps if orjson is None else _orjson_dumps
_loads: Callable[[bytes], Any] = _stdlib_loads if orjson is None else orjson.loads


def dumps(data: Any, *, is_finite: bool = False) -> bytes:
    """Return ``data`` as compact JSON in UTF-8.

    Takes mappings with text keys, lists, tuples, texts, booleans, ``None``, finite
    floats, integers of up to 64 bits, enums (their value) and UUIDs (their text).

    Args:
        data: What to write.
        is_finite: The caller has seen that no number in it is NaN or infinite; finding out costs as much as reading
            the text back.

    Raises:
        TypeError: Something in ``data`` is not JSON; :func:`json_problems` says what and where.
    """
    return _dumps(data, is_finite)


def loads(body: bytes) -> Any:
    """Return what the JSON text ``body`` says.

    Raises:
        ValueError: It is not JSON, not UTF-8, or holds a number that no float can.
    """
    return _loads(body)


def loads_unique(body: bytes, *, path: str = "") -> tuple[Any, list[str]]:
    """Return what the JSON text ``body`` says, and each key that an object has twice, as ``path: what is wrong``.

    Some readers take the first value of such a key and others the last, so it is not known which one was meant.

    Args:
        body: What was given.
        path: What the whole of it is called.

    Raises:
        ValueError: As :func:`loads`.
    """
    try:
        value = _loads(body)
    except ValueError:
        value = _stdlib_loads(body, _object)  # says more clearly what is wrong
    # Outside of texts a colon follows each key, and only keys; texts may add some, and then the slow way tells.
    if len(_KEYS.findall(body)) == _count_keys(value):
        return value, []
    value = _stdlib_loads(body, _object)
    problems: list[str] = []
    open_: list[tuple[str, Any]] = [(path, value)] if isinstance(value, (dict, list)) else []
    while open_ and len(problems) < MAX_PROBLEMS:
        here, container = open_.pop()
        if isinstance(container, _Repeating):
            problems += [f"{join_path(here, key)}: is given more than once" for key in container.repeated]
        steps = container.items() if isinstance(container, dict) else enumerate(container)
        open_ += [(join_path(here, step), item) for step, item in steps if isinstance(item, (dict, list))]
    return value, problems


#: The end of a key, or the beginning of a text with a colon.
_KEYS = re.compile(rb'"\s*:')


def _count_keys(value: Any) -> int:
    count, open_ = 0, [value]
    while open_:
        found = open_.pop()
        if isinstance(found, dict):
            count += len(found)
            found = found.values()
        elif not isinstance(found, list):
            continue
        open_ += [item for item in found if isinstance(item, (dict, list))]
    return count


class _Repeating(dict[str, Any]):
    """An object in which keys are given more than once; the last value of each counts."""

    repeated: list[str]


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) == len(pairs):
        return made
    repeating = _Repeating(made)
    repeating.repeated = sorted(key for key, times in Counter(key for key, _ in pairs).items() if times > 1)
    return repeating
