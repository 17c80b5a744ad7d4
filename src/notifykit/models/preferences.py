"""What decides whether a person wants a notification: settings, mutes, and the purpose of an event type.

Settings are ordered (see :attr:`Setting.precedence`): one of them counts.  Mutes are not: each that fits denies.
"""

from __future__ import annotations

import re
from datetime import datetime
from enum import StrEnum

import attrs

from ..errors import InvalidInputError
from .checks import field_check, flag, instant, kind_of, one_of, optional, text
from .event import TYPE_GRAMMAR
from .patterns import topic_pattern

_TYPE = re.compile(TYPE_GRAMMAR)
_DIGEST = "digest:"

ON, OFF = "on", "off"

#: Names that hosts choose: categories, channels, digests.
label = text(most=128)


class Purpose(StrEnum):
    """Why a type of event is sent; it says which wishes of a person apply.

    ``SECURITY`` is sent whatever the settings, mutes and quiet hours are; ``MARKETING`` needs the person's consent.
    """

    TRANSACTIONAL = "transactional"
    MARKETING = "marketing"
    SECURITY = "security"


class Scope(StrEnum):
    """The level on which a setting was made, from wide to narrow."""

    SYSTEM = "system"
    TYPE = "type"
    TENANT = "tenant"
    RECIPIENT = "recipient"
    SUBSCRIPTION = "subscription"


#: How narrow each scope is.
_NARROWNESS = {scope: rank for rank, scope in enumerate(Scope)}
#: Settings of these scopes are a person's own, and what a person wishes is no lock.
_PERSONAL = frozenset({Scope.RECIPIENT, Scope.SUBSCRIPTION})


def type_name(value: object) -> str | None:
    """Check the name of an event type."""
    if not isinstance(value, str):
        return f"must be text, not {kind_of(value)}"
    return None if _TYPE.fullmatch(value) and len(value) <= 128 else "must be words joined by full stops, no pattern"


def setting_value(value: object) -> str | None:
    """Check what a setting says: ``on``, ``off`` or ``digest:NAME``."""
    if not isinstance(value, str):
        return f"must be on, off or digest:NAME, not {kind_of(value)}"
    if value in (ON, OFF):
        return None
    if not value.startswith(_DIGEST):
        return f"must be on, off or digest:NAME, not {value[:40]!r}"
    wrong = label(value.removeprefix(_DIGEST))
    return None if wrong is None else f"the name of the digest {wrong}"


@attrs.frozen(kw_only=True)
class Selector:
    """What a setting is about: events of a type or of a category, on one channel or on all.

    Without a type and a category it takes every event.
    """

    type: str | None = attrs.field(default=None, validator=field_check(optional(type_name)))
    category: str | None = attrs.field(default=None, validator=field_check(optional(label)))
    channel: str | None = attrs.field(default=None, validator=field_check(optional(label)))

    def __attrs_post_init__(self) -> None:
        if self.type is not None and self.category is not None:
            raise InvalidInputError(["category: a setting is about a type or about a category, not both"])

    @property
    def narrowness(self) -> int:
        """From 5 for a type on a channel to 0 for every event on every channel."""
        return (self.type is not None) * 4 + (self.category is not None) * 2 + (self.channel is not None)


@attrs.frozen(kw_only=True)
class Setting:
    """Whether events are sent, not sent, or collected in a digest.

    Attributes:
        value: ``on``, ``off`` or ``digest:NAME``.
        locked: Narrower scopes cannot change it.  A person's own settings cannot be locked.
        precedence: Of the settings that match an event, the one with the highest counts; of equal ones the last.
    """

    scope: Scope = attrs.field(validator=field_check(one_of(Scope)))
    select: Selector
    value: str = attrs.field(validator=field_check(setting_value))
    locked: bool = attrs.field(default=False, validator=field_check(flag))
    precedence: int = attrs.field(init=False, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        if self.locked and self.scope in _PERSONAL:
            raise InvalidInputError([f"locked: a setting of scope {self.scope} cannot be locked"])
        # Any lock comes before what is not locked; of locks the widest scope counts, else the narrowest.
        scope = 2 * len(_NARROWNESS) - _NARROWNESS[self.scope] if self.locked else _NARROWNESS[self.scope]
        object.__setattr__(self, "precedence", scope * 8 + self.select.narrowness)

    @property
    def digest(self) -> str | None:
        """The name of the digest that it asks for."""
        return self.value.removeprefix(_DIGEST) if self.value.startswith(_DIGEST) else None


@attrs.frozen(kw_only=True)
class MuteSelector:
    """What a mute is about: each part that is given must fit; without any it takes every event.

    Attributes:
        topic: A pattern of topics; the other parts are what they say.
    """

    type: str | None = attrs.field(default=None, validator=field_check(optional(type_name)))
    category: str | None = attrs.field(default=None, validator=field_check(optional(label)))
    channel: str | None = attrs.field(default=None, validator=field_check(optional(label)))
    topic: str | None = attrs.field(default=None, validator=field_check(optional(topic_pattern)))
    purpose: Purpose | None = attrs.field(default=None, validator=field_check(optional(one_of(Purpose))))


@attrs.frozen(kw_only=True)
class Mute:
    """A person's wish not to get something, for a time or for good.

    Attributes:
        until: When it ends; ``None`` for never.
        at: When it was made, if that is known.
        by: Who made it: the person's id, an operator, a program.
        how: In what way: a link in a message, a form.
    """

    select: MuteSelector
    until: datetime | None = attrs.field(default=None, validator=field_check(optional(instant)))
    at: datetime | None = attrs.field(default=None, validator=field_check(optional(instant)))
    by: str | None = attrs.field(default=None, validator=field_check(optional(text(most=255))))
    how: str | None = attrs.field(default=None, validator=field_check(optional(text(most=255))))
