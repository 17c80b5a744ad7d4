"""Decide whether an event may enter, and make it what the store keeps.

Pure: the clock and the source of ids are arguments.  A bad event is refused with every
problem it has, each with its path, in one error.

This runs once for every event that is published, so the common case is cheap: a walk over the
data adds up what the body will have at least, and stops where a limit is broken.  Only then is
the data serialised, or walked again to say what is wrong: a few objects that share their parts
could otherwise become a body of any size.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from hashlib import blake2b
from math import isfinite
from typing import Any
from uuid import UUID

import attrs

from ..codec import MAX_DEPTH, dumps, json_problems, loads, timestamp
from ..errors import InvalidEventError, InvalidInputError
from ..models import ids
from ..models.audience import Audience
from ..models.checks import TENANT_RULE, UNPRINTABLE, duration, field_check, whole
from ..models.checks import tenant as check_tenant
from ..models.delivery import Priority
from ..models.event import OPERATIONAL, TYPE_GRAMMAR, Event, EventType, Resource, StoredEvent
from .patterns import MAX_WORDS

#: What is wrong with channels that are given and name none.
NO_CHANNELS = "channels: names none; leave it out for the channels of the event's type"
#: What a schema or a payload class finds wrong with an event's data, each as ``data.path: what is wrong``.
DataCheck = Callable[[Any], Sequence[str]]

_TYPE = re.compile(TYPE_GRAMMAR)
_NO_TENANT = f"tenant: {TENANT_RULE}"
#: https://www.w3.org/TR/trace-context/#traceparent-header: version ff and ids of zeros are invalid,
#: and only versions to come may have more than four parts.
_TRACEPARENT = re.compile(
    r"(?!ff)(?:00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
    r"|[0-9a-f]{2}(?<!00)-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-[!-~]*)?)"
)
_MAX_VERSION = 32_767  # stores keep it in 16 bits
_MICROSECOND = timedelta(microseconds=1)
_DELAY = duration(timedelta(0))
_LAST = datetime.max.replace(tzinfo=UTC)


_SIZE, _DEPTH = field_check(whole(0, 2**30)), field_check(whole(1, MAX_DEPTH - 1))


@attrs.frozen(kw_only=True)
class Limits:
    """How large an event may be; texts are counted in characters.

    Attributes:
        body: Bytes of the body that receivers get.
        depth: How deep ``data`` may nest; ``data`` itself is the first level.
        keys: Keys of all objects in ``data`` together.
        type: Length of the event type.
        topic: Length of the topic path.
        text: Length of actor, ordering key, and the kind and id of the resource.
        idempotency_key: Length of the idempotency key.
        trace: Length of the ``traceparent``.
        metadata_entries: How many entries ``metadata`` may have.
        metadata_text: Length of each key and each value of ``metadata``.
    """

    body: int = attrs.field(default=256 * 1024, validator=_SIZE)
    depth: int = attrs.field(default=32, validator=_DEPTH)
    keys: int = attrs.field(default=1000, validator=_SIZE)
    type: int = attrs.field(default=128, validator=_SIZE)
    topic: int = attrs.field(default=512, validator=_SIZE)
    text: int = attrs.field(default=255, validator=_SIZE)
    idempotency_key: int = attrs.field(default=255, validator=_SIZE)
    trace: int = attrs.field(default=128, validator=_SIZE)
    metadata_entries: int = attrs.field(default=32, validator=_SIZE)
    metadata_text: int = attrs.field(default=256, validator=_SIZE)


DEFAULT_LIMITS = Limits()


def admit(
    event: Event,
    event_type: EventType | None,
    *,
    tenant: str | None,
    now: datetime,
    limits: Limits = DEFAULT_LIMITS,
    new_id: Callable[[str], str] = ids.new_id,
    check: DataCheck | None = None,
    strange: Callable[[str], str | None] | None = None,
) -> StoredEvent:
    """Return what the store keeps of ``event``.

    Args:
        event: What was published.
        event_type: What the program knows about its type, if it does.
        tenant: Whose event it is; the event itself must not name another.
        now: The time of publishing.
        limits: How large it may be.
        new_id: Makes the event's id, given the prefix.
        check: Looks at ``data`` as receivers will see it (see ``EventCatalog.check``).
        strange: Returns what is wrong with the name of a channel, if nobody knows such a channel.

    Raises:
        InvalidEventError: With every problem the event has.
    """
    problems = _field_problems(event, tenant, limits)
    occurred_at, due_at, expires_at = _times(event, now, problems)
    audience = _audience(event, problems, strange) if event.to or event.channels else None
    if event.to == "":
        problems.append("to: is empty")
    if not event.channels and event.channels != ():
        problems.append(NO_CHANNELS)
    written_at = timestamp(occurred_at)
    body = _serialise(event, written_at, limits, problems)
    if check is not None and body is not None:
        problems += check(loads(body)["data"])
    if problems or body is None or tenant is None:
        raise InvalidEventError(problems)

    priority = event.priority or (Priority.NORMAL if event_type is None else event_type.priority)
    fingerprint = None
    if event.idempotency_key is not None:
        rest = body[len(_HEAD % (event.type, written_at)) :]
        fingerprint = _fingerprint(event, (occurred_at, expires_at), priority, audience, rest)
    if expires_at is None and event_type is not None and event_type.expires_after is not None:
        expires_at = due_at + min(event_type.expires_after, _LAST - due_at)
    resource = event.resource
    return StoredEvent(
        new_id(ids.EVENT),
        tenant,
        event.type,
        event.version,
        event.topic,
        None if resource is None else resource.kind,
        None if resource is None else resource.id,
        event.actor,
        occurred_at,
        now,
        due_at,
        expires_at,
        priority,
        event.ordering_key,
        event.idempotency_key,
        fingerprint,
        event.trace,
        dumps(event.metadata).decode() if event.metadata else None,
        body,
        None if event_type is None else event_type.category,
        None if event_type is None else event_type.purpose,
        audience,
    )


def operational(event: StoredEvent, data: Mapping[str, object]) -> StoredEvent:
    """Return an event as an operational one: its actor is the person whom its data is about, if there is one."""
    person = data.get("subscriber_id")
    return event._replace(topic=OPERATIONAL, actor=None if person is None else str(person))


def body_without_data(event_type: str, occurred_at: datetime) -> bytes:
    """Return the body of an event whose data was erased."""
    return f"{_HEAD % (event_type, timestamp(occurred_at))}{{}}}}".encode()


#: How every body starts, up to the data (type and timestamp need no escapes).
_HEAD = '{"type":"%s","timestamp":"%s","data":'
_SCALARS = frozenset({int, bool, type(None), UUID})
_CONTAINERS = frozenset({dict, list, tuple})


def _serialise(event: Event, written_at: str, limits: Limits, problems: list[str]) -> bytes | None:
    """Return the body of ``event``; if its data is not fit for one, add the problems and return ``None``."""
    data = event.data
    if type(data) is not dict and not isinstance(data, Mapping):  # the second takes a microsecond
        problems.append("data: must be an object")
        return None
    try:
        is_within = _is_within(data, limits)
    except TypeError:
        is_within = False
    if not is_within and (found := _data_problems(data, limits)):
        problems += found
        return None
    # What else is in the body has been checked, or is a problem that has been found.
    is_text, is_old = isinstance(event.type, str), type(event.version) is int and event.version != 1
    envelope: dict[str, object] = {"type": event.type if is_text else "", "timestamp": written_at, "data": data}
    if is_old:
        envelope["version"] = event.version
    try:
        body = dumps(envelope, is_finite=is_within)
    except TypeError as error:
        problems += _data_problems(data, limits)
        if not problems:  # the fields and the data are fine one by one: a writer knows something we do not
            problems.append(f"data: {error}")
        return None
    if len(body) > limits.body:
        problems.append(f"data: the body has {len(body)} bytes, at most {limits.body}")
        return None
    return body


def _is_within(data: Mapping[str, Any], limits: Limits) -> bool:
    """Tell whether ``data`` is made of usual types, has finite numbers only, and a walk finds it within all limits.

    "No" may also mean that it is unusual.  The walk ends once the limit of the body is broken, however
    often the same objects occur.

    Raises:
        TypeError: A key is not text.
    """
    if type(data) is not dict:
        return False
    room, keys, is_finite = limits.body, 0, True
    met: list[Any] = [data]  # grows while it is walked
    texts: list[str] = []
    for container in met:
        room -= len(container)  # a byte for each value at least
        if room < 0:
            return False
        items: Iterable[Any] = container
        if type(container) is dict:
            keys += len(container)
            texts += container
            items = container.values()
        for item in items:
            kind = type(item)
            if kind is str:
                texts.append(item)
            elif kind in _CONTAINERS:
                met.append(item)
            elif kind is float:
                is_finite &= isfinite(item)
            elif kind not in _SCALARS:
                if not isinstance(item, StrEnum):
                    return False
                texts.append(item)
    fits = is_finite and keys <= limits.keys and sum(map(len, texts)) <= room
    return fits and (len(met) <= limits.depth or _is_shallow(data, limits.depth))


def _is_shallow(data: Mapping[str, Any], depth: int) -> bool:
    """Tell, level by level, whether containers nest no deeper."""
    level: list[Any] = [data]
    for _ in range(depth):
        level = [
            item
            for container in level
            for item in (container.values() if type(container) is dict else container)
            if type(item) in _CONTAINERS
        ]
        if not level:
            return True
    return False


def _data_problems(data: Mapping[str, Any], limits: Limits) -> list[str]:
    return json_problems(data, path="data", max_depth=limits.depth, max_keys=limits.keys, max_bytes=limits.body)


def _fingerprint(
    event: Event,
    times: tuple[datetime, datetime | None],
    priority: Priority,
    audience: str | None,
    data: bytes,
) -> bytes:
    """Return a digest of what the caller published: a second publish with the same key must bring the same.

    Times the caller did not give are left out, and so is the trace: they differ each time.
    """
    occurred_at, expires_at = times
    resource = event.resource
    content: list[object] = [
        event.type,
        event.version,
        event.topic,
        None if resource is None else [resource.kind, resource.id],
        event.actor,
        None if event.occurred_at is None else timestamp(occurred_at),
        # Not when it is due: a time that has passed when the caller tries again is due at once.
        None if event.deliver_at is None else timestamp(event.deliver_at.astimezone(UTC)),
        None if expires_at is None else timestamp(expires_at),
        priority,
        event.ordering_key,
        [list(entry) for entry in sorted(event.metadata.items())] if event.metadata else [],
    ]
    if audience is not None:  # others keep the digest that they had before there were audiences
        content.append(audience)
    if event.delay is not None:
        content.append(event.delay // _MICROSECOND)
    return blake2b(dumps(content) + data, digest_size=16).digest()


# ── the fields ─────────────────────────────────────────────────────────────────────────────────


def _field_problems(event: Event, tenant: object, limits: Limits) -> list[str]:
    """Return what is wrong with everything but the times and the data."""
    problems: list[str] = []
    # Nothing has looked at these values yet, whatever their annotations say.
    type_name: object = event.type
    version: object = event.version
    priority: object = event.priority
    if tenant is None:
        problems.append("tenant: is missing")
    elif check_tenant(tenant) is not None:
        problems.append(_NO_TENANT)
    elif event.tenant is not None and event.tenant != tenant:
        problems.append("tenant: the event names another one")
    if isinstance(type_name, str) and len(type_name) > limits.type:
        problems.append(f"type: longer than {limits.type}")
    elif not isinstance(type_name, str) or not _TYPE.fullmatch(type_name):
        problems.append("type: must be words of A-Z, a-z, 0-9 and _, joined by full stops")
    if type(version) is not int or not 1 <= version <= _MAX_VERSION:
        problems.append(f"version: must be a number from 1 to {_MAX_VERSION}")
    if priority is not None and not isinstance(priority, Priority):
        problems.append("priority: must be a Priority")
    if event.actor is not None:
        problems += _text_problems("actor", event.actor, limits.text)
    if event.ordering_key is not None:
        problems += _text_problems("ordering_key", event.ordering_key, limits.text)
    if event.idempotency_key is not None:
        problems += _text_problems("idempotency_key", event.idempotency_key, limits.idempotency_key)
    return problems + _rare_problems(event, limits)


def _rare_problems(event: Event, limits: Limits) -> list[str]:
    problems: list[str] = []
    if event.topic is not None:
        problems += _topic_problems(event.topic, limits)
    if event.resource is not None:
        problems += _resource_problems(event.resource, limits)
    if event.trace is not None:
        problems += _trace_problems(event.trace, limits)
    if event.metadata:
        problems += _metadata_problems(event.metadata, limits)
    return problems


def _text_problems(path: str, value: object, limit: int) -> list[str]:
    if not isinstance(value, str):
        return [f"{path}: must be text"]
    if not value:
        return [f"{path}: is empty"]
    if len(value) > limit:
        return [f"{path}: longer than {limit}"]
    if not value.isprintable() and UNPRINTABLE.search(value):  # the first is the faster, and says yes too often
        return [f"{path}: has control characters"]
    return []


def _topic_problems(topic: object, limits: Limits) -> list[str]:
    problems = _text_problems("topic", topic, limits.topic)
    if isinstance(topic, str) and 0 < len(topic) <= limits.topic:
        words = topic.split("/")
        if len(words) > MAX_WORDS:
            problems.append(f"topic: more than {MAX_WORDS} segments")
        if "" in words:
            problems.append("topic: has an empty segment")
        if topic.startswith(("@", "!")):
            problems.append("topic: must not begin with @ or !")
        if "*" in topic:
            problems.append("topic: has a '*', which only patterns may have")
    return problems


def _resource_problems(resource: object, limits: Limits) -> list[str]:
    if not isinstance(resource, Resource):
        return ["resource: must be a Resource"]
    return [
        *_text_problems("resource.kind", resource.kind, limits.text),
        *_text_problems("resource.id", resource.id, limits.text),
    ]


def _trace_problems(trace: object, limits: Limits) -> list[str]:
    if problems := _text_problems("trace", trace, limits.trace):
        return problems
    return [] if _TRACEPARENT.fullmatch(str(trace)) else ["trace: must be a W3C traceparent"]


def _metadata_problems(metadata: object, limits: Limits) -> list[str]:
    if not isinstance(metadata, Mapping):
        return ["metadata: must be an object of texts"]
    problems = []
    if len(metadata) > limits.metadata_entries:
        return [f"metadata: {len(metadata)} entries, at most {limits.metadata_entries}"]
    for number, (key, value) in enumerate(metadata.items(), 1):
        if key_problems := _text_problems(f"metadata: key {number}", key, limits.metadata_text):
            problems += key_problems
        elif value != "":
            problems += _text_problems(f"metadata.{key}", value, limits.metadata_text)
    return problems


def _audience(event: Event, problems: list[str], strange: Callable[[str], str | None] | None) -> str | None:
    """Return the recipients of ``event`` as they are stored; add what is wrong with them."""
    try:
        audience = Audience(to=event.to, channels=event.channels)
    except InvalidInputError as error:
        problems += error.problems
        return None
    if strange is not None:
        problems += [f"channels: {wrong}" for name in audience.channels if (wrong := strange(name)) is not None]
    return audience.to_json()


def _times(event: Event, now: datetime, problems: list[str]) -> tuple[datetime, datetime, datetime | None]:
    """Return when ``event`` happened, when it is due and when it expires; add what is wrong with these times."""
    occurred_at, due_at, expires_at = now, now, None
    if event.occurred_at is not None:
        occurred_at = _utc(event.occurred_at, "occurred_at", problems) or now
    if event.deliver_at is not None:
        due_at = max(now, _utc(event.deliver_at, "deliver_at", problems) or now)
    if event.delay is not None:
        if event.deliver_at is not None:
            problems.append("delay: give deliver_at or delay, not both")
        if (wrong := _DELAY(event.delay)) is not None:
            problems.append(f"delay: {wrong}")
        else:
            due_at = now + event.delay
    if event.expires_at is not None:
        expires_at = _utc(event.expires_at, "expires_at", problems)
        if expires_at is not None and expires_at <= due_at:
            problems.append("expires_at: must be after " + _start(event, due_at, now))
    return occurred_at, due_at, expires_at


def _start(event: Event, due_at: datetime, now: datetime) -> str:
    if due_at == now:
        return "the time of publishing"
    return "deliver_at" if event.delay is None else "the delay"


def _utc(instant: object, path: str, problems: list[str]) -> datetime | None:
    """Return ``instant`` in UTC; ``None`` if it is no instant."""
    if not isinstance(instant, datetime):
        problems.append(f"{path}: must be a datetime")
        return None
    if instant.tzinfo is UTC:
        return instant
    if instant.utcoffset() is None:
        problems.append(f"{path}: has no zone")
        return None
    try:
        return instant.astimezone(UTC)
    except OverflowError:
        problems.append(f"{path}: is out of range")
        return None
