"""The suppression list of a tenant: addresses that must not be used.

Addresses are in bodies only: what is in a path or a query gets into the logs of proxies.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import attrs

from ...models.access import AccessScope
from ...models.addresses import MAX_ADDRESS
from ...models.checks import MAX_DESCRIPTION, prose, text
from ...models.preferences import Purpose
from ...models.suppression import (
    SuppressedAddress,
    SuppressionEntry,
    SuppressionReason,
    listed_channel,
    suppression_id,
)
from ..route import Call, PageOf, PageQuery, Routes, described, page_of

ROUTES = Routes("Suppressions")
_address = text(most=MAX_ADDRESS)
_LABEL = {"minLength": 1, "maxLength": 128}
_ADDRESS = {"minLength": 1, "maxLength": MAX_ADDRESS}


@attrs.frozen(kw_only=True)
class SuppressionEntryView:
    """One reason why an address must not be used.

    Attributes:
        purposes: For which purposes; none at all means for every purpose.
        evidence: What shows it: the answer of a mail server, the text of an SMS, who asked for it.
        until: When it ends; ``null`` for never.
    """

    reason: SuppressionReason
    purposes: tuple[Purpose, ...]
    evidence: str
    since: datetime
    until: datetime | None

    @classmethod
    def of(cls, entry: SuppressionEntry) -> SuppressionEntryView:
        """Return what is shown of an entry."""
        return cls(**{field.name: getattr(entry, field.name) for field in attrs.fields(cls)})


@attrs.frozen(kw_only=True)
class SuppressionView:
    """An address on the suppression list, which has a hash of it only.

    Attributes:
        id: The channel and the hash.
        entries: One for each reason.
    """

    id: str
    channel: str
    entries: tuple[SuppressionEntryView, ...]

    @classmethod
    def of(cls, suppressed: SuppressedAddress) -> SuppressionView:
        """Return what is shown of an address."""
        entries = tuple(map(SuppressionEntryView.of, suppressed.entries))
        return cls(id=suppressed.id, channel=suppressed.channel, entries=entries)


@ROUTES.add("GET", "/v1/suppressions", AccessScope.SUPPRESSIONS_READ, query=PageQuery, answer=PageOf(SuppressionView))
async def list_suppressions(call: Call) -> Any:
    """List the addresses that must not be used, in the order of their ids."""
    query: PageQuery = call.query
    found = await call.kit.suppressions.page(tenant=call.tenant, limit=query.limit + 1, after=query.cursor)
    return page_of(found, query.limit, SuppressionView.of)


@attrs.frozen(kw_only=True)
class NewSuppression:
    """An address that must not be used.

    Attributes:
        channel: ``email``, ``sms``, ``push`` …
        purposes: Only for these; none (``[]``) for every one. By default ``unsubscribe`` counts for marketing,
            ``complaint`` for everything but security, and every other reason for all.
        evidence: What shows it, such as the answer of the mail server.
        until: Only until then.
    """

    channel: str = described(listed_channel, **_LABEL)
    address: str = described(_address, **_ADDRESS)
    reason: SuppressionReason = SuppressionReason.MANUAL
    purposes: tuple[Purpose, ...] | None = None
    evidence: str = described(prose, default="", maxLength=MAX_DESCRIPTION)
    until: datetime | None = None


@ROUTES.add("POST", "/v1/suppressions", AccessScope.SUPPRESSIONS_WRITE, body=NewSuppression, answer=SuppressionView)
async def add_suppression(call: Call) -> Any:
    """Stop using an address, whoever it belongs to; what is there for the same reason is replaced."""
    new: NewSuppression = call.body
    _tell(call, new.channel, new.address)
    added = await call.kit.suppressions.add(
        new.channel,
        new.address,
        tenant=call.tenant,
        reason=new.reason,
        purposes=new.purposes,
        evidence=new.evidence,
        until=new.until,
    )
    return SuppressionView.of(added)


@attrs.frozen(kw_only=True)
class CheckedAddress:
    """An address that is looked for.

    Attributes:
        channel: ``email``, ``sms``, ``push`` …
    """

    channel: str = described(listed_channel, **_LABEL)
    address: str = described(_address, **_ADDRESS)


@attrs.frozen(kw_only=True)
class SuppressionCheck:
    """What the list says of an address.

    Attributes:
        suppressed: Whether anything forbids its use now, for some purposes or for all.
        entries: Why.
    """

    suppressed: bool
    entries: tuple[SuppressionEntryView, ...]


@ROUTES.add(
    "POST",
    "/v1/suppressions/check",
    AccessScope.SUPPRESSIONS_READ,
    body=CheckedAddress,
    answer=SuppressionCheck,
)
async def check_suppression(call: Call) -> Any:
    """Return what the list says of an address."""
    asked: CheckedAddress = call.body
    _tell(call, asked.channel, asked.address)
    found = await call.kit.suppressions.check(asked.channel, asked.address, tenant=call.tenant)
    entries = () if found is None else tuple(map(SuppressionEntryView.of, found.entries))
    return SuppressionCheck(suppressed=bool(entries), entries=entries)


@attrs.frozen(kw_only=True)
class AllowedAddress:
    """An address that may be used again.

    Attributes:
        channel: ``email``, ``sms``, ``push`` …
        reason: Only what is there for this reason.
    """

    channel: str = described(listed_channel, **_LABEL)
    address: str = described(_address, **_ADDRESS)
    reason: SuppressionReason | None = None


@attrs.frozen(kw_only=True)
class SuppressionRemoved:
    """Whether an address was on the list."""

    removed: bool


@ROUTES.add(
    "POST",
    "/v1/suppressions/remove",
    AccessScope.SUPPRESSIONS_WRITE,
    body=AllowedAddress,
    answer=SuppressionRemoved,
)
async def remove_suppression(call: Call) -> Any:
    """Use an address again."""
    asked: AllowedAddress = call.body
    _tell(call, asked.channel, asked.address)
    removed = await call.kit.suppressions.remove(asked.channel, asked.address, tenant=call.tenant, reason=asked.reason)
    return SuppressionRemoved(removed=removed)


def _tell(call: Call, channel: str, address: str) -> None:
    """Name the address in the audit log by its id, which does not tell it."""
    call.about(suppression_id(call.tenant, channel, address))
