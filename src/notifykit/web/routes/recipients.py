"""Persons and their addresses."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import attrs

from ...errors import InvalidInputError
from ...models.access import AccessScope
from ...models.addresses import MAX_ADDRESS, AddressState
from ...models.checks import MAX_DESCRIPTION, instance, many, one_of, optional, prose, text
from ...models.preferences import Purpose, label
from ...models.quiet_hours import zone_name
from ...models.recipient import (
    ADDRESS_CHECKS,
    EMAIL,
    MAX_ADDRESSES,
    MAX_NAME,
    SMS,
    Recipient,
    RecipientAddress,
    locale_name,
    spelled,
)
from ..operation import etag, version_in
from ..route import Answer, Call, PageOf, PageQuery, Routes, described, page_of

ROUTES = Routes("Recipients")
_email = many(ADDRESS_CHECKS[EMAIL], most=MAX_ADDRESSES, what="e-mail addresses")
_sms = many(ADDRESS_CHECKS[SMS], most=MAX_ADDRESSES, what="telephone numbers")
_address = text(most=MAX_ADDRESS)
_ACTIONS = ("remove", "suppress", "unsuppress", "verify")
_LABEL = {"minLength": 1, "maxLength": 128}
_ADDRESS = {"minLength": 1, "maxLength": MAX_ADDRESS}


@attrs.frozen(kw_only=True)
class AddressView:
    """Where a person is reached on a channel.

    Attributes:
        reason: Why it has its state.
        app: Which app of yours a device's token belongs to.
        platform: Of a device.
    """

    channel: str
    address: str
    state: AddressState
    reason: str | None
    app: str | None
    platform: str | None

    @classmethod
    def of(cls, address: RecipientAddress) -> AddressView:
        """Return what is shown of an address."""
        return cls(**{field.name: getattr(address, field.name) for field in attrs.fields(cls)})


@attrs.frozen(kw_only=True)
class RecipientView:
    """A person.

    Attributes:
        id: Your own id.
        locale: BCP 47, such as ``de-AT``.
        zone: The IANA name of the time zone.
        traits: What templates may need of the person.
        version: Changes with each save: the response's ETag.
    """

    id: str
    name: str | None
    locale: str | None
    zone: str | None
    traits: Mapping[str, Any]
    addresses: tuple[AddressView, ...]
    created_at: datetime
    updated_at: datetime
    version: int

    @classmethod
    def of(cls, recipient: Recipient) -> RecipientView:
        """Return what is shown of a person."""
        names = {field.name for field in attrs.fields(cls)} - {"addresses"}
        shown = {name: getattr(recipient, name) for name in names}
        return cls(addresses=tuple(map(AddressView.of, recipient.addresses)), **shown)


def _answer(recipient: Recipient) -> Answer:
    return Answer(RecipientView.of(recipient), etag(recipient.version))


@ROUTES.add("GET", "/v1/recipients", AccessScope.RECIPIENTS_READ, query=PageQuery, answer=PageOf(RecipientView))
async def list_recipients(call: Call) -> Any:
    """List persons in the order of their ids."""
    query: PageQuery = call.query
    found = await call.kit.recipients.list(tenant=call.tenant, limit=query.limit + 1, after=query.cursor)
    return page_of(found, query.limit, RecipientView.of)


@ROUTES.add("GET", "/v1/recipients/{recipient_id}", AccessScope.RECIPIENTS_READ, answer=RecipientView, has_etag=True)
async def get_recipient(call: Call) -> Any:
    """Return a person."""
    return _answer(await call.kit.recipients.get(call.path["recipient_id"], tenant=call.tenant))


@attrs.frozen(kw_only=True)
class RecipientFields:
    """What is said of a person.

    Attributes:
        locale: BCP 47, such as ``de-AT``.
        zone: The IANA name of the time zone.
        traits: What templates may need of the person: all of them, at most 64 kB.
        email: All e-mail addresses, the preferred one first.
        sms: All telephone numbers (E.164).
    """

    name: str | None = described(optional(text(most=MAX_NAME, empty=True)), default=None, maxLength=MAX_NAME)
    locale: str | None = described(optional(lambda value: locale_name(spelled(value))), default=None)
    zone: str | None = described(optional(zone_name), default=None)
    traits: Mapping[str, Any] | None = described(optional(instance(Mapping)), default=None)
    email: tuple[str, ...] | None = described(optional(_email), default=None, maxItems=MAX_ADDRESSES)
    sms: tuple[str, ...] | None = described(optional(_sms), default=None, maxItems=MAX_ADDRESSES)


_FIELDS = tuple(field.name for field in attrs.fields(RecipientFields))


async def _save(call: Call, names: Any) -> Answer:
    fields = {name: getattr(call.body, name) for name in names}
    if fields.get("traits", {}) is None:
        fields["traits"] = {}
    saved = await call.kit.recipients.save(
        call.path["recipient_id"], tenant=call.tenant, version=version_in(call.request), **fields
    )
    return _answer(saved)


@ROUTES.add(
    "PUT",
    "/v1/recipients/{recipient_id}",
    AccessScope.RECIPIENTS_WRITE,
    body=RecipientFields,
    answer=RecipientView,
    has_etag=True,
)
async def put_recipient(call: Call) -> Any:
    """Save a person: a new one, or in place of what was said before.

    What the person wants stays, and so do the states of addresses, and addresses of channels other than e-mail and
    SMS.  With ``If-Match`` only if it has not changed since.
    """
    return await _save(call, _FIELDS)


@ROUTES.add(
    "PATCH",
    "/v1/recipients/{recipient_id}",
    AccessScope.RECIPIENTS_WRITE,
    body=RecipientFields,
    answer=RecipientView,
    has_etag=True,
)
async def patch_recipient(call: Call) -> Any:
    """Change what is given of a person, and keep the rest; ``null`` removes."""
    await call.kit.recipients.get(call.path["recipient_id"], tenant=call.tenant)
    return await _save(call, call.given)


@ROUTES.add("DELETE", "/v1/recipients/{recipient_id}", AccessScope.RECIPIENTS_WRITE)
async def delete_recipient(call: Call) -> None:
    """Remove a person with their subscriptions; what waits for them is cancelled, and history stays."""
    await call.kit.recipients.delete(call.path["recipient_id"], tenant=call.tenant)


@ROUTES.add("GET", "/v1/recipients/{recipient_id}/export", AccessScope.RECIPIENTS_READ, answer=Mapping[str, Any])
async def export_recipient(call: Call) -> Any:
    """Return everything that is known of a person (GDPR, article 15)."""
    return await call.kit.recipients.export(call.path["recipient_id"], tenant=call.tenant)


@attrs.frozen(kw_only=True)
class Erased:
    """What was erased.

    Attributes:
        rows: How many rows were deleted or changed.
    """

    rows: int


@ROUTES.add("POST", "/v1/recipients/{recipient_id}/erase", AccessScope.RECIPIENTS_WRITE, answer=Erased)
async def erase_recipient(call: Call) -> Any:
    """Delete everything that is known of a person, with the history (GDPR, article 17)."""
    return Erased(rows=await call.kit.recipients.erase(call.path["recipient_id"], tenant=call.tenant))


@attrs.frozen(kw_only=True)
class NewAddress:
    """An address to add, such as the token of a device.

    Attributes:
        app: Which app of yours a device's token belongs to.
        platform: Of a device: ``ios``, ``android``, ``web``.
    """

    channel: str = described(label, **_LABEL)
    address: str = described(_address, **_ADDRESS)
    app: str | None = described(optional(label), default=None, **_LABEL)
    platform: str | None = described(optional(label), default=None, **_LABEL)


@ROUTES.add(
    "POST",
    "/v1/recipients/{recipient_id}/addresses",
    AccessScope.RECIPIENTS_WRITE,
    body=NewAddress,
    answer=RecipientView,
    has_etag=True,
)
async def add_address(call: Call) -> Any:
    """Add an address of a person; one that is there already keeps its state."""
    new: NewAddress = call.body
    saved = await call.kit.recipients.add_address(
        call.path["recipient_id"], new.channel, new.address, tenant=call.tenant, app=new.app, platform=new.platform
    )
    return _answer(saved)


@attrs.frozen(kw_only=True)
class AddressAction:
    """What is done with an address.

    Attributes:
        action: ``remove`` it, ``suppress`` it (stop using it), ``unsuppress`` it, or ``verify`` it (the person has
            confirmed it).
        reason: Why.
        purposes: Of a suppression: only for these.
        until: Of a suppression: only until then.
    """

    action: str = described(one_of(_ACTIONS), enum=list(_ACTIONS))
    channel: str = described(label, **_LABEL)
    address: str = described(_address, **_ADDRESS)
    reason: str = described(prose, default="over the API", maxLength=MAX_DESCRIPTION)
    purposes: tuple[Purpose, ...] = ()
    until: datetime | None = None


@ROUTES.add(
    "POST",
    "/v1/recipients/{recipient_id}/addresses/actions",
    AccessScope.RECIPIENTS_WRITE,
    body=AddressAction,
    answer=RecipientView,
    has_etag=True,
)
async def act_on_address(call: Call) -> Any:
    """Remove, suppress, unsuppress or verify an address of a person."""
    asked: AddressAction = call.body
    people, its = call.kit.recipients, (call.path["recipient_id"], asked.channel, asked.address)
    if asked.action != "suppress" and (asked.purposes or asked.until is not None):
        raise InvalidInputError(["purposes: these and until go with suppress"])
    match asked.action:
        case "remove":
            saved = await people.remove_address(*its, tenant=call.tenant)
        case "suppress":
            saved = await people.suppress(
                *its, tenant=call.tenant, reason=asked.reason, purposes=asked.purposes, until=asked.until
            )
        case "unsuppress":
            saved = await people.unsuppress(*its, tenant=call.tenant, reason=asked.reason)
        case _:
            saved = await people.verify(*its, tenant=call.tenant, reason=asked.reason)
    return _answer(saved)
