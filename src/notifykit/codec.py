"""Values to JSON and back: the one converter, and the one way to make bytes.

:data:`converter` turns attrs classes into JSON types and back.  :func:`dumps` and
:func:`loads` make and read the bytes: with orjson where it is installed (extra
``speed``), else with the standard library.  What either of them writes is the same,
byte for byte, so processes with and without orjson can share one store; what only one
of them could write is refused by both.

Knows no events: which bytes are an acceptable event is :mod:`notifykit.policies.admit`.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum, StrEnum
from importlib import import_module
from math import isfinite
from types import UnionType
from typing import Any, NoReturn, TypeVar, Union, get_args, get_origin
from uuid import UUID

import attrs
from cattrs import BaseConverter, ClassValidationError, ForbiddenExtraKeysError, IterableValidationError
from cattrs.errors import IterableValidationNote
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override
from cattrs.preconf.json import JsonConverter, make_converter

from .errors import InvalidInputError
from .models.checks import FieldCheck, kind_of

T = TypeVar("T")


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


#: How deep containers may nest: what orjson can write, and so what the standard library may.
MAX_DEPTH = 254
orjson = _orjson_if_installed()
_OPTIONS = 0 if orjson is None else orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME
_UTC_AS_Z = 0 if orjson is None else orjson.OPT_UTC_Z

#: Integers beyond 64 bits are read back as floats, or not at all, by half of the world's JSON readers.
MIN_INT, MAX_INT = -(2**63), 2**64 - 1
#: The metadata of a field that has another name in JSON, such as ``from``.
JSON_NAME = "json"
#: A walk stops after so many problems: more of them help no reader.
MAX_PROBLEMS = 50

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")


# ── bytes ──────────────────────────────────────────────────────────────────────────────────────


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


# ── what is wrong with it ──────────────────────────────────────────────────────────────────────


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
        walk.problems.append(_at(path, f"{walk.keys} keys in all, at most {max_keys}"))
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
                self.problems.append(_at(path, f"too large, at most {self._max_bytes} bytes"))

    def report(self, what: str) -> None:
        path = self._root
        for step in self._steps:
            path = join_path(path, step)
        self.problems.append(_at(path, what))
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
            self.report(f"the key {_shown(key)} is not text")
        elif not _is_unicode(key):
            self.report(f"the key {_shown(key)} has half of a surrogate pair")


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


def _at(path: str, what: str) -> str:
    return f"{path}: {what}" if path else what


def join_path(path: str, key: object) -> str:
    """Return the path of what stands under ``key`` in what is at ``path``: ``data.items[3]['a key']``."""
    if not isinstance(key, str) or not _IDENTIFIER.fullmatch(key):
        return f"{path}[{_shown(key)}]"
    return f"{path}.{key}" if path else key


def _shown(key: Any) -> str:
    """Return a key, or its beginning, as a message may show it; others than texts and numbers by their type."""
    if isinstance(key, (str, bytes)):
        text = ascii(key[:41])
        return text if len(text) <= 40 else f"{text[:40]}…"
    return ascii(key) if _scalar_problem(key) is None else type(key).__name__


# ── the converter ──────────────────────────────────────────────────────────────────────────────


def timestamp(instant: datetime) -> str:
    """Return ``instant`` in ISO 8601, with ``Z`` when its zone is UTC.

    Raises:
        ValueError: It has no zone, and so is no instant.
    """
    zone = instant.tzinfo
    if zone is UTC and orjson is not None and type(instant) is datetime:  # the same in a third of the time
        quoted: bytes = orjson.dumps(instant, None, _UTC_AS_Z)
        return quoted[1:-1].decode()
    if zone is None:
        raise ValueError("a time without a zone is no instant")
    text = instant.isoformat()
    return text[:-6] + "Z" if zone is UTC else text


def _instant(value: Any, _: Any) -> datetime:
    instant = datetime.fromisoformat(value)
    if instant.tzinfo is None:
        raise ValueError("a time without a zone is no instant")
    return instant


def _exactly(*accepted: type) -> Callable[[Any, Any], Any]:
    """Return a hook that takes values of these types and never turns one type into another."""

    def structure(value: Any, wanted: Any) -> Any:
        if type(value) not in accepted:
            raise TypeError(type(value).__name__)
        return wanted(value)

    return structure


#: Which arrays are made into what.
_ARRAYS: dict[Any, Callable[[list[Any]], Any]] = {
    list: list,
    tuple: tuple,
    set: set,
    frozenset: frozenset,
    Sequence: tuple,
    Collection: tuple,
    AbstractSet: frozenset,
}


def _is_array(wanted: Any) -> bool:
    arguments = get_args(wanted)
    of_one_type = len(arguments) == 1 or arguments[1:] == (Ellipsis,)
    return wanted in (list, set, frozenset) or (of_one_type and get_origin(wanted) in _ARRAYS)


def _array_hook(wanted: Any, made: BaseConverter) -> Callable[[Any, Any], Any]:
    """Return a hook that takes arrays only: a text is iterable, but no list of letters."""
    kind = next(iter(get_args(wanted)), Any)
    item = made.get_structure_hook(kind)
    build = _ARRAYS[get_origin(wanted) or wanted]

    def structure(value: Any, wanted: Any) -> Any:
        if not isinstance(value, (list, tuple)):
            raise TypeError(type(value).__name__)
        items, errors = [], []
        for index, each in enumerate(value):
            try:
                items.append(item(each, kind))
            except Exception as error:  # noqa: BLE001 - what a hook raises is what is wrong
                error.add_note(IterableValidationNote(f"at index {index}", index, kind))
                errors.append(error)
                if len(errors) == MAX_PROBLEMS:  # each takes memory, and a million items may be wrong
                    break
        if errors:
            raise IterableValidationError(f"structuring {wanted}", errors, wanted)
        return build(items)

    return structure


#: What a field of one of these types is told by its check, which knows better what it should have been.
_SCALARS = (str, bool, int, float, Enum)


def _has_checks(wanted: Any) -> bool:
    return attrs.has(wanted) and any(isinstance(field.validator, FieldCheck) for field in attrs.fields(wanted))


def _checked_hook(wanted: Any, made: BaseConverter) -> Callable[[Any, Any], Any]:
    """Return a hook for a class whose fields have checks: each is checked by itself, so that all problems are found."""
    attrs.resolve_types(wanted)
    overrides = {}
    for field in attrs.fields(wanted):
        if field.init:
            hook = _field_hook(field, made) if isinstance(field.validator, FieldCheck) else None
            overrides[field.name] = override(rename=field.metadata.get(JSON_NAME), struct_hook=hook)
    fields = make_dict_structure_fn(
        wanted,
        made,
        _cattrs_forbid_extra_keys=True,
        _cattrs_detailed_validation=True,
        **overrides,  # type: ignore[arg-type] # the names of options begin with _cattrs
    )

    def structure(value: Any, wanted: Any) -> Any:
        if not isinstance(value, Mapping):
            raise InvalidInputError([f"must be an object, not {kind_of(value)}"])
        return fields(value, wanted)

    return structure


def _has_json_names(wanted: Any) -> bool:
    return attrs.has(wanted) and any(JSON_NAME in field.metadata for field in attrs.fields(wanted))


def _renaming_hook(wanted: Any, made: BaseConverter) -> Callable[[Any], Any]:
    """Return a hook that writes fields under their names in JSON."""
    attrs.resolve_types(wanted)
    renamed = {
        field.name: override(rename=field.metadata[JSON_NAME])
        for field in attrs.fields(wanted)
        if JSON_NAME in field.metadata
    }
    return make_dict_unstructure_fn(wanted, made, **renamed)  # type: ignore[arg-type] # as above


def _field_hook(field: attrs.Attribute[Any], made: BaseConverter) -> Callable[[Any, Any], Any]:
    """Return a hook that reads the value of a field, and asks its check."""
    item = made.get_structure_hook(field.type)
    check = field.validator.check  # type: ignore[union-attr] # the caller has seen that it is one
    kinds = [kind for kind in get_args(field.type) or (field.type,) if kind is not type(None)]
    is_scalar = all(isinstance(kind, type) and issubclass(kind, _SCALARS) for kind in kinds)

    def structure(value: Any, wanted: Any) -> Any:
        try:
            found = item(value, wanted)
        except (TypeError, ValueError, KeyError):
            wrong = "must be a time with its zone, as in 2026-03-29T00:30:00Z" if datetime in kinds else None
            wrong = wrong or (check(value) if is_scalar else None)
            if wrong is None:
                raise
            raise InvalidInputError([wrong]) from None
        if (wrong := check(found)) is not None:
            raise InvalidInputError([wrong])
        return found

    return structure


def _seconds(value: timedelta) -> int | float:
    seconds = value.total_seconds()
    return int(seconds) if seconds.is_integer() else seconds


def _duration(value: Any, _: Any) -> timedelta:
    if type(value) not in (int, float):
        raise TypeError(type(value).__name__)
    return timedelta(seconds=value)


def _decimal(value: Any, _: Any) -> Decimal:
    if type(value) is not str or not (number := Decimal(value)).is_finite():
        raise TypeError(type(value).__name__)
    return number


def _make_converter() -> JsonConverter:
    made = make_converter(forbid_extra_keys=True, detailed_validation=True)
    made.register_unstructure_hook(datetime, timestamp)
    made.register_structure_hook(datetime, _instant)
    made.register_unstructure_hook(timedelta, _seconds)
    made.register_structure_hook(timedelta, _duration)
    for kind in (Enum, StrEnum):  # a StrEnum would be found as a str, and left as it is
        made.register_unstructure_hook(kind, lambda member: member.value)
    made.register_unstructure_hook(UUID, str)
    made.register_structure_hook(UUID, lambda value, _: UUID(value))
    made.register_unstructure_hook(Decimal, str)
    made.register_structure_hook(Decimal, _decimal)
    made.register_structure_hook(str, _exactly(str))
    made.register_structure_hook(bool, _exactly(bool))
    made.register_structure_hook(int, _exactly(int))
    made.register_structure_hook(float, _exactly(float, int))
    made.register_structure_hook_factory(_is_array, _array_hook)
    made.register_structure_hook_factory(_has_checks, _checked_hook)
    made.register_unstructure_hook_factory(_has_json_names, _renaming_hook)
    return made


#: The one converter.  Times are ISO 8601 with their zone, durations are seconds, decimals and UUIDs are texts.
#: Structuring is strict: no key too many, no ``"5"`` for 5, no time without a zone.
converter = _make_converter()


def unstructure(value: Any) -> Any:
    """Turn an instance of an attrs class into JSON types.

    Raises:
        ValueError: It holds a time without a zone.
    """
    return converter.unstructure(value)


def structure(data: Any, wanted: type[T], *, path: str = "") -> T:
    """Turn JSON types into an instance of ``wanted``.

    Raises:
        InvalidInputError: With every problem, each as ``path: what is wrong``.
    """
    try:
        return converter.structure(data, wanted)
    except Exception as error:
        raise InvalidInputError(_structure_problems(error, wanted, path)) from error


def _structure_problems(error: BaseException, wanted: Any, path: str) -> list[str]:
    """Return what an error of the converter complains of; values are not repeated, they may be private."""
    if isinstance(error, InvalidInputError):  # of a check: what it says shows nothing private
        return [_at(path, problem) for problem in error.problems]
    if not isinstance(error, (ClassValidationError, IterableValidationError)):
        return [_at(path, _explain(error, wanted))]
    problems: list[str] = []
    noted, others = error.group_exceptions()
    for inner, note in noted:
        step = note.index if isinstance(note, IterableValidationNote) else _json_name(error.cl, note.name)
        problems += _structure_problems(inner, note.type, join_path(path, step))
    for inner in others:
        if isinstance(inner, InvalidInputError):  # of the whole object, and it names the field
            problems += [f"{path}.{problem}" if path else problem for problem in inner.problems]
        elif isinstance(inner, ForbiddenExtraKeysError) and _has_checks(inner.cl):
            known = ", ".join(_json_name(inner.cl, field.name) for field in attrs.fields(inner.cl) if field.init)
            keys = sorted(inner.extra_fields)[:MAX_PROBLEMS]
            problems += [f"{join_path(path, key)}: is unknown; known are {known}" for key in keys]
        else:
            problems.append(_at(path, _explain(inner, None)))
    return problems


def _json_name(owner: Any, name: str) -> str:
    field = getattr(attrs.fields(owner), name, None) if attrs.has(owner) else None
    renamed: str = name if field is None else field.metadata.get(JSON_NAME, name)
    return renamed


def _explain(error: BaseException, wanted: Any) -> str:
    match error:
        case ForbiddenExtraKeysError():
            return "unknown: " + ", ".join(sorted(_shown(key) for key in error.extra_fields))
        case KeyError() if wanted is not None:
            return "is missing"
        case _ if isinstance(wanted, type) and issubclass(wanted, Enum):
            return "must be one of " + ", ".join(str(member.value) for member in wanted)
        case _ if wanted is not None:
            return f"not a valid {_name(wanted)}"
        case _:
            return str(error)


def _name(wanted: Any) -> str:
    if get_origin(wanted) in (Union, UnionType):
        return " or ".join(_name(part) for part in get_args(wanted))
    if get_origin(wanted) is tuple:
        return "list"
    if get_origin(wanted) is Mapping:
        return "object"
    return "null" if wanted is type(None) else str(getattr(wanted, "__name__", wanted))
