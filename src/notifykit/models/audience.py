"""The recipients that an event is published to, beside the subscribed ones."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Self

import attrs

from .checks import MAX_ID, field_check, many, text, unchecked
from .steps import people_channel

#: Recipients that one event may name.
MAX_RECIPIENTS = 1000
MAX_CHANNELS = 20

_recipients = many(text(most=MAX_ID), most=MAX_RECIPIENTS, what="ids of recipients")
_channels = many(people_channel, most=MAX_CHANNELS, what="channels")


def recipients(value: object) -> str | None:
    """Check the ids of the recipients of an event."""
    if isinstance(value, (tuple, list, set, frozenset)) and len(value) > MAX_RECIPIENTS:
        return (
            f"names {len(value)} recipients, and an event takes at most {MAX_RECIPIENTS}: subscribe them to a topic "
            "and publish to that, or publish several events"
        )
    return _recipients(value)


def _once(values: Iterable[Any] | str) -> Any:
    """Return one or several values as a tuple, each once; what is no collection stays as it is, for the check."""
    if isinstance(values, str):
        return (values,)
    if not isinstance(values, (tuple, list, set, frozenset)) or not all(isinstance(value, str) for value in values):
        return values
    return tuple(dict.fromkeys(values if isinstance(values, (tuple, list)) else sorted(values)))


@attrs.frozen(kw_only=True)
class Audience:
    """The people an event is for.

    Attributes:
        to: Ids of recipients, at most 1,000; one or several.
        channels: Only over these channels; none at all means over those of the event's type.

    Raises:
        InvalidInputError: A field is not what it should be.
    """

    to: tuple[str, ...] = attrs.field(default=(), converter=_once, validator=field_check(recipients))
    channels: tuple[str, ...] = attrs.field(default=(), converter=_once, validator=field_check(_channels))

    def to_json(self) -> str:
        """Return the audience as it is stored."""
        given = {"to": self.to} | ({"channels": self.channels} if self.channels else {})
        return json.dumps(given, separators=(",", ":"), ensure_ascii=False)

    @classmethod
    def from_json(cls, stored: str | None) -> Self:
        """Return a stored audience; ``None`` is an empty one."""
        if stored is None:
            return cls()
        given = json.loads(stored)
        return unchecked(cls, to=tuple(given["to"]), channels=tuple(given.get("channels", ())))


#: Of an event that is only for subscribers.
NOBODY = Audience()
