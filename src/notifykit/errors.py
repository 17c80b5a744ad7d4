"""Every error the library raises, in one tree.

::

    NotifykitError
    ├── ConfigurationError            the kit was wired in a way that cannot work
    │   └── MissingExtraError         an optional dependency is not installed
    ├── InvalidInputError             the caller's input was refused; ``problems`` lists every reason
    │   ├── InvalidEventError
    │   ├── InvalidEndpointError
    │   └── InvalidSubscriptionError
    ├── IdempotencyConflictError      the same idempotency key came with another body
    ├── NotFoundError                 no such object for this tenant
    ├── StateError                    the object is not in a state that allows the call
    ├── StoreError
    │   ├── StoreUnavailableError     the database cannot do it now: away, read-only, full, locked; try again
    │   ├── ValueRefusedError         the database takes no such value; trying again does not help
    │   ├── StaleWriteError           what was to be replaced was changed since it was read
    │   ├── SchemaError               the database has no tables, or those of another version
    │   │   └── NewerSchemaError      its tables are of a newer version than this one knows
    │   ├── CannotJoinError           the store cannot take part in the caller's transaction
    │   └── VaultError                a value that is encrypted at rest does not open
    │       ├── MissingKeyError       its key is not in the key ring
    │       └── TamperedError         it was changed, or moved to another place
    ├── DestinationRefusedError       the egress guard will not deliver there; ``reason`` is a code
    └── VerificationError             (``notifykit.signing``) a received webhook is not authentic

What the outside world answers to a delivery is never an error: it is an
:data:`~notifykit.models.outcome.Outcome`.
"""

from __future__ import annotations

from collections.abc import Sequence


class NotifykitError(Exception):
    """Base of every error raised by the library."""


class ConfigurationError(NotifykitError):
    """The kit was wired in a way that cannot work."""


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
        problems: Every problem found, each as ``path: what is wrong``, on one line: a problem may name
            a key that a stranger chose, and ends up in logs.
    """

    subject = "input"

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(map(_on_one_line, problems))
        super().__init__(f"invalid {self.subject}: " + "; ".join(self.problems))


class InvalidEventError(InvalidInputError):
    """An event breaks its type's schema or the limits of an event."""

    subject = "event"


class InvalidEndpointError(InvalidInputError):
    """An endpoint's URL, headers, secrets or limits are not acceptable."""

    subject = "endpoint"


class InvalidSubscriptionError(InvalidInputError):
    """A subscription's pattern, topic or filter is not acceptable."""

    subject = "subscription"


class IdempotencyConflictError(NotifykitError):
    """The same idempotency key was used for an event with another content."""

    def __init__(self, key: str, event_id: str) -> None:
        super().__init__(
            f"idempotency key {key!r} already belongs to event {event_id} with another content; "
            "use a new key for a new event"
        )
        self.key = key
        self.event_id = event_id


class NotFoundError(NotifykitError, LookupError):
    """No such object for this tenant (it may exist for another one)."""

    def __init__(self, kind: str, id: str) -> None:
        super().__init__(f"no {kind} {id!r}")
        self.kind = kind
        self.id = id


class StateError(NotifykitError):
    """The object is not in a state that allows the call."""


class StoreError(NotifykitError):
    """The store could not do what was asked."""


class StoreUnavailableError(StoreError):
    """The database cannot do it now; the call may be tried again.

    It did not answer or dropped the connection, is read-only after a failover, has no room or no
    connection left, was too slow for a timeout, or chose the call as the victim of a deadlock.
    """


class ValueRefusedError(StoreError):
    """The database takes no such value, and will not take it later; other values are not concerned."""


class StaleWriteError(StoreError):
    """What was to be replaced was changed or removed by others since it was read; nothing was written."""

    def __init__(self, kind: str, id: str) -> None:
        super().__init__(
            f"{kind} {id!r} was changed or removed since it was read: read it again, and make the change anew"
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
    """A value that is encrypted at rest does not open."""


class MissingKeyError(VaultError):
    """A value was sealed under a key that is not in the key ring.

    Attributes:
        key_id: The key that is missing.
        known: The keys that are there.
    """

    def __init__(self, key_id: str, known: Sequence[str]) -> None:
        super().__init__(
            f"this was sealed under the key {key_id!r}, and the ring has only {', '.join(map(repr, known))}: "
            f"add {key_id!r} behind the others in NOTIFYKIT_KEYS"
        )
        self.key_id = key_id
        self.known = tuple(known)


class TamperedError(VaultError):
    """A sealed value was changed, or it was sealed for another place.

    Attributes:
        context: The place where it was found: table, tenant, row, column.
    """

    def __init__(self, context: str) -> None:
        super().__init__(f"a sealed value does not open ({context}): it was changed, or it belongs to another row")
        self.context = context


class DestinationRefusedError(NotifykitError):
    """The egress guard will not deliver to this destination.

    Attributes:
        reason: A stable code such as ``loopback`` or ``scheme``.
        block: The special-purpose block that the address is in, such as ``10.0.0.0/8``: what an operator would have
            to allow.  It is not in the text, which may be shown to the tenant who chose the name.
    """

    def __init__(self, reason: str, detail: str = "", *, block: str | None = None) -> None:
        super().__init__(f"destination refused ({reason})" + (f": {detail}" if detail else ""))
        self.reason = reason
        self.detail = detail
        self.block = block


def _on_one_line(text: str) -> str:
    """Return ``text`` with escapes for what ends a line, steers a terminal, or cannot be written at all."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)
