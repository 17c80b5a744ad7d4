"""What persons want, and what a tenant says for all of its recipients."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

import attrs

from ..changes import change
from ..errors import InvalidInputError, NotFoundError
from ..models import checks
from ..models.checks import optional
from ..models.event import DEFAULT_CATEGORY, EventType
from ..models.event_type import ALL_TENANTS, StoredEventType
from ..models.preferences import (
    ON,
    Mute,
    MuteSelector,
    Purpose,
    Scope,
    Selector,
    Setting,
    label,
    setting_value,
    type_name,
)
from ..models.quiet_hours import QuietHours, Window, zone_name
from ..models.recipient import (
    EMAIL,
    IN_APP,
    MAX_CONSENTS,
    MAX_MUTES,
    MAX_NAME,
    MAX_SETTINGS,
    NO_QUIET_HOURS,
    PREFERENCES,
    PUSH,
    SMS,
    Consent,
    Recipient,
    TenantPreferences,
    locale_name,
    spelled,
)
from ..policies.arguments import checked
from ..policies.preferences import Notice, is_muted, setting_that_counts
from ..ports import Clock, Store
from .recipient_changes import edit

#: How many types of events a matrix shows at the most.
MAX_TYPES = 10_000
#: How many categories an error names.
_SHOWN = 20

_ARGUMENTS: Mapping[str, checks.Check] = {
    "type": optional(type_name),
    "category": optional(label),
    "channel": optional(label),
    "value": setting_value,
    "locked": checks.flag,
    "topic": optional(checks.string),
    "purpose": optional(checks.one_of(Purpose)),
    "windows": checks.many(checks.instance(Window), most=10_000, what="windows"),
    "exceptions": checks.many(label, most=10_000, what="categories"),
    "granted": checks.flag,
    "by": checks.text(most=MAX_NAME, empty=True),
    "how": checks.prose,
    "locale": optional(lambda value: locale_name(spelled(value))),
    "zone": optional(zone_name),
}
_checked = partial(checked, refusal=InvalidInputError, **_ARGUMENTS)


class Cell(NamedTuple):
    """What a person's settings come to for a type of event on a channel.

    Attributes:
        value: ``on``, ``off`` or ``digest:NAME``.
        scope: Where the setting that counts was made; ``None`` if there is none, so that it is on.
        locked: Whether the person cannot change it.
        muted: Whether a mute holds it back all the same, whatever the topic.
    """

    type: str
    category: str
    purpose: Purpose
    channel: str
    value: str
    scope: Scope | None
    locked: bool
    muted: bool


class Preferences:
    """The wishes of one person."""

    def __init__(
        self, store: Store, clock: Clock, declared: Iterable[EventType], tenant: str, recipient_id: str
    ) -> None:
        self._store = store
        self._clock = clock
        self._declared = declared
        self._tenant = tenant
        self._id = recipient_id

    @_checked()
    async def set(
        self, *, value: str, type: str | None = None, category: str | None = None, channel: str | None = None
    ) -> Recipient:
        """Say whether events are sent: of a type, of a category or all, on a channel or on all.

        Args:
            value: ``on``, ``off``, or ``digest:NAME`` to collect them in a digest.

        Raises:
            InvalidInputError: A name is not acceptable, no known type of event has the category, or both a type and a
                category are given.
            NotFoundError: The tenant has no such recipient.
        """
        new = _setting(Scope.RECIPIENT, value, type, category, channel)
        await _require_categories(self._store, self._declared, self._tenant, [new])
        return await self._edit(lambda it: attrs.evolve(it, settings=_with(it.settings, new)))

    @_checked()
    async def unset(
        self, *, type: str | None = None, category: str | None = None, channel: str | None = None
    ) -> Recipient:
        """Take back what was set with the same names, so that wider settings count again.

        Raises:
            NotFoundError: The tenant has no such recipient.
        """
        select = Selector(type=type, category=category, channel=channel)
        return await self._edit(lambda it: attrs.evolve(it, settings=_without(it.settings, select)))

    @_checked(by=optional(checks.text(most=MAX_NAME)), how=optional(checks.text(most=MAX_NAME)))
    async def mute(
        self,
        *,
        topic: str | None = None,
        type: str | None = None,
        category: str | None = None,
        channel: str | None = None,
        purpose: Purpose | str | None = None,
        until: datetime | None = None,
        by: str | None = None,
        how: str | None = None,
    ) -> Recipient:
        """Send nothing to which everything given applies; without any name that is everything.

        A category that no type of event has any more can be muted: nobody is kept from unsubscribing.

        Args:
            topic: A pattern of topics, such as ``project/7/**``.
            until: When it ends; a second mute of the same replaces the first.
            by: Who made it: the person, an operator, a program.
            how: In what way: a link in a message, a form.

        Raises:
            InvalidInputError: A name or the pattern is not acceptable, or the end has passed.
            NotFoundError: The tenant has no such recipient.
        """
        now = self._clock.now()
        if until is not None and until <= now:
            raise InvalidInputError([f"until: must be later than now ({now.isoformat(timespec='seconds')})"])
        is_told = by is not None or how is not None
        select = _muted(topic, type, category, channel, purpose)
        new = Mute(select=select, until=until, at=now if is_told else None, by=by, how=how)

        def muted(current: Recipient) -> Recipient:
            kept = [each for each in _other_mutes(current, new.select) if each.until is None or each.until > now]
            return attrs.evolve(current, mutes=(*kept, new))

        return await self._edit(muted)

    @_checked()
    async def unmute(
        self,
        *,
        topic: str | None = None,
        type: str | None = None,
        category: str | None = None,
        channel: str | None = None,
        purpose: Purpose | str | None = None,
    ) -> Recipient:
        """End the mute that was made with the same names.

        Raises:
            NotFoundError: The tenant has no such recipient.
        """
        select = _muted(topic, type, category, channel, purpose)
        return await self._edit(lambda it: attrs.evolve(it, mutes=tuple(_other_mutes(it, select))))

    @_checked()
    async def quiet_hours(self, windows: Iterable[Window] = (), *, exceptions: Iterable[str] = ()) -> Recipient:
        """Send nothing at certain times of the week: what comes up then waits until they end.

        Args:
            windows: In the person's own time zone; none ends the quiet hours.
            exceptions: Categories that are sent all the same.

        Raises:
            InvalidInputError: The windows leave no time of the week.
            NotFoundError: The tenant has no such recipient.
        """
        given, categories = tuple(windows), tuple(exceptions)

        def changed(current: Recipient) -> Recipient:
            quiet = QuietHours(zone=current.zone or "UTC", windows=given, exceptions=categories)
            return attrs.evolve(current, quiet_hours=quiet if given else NO_QUIET_HOURS)

        return await self._edit(changed)

    @_checked(purpose=checks.one_of(Purpose))
    async def consent(
        self, *, purpose: Purpose | str = Purpose.MARKETING, granted: bool = True, by: str = "", how: str = ""
    ) -> Recipient:
        """Record that the person agrees to a purpose, or (``granted=False``) withdraws their consent.

        Args:
            by: Who recorded it: the person, an operator, a program.
            how: In what way: the form, its version, the text that was agreed to.

        Raises:
            NotFoundError: The tenant has no such recipient.
        """
        new = Consent(purpose=Purpose(purpose), granted=granted, at=self._clock.now(), by=by, how=how)
        return await self._edit(lambda it: attrs.evolve(it, consents=(*it.consents[-(MAX_CONSENTS - 1) :], new)))

    @_checked(
        settings=checks.many(checks.instance(Setting), most=MAX_SETTINGS, what="settings"),
        mutes=optional(checks.many(checks.instance(Mute), most=MAX_MUTES, what="mutes")),
        quiet_hours=optional(checks.instance(QuietHours)),
        version=optional(checks.whole(0, 2**31 - 1)),
    )
    async def replace(
        self,
        settings: Collection[Setting],
        *,
        mutes: Collection[Mute] | None = None,
        quiet_hours: QuietHours | None = None,
        version: int | None = None,
    ) -> Recipient:
        """Put everything that the person has set in the place of what was there, in one step.

        Args:
            settings: All of them, of scope ``recipient``.
            mutes: All of them; by default they stay.
            quiet_hours: By default they stay.
            version: The version of the recipient that the change was made from; by default whichever there is.

        Raises:
            InvalidInputError: A setting is of another scope, no known type of event has the category of a new one, or
                there are too many.
            NotFoundError: The tenant has no such recipient.
            StaleWriteError: The recipient has another version by now.
        """
        before = (await self._get()).settings
        new = [each for each in settings if each not in before]
        await _require_categories(self._store, self._declared, self._tenant, new)
        given: dict[str, Any] = {"settings": tuple(settings)}
        given |= {} if mutes is None else {"mutes": tuple(mutes)}
        given |= {} if quiet_hours is None else {"quiet_hours": quiet_hours}
        return await self._edit(lambda it: attrs.evolve(it, **given), version)

    @_checked(channels=optional(checks.many(label, most=100, what="channels")))
    async def matrix(self, *, channels: Iterable[str] | None = None) -> tuple[Cell, ...]:
        """Return what the settings of all levels come to, for each known type of event and each channel.

        Args:
            channels: By default in-app, e-mail, SMS and push, with those that the person's settings and addresses name.

        Raises:
            NotFoundError: The tenant has no such recipient.
        """
        recipient = await self._get()
        tenant = next(iter(await self._store.get(TenantPreferences, self._tenant, [PREFERENCES])), None)
        settings = (*(tenant.settings if tenant else ()), *recipient.settings)
        shown = tuple(channels) if channels is not None else _channels(recipient, settings)
        now = self._clock.now()
        return tuple(
            _cell(event_type, channel, settings, recipient.mutes, now)
            for event_type in await _types(self._store, self._declared, self._tenant)
            for channel in shown
        )

    async def _get(self) -> Recipient:
        found = await self._store.get(Recipient, self._tenant, [self._id])
        if not found:
            raise NotFoundError("recipient", self._id)
        return found[0]

    async def _edit(self, make: Callable[[Recipient], Recipient], version: int | None = None) -> Recipient:
        return await edit(self._store, self._clock, self._tenant, self._id, make, version=version)


class TenantSettings:
    """What a tenant says for all of its recipients: defaults, locks, and the locale and zone of those without one."""

    def __init__(self, store: Store, declared: Iterable[EventType], tenant: str) -> None:
        self._store = store
        self._declared = declared
        self._tenant = tenant

    async def get(self) -> TenantPreferences:
        """Return everything that was said."""
        found = await self._store.get(TenantPreferences, self._tenant, [PREFERENCES])
        return found[0] if found else TenantPreferences(tenant=self._tenant)

    @_checked()
    async def set(
        self,
        *,
        value: str,
        type: str | None = None,
        category: str | None = None,
        channel: str | None = None,
        locked: bool = False,
    ) -> TenantPreferences:
        """Say whether events are sent to recipients that have not said it themselves.

        Args:
            value: ``on``, ``off``, or ``digest:NAME``.
            locked: Recipients cannot change it.  Marketing cannot be locked on.

        Raises:
            InvalidInputError: A name is not acceptable, no known type of event has the category, or both a type and a
                category are given.
        """
        new = _setting(Scope.TENANT, value, type, category, channel, locked=locked)
        await _require_categories(self._store, self._declared, self._tenant, [new])
        return await self._change(lambda it: attrs.evolve(it, settings=_with(it.settings, new)))

    @_checked()
    async def unset(
        self, *, type: str | None = None, category: str | None = None, channel: str | None = None
    ) -> TenantPreferences:
        """Take back what was set with the same names, locked or not."""
        select = Selector(type=type, category=category, channel=channel)
        return await self._change(lambda it: attrs.evolve(it, settings=_without(it.settings, select)))

    @_checked()
    async def localize(self, *, locale: str | None, zone: str | None) -> TenantPreferences:
        """Set the locale and the time zone of recipients that have none of their own; ``None`` takes one away."""
        return await self._change(lambda it: attrs.evolve(it, locale=locale, zone=zone))

    async def _change(self, make: Callable[[TenantPreferences], TenantPreferences]) -> TenantPreferences:
        return await change(self.get, make, self._store.save)


def _setting(
    scope: Scope, value: str, type_: str | None, category: str | None, channel: str | None, *, locked: bool = False
) -> Setting:
    select = Selector(type=type_, category=category, channel=channel)
    return Setting(scope=scope, select=select, value=value, locked=locked)


async def _types(store: Store, declared: Iterable[EventType], tenant: str) -> list[StoredEventType]:
    """Return the types that this program declares and those that are stored, in the order of their names."""
    found: dict[str, StoredEventType] = {}
    for owner in (ALL_TENANTS, tenant):
        stored = await store.page(StoredEventType, owner, limit=MAX_TYPES)
        found |= {event_type.name: event_type for event_type in stored}
    found |= {event_type.name: StoredEventType.of(event_type) for event_type in declared}
    return [each for _, each in sorted(found.items())]


async def _require_categories(
    store: Store, declared: Iterable[EventType], tenant: str, settings: Iterable[Setting]
) -> None:
    """Raise unless types of events have the categories of settings; where no type is known, each may be meant."""
    named = {setting.select.category for setting in settings} - {None, DEFAULT_CATEGORY}
    known = {event_type.category for event_type in await _types(store, declared, tenant)} if named else set()
    if known and (unknown := sorted(map(str, named - known))):
        told = f"known are {', '.join(sorted(known)[:_SHOWN])}"
        raise InvalidInputError([f"category: no type of event has the category {each!r}; {told}" for each in unknown])


def _with(settings: tuple[Setting, ...], new: Setting) -> tuple[Setting, ...]:
    return (*_without(settings, new.select), new)


def _without(settings: tuple[Setting, ...], select: Selector) -> tuple[Setting, ...]:
    return tuple(each for each in settings if each.select != select)


def _muted(
    topic: str | None, type_: str | None, category: str | None, channel: str | None, purpose: Purpose | str | None
) -> MuteSelector:
    wanted = None if purpose is None else Purpose(purpose)
    return MuteSelector(topic=topic, type=type_, category=category, channel=channel, purpose=wanted)


def _other_mutes(recipient: Recipient, select: MuteSelector) -> list[Mute]:
    return [each for each in recipient.mutes if each.select != select]


def _channels(recipient: Recipient, settings: Iterable[Setting]) -> tuple[str, ...]:
    """Return the channels that there are for a person, each once."""
    named = [setting.select.channel for setting in settings if setting.select.channel is not None]
    own = [address.channel for address in recipient.addresses]
    return tuple(dict.fromkeys([IN_APP, EMAIL, SMS, PUSH, *sorted({*named, *own})]))


def _cell(
    event_type: StoredEventType, channel: str, settings: Iterable[Setting], mutes: Iterable[Mute], now: datetime
) -> Cell:
    purpose = Purpose(event_type.purpose)
    about = (event_type.name, event_type.category, purpose, channel)
    if purpose is Purpose.SECURITY:  # neither settings nor mutes count
        return Cell(*about, ON, Scope.SYSTEM, locked=True, muted=False)
    notice = Notice(type=event_type.name, category=event_type.category, purpose=purpose)
    counts = setting_that_counts(settings, notice, channel)
    locked_on = counts is not None and counts.locked and counts.value == ON
    muted = not locked_on and is_muted(mutes, notice, channel, now)
    if counts is None:
        return Cell(*about, ON, None, locked=False, muted=muted)
    return Cell(*about, counts.value, counts.scope, locked=counts.locked, muted=muted)
