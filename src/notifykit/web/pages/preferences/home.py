"""The page of the preference centre, and what its forms do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any
from zoneinfo import available_timezones

import attrs
from starlette.responses import Response

from ....admin.preferences import MAX_TYPES
from ....errors import InvalidInputError
from ....models.access import AccessScope
from ....models.addresses import AddressState
from ....models.event_type import ALL_TENANTS, StoredEventType
from ....models.preferences import Mute, Purpose
from ....models.quiet_hours import Weekday, Window
from ....models.recipient import PUSH, Recipient
from ..page import PageRoutes, Visit
from ..sessions import PREFERENCES
from .matrix import Row, changed_settings, channel_label, rows_of

PAGES = PageRoutes(PREFERENCES)
_HOW = "preference centre"
_DAYS = {day.value: name for day, name in zip(Weekday, ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"), strict=True)}
#: Until when everything can be muted, in hours.
_PAUSES = {"1": "for an hour", "8": "for 8 hours", "24": "for a day", "168": "for a week", "": "until I end it"}
_DONE = {
    "choices": "Your choices are saved.",
    "quiet": "Your quiet hours are saved.",
    "mute": "Saved. You can end it below at any time.",
    "unmute": "Ended.",
    "consent": "Saved.",
}
_STATES = {
    AddressState.ACTIVE: "In use",
    AddressState.UNVERIFIED: "Not confirmed yet, so nothing is sent there",
    AddressState.SUPPRESSED: "Stopped",
    AddressState.GONE: "Does not exist any more",
}


@PAGES.add("GET", "", AccessScope.PREFERENCES_READ)
async def preferences(visit: Visit) -> Response:
    """Show a person what they have chosen."""
    recipient = await _person(visit)
    now = visit.kit.clock.now()
    rows, windows = await _rows(visit), recipient.quiet_hours.windows
    return visit.show(
        "preferences/home.html",
        recipient=recipient,
        rows=rows,
        channels=[choice.label for choice in rows[0].choices] if rows else [],
        mutes=[
            {"number": number, "what": _what(mute), "until": mute.until}
            for number, mute in enumerate(recipient.mutes)
            if mute.until is None or mute.until > now
        ],
        windows=[
            *({"days": [day.value for day in each.days], "begin": each.from_, "end": each.to} for each in windows),
            {"days": [], "begin": "", "end": ""},
        ],
        exceptions=recipient.quiet_hours.exceptions,
        days=_DAYS,
        pauses=_PAUSES,
        zone=recipient.zone or "",
        zones=sorted(available_timezones()),
        addresses=[_address(each) for each in recipient.addresses],
        consents=Purpose.MARKETING in recipient.consented,
        consent=next((each for each in reversed(recipient.consents) if each.purpose is Purpose.MARKETING), None),
        done=_DONE.get(visit.query.get("done", ""), ""),
    )


@PAGES.add("POST", "", AccessScope.PREFERENCES_WRITE)
async def choose(visit: Visit) -> Response:
    """Save the table; the script of the page sends what has changed alone, without the version."""
    recipient = await _person(visit)
    if visit.field("version") not in ("", str(recipient.version)):
        raise InvalidInputError(["your choices have been changed elsewhere meanwhile: load the page again"])
    given = {name: values[-1] for name, values in visit.form.items()}
    settings = changed_settings(recipient.settings, await _rows(visit), given)
    if settings != recipient.settings:
        await _preferences(visit).replace(settings, version=recipient.version)
    return visit.go("/preferences", done="choices")


@PAGES.add("POST", "/quiet-hours", AccessScope.PREFERENCES_WRITE)
async def save_quiet_hours(visit: Visit) -> Response:
    """Save when the person is not disturbed, and their time zone."""
    windows: list[Window] = []
    for number, begin in enumerate(visit.form.get("begin", [])):
        days, end = visit.form.get(f"days-{number}", []), visit.form.get("end", [])[number : number + 1]
        if days and begin and end and end[0]:
            windows.append(Window(days=tuple(Weekday(day) for day in days if day in _DAYS), from_=begin, to=end[0]))
    zone = visit.field("zone") or None
    recipient = await _person(visit)
    if zone != recipient.zone:
        await visit.kit.recipients.save(recipient.id, tenant=visit.tenant, zone=zone)
    await _preferences(visit).quiet_hours(windows, exceptions=visit.form.get("exceptions", []))
    return visit.go("/preferences", done="quiet")


@PAGES.add("POST", "/mute", AccessScope.PREFERENCES_WRITE)
async def mute(visit: Visit) -> Response:
    """Send nothing at all, or nothing of a category, for a time."""
    hours = visit.field("hours")
    if hours not in _PAUSES:
        raise InvalidInputError(["hours: choose one of those that are offered"])
    until = visit.kit.clock.now() + timedelta(hours=int(hours)) if hours else None
    category = visit.field("category") or None
    await _preferences(visit).mute(category=category, until=until, by=visit.access.subject, how=_HOW)
    return visit.go("/preferences", done="mute")


@PAGES.add("POST", "/unmute", AccessScope.PREFERENCES_WRITE)
async def unmute(visit: Visit) -> Response:
    """End a mute, which is named by what it says: others may have come and gone since the page was made."""
    number, recipient = visit.field("number"), await _person(visit)
    mutes = recipient.mutes
    if not (number.isascii() and number.isdecimal() and int(number[:9]) < len(mutes)):
        raise InvalidInputError(["number: there is no such mute any more"])
    chosen = mutes[int(number)]
    if _what(chosen) != visit.field("what"):
        raise InvalidInputError(["number: your mutes have changed: load the page again"])
    await _preferences(visit).unmute(**attrs.asdict(chosen.select))
    return visit.go("/preferences", done="unmute")


@PAGES.add("POST", "/consent", AccessScope.PREFERENCES_WRITE)
async def consent(visit: Visit) -> Response:
    """Agree to marketing, or withdraw it."""
    granted = visit.field("granted") == "yes"
    await _preferences(visit).consent(granted=granted, by=visit.access.subject, how=_HOW)
    return visit.go("/preferences", done="consent")


@PAGES.add("GET", "/theme.css", AccessScope.PREFERENCES_READ)
async def theme(visit: Visit) -> Response:
    """Return the colours of the tenant."""
    headers = {"Cache-Control": "private, max-age=300"}
    return Response(visit.renderer.options.theme(visit.tenant), headers=headers, media_type="text/css")


def _preferences(visit: Visit) -> Any:
    return visit.kit.preferences(visit.access.subject, tenant=visit.tenant)


async def _person(visit: Visit) -> Recipient:
    return await visit.kit.recipients.get(visit.access.subject, tenant=visit.tenant)


async def _rows(visit: Visit) -> Sequence[Row]:
    cells = await _preferences(visit).matrix()
    sender = visit.renderer.options.look_of(visit.tenant).name or "the sender"
    return rows_of(cells, await _digests(visit, {cell.category for cell in cells}), sender)


async def _digests(visit: Visit, categories: set[str]) -> Mapping[str, Sequence[str]]:
    """Return the names of the digests that types of each category come in."""
    found: dict[str, set[str]] = {category: set() for category in categories}
    for owner in (ALL_TENANTS, visit.tenant):
        for each in await visit.kit.store.page(StoredEventType, owner, limit=MAX_TYPES):
            if each.digest is not None and each.category in found:
                found[each.category].add(each.digest.name)
    return {category: sorted(names) for category, names in found.items()}


def _what(mute: Mute) -> str:
    """Return in words what a mute holds back."""
    select = mute.select
    about = select.type or select.category or (select.purpose and select.purpose.value)
    parts = [f"“{about}”" if about else "Everything"]
    parts += [f"by {channel_label(select.channel)}"] if select.channel else []
    parts += [f"about {select.topic}"] if select.topic else []
    return " ".join(parts)


def _address(address: Any) -> Mapping[str, str]:
    is_device = address.channel == PUSH
    shown = " ".join(filter(None, ("Device", address.platform, address.app))) if is_device else address.address
    return {
        "channel": channel_label(address.channel),
        "address": shown,
        "state": address.state.value,
        "told": _STATES[address.state],
    }
