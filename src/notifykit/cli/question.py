"""What a line of ``notifykit decide`` asks, as it is written in JSON."""

from __future__ import annotations

from datetime import UTC, datetime

import attrs

from ..errors import InvalidInputError
from ..models.addresses import Address, Suppression
from ..models.checks import field_check, flag, instant, many, one_of, optional, text
from ..models.preferences import ON, Mute, Purpose, Setting, label, type_name
from ..models.quiet_hours import QuietHours, Window, quiet_windows, zone_name
from ..policies.contact import Decision, Person, decide_contact
from ..policies.preferences import Notice

#: What problems call the line itself.
ROOT = "$"

#: Quiet hours look up to two weeks ahead, and local time is up to a day away from UTC.
_EARLIEST, _LATEST = datetime(1, 2, 1, tzinfo=UTC), datetime(9999, 11, 30, tzinfo=UTC)


def _now(value: object) -> str | None:
    wrong = instant(value)
    if wrong is None and isinstance(value, datetime) and not _EARLIEST <= value <= _LATEST:
        return "is out of range"
    return wrong


@attrs.frozen(kw_only=True)
class _Type:
    name: str = attrs.field(validator=field_check(type_name))
    category: str = attrs.field(validator=field_check(label))
    purpose: Purpose = attrs.field(validator=field_check(one_of(Purpose)))


@attrs.frozen(kw_only=True)
class _Event:
    topic: str | None = attrs.field(default=None, validator=field_check(optional(text(most=512))))
    expires_at: datetime | None = attrs.field(default=None, validator=field_check(optional(instant)))


@attrs.frozen(kw_only=True)
class Question:
    """One person, one channel, one event, at one time."""

    now: datetime = attrs.field(validator=field_check(_now))
    channel: str = attrs.field(validator=field_check(label))
    type: _Type
    event: _Event = attrs.field(factory=_Event)
    settings: tuple[Setting, ...] = ()
    mutes: tuple[Mute, ...] = ()
    consents: tuple[Purpose, ...] = ()
    tokens_left: bool = attrs.field(default=True, validator=field_check(flag))
    addresses: tuple[Address, ...] = ()
    suppressions: tuple[Suppression, ...] = ()
    zone: str = attrs.field(default="UTC", validator=field_check(zone_name))
    quiet_hours: tuple[Window, ...] = attrs.field(default=(), validator=field_check(quiet_windows))
    quiet_except: tuple[str, ...] = attrs.field(
        default=(), validator=field_check(many(label, most=10_000, what="categories"))
    )

    def __attrs_post_init__(self) -> None:
        if self.type.purpose is Purpose.MARKETING:
            locked = [at for at, each in enumerate(self.settings) if each.locked and each.value == ON]
            if locked:
                raise InvalidInputError(
                    [
                        f"settings[{at}].locked: marketing cannot be locked on; lock it off, or leave it unlocked"
                        for at in locked
                    ]
                )

    def decide(self) -> Decision:
        """Return the answer."""
        notice = Notice(
            type=self.type.name,
            category=self.type.category,
            purpose=self.type.purpose,
            topic=self.event.topic,
            expires_at=self.event.expires_at,
        )
        person = Person(
            settings=self.settings,
            mutes=self.mutes,
            consents=frozenset(self.consents),
            addresses=self.addresses,
            suppressions=self.suppressions,
            quiet_hours=QuietHours(zone=self.zone, windows=self.quiet_hours, exceptions=self.quiet_except),
        )
        return decide_contact(notice, person, self.channel, tokens_left=self.tokens_left, now=self.now)
