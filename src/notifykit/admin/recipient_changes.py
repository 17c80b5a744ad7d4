"""How a recipient is changed: what is given is checked as a whole, applied to what is stored, and saved."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, TypedDict

import attrs

from ..changes import change
from ..codec import dumps, json_problems, unstructure
from ..errors import InvalidInputError, NotFoundError, StaleWriteError
from ..models import checks
from ..models.addresses import AddressState
from ..models.checks import optional
from ..models.quiet_hours import zone_name
from ..models.recipient import (
    ADDRESS_CHECKS,
    EMAIL,
    MAX_ADDRESSES,
    MAX_NAME,
    MAX_TRAITS,
    SMS,
    Recipient,
    RecipientAddress,
    locale_name,
    spelled,
)
from ..ports import Clock, Store

#: What a recipient may have as JSON, with everything.
MAX_RECIPIENT = 256 * 1024


class RecipientFields(TypedDict, total=False):
    """What can be said of a recipient; see :meth:`notifykit.admin.recipients.Recipients.save`."""

    name: str | None
    locale: str | None
    zone: str | None
    traits: Mapping[str, Any]
    email: str | Iterable[str] | None
    sms: str | Iterable[str] | None
    addresses: Iterable[RecipientAddress]


def _one_or_many(check: checks.Check, what: str) -> checks.Check:
    several = checks.many(check, most=MAX_ADDRESSES, what=what)
    return lambda value: check(value) if isinstance(value, str) else several(value)


#: The channels whose addresses can be given as texts, and what they are called.
_CHANNELS = {EMAIL: "e-mail addresses", SMS: "telephone numbers"}
_FIELDS: Mapping[str, checks.Check] = {
    "name": optional(checks.text(most=MAX_NAME, empty=True)),
    "locale": optional(lambda value: locale_name(spelled(value))),
    "zone": optional(zone_name),
    "traits": checks.instance(Mapping),
    "addresses": checks.many(checks.instance(RecipientAddress), most=MAX_ADDRESSES, what="addresses"),
    **{channel: optional(_one_or_many(ADDRESS_CHECKS[channel], what)) for channel, what in _CHANNELS.items()},
}


def checked_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was given, with lists where it may have been iterators.

    Raises:
        InvalidInputError: With every problem found.
    """
    given = {
        name: checks.listed(value, MAX_ADDRESSES) if name == "addresses" or name in _CHANNELS else value
        for name, value in fields.items()
    }
    known = ", ".join(sorted(_FIELDS))
    wrong = [f"{str(name)[:40]}: is unknown; known are {known}" for name in given if name not in _FIELDS]
    wrong += checks.problems(given, _FIELDS)
    if isinstance(traits := given.get("traits"), Mapping):
        wrong += json_problems(traits, path="traits", max_bytes=MAX_TRAITS)
    if wrong:
        raise InvalidInputError(wrong)
    return given


def applied(current: Recipient, fields: Mapping[str, Any], now: datetime) -> Recipient:
    """Return the recipient with what is given; the same one if that changes nothing.

    Args:
        fields: Checked ones.

    Raises:
        InvalidInputError: The recipient has too much of something then.
    """
    changes = {name: value for name, value in fields.items() if name != "addresses" and name not in _CHANNELS}
    addresses = list(fields.get("addresses", current.addresses))
    for channel in _CHANNELS:
        if channel in fields:
            given = fields[channel]
            texts = (given,) if isinstance(given, str) else given or ()
            addresses = [each for each in addresses if each.channel != channel]
            addresses += [RecipientAddress(channel=channel, address=each) for each in dict.fromkeys(texts)]
    known = {(each.channel, each.address): each for each in current.addresses}
    merged = {
        (each.channel, each.address): _merged(each, known.get((each.channel, each.address)), now) for each in addresses
    }
    changed = attrs.evolve(current, addresses=tuple(merged.values()), **changes)
    return current if changed == current else changed


def _merged(given: RecipientAddress, known: RecipientAddress | None, now: datetime) -> RecipientAddress:
    """Return an address in the state that is known of it, unless another one is given."""
    if known is None or given.state not in (AddressState.ACTIVE, known.state):
        since = None if given.state is AddressState.ACTIVE else now
        return given if given.changed_at is not None else attrs.evolve(given, changed_at=since)
    return attrs.evolve(known, app=given.app or known.app, platform=given.platform or known.platform)


def require_size(recipient: Recipient) -> None:
    """Raise unless a row can hold the recipient.

    Raises:
        InvalidInputError: It has too much of everything.
    """
    size = len(dumps(unstructure(recipient)))
    if size > MAX_RECIPIENT:
        raise InvalidInputError([f"recipient: has {size} bytes as JSON, at most {MAX_RECIPIENT}"])


def new_recipient(tenant: str, recipient_id: str, now: datetime) -> Recipient:
    """Return a recipient of whom nothing is known yet."""
    return Recipient(id=recipient_id, tenant=tenant, created_at=now, updated_at=now)


async def edit(
    store: Store,
    clock: Clock,
    tenant: str,
    recipient_id: str,
    make: Callable[[Recipient], Recipient],
    *,
    version: int | None = None,
    may_create: bool = False,
) -> Recipient:
    """Change a recipient and save it; nothing is written if nothing changes.

    Args:
        make: Returns the changed recipient.
        version: The only version that may be changed; by default whichever there is.
        may_create: Whether to begin with a new recipient if there is none.

    Raises:
        NotFoundError: The tenant has no such recipient.
        StaleWriteError: The recipient has another version.
    """

    async def read() -> Recipient:
        found = await store.get(Recipient, tenant, [recipient_id])
        if not found and not may_create:
            raise NotFoundError("recipient", recipient_id)
        return found[0] if found else new_recipient(tenant, recipient_id, clock.now())

    async def save(changed: Recipient) -> Recipient:
        require_size(changed)
        return await store.save(attrs.evolve(changed, updated_at=clock.now()))

    def made(current: Recipient) -> Recipient:
        changed = make(current)
        # A new one is saved even if nothing is known of the person but the id.
        return attrs.evolve(changed) if current.version == 0 else current if changed == current else changed

    if version is None:
        return await change(read, made, save)
    current = await read()
    if current.version != version:
        raise StaleWriteError("recipient", recipient_id)
    changed = made(current)
    return current if changed is current else await save(changed)
