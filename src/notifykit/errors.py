"""All errors that the library raises.

::

    NotifykitError
    ├── ConfigurationError            the configuration cannot work
    │   └── MissingExtraError         an optional dependency is not installed
    ├── InvalidInputError             the caller's input was refused; ``problems`` lists every reason
    │   ├── InvalidEventError
    │   ├── InvalidEndpointError
    │   └── InvalidSubscriptionError
    ├── IdempotencyConflictError      the idempotency key belongs to an event with different content
    ├── NotFoundError                 no such object for this tenant
    ├── StateError                    the object is not in a state that allows the call
    ├── StoreError
    │   ├── StoreUnavailableError     the database is unreachable, read-only, full or locked; try again
    │   ├── ValueRefusedError         the database does not accept the value; trying again does not help
    │   ├── StaleWriteError           the record was changed or removed since it was read
    │   ├── SchemaError               the database has no tables, or those of another version
    │   │   └── NewerSchemaError      the tables are of a newer version than this one knows
    │   ├── CannotJoinError           the store cannot take part in the caller's transaction
    │   └── VaultError                an encrypted value cannot be decrypted
    │       ├── MissingKeyError       its key is not in the key ring
    │       └── TamperedError         it was changed, or moved to another place
    ├── BrokerUnavailableError        the broker does not answer; what waits in the store is not lost
    ├── InvalidLinkError              a link for unsubscribing was changed, is of another tenant, or has expired
    ├── TemplateError                 a template is missing, cannot be compiled, or failed
    ├── DestinationRefusedError       the egress rules refuse the destination; ``reason`` is a code
    ├── ApiError                      (``notifykit.client``) the REST API refused a request
    │   └── ApiUnavailableError       it did not answer
    └── VerificationError             (``notifykit.signing``) a received webhook is not authentic

The response to a delivery is never an error: it is an :data:`~notifykit.models.outcome.Outcome`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .models.event import Receipt


class NotifykitError(Exception):
    """Base of every error raised by the library."""


class ConfigurationError(NotifykitError):
    """The configuration cannot work."""


class MissingExtraError(ConfigurationError):
    """An optional dependency is not installed."""

    def __init__(self, feature: str, extra: str) -> None:
        from .distribution import with_extras

        super().__init__(f"{feature} needs an optional dependency: pip install '{with_extras(extra)}'")
        self.feature = feature
        self.extra = extra


class InvalidInputError(NotifykitError, ValueError):
    """The caller's input was refused; nothing was stored.

    Attributes:
        problems: Every problem found, each as ``path: what is wrong``, on one line, because a problem may
            name a key from untrusted input and is often logged.
    """

    subject = "input"

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(map(_on_one_line, problems))
        super().__init__(f"invalid {self.subject}: " + "; ".join(self.problems))


class InvalidEventError(InvalidInputError):
    """An event violates the schema of its type or the limits of an event."""

    subject = "event"


class InvalidEndpointError(InvalidInputError):
    """An endpoint's URL, headers, secrets or limits are invalid."""

    subject = "endpoint"


class InvalidSubscriptionError(InvalidInputError):
    """A subscription's pattern, topic or filter is invalid."""

    subject = "subscription"


class IdempotencyConflictError(NotifykitError):
    """The idempotency key belongs to an event with different content.

    Attributes:
        key: The key; that of the first conflict if there are several.
        event_id: The event that it belongs to.
        receipts: Of ``publish_many`` what it has done with each of its events, in their order: the receipt of one
            that is stored, and ``None`` for one whose key is in conflict.
    """

    def __init__(self, key: str, event_id: str, receipts: Sequence[Receipt | None] = ()) -> None:
        super().__init__(
            f"idempotency key {key!r} already belongs to event {event_id} with different content; "
            "use a new key for a new event"
        )
        self.key = key
        self.event_id = event_id
        self.receipts = tuple(receipts)


class NotFoundError(NotifykitError, LookupError):
    """No such object for this tenant (it may exist for another one)."""

    def __init__(self, kind: str, id: str) -> None:
        super().__init__(f"no {kind} {id!r}")
        self.kind = kind
        self.id = id


class StateError(NotifykitError):
    """The object is not in a state that allows the call."""


class StoreError(NotifykitError):
    """The store could not perform the call."""


class StoreUnavailableError(StoreError):
    """The database cannot perform the call now; try again later.

    It did not answer or closed the connection, is read-only after a failover, has no disk space or
    connection left, was slower than a timeout, or ended the call because of a deadlock.
    """


class ValueRefusedError(StoreError):
    """The database does not accept the value, and trying again does not help; other values are not affected."""


class StaleWriteError(StoreError):
    """The record was changed or removed since it was read; nothing was written."""

    def __init__(self, kind: str, id: str) -> None:
        super().__init__(
            f"{kind} {id!r} was changed or removed since it was read: read it again, and repeat the change"
        )
        self.kind = kind
        self.id = id


class SchemaError(StoreError):
    """The database has no notifykit tables, or tables of another version."""


class NewerSchemaError(SchemaError):
    """The tables are of a newer version than this one knows: another process has migrated them.

    Attributes:
        found: The version of the tables.
        known: The newest version that this process knows.
    """

    def __init__(self, found: str, known: str) -> None:
        super().__init__(f"the database has schema {found}, newer than {known}: upgrade notifykit on this host")
        self.found = found
        self.known = known


class CannotJoinError(StoreError):
    """The store cannot take part in the caller's transaction."""


class VaultError(StoreError):
    """An encrypted value cannot be decrypted."""


class MissingKeyError(VaultError):
    """A value was encrypted with a key that is not in the key ring.

    Attributes:
        key_id: The missing key.
        known: The keys in the ring.
    """

    def __init__(self, key_id: str, known: Sequence[str]) -> None:
        super().__init__(
            f"a value was encrypted with the key {key_id!r}, and the ring has only {', '.join(map(repr, known))}: "
            f"add {key_id!r} after the others in NOTIFYKIT_KEYS"
        )
        self.key_id = key_id
        self.known = tuple(known)


class TamperedError(VaultError):
    """An encrypted value was changed, or it was encrypted for another place.

    Attributes:
        context: Where the value was found: table, tenant, row, column.
    """

    def __init__(self, context: str) -> None:
        super().__init__(f"a value cannot be decrypted ({context}): it was changed, or it belongs to another row")
        self.context = context


class BrokerUnavailableError(NotifykitError):
    """The broker does not answer or refuses; what waits is in the store and is handed over again."""


class InvalidLinkError(NotifykitError):
    """A link that this library has signed does not work.

    Attributes:
        reason: ``malformed``, ``unknown_key``, ``tampered``, ``other_tenant`` or ``expired``; for the log, not for the
            person who has the link.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"the link does not work: {reason}")
        self.reason = reason


class TemplateError(NotifykitError):
    """A template is missing, cannot be compiled, or failed; the message names the template, line and variable.

    Attributes:
        template: The file, such as ``order.shipped/email.de.html``; ``None`` if no file is to blame.
        line: The line in it, if one is known.
    """

    def __init__(self, message: str, *, template: str | None = None, line: int | None = None) -> None:
        super().__init__(_on_one_line(message))
        self.template = template
        self.line = line


class DestinationRefusedError(NotifykitError):
    """The egress rules refuse this destination.

    Attributes:
        reason: A stable code such as ``loopback`` or ``scheme``.
        block: The special-purpose block of the address, such as ``10.0.0.0/8``, which an operator would have to
            allow.  It is not in the text, because the text may be shown to the tenant that chose the name.
    """

    def __init__(self, reason: str, detail: str = "", *, block: str | None = None) -> None:
        super().__init__(f"destination refused ({reason})" + (f": {detail}" if detail else ""))
        self.reason = reason
        self.detail = detail
        self.block = block


def _on_one_line(text: str) -> str:
    """Return ``text`` with escapes for line ends, control characters, and characters that cannot be encoded."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)
