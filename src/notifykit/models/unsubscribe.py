"""What a person stops with a link in a message."""

from __future__ import annotations

from datetime import datetime

import attrs

from .checks import MAX_ID, field_check, instant, one_of, optional, tenant, text
from .patterns import topic_pattern
from .preferences import MuteSelector, Purpose, label, type_name


@attrs.frozen(kw_only=True)
class UnsubscribeScope:
    """What a link stops, and for whom: each part that is given narrows it.

    Without a type, a category and a topic it stands for everything of its purpose.

    Attributes:
        channel: ``None`` for every channel.
        topic: A pattern of topics.
        purpose: ``None`` for every purpose.
        expires_at: When the link stops working.
    """

    tenant: str = attrs.field(validator=field_check(tenant))
    recipient_id: str = attrs.field(validator=field_check(text(most=MAX_ID)))
    channel: str | None = attrs.field(default=None, validator=field_check(optional(label)))
    type: str | None = attrs.field(default=None, validator=field_check(optional(type_name)))
    category: str | None = attrs.field(default=None, validator=field_check(optional(label)))
    topic: str | None = attrs.field(default=None, validator=field_check(optional(topic_pattern)))
    purpose: Purpose | None = attrs.field(default=None, validator=field_check(optional(one_of(Purpose))))
    expires_at: datetime = attrs.field(validator=field_check(instant))

    @property
    def is_whole(self) -> bool:
        """Whether it names neither a type nor a category nor a topic."""
        return self.type is None and self.category is None and self.topic is None

    @property
    def selector(self) -> MuteSelector:
        """The mute that stops it."""
        return MuteSelector(
            type=self.type, category=self.category, channel=self.channel, topic=self.topic, purpose=self.purpose
        )

    def whole(self) -> UnsubscribeScope:
        """Return the same for all marketing, on every channel."""
        return attrs.evolve(self, channel=None, type=None, category=None, topic=None, purpose=Purpose.MARKETING)
