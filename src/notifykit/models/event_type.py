"""What a store keeps of a type of event, so that other processes know it without the producer's code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Self

import attrs

from .delivery import Priority
from .digest import Digest
from .event import EventType
from .steps import Step
from .throttle import Throttle

#: The tenant of types that a program declares: they are the same for all tenants.
ALL_TENANTS: Final = ""


@attrs.frozen(kw_only=True)
class StoredEventType:
    """A type of event as it is stored; :class:`~notifykit.models.event.EventType` is how a program declares it.

    Attributes:
        id: The type's name, ``order.shipped``.
        tenant: Whose type it is; empty for a type that the program declares for all tenants.
        category: What a person's preferences call it.
        purpose: ``transactional``, ``marketing`` or ``security``.
        priority: The lane of its deliveries unless the event says otherwise.
        description: One sentence for people who subscribe.
        schema: The JSON Schema of the payload, if one is declared.
        steps: Over which channels people are told; none at all for the default.
        tells_actor: Whether the event's ``actor`` is told as well.
        digest: How people get its events together in one message, if they do.
        throttle: How many of its notifications a person gets, if that is limited.
        version: How often the record has been saved; 0 until it is.
    """

    id: str
    tenant: str = ""
    category: str = "general"
    purpose: str = "transactional"
    priority: Priority = Priority.NORMAL
    description: str = ""
    schema: Mapping[str, Any] | None = None
    steps: tuple[Step, ...] = ()
    tells_actor: bool = False
    digest: Digest | None = None
    throttle: Throttle | None = None
    version: int = 0

    @classmethod
    def of(cls, declared: EventType) -> Self:
        """Return what a store keeps of a type that a program declares."""
        return cls(
            id=declared.name,
            tenant=ALL_TENANTS,
            category=declared.category,
            purpose=declared.purpose,
            priority=declared.priority,
            description=declared.description,
            schema=declared.schema,
            steps=declared.steps,
            tells_actor=declared.tells_actor,
            digest=declared.digest,
            throttle=declared.throttle,
        )

    @property
    def name(self) -> str:
        """The type's name."""
        return self.id
