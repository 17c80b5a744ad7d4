"""The program's own types of events: declared as classes, collected in a catalog.

::

    @event("order.shipped", category="orders")
    @attrs.frozen
    class OrderShipped:
        order_id: str

There is no global registry: a class only carries what was declared, and a catalog is
made of the classes it is given.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import deepcopy
from datetime import timedelta
from itertools import islice
from typing import Any, NamedTuple, NoReturn, TypedDict, TypeVar

import attrs

from .codec import MAX_PROBLEMS, join_path, json_problems, structure, unstructure
from .errors import ConfigurationError, InvalidEventError, InvalidInputError, MissingExtraError, NotFoundError
from .models.checks import (
    Check,
    duration,
    flag,
    function,
    instance,
    integer,
    iterable,
    kind_of,
    mapping,
    optional,
    problems,
    string,
)
from .models.delivery import Priority
from .models.digest import Digest
from .models.event import TYPE_GRAMMAR, Event, EventType
from .models.steps import Step, steps_problems
from .models.throttle import Throttle
from .policies.admit import DEFAULT_LIMITS
from .policies.typed import Compiler, instance_problems

C = TypeVar("C", bound=type)

#: Looks at data as receivers will see it; returns each problem as ``data.path: what is wrong``.
DataCheck = Callable[[Any], list[str]]
Upcast = Callable[[dict[str, Any]], dict[str, Any]]

PURPOSES = ("transactional", "marketing", "security")
MAX_TYPE = 128
#: Stores keep the version in 16 bits.
MAX_VERSION = 32_767
#: The largest JSON Schema, in bytes.
MAX_SCHEMA = 1024 * 1024
#: Each value takes a byte of the body at least.
MAX_VALUES = DEFAULT_LIMITS.body

_DECLARED = "__notifykit_event__"


#: Of which type the parts of a declaration are.
_DECLARATION: Mapping[str, Check] = {
    "name": string,
    "payload": optional(instance(type)),
    "schema": optional(instance(Mapping)),
    "version": integer,
    "upcasts": mapping(integer, function, most=MAX_VERSION),
    "category": string,
    "purpose": string,
    "priority": instance(Priority),
    "description": string,
    "tells_actor": flag,
    "expires_after": optional(duration(timedelta(seconds=1))),
    "digest": optional(instance(Digest)),
    "throttle": optional(instance(Throttle)),
}


class EventTypeOptions(TypedDict, total=False):
    """What can be declared of an event type beside its name; see :func:`event`."""

    category: str
    version: int
    upcasts: Mapping[int, Upcast] | None
    schema: Mapping[str, Any] | None
    purpose: str
    priority: Priority
    description: str
    steps: Iterable[Step]
    tells_actor: bool
    expires_after: timedelta | None
    digest: Digest | None
    throttle: Throttle | None


# ── declaring ──────────────────────────────────────────────────────────────────────────────────


def event(
    name: str,
    *,
    category: str = "general",
    version: int = 1,
    upcasts: Mapping[int, Upcast] | None = None,
    schema: Mapping[str, Any] | None = None,
    purpose: str = "transactional",
    priority: Priority = Priority.NORMAL,
    description: str = "",
    steps: Iterable[Step] = (),
    tells_actor: bool = False,
    expires_after: timedelta | None = None,
    digest: Digest | None = None,
    throttle: Throttle | None = None,
) -> Callable[[C], C]:
    """Declare that an attrs class is the payload of the event type ``name``.

    Args:
        name: Words joined by full stops, such as ``order.shipped``.
        category: The group of types that a recipient's preferences name.
        version: The version of the payload that the class describes.
        upcasts: From version *n*, a function that turns its data into that of version *n + 1*.
        schema: A JSON Schema that the data must satisfy too (extra ``schema``).
        purpose: ``transactional``, ``marketing`` or ``security``.
        priority: The lane of its deliveries unless an event says otherwise.
        description: One sentence, for the list of types that can be subscribed; by default the first line of the
            class's docstring.
        steps: Over which channels people are told, in this order; by default in-app, then by e-mail.
        tells_actor: Whether the ``actor`` of an event is told as well.
        expires_after: How long after it is due an event is of use, unless it says so itself.
        digest: Send people its events together in one message, not each on its own.
        throttle: Leave out what a person gets too often (see :class:`Throttle`).

    Raises:
        ConfigurationError: The declaration cannot work, such as a step that can never run.
    """
    if not isinstance(name, str):
        shown = getattr(name, "__name__", kind_of(name))
        raise ConfigurationError(f"@event needs the name of the type of event: @event('order.shipped'), not {shown}")

    def declare(payload: C) -> C:
        is_attrs: bool = attrs.has(payload)
        if not is_attrs:
            shown = getattr(payload, "__name__", kind_of(payload))
            raise ConfigurationError(
                f"event type {name!r}: {shown} is no attrs class (@event goes above @attrs.frozen)"
            )
        declared = EventType(
            name=name,
            payload=payload,
            schema=schema,
            version=version,
            upcasts={} if upcasts is None else upcasts,
            category=category,
            purpose=purpose,
            priority=priority,
            description=description or _first_line(payload),
            steps=steps,
            tells_actor=tells_actor,
            expires_after=expires_after,
            digest=digest,
            throttle=throttle,
        )
        _require_sound(declared)
        setattr(payload, _DECLARED, declared)
        return payload

    return declare


def event_type_of(payload: type) -> EventType | None:
    """Return what was declared for the class ``payload`` itself; a subclass needs its own declaration."""
    declared = vars(payload).get(_DECLARED)
    return declared if isinstance(declared, EventType) else None


def _first_line(payload: type) -> str:
    lines = (vars(payload).get("__doc__") or "").strip().splitlines()
    # attrs writes a docstring of its own where there is none.
    return lines[0] if lines and not lines[0].startswith("Method generated by attrs") else ""


def _require_sound(declared: EventType) -> None:
    """Refuse a declaration that cannot work."""
    fields = {name: getattr(declared, name) for name in _DECLARATION}
    if mistaken := problems(fields, _DECLARATION):
        raise ConfigurationError("event type: " + "; ".join(mistaken))
    wrong = []
    if not re.fullmatch(TYPE_GRAMMAR, declared.name) or len(declared.name) > MAX_TYPE:
        wrong.append(f"the name is not words of letters, digits and underscores, or longer than {MAX_TYPE}")
    if declared.purpose not in PURPOSES:
        wrong.append(f"purpose is one of {', '.join(PURPOSES)}, not {declared.purpose[:40]!r}")
    if declared.version < 1:
        wrong.append(f"versions start at 1, not {declared.version}")
    elif declared.version > MAX_VERSION:
        wrong.append(f"versions end at {MAX_VERSION}")
    if strays := sorted(set(declared.upcasts) - set(range(1, min(declared.version, MAX_VERSION)))):
        wrong.append(f"upcasts from {strays} lead nowhere; the version is {declared.version}")
    wrong += steps_problems(declared.steps, declared.expires_after, collects=declared.digest is not None)
    if wrong:
        raise ConfigurationError(f"event type {declared.name[: MAX_TYPE + 1]!r}: " + "; ".join(wrong))


# ── collecting ─────────────────────────────────────────────────────────────────────────────────


class EventOfType(NamedTuple):
    """An event, and what is known of its type other than by a declaration of this program; to be published as it is."""

    event: Event
    event_type: EventType


class EventCatalog:
    """The event types that a program knows."""

    def __init__(self, types: Iterable[type | EventType] = ()) -> None:
        """Collect ``types``: classes declared with :func:`event`, or event types as they are.

        Raises:
            ConfigurationError: Two of them have the same name, one was not declared, or a schema is wrong.
            MissingExtraError: One has a schema, and the extra ``schema`` is not installed.
        """
        if (wrong := iterable(types)) is not None:
            raise ConfigurationError(f"event_types: {wrong}")
        self._types: dict[str, EventType] = {}
        self._schemas: dict[str, DataCheck] = {}
        self._compiler = Compiler()
        for given in types:
            event_type = _declaration(given)
            _require_sound(event_type)
            if event_type.name in self._types:
                raise ConfigurationError(f"event type {event_type.name!r} is declared twice")
            self._take_in(event_type)

    def _take_in(self, event_type: EventType) -> None:
        name = event_type.name
        if self._types.get(name) is event_type:
            return
        _require_sound(event_type)
        schema = None if event_type.schema is None else _compile_schema(name, event_type.schema)
        # Threads may publish the first event of a class at the same time.
        if self._types.setdefault(name, event_type) is not event_type:
            raise ConfigurationError(f"event type {name!r} is declared twice")
        if schema is not None:
            self._schemas[name] = schema

    def include(self, types: Iterable[type | EventType]) -> None:
        """Take in more ``types``; those that are known already stay as they are.

        Raises:
            ConfigurationError: One has the name of another type, was not declared, or its schema is wrong.
            MissingExtraError: One has a schema, and the extra ``schema`` is not installed.
        """
        for given in types:
            self._take_in(_declaration(given))

    def __iter__(self) -> Iterator[EventType]:
        return iter(sorted(self._types.values(), key=lambda event_type: event_type.name))

    def __len__(self) -> int:
        return len(self._types)

    def __contains__(self, name: object) -> bool:
        return name in self._types

    def get(self, name: str) -> EventType | None:
        """Return the event type called ``name``, if the program knows it."""
        return self._types.get(name)

    def to_event(self, source: Any, *, most: int = MAX_VALUES) -> tuple[Event, EventType | None]:
        """Return ``source`` as an event, and what is known about its type.

        An instance of a class declared with :func:`event` becomes an event of that type; the
        class need not be in the catalog, it is taken in here.  Its fields must hold what their
        annotations say.

        Args:
            source: What was published.
            most: How many values an instance may hold in all.

        Raises:
            InvalidEventError: ``source`` is neither an event nor an instance of a declared class,
                or a field holds something else than its annotation says.
            ConfigurationError: Its class declares a name that another class has, or its annotations cannot be read.
        """
        if isinstance(source, EventOfType):
            return source
        if isinstance(source, Event):
            name: object = source.type  # whatever it is: admission says so
            return source, self._types.get(name) if isinstance(name, str) else None
        payload = type(source)
        event_type = event_type_of(payload)
        if event_type is None:
            raise InvalidEventError([f"event: {payload.__name__} is neither an Event nor declared with @event"])
        self._take_in(event_type)
        if found := instance_problems(self._compiler.fields_of(payload), source, path="data", most=most):
            raise InvalidEventError(found)
        try:
            data = unstructure(source)
        except Exception as error:
            raise InvalidEventError([f"data: cannot be written as JSON ({type(error).__name__})"]) from error
        return Event(type=event_type.name, data=data, version=event_type.version), event_type

    def check(self, event_type: EventType | None, source: object = None) -> DataCheck | None:
        """Return what has to look at an event's data before it is admitted, or ``None``.

        The data must satisfy the type's schema.  Where ``source``, as it was published, is a plain
        :class:`Event`, the data must also fit the type's class; data of an older version is first
        brought to the current one.
        """
        if event_type is None:
            return None
        schema = self._schemas.get(event_type.name)
        payload, version = None, event_type.version
        if isinstance(source, Event):
            if type(source.version) is not int:
                return None  # which admission refuses
            payload, version = event_type.payload, source.version
        if schema is None and payload is None:
            return None

        def find(data: Any) -> list[str]:
            try:
                current = _upcast(event_type, data, version)
                found = [] if schema is None else schema(current)
                if payload is not None:
                    structure(current, payload, path="data")
            except InvalidEventError as error:
                return list(error.problems)
            except InvalidInputError as error:
                return [*found, *error.problems]
            return found

        return find

    def load(self, type_name: str, data: Mapping[str, Any], version: int = 1) -> Any:
        """Return ``data`` of a received event as an instance of its type's class.

        Data of an older version passes through the upcasts first.  For a type without a
        class the data itself is returned.

        Raises:
            NotFoundError: The program does not know the type.
            InvalidEventError: The data does not fit, or nothing leads from its version to the current one.
        """
        event_type = self._types.get(type_name)
        if event_type is None:
            raise NotFoundError("event type", type_name)
        current = _upcast(event_type, data, version)
        if event_type.payload is None:
            return current
        try:
            return structure(current, event_type.payload, path="data")
        except InvalidInputError as error:
            raise InvalidEventError(error.problems) from error


def _declaration(given: object) -> EventType:
    if isinstance(given, EventType):
        return given
    event_type = event_type_of(given) if isinstance(given, type) else None
    if event_type is None:
        named = given.__name__ if isinstance(given, type) else f"of event_types: {kind_of(given)}"
        raise ConfigurationError(f"{named} was not declared with @event")
    return event_type


def _upcast(event_type: EventType, data: Mapping[str, Any], version: int) -> dict[str, Any]:
    """Bring ``data`` of ``version`` to the current version; the caller's data stays as it is."""
    if version > event_type.version:
        raise InvalidEventError([f"version: {version} is newer than {event_type.version}, the newest known"])
    if version == event_type.version:
        return dict(data)
    current = deepcopy(dict(data))
    for old in range(version, event_type.version):
        upcast = event_type.upcasts.get(old)
        if upcast is None:
            raise InvalidEventError([f"version: nothing leads from {old} to {old + 1}"])
        try:
            current = upcast(current)
        except Exception as error:
            # The message may repeat the data, which may be private.
            what = f"could not be brought from version {old} to {old + 1} ({type(error).__name__})"
            raise InvalidEventError([f"data: {what}"]) from error
    return current


# ── JSON Schema ────────────────────────────────────────────────────────────────────────────────


def _refuse_to_fetch(uri: str) -> NoReturn:
    """Stand in for the retriever: a schema is complete, nothing is read from the network or from files."""
    raise ValueError(f"{uri} would have to be fetched")


def _compile_schema(name: str, schema: Mapping[str, Any]) -> DataCheck:
    """Compile a JSON Schema once; return a function that says what is wrong with data."""
    try:
        import jsonschema_rs
    except ImportError as error:
        raise MissingExtraError(f"the JSON Schema of event type {name!r}", "schema") from error
    if found := json_problems(schema, path="schema", max_bytes=MAX_SCHEMA):
        raise ConfigurationError(f"event type {name!r}: the JSON Schema cannot be used: " + "; ".join(found))
    try:
        validator = jsonschema_rs.validator_for(
            dict(schema),
            retriever=_refuse_to_fetch,
            validate_formats=True,
            mask="the value",  # problems end up in logs, and values may be private
        )
    except (ValueError, jsonschema_rs.ReferencingError) as error:
        reason = str(error).partition("\n")[0]
        raise ConfigurationError(f"event type {name!r}: the JSON Schema cannot be used: {reason}") from error

    def find(data: Any) -> list[str]:
        found = []
        for error in islice(validator.iter_errors(data), MAX_PROBLEMS):
            path = "data"
            for step in error.instance_path:
                path = join_path(path, step)
            found.append(f"{path}: {error.message}")
        return found

    return find
