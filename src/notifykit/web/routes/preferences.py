"""What a person wants, and whether and why they are told."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import attrs

from ...errors import InvalidInputError
from ...models.access import AccessScope
from ...models.checks import MAX_ID, field_check, flag, identifier, optional, prose, text
from ...models.preferences import Mute, MuteSelector, Purpose, Scope, Selector, Setting, label, setting_value, type_name
from ...models.quiet_hours import QuietHours, Weekday, Window
from ...models.recipient import MAX_MUTES, MAX_NAME, MAX_SETTINGS, Recipient
from ...options import moment
from ..operation import etag, version_in
from ..route import Answer, Call, Routes, described
from .deliveries import DeliveryView

ROUTES = Routes("Preferences")
_LABEL = {"minLength": 1, "maxLength": 128}
_type = optional(type_name)
_label = optional(label)


@attrs.frozen(kw_only=True)
class SettingBody:
    """Whether events are sent: of a type, of a category or all, on a channel or on all.

    Attributes:
        value: ``on``, ``off``, or ``digest:NAME`` to collect them in a digest.
    """

    type: str | None = described(_type, default=None, **_LABEL)
    category: str | None = described(_label, default=None, **_LABEL)
    channel: str | None = described(_label, default=None, **_LABEL)
    value: str = described(setting_value, pattern="^(on|off|digest:.+)$")

    @classmethod
    def of(cls, setting: Setting) -> SettingBody:
        """Return what is shown of a setting."""
        select = setting.select
        return cls(type=select.type, category=select.category, channel=select.channel, value=setting.value)

    def setting(self) -> Setting:
        """Return the setting of a person."""
        select = Selector(type=self.type, category=self.category, channel=self.channel)
        return Setting(scope=Scope.RECIPIENT, select=select, value=self.value)


@attrs.frozen(kw_only=True)
class MuteBody:
    """A wish not to get something: each part that is given must fit; without any that is everything.

    Attributes:
        topic: A pattern of topics, such as ``project/7/**``.
        until: When it ends.
    """

    type: str | None = described(_type, default=None, **_LABEL)
    category: str | None = described(_label, default=None, **_LABEL)
    channel: str | None = described(_label, default=None, **_LABEL)
    topic: str | None = None
    purpose: Purpose | None = None
    until: datetime | None = None

    @classmethod
    def of(cls, mute: Mute) -> MuteBody:
        """Return what is shown of a mute."""
        select = mute.select
        return cls(
            type=select.type,
            category=select.category,
            channel=select.channel,
            topic=select.topic,
            purpose=select.purpose,
            until=mute.until,
        )

    def mute(self) -> Mute:
        """Return the mute."""
        return Mute(select=self.select(), until=self.until)

    def select(self) -> MuteSelector:
        """Return what it is about."""
        return MuteSelector(
            type=self.type, category=self.category, channel=self.channel, topic=self.topic, purpose=self.purpose
        )


@attrs.frozen(kw_only=True)
class WindowBody:
    """A span of wall-clock time on some days of the week.

    Attributes:
        days: The days on which it begins.
        begin: When it begins, such as ``22:00``.
        end: When it ends; on the next day if that is not later.
    """

    days: tuple[Weekday, ...]
    begin: str
    end: str

    def window(self) -> Window:
        """Return the window."""
        return Window(days=self.days, from_=self.begin, to=self.end)


@attrs.frozen(kw_only=True)
class QuietHoursBody:
    """When a person is not disturbed, in their own time zone.

    Attributes:
        exceptions: Categories that are sent all the same.
    """

    windows: tuple[WindowBody, ...] = ()
    exceptions: tuple[str, ...] = ()

    @classmethod
    def of(cls, quiet: QuietHours) -> QuietHoursBody:
        """Return what is shown of quiet hours."""
        windows = tuple(WindowBody(days=each.days, begin=each.from_, end=each.to) for each in quiet.windows)
        return cls(windows=windows, exceptions=tuple(sorted(quiet.exceptions)))

    def quiet_hours(self, zone: str | None) -> QuietHours:
        """Return the quiet hours of a person in a zone."""
        windows = tuple(each.window() for each in self.windows)
        return QuietHours(zone=zone or "UTC", windows=windows, exceptions=self.exceptions)


@attrs.frozen(kw_only=True)
class ConsentView:
    """That a person agreed to a purpose, or withdrew their consent."""

    purpose: Purpose
    granted: bool
    at: datetime
    by: str
    how: str


@attrs.frozen(kw_only=True)
class CellView:
    """What the settings of all levels come to for a type of event on a channel.

    Attributes:
        scope: Where the setting that counts was made; ``null`` if there is none.
        locked: Whether the person cannot change it.
        muted: Whether a mute holds it back all the same.
    """

    type: str
    category: str
    purpose: Purpose
    channel: str
    value: str
    scope: Scope | None
    locked: bool
    muted: bool


@attrs.frozen(kw_only=True)
class PreferencesView:
    """What a person wants.

    Attributes:
        settings: The person's own.
        consents: Every grant and withdrawal, the newest last.
        matrix: What the settings of all levels come to, for each type and channel.
        version: Of the person's record: the response's ETag.
    """

    user_id: str
    settings: tuple[SettingBody, ...]
    mutes: tuple[MuteBody, ...]
    quiet_hours: QuietHoursBody
    consents: tuple[ConsentView, ...]
    matrix: tuple[CellView, ...]
    version: int


async def _answer(call: Call, recipient: Recipient) -> Answer:
    matrix = await call.kit.preferences(recipient.id, tenant=call.tenant).matrix()
    view = PreferencesView(
        user_id=recipient.id,
        settings=tuple(map(SettingBody.of, recipient.settings)),
        mutes=tuple(map(MuteBody.of, recipient.mutes)),
        quiet_hours=QuietHoursBody.of(recipient.quiet_hours),
        consents=tuple(
            ConsentView(purpose=each.purpose, granted=each.granted, at=each.at, by=each.by, how=each.how)
            for each in recipient.consents
        ),
        matrix=tuple(CellView(**cell._asdict()) for cell in matrix),
        version=recipient.version,
    )
    return Answer(view, etag(recipient.version))


@ROUTES.add(
    "GET",
    "/v1/preferences/{user_id}",
    AccessScope.PREFERENCES_READ,
    answer=PreferencesView,
    person="user_id",
    has_etag=True,
)
async def get_preferences(call: Call) -> Any:
    """Return what a person wants, and what that comes to for each type of event and channel."""
    return await _answer(call, await call.kit.recipients.get(call.path["user_id"], tenant=call.tenant))


@attrs.frozen(kw_only=True)
class PreferencesBody:
    """What a person wants, in place of what was there; mutes and quiet hours that are not given stay."""

    settings: tuple[SettingBody, ...] = attrs.field(metadata={"schema": {"maxItems": MAX_SETTINGS}})
    mutes: tuple[MuteBody, ...] | None = attrs.field(default=None, metadata={"schema": {"maxItems": MAX_MUTES}})
    quiet_hours: QuietHoursBody | None = None


@ROUTES.add(
    "PUT",
    "/v1/preferences/{user_id}",
    AccessScope.PREFERENCES_WRITE,
    body=PreferencesBody,
    answer=PreferencesView,
    person="user_id",
    has_etag=True,
)
async def put_preferences(call: Call) -> Any:
    """Save what a person wants, in one step; with ``If-Match`` only if it has not changed since."""
    body: PreferencesBody = call.body
    recipient = await call.kit.recipients.get(call.path["user_id"], tenant=call.tenant)
    saved = await call.kit.preferences(recipient.id, tenant=call.tenant).replace(
        [each.setting() for each in body.settings],
        mutes=None if body.mutes is None else [each.mute() for each in body.mutes],
        quiet_hours=None if body.quiet_hours is None else body.quiet_hours.quiet_hours(recipient.zone),
        version=version_in(call.request),
    )
    return await _answer(call, saved)


@ROUTES.add(
    "POST",
    "/v1/preferences/{user_id}/mute",
    AccessScope.PREFERENCES_WRITE,
    body=MuteBody,
    answer=PreferencesView,
    person="user_id",
    has_etag=True,
)
async def mute(call: Call) -> Any:
    """Send a person nothing to which everything given applies."""
    body: MuteBody = call.body
    wanted = attrs.asdict(body, recurse=False)
    saved = await call.kit.preferences(call.path["user_id"], tenant=call.tenant).mute(**wanted)
    return await _answer(call, saved)


@ROUTES.add(
    "POST",
    "/v1/preferences/{user_id}/unmute",
    AccessScope.PREFERENCES_WRITE,
    body=MuteBody,
    answer=PreferencesView,
    person="user_id",
    has_etag=True,
)
async def unmute(call: Call) -> Any:
    """End the mute that was made with the same names; ``until`` does not count."""
    body: MuteBody = call.body
    wanted = attrs.asdict(body, recurse=False)
    del wanted["until"]
    saved = await call.kit.preferences(call.path["user_id"], tenant=call.tenant).unmute(**wanted)
    return await _answer(call, saved)


@attrs.frozen(kw_only=True)
class ConsentBody:
    """That a person agrees to a purpose, or withdraws their consent.

    Attributes:
        granted: ``false`` for a withdrawal.
        how: In what way: the form, its version, the text that was agreed to.
    """

    purpose: Purpose = Purpose.MARKETING
    granted: bool = described(flag, default=True)
    by: str = described(text(most=MAX_NAME, empty=True), default="", maxLength=MAX_NAME)
    how: str = described(prose, default="", maxLength=500)


@ROUTES.add(
    "POST",
    "/v1/preferences/{user_id}/consents",
    AccessScope.PREFERENCES_WRITE,
    body=ConsentBody,
    answer=PreferencesView,
    person="user_id",
    has_etag=True,
)
async def record_consent(call: Call) -> Any:
    """Record that a person agrees to a purpose, or withdraws their consent."""
    body: ConsentBody = call.body
    saved = await call.kit.preferences(call.path["user_id"], tenant=call.tenant).consent(
        purpose=body.purpose, granted=body.granted, by=body.by or call.caller.subject, how=body.how
    )
    return await _answer(call, saved)


@attrs.frozen(kw_only=True)
class ExplainQuery:
    """What is explained: an event, or a type of event.

    Attributes:
        event_id: Why the person was told of this event, or was not.
        type: Whether the person would be told of an event of this type.
        topic: For a type: of the event.
        at: For a type: when it would be planned; now by default.
    """

    event_id: str | None = described(optional(identifier), default=None, maxLength=MAX_ID)
    type: str | None = described(_type, default=None, **_LABEL)
    topic: str | None = described(optional(text(most=255, empty=True)), default=None, maxLength=255)
    at: datetime | None = attrs.field(default=None, validator=field_check(optional(moment)))


@attrs.frozen(kw_only=True)
class StepVerdict:
    """What would become of one step.

    Attributes:
        at: When it would be sent; ``null`` if it would not.
        code: Why; stable.
        sentence: Why, for people.
        fallback: Whether it would only be sent if no step before it arrives.
    """

    channel: str
    at: datetime | None
    code: str
    sentence: str
    fallback: bool


@attrs.frozen(kw_only=True)
class PersonExplanationView:
    """Why a person was told of an event, or was not, and what would become of it now.

    Attributes:
        reached_by: Why the event concerns the person: ``named``, ``subscribed``, ``actor`` or ``nothing``.
        deliveries: What is recorded of the event for the person.
        steps: What would become of each step now.
        text: The whole explanation as text.
    """

    recipient_id: str
    event_type: str
    is_known: bool
    reached_by: str | None
    deliveries: tuple[DeliveryView, ...]
    steps: tuple[StepVerdict, ...]
    text: str


@ROUTES.add(
    "GET",
    "/v1/recipients/{recipient_id}/explain",
    AccessScope.RECIPIENTS_READ,
    query=ExplainQuery,
    answer=PersonExplanationView,
)
async def explain_person(call: Call) -> Any:
    """Explain why a person was told of an event or was not, or whether they would be."""
    query: ExplainQuery = call.query
    what = query.event_id if query.type is None else query.type
    if what is None or (query.event_id is not None and query.type is not None):
        raise InvalidInputError(["query.event_id: give either event_id or type"])
    found = await call.kit.explain(call.path["recipient_id"], what, tenant=call.tenant, topic=query.topic, at=query.at)
    return PersonExplanationView(
        recipient_id=found.recipient_id,
        event_type=found.event_type,
        is_known=found.is_known,
        reached_by=found.reached_by,
        deliveries=tuple(map(DeliveryView.of, found.deliveries)),
        steps=tuple(
            StepVerdict(
                channel=step.channel, at=step.at, code=str(step.code), sentence=step.sentence, fallback=step.fallback
            )
            for step in found.steps
        ),
        text=str(found),
    )
