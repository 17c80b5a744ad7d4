"""The suppression list of a tenant: addresses that must not be used, kept without the addresses themselves."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from hashlib import sha256
from typing import Any

import attrs

from .addresses import Suppression
from .checks import MAX_ID, field_check, instance, instant, many, one_of, optional, prose, tenant, text
from .preferences import Purpose, label
from .recipient import EMAIL, IN_APP, stored_address

#: How many reasons there can be at a time, one entry each.
_MAX_ENTRIES = 20


class SuppressionReason(StrEnum):
    """Why an address must not be used.

    ``HARD_BOUNCE``: its server says that there is no such mailbox; ``COMPLAINT``: the person has reported a message as
    spam; ``UNSUBSCRIBE``: through a list of the provider; ``STOP``: by an SMS with that word; ``UNREGISTERED``: the
    number or the device does not exist any more; ``MANUAL``: an operator or an import says so.
    """

    HARD_BOUNCE = "hard_bounce"
    COMPLAINT = "complaint"
    UNSUBSCRIBE = "unsubscribe"
    STOP = "stop"
    UNREGISTERED = "unregistered"
    MANUAL = "manual"


#: For which purposes an address is suppressed if nothing else is said; those that are not here are for every purpose.
#: A complaint about a newsletter must not keep the person out of their account.
DEFAULT_PURPOSES = {
    SuppressionReason.UNSUBSCRIBE: (Purpose.MARKETING,),
    SuppressionReason.COMPLAINT: (Purpose.MARKETING, Purpose.TRANSACTIONAL),
}


def listed_channel(value: object) -> str | None:
    """Check the channel of an address that can be suppressed."""
    wrong = label(value)
    if wrong is None and value in (IN_APP, "webhook"):
        return f"{value} has no suppression list: mute the notifications, or pause the endpoint"
    return wrong


def normalized(channel: str, address: str) -> str:
    """Return the spelling of an address by which it is found again.

    E-mail addresses are compared without regard to case, with the domain in ASCII; numbers without blanks and hyphens.
    """
    if channel == EMAIL:
        local, _, domain = unicodedata.normalize("NFC", address.strip()).rpartition("@")
        return f"{local.lower()}@{_domain(domain)}"
    return stored_address(channel, address)


@lru_cache(maxsize=4096)
def _domain(domain: str) -> str:
    if domain.isascii():
        return domain.lower()
    import idna

    try:
        return idna.encode(domain, uts46=True).decode("ascii")
    except idna.IDNAError:
        return domain.lower()


def suppression_id(tenant: str, channel: str, address: str) -> str:
    """Return the id of the record of an address: the channel and a SHA-256 of tenant, channel and address.

    The list thus outlives the erasure of a person without keeping the address.  The hash has no key on purpose: a list
    under a key would be lost with the key, and people who had unsubscribed would silently be written to again once the
    key is taken out of the ring.  Telephone numbers are few enough to be tried out, so a reader of the table must be
    trusted as with the addresses in the recipients' table.
    """
    told = f"{tenant}\0{channel}\0{normalized(channel, address)}"
    return f"{channel}:{sha256(told.encode('utf-8', 'surrogatepass')).hexdigest()}"


def record_id(value: object) -> str | None:
    """Check the id of a record that a person may have typed."""
    wrong = text(most=MAX_ID)(value)
    if wrong is None:
        channel, _, digest = str(value).rpartition(":")
        if not channel or len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
            return "is no id of a suppressed address, which looks like email:<64 hexadecimal digits>"
    return wrong


#: By their names, which callers may give in place of the members.
_REASONS: Mapping[Any, SuppressionReason] = {reason.value: reason for reason in SuppressionReason}
_PURPOSES: Mapping[Any, Purpose] = {purpose.value: purpose for purpose in Purpose}


def _reason(value: SuppressionReason | str) -> SuppressionReason:
    return _REASONS.get(value, value)  # type: ignore[arg-type] # what is none stays, for the check to refuse


def _purposes(values: Iterable[Purpose | str]) -> tuple[Purpose, ...]:
    return tuple(_PURPOSES.get(each, each) for each in values)  # type: ignore[arg-type] # as above


@attrs.frozen(kw_only=True)
class SuppressionEntry:
    """One reason why an address must not be used.

    Attributes:
        purposes: For which purposes; none at all means for every purpose.
        evidence: What shows it: the answer of a mail server, the text of an SMS, who asked for it.
        until: When it ends; ``None`` for never.
    """

    reason: SuppressionReason = attrs.field(converter=_reason, validator=field_check(one_of(SuppressionReason)))
    purposes: tuple[Purpose, ...] = attrs.field(
        default=(),
        converter=_purposes,
        validator=field_check(many(one_of(Purpose), most=len(Purpose), what="purposes")),
    )
    evidence: str = attrs.field(default="", validator=field_check(prose))
    since: datetime = attrs.field(validator=field_check(instant))
    until: datetime | None = attrs.field(default=None, validator=field_check(optional(instant)))

    def __str__(self) -> str:
        """Return the reason as text."""
        until = "" if self.until is None else f" until {self.until:%Y-%m-%d}"
        purposes = f" for {', '.join(self.purposes)}" if self.purposes else ""
        return f"{self.reason} since {self.since:%Y-%m-%d}{until}{purposes}" + f" ({self.evidence})" * bool(
            self.evidence
        )

    def is_active(self, now: datetime) -> bool:
        """Whether it has not ended."""
        return self.until is None or self.until > now


def _entries(values: Iterable[SuppressionEntry]) -> tuple[SuppressionEntry, ...]:
    return tuple(values)


@attrs.frozen(kw_only=True)
class SuppressedAddress:
    """An address on the suppression list of a tenant, with an entry for each reason.

    Attributes:
        id: See :func:`suppression_id`.
        version: How often it has been saved; 0 until it is.
    """

    id: str = attrs.field(validator=field_check(text(most=MAX_ID)))
    tenant: str = attrs.field(validator=field_check(tenant))
    entries: tuple[SuppressionEntry, ...] = attrs.field(
        converter=_entries, validator=field_check(many(instance(SuppressionEntry), most=_MAX_ENTRIES, what="entries"))
    )
    version: int = 0

    @property
    def channel(self) -> str:
        """The channel of the address."""
        return self.id.rpartition(":")[0]

    def __str__(self) -> str:
        """Return the reasons as text on one line."""
        return "; ".join(map(str, self.entries)) or "allowed again"

    def forbids(self, address: str) -> list[Suppression]:
        """Return what the decision needs to know, for the address as the recipient spells it."""
        return [
            Suppression(channel=self.channel, address=address, purposes=entry.purposes, until=entry.until)
            for entry in self.entries
        ]

    def with_entries(self, entries: Iterable[SuppressionEntry]) -> SuppressedAddress:
        """Return it with entries in place of those for the same reasons; the same object if it says that already."""
        current = self
        for entry in entries:
            same = next((each for each in current.entries if each.reason is entry.reason), None)
            if same is None or attrs.evolve(same, since=entry.since) != entry:
                others = (each for each in current.entries if each is not same)
                current = attrs.evolve(current, entries=(*others, entry))
        return current
