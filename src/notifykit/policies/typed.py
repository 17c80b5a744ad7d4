"""Whether an instance of a declared class holds what the class says, before it becomes JSON.

``OrderShipped(5)`` is a fine instance for Python; receivers that load it as ``order_id: str`` would
refuse it.  Each class is compiled once into what its fields accept.  The common value is settled by
its exact type; only what is left is looked at, and only what does not fit is explained.

What cannot be judged by its annotation (a type variable, a protocol) is accepted: the writer of JSON
has the last word.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterable, Mapping, MutableMapping, MutableSequence, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from datetime import date, datetime
from decimal import Decimal
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, NewType, Union, get_args, get_origin, get_type_hints

import attrs

from ..codec import MAX_PROBLEMS, join_path
from ..errors import ConfigurationError
from ..models.checks import kind_of


class _Exhausted(Exception):  # noqa: N818  # a way out of the walk, not an error
    """There are more values than an event may have."""


class _Room:
    """How many values may still come: what is shared counts each time, as it does in JSON."""

    __slots__ = ("left",)

    def __init__(self, left: int) -> None:
        self.left = left

    def take(self, count: int) -> None:
        self.left -= count
        if self.left < 0:
            raise _Exhausted


class Kind:
    """What an annotation accepts.

    Attributes:
        name: What messages call it.
        exact: Types whose instances fit without another look.
    """

    def __init__(self, name: str, exact: Iterable[type] = (), accepts: Callable[[Any], bool] | None = None) -> None:
        self.name = name
        self.exact = frozenset(exact)
        self._accepts = accepts

    def fits(self, value: Any, room: _Room) -> bool:
        """Tell whether ``value`` is acceptable."""
        del room  # which only containers need
        return type(value) in self.exact or (self._accepts is not None and self._accepts(value))

    def problems(self, value: Any, path: str, room: _Room) -> list[str]:
        """Return what is wrong with ``value``, each as ``path: what is wrong``."""
        if self.fits(value, room):
            return []
        if isinstance(value, datetime) and value.utcoffset() is None:
            return [f"{path}: has no zone"]
        return [f"{path}: must be {self.name}, not {kind_of(value)}"]


# ── kinds that contain others ──────────────────────────────────────────────────────────────────


class _Anything(Kind):
    """Any value: its contents are counted, and times in it need a zone."""

    def fits(self, value: Any, room: _Room) -> bool:
        found = [value]  # grows while it is walked
        for item in found:
            room.take(1)
            if isinstance(item, datetime):
                if item.utcoffset() is None:
                    return False
            else:
                found += (inner for _, inner in _contents(item))
        return True

    def problems(self, value: Any, path: str, room: _Room) -> list[str]:
        room.take(1)
        if isinstance(value, datetime):
            return [f"{path}: has no zone"] if value.utcoffset() is None else []
        return [
            problem for key, item in _contents(value) for problem in self.problems(item, join_path(path, key), room)
        ]


def _contents(value: Any) -> Iterable[tuple[Any, Any]]:
    """Return what is inside of any value, each with its key, index or name."""
    if isinstance(value, (str, bytes, int, float)) or value is None:
        return ()
    if isinstance(value, Mapping):
        return value.items()
    if isinstance(value, (list, tuple, set, frozenset)):
        return enumerate(value)
    if attrs.has(type(value)):
        return ((field.name, getattr(value, field.name, None)) for field in attrs.fields(type(value)))
    return ()


class _Either(Kind):
    """One of several kinds."""

    def __init__(self, kinds: Sequence[Kind]) -> None:
        super().__init__(" or ".join(kind.name for kind in kinds), frozenset().union(*(kind.exact for kind in kinds)))
        self._kinds = kinds

    def fits(self, value: Any, room: _Room) -> bool:
        return type(value) in self.exact or any(kind.fits(value, room) for kind in self._kinds)

    def problems(self, value: Any, path: str, room: _Room) -> list[str]:
        if self.fits(value, room):
            return []
        # The one that a value was meant for can say more.
        meant = [kind for kind in self._kinds if isinstance(kind, _Fields) and isinstance(value, kind.payload)]
        return meant[0].problems(value, path, room) if meant else super().problems(value, path, room)


class _Array(Kind):
    """Any number of values of one kind."""

    def __init__(self, name: str, containers: tuple[type[Collection[Any]], ...], item: Kind) -> None:
        super().__init__(name)
        self._containers = containers
        self._item = item

    def fits(self, value: Any, room: _Room) -> bool:
        if not isinstance(value, self._containers):
            return False
        room.take(len(value))
        exact, fits = self._item.exact, self._item.fits
        return all(type(item) in exact or fits(item, room) for item in value)

    def problems(self, value: Any, path: str, room: _Room) -> list[str]:
        if not isinstance(value, self._containers):
            return super().problems(value, path, room)
        room.take(len(value))
        return [line for at, item in enumerate(value) for line in self._item.problems(item, join_path(path, at), room)]


class _Tuple(Kind):
    """A fixed number of values, each of its own kind."""

    def __init__(self, name: str, items: Sequence[Kind]) -> None:
        super().__init__(name)
        self._items = items

    def fits(self, value: Any, room: _Room) -> bool:
        if not isinstance(value, (list, tuple)) or len(value) != len(self._items):
            return False
        room.take(len(value))
        return all(kind.fits(item, room) for kind, item in zip(self._items, value, strict=True))

    def problems(self, value: Any, path: str, room: _Room) -> list[str]:
        if not isinstance(value, (list, tuple)):
            return super().problems(value, path, room)
        if len(value) != len(self._items):
            return [f"{path}: must have {len(self._items)} values, not {len(value)}"]
        room.take(len(value))
        pairs = enumerate(zip(self._items, value, strict=True))
        return [line for at, (kind, item) in pairs for line in kind.problems(item, join_path(path, at), room)]


class _Object(Kind):
    """A mapping."""

    def __init__(self, name: str, key: Kind, value: Kind) -> None:
        super().__init__(name)
        self._key = key
        self._value = value

    def fits(self, value: Any, room: _Room) -> bool:
        if not isinstance(value, Mapping):
            return False
        room.take(len(value))
        key, item = self._key.fits, self._value.fits
        return all(key(name, room) and item(each, room) for name, each in value.items())

    def problems(self, value: Any, path: str, room: _Room) -> list[str]:
        if not isinstance(value, Mapping):
            return super().problems(value, path, room)
        room.take(len(value))
        found = []
        for name, item in value.items():
            if not self._key.fits(name, room):
                found.append(f"{path}: a key must be {self._key.name}, not {kind_of(name)}")
            found += self._value.problems(item, join_path(path, name), room)
        return found


class _Fields(Kind):
    """An instance of an attrs class or a dataclass, with what its fields accept."""

    def __init__(self, payload: type) -> None:
        super().__init__(payload.__name__)
        self.payload = payload
        self.of: Sequence[tuple[str, frozenset[type], Kind]] = ()

    def fits(self, value: Any, room: _Room) -> bool:
        if not isinstance(value, self.payload):
            return False
        room.take(1)
        for name, exact, kind in self.of:
            item = getattr(value, name)
            if type(item) not in exact and not kind.fits(item, room):
                return False
        return True

    def problems(self, value: Any, path: str, room: _Room) -> list[str]:
        if not isinstance(value, self.payload):
            return super().problems(value, path, room)
        room.take(1)
        found: list[str] = []
        for name, _, kind in self.of:
            inner = join_path(path, name)
            if hasattr(value, name):
                found += kind.problems(getattr(value, name), inner, room)
            else:
                found.append(f"{inner}: is missing")
        return found


# ── from annotations to kinds ──────────────────────────────────────────────────────────────────

_ANYTHING = _Anything("anything")
_NONE = Kind("None", [NoneType])


def _is_finite(value: Any) -> bool:
    return isinstance(value, Decimal) and value.is_finite()


def _is_instant(value: Any) -> bool:
    return isinstance(value, datetime) and value.utcoffset() is not None


#: ``True`` is no number, and a time is no day.
_SIMPLE: Mapping[Any, Kind] = {
    str: Kind("str", [str], lambda value: isinstance(value, str)),
    bool: Kind("bool", [bool]),
    int: Kind("int", [int], lambda value: isinstance(value, int) and not isinstance(value, bool)),
    float: Kind("float", [float, int], lambda value: isinstance(value, (float, int)) and not isinstance(value, bool)),
    Decimal: Kind("a finite Decimal", (), _is_finite),
    datetime: Kind("datetime", (), _is_instant),
    date: Kind("date", [date], lambda value: isinstance(value, date) and not isinstance(value, datetime)),
    None: _NONE,
    NoneType: _NONE,
    Any: _ANYTHING,
    object: _ANYTHING,
}
_LISTS, _SETS = (list, tuple), (set, frozenset)
_CONTAINERS: Mapping[Any, tuple[type[Collection[Any]], ...]] = {
    list: _LISTS,
    tuple: _LISTS,
    Sequence: _LISTS,
    MutableSequence: _LISTS,
    Collection: (*_LISTS, *_SETS),
    set: _SETS,
    frozenset: _SETS,
    AbstractSet: _SETS,
}
_MAPPINGS = (dict, Mapping, MutableMapping)


class Compiler:
    """Compiles classes; each class once, so that a class may contain itself."""

    def __init__(self) -> None:
        self._known: dict[type, _Fields] = {}

    def fields_of(self, payload: type) -> Kind:
        """Return what an instance of an attrs class or a dataclass must hold.

        Raises:
            ConfigurationError: An annotation names something that is not there.
        """
        known = self._known.get(payload)
        if known is not None:
            return known
        made = self._known[payload] = _Fields(payload)
        try:
            kinds = [(name, self.kind_of(annotation)) for name, annotation in _annotations(payload)]
        except ConfigurationError:
            self._known.clear()  # what was compiled on the way may hold on to the half of this one
            raise
        made.of = [(name, kind.exact, kind) for name, kind in kinds]
        return made

    def kind_of(self, annotation: Any) -> Kind:
        """Return what an annotation accepts."""
        annotation = _bare(annotation)
        origin, arguments = get_origin(annotation), get_args(annotation)
        if origin in (Union, UnionType):
            return _Either([self.kind_of(part) for part in arguments])
        if origin is Literal:
            return _choice(arguments)
        whole = annotation if origin is None else origin
        if whole in _CONTAINERS:
            return self._array(whole, arguments)
        if whole in _MAPPINGS:
            key, value = map(self.kind_of, arguments or (Any, Any))
            return _Object(_shown(whole), key, value)
        if not isinstance(whole, type) or whole in _SIMPLE:
            return _SIMPLE.get(whole, _ANYTHING)
        if attrs.has(whole) or dataclasses.is_dataclass(whole):
            return self.fields_of(whole)
        return _instance(whole)

    def _array(self, whole: Any, arguments: tuple[Any, ...]) -> Kind:
        if whole is tuple and arguments and arguments[-1] is not Ellipsis:
            return _Tuple(_shown(whole), [self.kind_of(argument) for argument in arguments if argument != ()])
        item = self.kind_of(arguments[0]) if arguments else _ANYTHING
        return _Array(_shown(whole), _CONTAINERS[whole], item)


def _annotations(payload: type) -> list[tuple[str, Any]]:
    """Return the fields that become JSON, each with its annotation."""
    try:
        if dataclasses.is_dataclass(payload):
            hints = get_type_hints(payload, include_extras=True)
            return [(field.name, hints[field.name]) for field in dataclasses.fields(payload) if field.init]
        attrs.resolve_types(payload)
    except (NameError, TypeError, AttributeError, SyntaxError) as error:
        raise ConfigurationError(
            f"the annotations of {payload.__name__} cannot be read: {error}; "
            "what they name must be importable in the module of the class, not only for type checkers"
        ) from error
    return [(field.name, Any if field.type is None else field.type) for field in attrs.fields(payload) if field.init]


def _bare(annotation: Any) -> Any:
    """Return an annotation without what says nothing of the value."""
    while True:
        if get_origin(annotation) in (Annotated, Final):
            annotation = get_args(annotation)[0]
        elif isinstance(annotation, NewType):
            annotation = annotation.__supertype__
        elif hasattr(annotation, "__value__"):  # of Python 3.12: type X = …
            annotation = annotation.__value__
        else:
            return annotation


def _choice(choices: tuple[Any, ...]) -> Kind:
    named = "one of " + ", ".join(map(repr, choices))
    return Kind(named, (), lambda value: any(type(value) is type(each) and value == each for each in choices))


def _instance(wanted: type) -> Kind:
    """Return the kind of any other class; a protocol that cannot be asked accepts everything."""
    try:
        isinstance(None, wanted)
    except TypeError:
        return _ANYTHING
    if issubclass(wanted, dict):  # a TypedDict cannot be asked either; this is a dict of the program's own
        return Kind(wanted.__name__, (), lambda value: isinstance(value, Mapping))
    return Kind(wanted.__name__, [wanted], lambda value: isinstance(value, wanted))


def _shown(whole: Any) -> str:
    return str(getattr(whole, "__name__", whole))


def instance_problems(kind: Kind, value: Any, *, path: str, most: int) -> list[str]:
    """Return what is wrong with an instance, each as ``path: what is wrong``.

    Args:
        most: How many values it may hold in all.
    """
    try:
        with suppress(AttributeError):  # a field without a value, which is named below
            if kind.fits(value, _Room(most)):
                return []
        return kind.problems(value, path, _Room(most))[:MAX_PROBLEMS]
    except _Exhausted:
        return [f"{path}: too large, at most {most} values"]
    except RecursionError:
        return [f"{path}: nested too deeply, or contains itself"]
