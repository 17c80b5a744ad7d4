"""Tells of what callers did, and remembers the latest of it for the operators' page."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from ..models.access import Role
from ..telemetry import ActionAudited

if TYPE_CHECKING:
    from ..kit import Notifykit

#: How many actions a process remembers; all of them are in the telemetry.
REMEMBERED = 500


class Audited(NamedTuple):
    """An action, and when it was."""

    at: datetime
    action: ActionAudited


class AuditTrail:
    """What callers of one application did."""

    def __init__(self, kit: Notifykit) -> None:
        self._kit = kit
        self._latest: deque[Audited] = deque(maxlen=REMEMBERED)

    def add(
        self, action: str, subject: str, role: Role, *, tenant: str, target: str | None, status: int, request_id: str
    ) -> None:
        """Tell of an action."""
        told = ActionAudited(
            action=action,
            subject=subject,
            role=role.value,
            tenant=tenant,
            target=target,
            status=status,
            request_id=request_id,
        )
        self._kit.tell(told)
        self._latest.append(Audited(self._kit.clock.now(), told))

    def latest(self, wanted: Callable[[ActionAudited], bool] = lambda _: True) -> Sequence[Audited]:
        """Return what is remembered, newest first."""
        return [each for each in reversed(self._latest) if wanted(each.action)]
