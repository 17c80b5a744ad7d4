"""What concerns people, as rows: beside the keys a row has one text of JSON, without what is empty.

It is read by hand, because a fan-out reads many of them: what most persons have was checked when it was written, and
only its types are looked at.  What few persons have (settings, mutes, quiet hours) is read by the converter, and the
whole is checked then.
"""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from typing import Any

import attrs

from ...codec import dumps, loads, structure, unstructure
from ...models.addresses import AddressState, Suppression
from ...models.checks import unchecked
from ...models.preferences import Mute, Setting
from ...models.quiet_hours import QuietHours, zone_name
from ...models.recipient import (
    NO_QUIET_HOURS,
    Consent,
    Recipient,
    RecipientAddress,
    TenantPreferences,
    locale_name,
    spelled,
)
from ...models.suppression import SuppressedAddress, SuppressionEntry
from ...models.template import StoredTemplate, TemplateRevision
from .rows import Row, instant, micros

#: The fields of a recipient that are columns.
_COLUMNS = frozenset({"tenant", "id", "created_at", "updated_at", "version"})
#: What most persons have at the most.
_USUAL = frozenset({"name", "locale", "zone", "traits", "addresses"})
#: The other fields of such a person.
_NOTHING_ELSE: dict[str, Any] = {
    **dict.fromkeys(("settings", "mutes", "consents", "suppressions"), ()),
    "quiet_hours": NO_QUIET_HOURS,
}
_STATES = {state.value: state for state in AddressState}
#: Values that need not be kept.
_EMPTY: tuple[Any, ...] = (None, (), {}, NO_QUIET_HOURS)
#: How what few persons have is read.
_PARTS: dict[str, Any] = {
    "settings": tuple[Setting, ...],
    "mutes": tuple[Mute, ...],
    "consents": tuple[Consent, ...],
    "suppressions": tuple[Suppression, ...],
    "quiet_hours": QuietHours,
}


def recipient_values(recipient: Recipient) -> dict[str, Any]:
    """Return the columns of ``recipients``."""
    return {
        "tenant": recipient.tenant,
        "id": recipient.id,
        "details": _details(recipient),
        "created_at": micros(recipient.created_at),
        "updated_at": micros(recipient.updated_at),
        "version": recipient.version,
    }


def recipient_from(row: Row) -> Recipient:
    """Return the recipient of a row of ``recipients``."""
    details = loads(row["details"].encode())
    fields = {
        "id": row["id"],
        "tenant": row["tenant"],
        "name": details.get("name"),
        "locale": details.get("locale"),
        "zone": details.get("zone"),
        "traits": details.get("traits") or {},
        "addresses": tuple([_address(**address) for address in details.get("addresses", ())]),
        "created_at": instant(row["created_at"]),
        "updated_at": instant(row["updated_at"]),
        "version": row["version"],
    }
    is_usual = _USUAL.issuperset(details) and type(fields["traits"]) is dict and _are_texts(fields["name"])
    if is_usual and _is_sound(fields["locale"], fields["zone"]):
        return unchecked(Recipient, **fields, **_NOTHING_ELSE)
    parts = {name: structure(details[name], kind) for name, kind in _PARTS.items() if name in details}
    return Recipient(**fields, **parts)


@lru_cache(maxsize=1024)
def _is_sound(locale: Any, zone: Any) -> bool:
    """Tell whether a locale is one as it is spelled, and whether this machine knows a time zone."""
    has_locale = locale is None or (locale_name(locale) is None and spelled(locale) == locale)
    return has_locale and (zone is None or zone_name(zone) is None)


def details_values(record: TenantPreferences | SuppressedAddress | StoredTemplate) -> dict[str, Any]:
    """Return the columns of a record that has nothing but its details."""
    return {"tenant": record.tenant, "id": record.id, "details": _details(record), "version": record.version}


def preferences_from(row: Row) -> TenantPreferences:
    """Return the preferences of a row of ``tenant_preferences``."""
    details = loads(row["details"].encode())
    return TenantPreferences(
        tenant=row["tenant"],
        settings=structure(details.get("settings", []), _PARTS["settings"]),
        locale=details.get("locale"),
        zone=details.get("zone"),
        version=row["version"],
    )


def suppression_from(row: Row) -> SuppressedAddress:
    """Return the suppressed address of a row of ``suppressions``."""
    details = loads(row["details"].encode())
    return SuppressedAddress(
        id=row["id"],
        tenant=row["tenant"],
        entries=structure(details.get("entries", []), tuple[SuppressionEntry, ...]),
        version=row["version"],
    )


def template_from(row: Row) -> StoredTemplate:
    """Return the template of a row of ``templates``."""
    details = loads(row["details"].encode())
    return StoredTemplate(
        id=row["id"],
        tenant=row["tenant"],
        revisions=structure(details.get("revisions", []), tuple[TemplateRevision, ...]),
        version=row["version"],
    )


def _details(record: Recipient | TenantPreferences | SuppressedAddress | StoredTemplate) -> str:
    """Return what is no column as JSON, without what is empty."""
    given = {field.name: getattr(record, field.name) for field in attrs.fields(type(record))}
    kept = {name: _compact(value) for name, value in given.items() if name not in _COLUMNS and value not in _EMPTY}
    return dumps(kept).decode()


def _compact(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_without_nothing(unstructure(item)) for item in value]
    return unstructure(value) if attrs.has(type(value)) else value


def _without_nothing(fields: dict[str, Any]) -> dict[str, Any]:
    """Return an object without its fields that are ``None``, which all have that default."""
    return {
        name: _without_nothing(value) if isinstance(value, dict) else value
        for name, value in fields.items()
        if value is not None
    }


def _address(
    channel: str,
    address: str,
    state: str = "active",
    changed_at: str | None = None,
    reason: str | None = None,
    app: str | None = None,
    platform: str | None = None,
) -> RecipientAddress:
    if not (type(channel) is type(address) is str and _are_texts(reason, app, platform)):
        raise TypeError("a part of an address is no text")
    return unchecked(
        RecipientAddress,
        channel=channel,
        address=address,
        state=_STATES[state],
        changed_at=None if changed_at is None else datetime.fromisoformat(changed_at),
        reason=reason,
        app=app,
        platform=platform,
    )


def _are_texts(*values: object) -> bool:
    return all(value is None or type(value) is str for value in values)
