"""Tells of what callers did, and stores it in the audit log."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ..errors import StoreError
from ..models.access import AccessScope, Role
from ..telemetry import ActionAudited, why

if TYPE_CHECKING:
    from ..kit import Notifykit

#: What people do all day with what is their own, or a program for them: it is told, and would fill the log.
_OF_PEOPLE = frozenset({AccessScope.INBOX_WRITE, AccessScope.PREFERENCES_WRITE})
_UNAVAILABLE = 503
_log = logging.getLogger("notifykit.web")


class AuditTrail:
    """What callers of one application did."""

    def __init__(self, kit: Notifykit) -> None:
        self._kit = kit

    async def add(
        self,
        action: str,
        subject: str,
        role: Role,
        scope: AccessScope | None,
        *,
        changes: bool,
        tenant: str,
        target: str | None,
        status: int,
        request_id: str,
    ) -> None:
        """Tell of a request, and store it once it is known how it was answered.

        A request that changes nothing is told of operators only.  It is not an error of the request if the log cannot
        be written, because what it says has been done.

        Args:
            scope: What the request needed; ``None`` for signing in or out.
            changes: Whether it may change what is stored.
        """
        if not changes and role is not Role.OPERATOR:
            return
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
        if status == _UNAVAILABLE or not _is_kept(role, scope, changes):
            return
        try:
            await self._kit.audit.add(told)
        except StoreError as error:
            _log.error("audit.not_stored request_id=%s error=%s", request_id, why(error))


def _is_kept(role: Role, scope: AccessScope | None, changes: bool) -> bool:
    """Return whether a request is stored: not what people do all day, nor what monitoring asks every few seconds."""
    if role is not Role.OPERATOR:
        return scope not in _OF_PEOPLE
    return changes or scope is not AccessScope.SYSTEM_READ
