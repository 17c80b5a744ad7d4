"""Stand-ins for records that are stored but cannot be read.

A row may be damaged, written by another version, or encrypted under a key that is missing here.  A query for a
whole tenant or a list still returns the other records, and for this one a stand-in that does nothing: an endpoint
that is paused, so that its deliveries wait, a subscription that is disabled, a recipient without addresses, an event,
a delivery or an attempt that shows what can be read.  A stand-in is never written back: it would replace what may
still be repaired.
"""

from __future__ import annotations

import attrs

from ..errors import NotifykitError
from .delivery import Attempt, Delivery
from .endpoint import Endpoint
from .event import StoredEvent
from .provider_account import ProviderAccount
from .recipient import Recipient, TenantPreferences
from .subscription import Subscription
from .suppression import SuppressedAddress
from .template import StoredTemplate


@attrs.frozen(kw_only=True)
class UnreadableEndpoint(Endpoint):
    """Stands in for an endpoint that cannot be read.

    Attributes:
        error: Why a secret or a header cannot be decrypted; ``None`` if the row itself is damaged.
    """

    error: NotifykitError | None = attrs.field(default=None, eq=False)


@attrs.frozen(kw_only=True)
class UnreadableSubscription(Subscription):
    """Stands in for a subscription whose row is damaged."""


@attrs.frozen(kw_only=True)
class UnreadableRecipient(Recipient):
    """Stands in for a recipient whose row is damaged: it has no addresses, and what waits for it waits on."""


@attrs.frozen(kw_only=True)
class UnreadableTenantPreferences(TenantPreferences):
    """Stands in for what a tenant says for all of its recipients, in a row that is damaged."""


@attrs.frozen(kw_only=True)
class UnreadableProviderAccount(ProviderAccount):
    """Stands in for a tenant's account whose row is damaged or cannot be decrypted; its messages wait.

    Attributes:
        id: May be what no channel is called.
        error: Why the URL cannot be decrypted; ``None`` if the row itself is damaged.
    """

    id: str
    error: NotifykitError | None = attrs.field(default=None, eq=False)


@attrs.frozen(kw_only=True)
class UnreadableSuppression(SuppressedAddress):
    """Stands in for a suppressed address whose row is damaged: whatever it said, the address is not used."""


@attrs.frozen(kw_only=True)
class UnreadableTemplate(StoredTemplate):
    """Stands in for a stored template whose row is damaged: messages that may need it wait."""


class UnreadableEvent(StoredEvent):
    """Stands in for an event that cannot be read.

    Attributes:
        error: Why its content cannot be decrypted; ``None`` if the row itself is damaged.
    """

    error: NotifykitError | None = None


def unreadable_body(reason: str) -> bytes:
    """Return the body of an event that cannot be read, which says so."""
    return b'{"data":{},"unreadable":"%s"}' % reason.encode()


@attrs.frozen(kw_only=True)
class UnreadableDelivery(Delivery):
    """Stands in for a delivery whose row is damaged."""


class UnreadableAttempt(Attempt):
    """Stands in for an attempt whose row is damaged, or whose response cannot be decrypted."""

    __slots__ = ()
