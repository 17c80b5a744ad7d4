"""Instances of attrs classes to JSON types and back: the one converter."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum, StrEnum
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin
from uuid import UUID

import attrs
from cattrs import BaseConverter, ClassValidationError, ForbiddenExtraKeysError, IterableValidationError
from cattrs.errors import IterableValidationNote
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override
from cattrs.preconf.json import JsonConverter, make_converter

from ..errors import InvalidInputError
from ..models.checks import FieldCheck, kind_of
from .problems import MAX_PROBLEMS, join_path, say_where, show_key
from .text import orjson

T = TypeVar("T")

#: The metadata of a field that has another name in JSON, such as ``from``.
JSON_NAME = "json"
_UTC_AS_Z = 0 if orjson is None else orjson.OPT_UTC_Z


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
        return [say_where(path, problem) for problem in error.problems]
    if not isinstance(error, (ClassValidationError, IterableValidationError)):
        return [say_where(path, _explain(error, wanted))]
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
            problems.append(say_where(path, _explain(inner, None)))
    return problems


def _json_name(owner: Any, name: str) -> str:
    field = getattr(attrs.fields(owner), name, None) if attrs.has(owner) else None
    renamed: str = name if field is None else field.metadata.get(JSON_NAME, name)
    return renamed


def _explain(error: BaseException, wanted: Any) -> str:
    match error:
        case ForbiddenExtraKeysError():
            return "unknown: " + ", ".join(sorted(show_key(key) for key in error.extra_fields))
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
