"""Digests: many events, told to a person in one message.

A digest is open for one window.  What that window is, a :class:`Digest` says; when it ends is in
:mod:`notifykit.policies.digest`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Literal

import attrs

from ..errors import InvalidInputError
from .checks import duration, field_check, kind_of, one_of, optional, whole
from .preferences import label
from .quiet_hours import Weekday, clock

_GROUP = re.compile(r"data(?:\.[A-Za-z0-9_-]+)+")
_MAX_GROUP = 255
_LEAST = timedelta(milliseconds=1)
#: Longer than a leap year: what comes later is forgotten, not collected.
_MAX_WINDOW = timedelta(days=400)
MAX_ITEMS = 1000


def group_path(value: object) -> str | None:
    """Check the path of the value by which events are collected."""
    if not isinstance(value, str):
        return f"must be a path such as data.thread_id, not {kind_of(value)}"
    fits = _GROUP.fullmatch(value) and len(value) <= _MAX_GROUP
    return None if fits else "must be a path into the event's data, such as data.thread_id"


_window = field_check(optional(duration(_LEAST, _MAX_WINDOW)))


@attrs.frozen
class Digest:
    """How events of a type are collected for a person.

    A digest has a ``window``, which begins with its first event, or a time of day (``at``) in the person's time zone.

    Attributes:
        name: Events of several types with the same name come in one digest; settings name it as ``digest:NAME``.
        group: The path of a value of the event, such as ``data.thread_id``: each value has a digest of its own.
        window: How long the digest collects.
        max_window: Each event makes the digest wait for another ``window``, but in all no longer than this.
        at: The wall-clock time at which the digest is sent, such as ``08:00``.
        day: The day of the week on which it is sent; each day if none is given.
        first: With ``now`` the event that opens it is sent at once; else it ``waits`` like the others.
        look_back: The first event is sent at once only if the digest has been quiet for so long.
        max_items: How many events the message shows; the count that it states is exact.
    """

    name: str = attrs.field(validator=field_check(label))
    group: str | None = attrs.field(default=None, kw_only=True, validator=field_check(optional(group_path)))
    window: timedelta | None = attrs.field(default=None, kw_only=True, validator=_window)
    max_window: timedelta | None = attrs.field(default=None, kw_only=True, validator=_window)
    at: str | None = attrs.field(default=None, kw_only=True, validator=field_check(optional(clock)))
    day: str | None = attrs.field(default=None, kw_only=True, validator=field_check(optional(one_of(Weekday))))
    first: Literal["now", "waits"] = attrs.field(
        default="waits", kw_only=True, validator=field_check(one_of(("now", "waits")))
    )
    look_back: timedelta | None = attrs.field(default=None, kw_only=True, validator=_window)
    max_items: int = attrs.field(default=50, kw_only=True, validator=field_check(whole(1, MAX_ITEMS)))

    def __attrs_post_init__(self) -> None:
        if wrong := self._problems():
            raise InvalidInputError(wrong)

    def _problems(self) -> list[str]:
        wrong = []
        if self.window is None and self.at is None:
            wrong.append("window: give a window or a time of day, such as window=timedelta(minutes=10) or at='08:00'")
        if self.window is not None and self.at is not None:
            wrong.append("at: a digest has a window or a time of day, not both")
        if self.day is not None and self.at is None:
            wrong.append("day: needs a time of day, such as at='08:00'")
        if self.max_window is not None and (self.window is None or self.max_window < self.window):
            wrong.append("max_window: needs a window that is not longer")
        if self.look_back is not None and self.first != "now":
            wrong.append("look_back: needs first='now'")
        return wrong


#: What settings such as ``digest:daily`` mean for a type that declares no digest of that name.
STANDARD_DIGESTS = {
    digest.name: digest
    for digest in (
        Digest("hourly", window=timedelta(hours=1)),
        Digest("daily", at="08:00"),
        Digest("weekly", at="08:00", day=Weekday.MON),
    )
}

_MICROSECOND = timedelta(microseconds=1)
_DURATIONS = ("window", "max_window", "look_back")


def digest_to_json(digest: Digest | None) -> dict[str, Any] | None:
    """Return a digest as stores keep it."""
    if digest is None:
        return None
    values = attrs.asdict(digest)
    return values | {name: values[name] and values[name] // _MICROSECOND for name in _DURATIONS}


def digest_from_json(stored: Mapping[str, Any] | None) -> Digest | None:
    """Return a digest as it was stored."""
    if stored is None:
        return None
    return Digest(**{**stored, **{name: stored[name] and stored[name] * _MICROSECOND for name in _DURATIONS}})
