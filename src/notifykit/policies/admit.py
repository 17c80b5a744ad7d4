"""Decide whether an event may enter, and make it what the store keeps.

Pure: the clock and the source of ids are arguments.  A bad event is refused with every
problem it has, each with its path, in one error.

This runs once for every event that is published, so the common case is cheap: the event
is serialised first, and its data is walked only if counts over the bytes say that a
limit may be broken, or if it could not be serialised.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any

import attrs

from ..codec import dumps, json_problems, loads, timestamp
from ..errors import InvalidEventError
from ..models import ids
from ..models.delivery import Priority
from ..models.event import TYPE_GRAMMAR, Event, EventType, Resource, StoredEvent
from .patterns import MAX_WORDS, UNPRINTABLE

TENANT_GRAMMAR = r"[A-Za-z0-9_.:@-]{1,128}"

#: What a schema or a payload class finds wrong with an event's data, each as ``data.path: what is wrong``.
DataCheck = Callable[[Any], Sequence[str]]

_TYPE = re.compile(TYPE_GRAMMAR)
_TENANT = re.compile(TENANT_GRAMMAR)
_NO_TENANT = "tenant: must be 1 to 128 characters of A-Z, a-z, 0-9 and _.:@-"
#: https://www.w3.org/TR/trace-context/#traceparent-header: version ff and ids of zeros are invalid,
#: and only versions to come may have more than four parts.
_TRACEPARENT = re.compile(
    r"(?!ff)(?:00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
    r"|[0-9a-f]{2}(?<!00)-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-[!-~]*)?)"
)
_MAX_VERSION = 32_767  # stores keep it in 16 bits


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

    body: int = 256 * 1024
    depth: int = 32
    keys: int = 1000
    type: int = 128
    topic: int = 512
    text: int = 255
    idempotency_key: int = 255
    trace: int = 128
    metadata_entries: int = 32
    metadata_text: int = 256


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

    Raises:
        InvalidEventError: With every problem the event has.
    """
    problems = _field_problems(event, tenant, limits)
    occurred_at, due_at, expires_at = _times(event, now, problems)
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
        fingerprint = _fingerprint(event, (occurred_at, due_at, expires_at), priority, rest)
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
    )


#: The least that a key takes in a body, with its value and what parts it from the next.
_LEAST_KEY = len(b'"":0,')
#: How every body starts, up to the data (type and timestamp need no escapes).
_HEAD = '{"type":"%s","timestamp":"%s","data":'


def _serialise(event: Event, written_at: str, limits: Limits, problems: list[str]) -> bytes | None:
    """Return the body of ``event``; if its data is not fit for one, add the problems and return ``None``."""
    data = event.data
    if type(data) is not dict and not isinstance(data, Mapping):  # the second takes a microsecond
        problems.append("data: must be an object")
        return None
    envelope: dict[str, object] = {"type": event.type, "timestamp": written_at, "data": data}
    if event.version != 1:
        envelope["version"] = event.version
    try:
        body = dumps(envelope)
    except TypeError as error:
        problems += _data_problems(data, limits)
        if not problems:  # the fields and the data are fine one by one: a writer knows something we do not
            problems.append(f"data: {error}")
        return None
    size = len(body)
    found: list[str] = []
    if size > limits.body:
        found.append(f"data: the body has {size} bytes, at most {limits.body}")
    # The envelope has one object and three keys at least; braces and colons inside of texts count too.
    if (size > _LEAST_KEY * limits.keys and body.count(b'":') - 3 > limits.keys) or (
        _brackets(body) - 1 > limits.depth and _may_be_deep(data, limits.depth)
    ):
        found += _data_problems(data, limits)
    problems += found
    return None if found else body


def _brackets(body: bytes) -> int:
    """Return how many open; ``count`` of a single byte takes four times as long."""
    return len(body) - len(body.replace(b"{", b"").replace(b"[", b""))


def _data_problems(data: Mapping[str, Any], limits: Limits) -> list[str]:
    # Each value takes a byte at least, so that a walk of more values than bytes is a body too large.
    return json_problems(data, path="data", max_depth=limits.depth, max_keys=limits.keys, max_values=limits.body)


_SCALARS = frozenset({str, int, float, bool, type(None)})


def _may_be_deep(data: Any, depth: int) -> bool:
    """Tell, level by level, whether containers nest deeper; unusual types may."""
    level = [data]
    for _ in range(depth):
        below = []
        for container in level:
            for item in container.values() if type(container) is dict else container:
                kind = type(item)
                if kind is dict or kind is list or kind is tuple:
                    below.append(item)
                elif kind not in _SCALARS:
                    return True
        if not below:
            return False
        level = below
    return True


def _fingerprint(
    event: Event, times: tuple[datetime, datetime, datetime | None], priority: Priority, data: bytes
) -> bytes:
    """Return a digest of what the caller published: a second publish with the same key must bring the same.

    Times the caller did not give are left out, and so is the trace: they differ each time.
    """
    occurred_at, due_at, expires_at = times
    resource = event.resource
    content = [
        event.type,
        event.version,
        event.topic,
        None if resource is None else [resource.kind, resource.id],
        event.actor,
        None if event.occurred_at is None else timestamp(occurred_at),
        None if event.deliver_at is None else timestamp(due_at),
        None if expires_at is None else timestamp(expires_at),
        priority,
        event.ordering_key,
        [list(entry) for entry in sorted(event.metadata.items())] if event.metadata else [],
    ]
    return blake2b(dumps(content) + data, digest_size=16).digest()


def check_tenant(tenant: object) -> list[str]:
    """Return why ``tenant`` can be nobody's name, if so."""
    return [] if isinstance(tenant, str) and _TENANT.fullmatch(tenant) else [_NO_TENANT]


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
    elif not isinstance(tenant, str) or not _TENANT.fullmatch(tenant):
        problems.append(_NO_TENANT)
    elif event.tenant is not None and event.tenant != tenant:
        problems.append("tenant: the event names another one")
    if not isinstance(type_name, str) or not _TYPE.fullmatch(type_name):
        problems.append("type: must be words of A-Z, a-z, 0-9 and _, joined by full stops")
    elif len(type_name) > limits.type:
        problems.append(f"type: longer than {limits.type}")
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
    problems = []
    if len(value) > limit:
        problems.append(f"{path}: longer than {limit}")
    if not value.isprintable() and UNPRINTABLE.search(value):  # the first is the faster, and says yes too often
        problems.append(f"{path}: has control characters")
    return problems


def _topic_problems(topic: object, limits: Limits) -> list[str]:
    problems = _text_problems("topic", topic, limits.topic)
    if isinstance(topic, str) and topic:
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
        problems.append(f"metadata: {len(metadata)} entries, at most {limits.metadata_entries}")
    for number, (key, value) in enumerate(metadata.items(), 1):
        if key_problems := _text_problems(f"metadata: key {number}", key, limits.metadata_text):
            problems += key_problems
        elif value != "":
            problems += _text_problems(f"metadata.{key}", value, limits.metadata_text)
    return problems


def _times(event: Event, now: datetime, problems: list[str]) -> tuple[datetime, datetime, datetime | None]:
    """Return when ``event`` happened, when it is due and when it expires; add what is wrong with these times."""
    occurred_at, due_at, expires_at = now, now, None
    if event.occurred_at is not None:
        occurred_at = _utc(event.occurred_at, "occurred_at", problems) or now
    if event.deliver_at is not None:
        due_at = max(now, _utc(event.deliver_at, "deliver_at", problems) or now)
    if event.expires_at is not None:
        expires_at = _utc(event.expires_at, "expires_at", problems)
        if expires_at is not None and expires_at <= due_at:
            problems.append("expires_at: must be after " + ("deliver_at" if due_at > now else "the time of publishing"))
    return occurred_at, due_at, expires_at


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
