"""Where a person can be reached, and what must not be used."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import attrs

from .checks import field_check, instant, many, one_of, optional, text
from .preferences import Purpose, label

#: Tokens and subscriptions of push services are long.
MAX_ADDRESS = 4096

_ADDRESS = text(most=MAX_ADDRESS)


class AddressState(StrEnum):
    """Whether an address is used.

    Only an ``ACTIVE`` one is.  ``UNVERIFIED``: the person has not confirmed it; ``SUPPRESSED``: its provider or an
    operator has stopped it; ``GONE``: the provider says that there is no such address any more.
    """

    ACTIVE = "active"
    UNVERIFIED = "unverified"
    SUPPRESSED = "suppressed"
    GONE = "gone"


@attrs.frozen(kw_only=True)
class Address:
    """One address of a person on one channel: a mailbox, a telephone number, the token of a device."""

    channel: str = attrs.field(validator=field_check(label))
    address: str = attrs.field(validator=field_check(_ADDRESS))
    state: AddressState = attrs.field(validator=field_check(one_of(AddressState)))


@attrs.frozen(kw_only=True)
class Suppression:
    """An address that must not be used.

    Attributes:
        purposes: For which purposes; none at all means for every purpose.
        until: When it ends; ``None`` for never.
    """

    channel: str = attrs.field(validator=field_check(label))
    address: str = attrs.field(validator=field_check(_ADDRESS))
    purposes: tuple[Purpose, ...] = attrs.field(
        default=(), validator=field_check(many(one_of(Purpose), most=100, what="purposes"))
    )
    until: datetime | None = attrs.field(default=None, validator=field_check(optional(instant)))
