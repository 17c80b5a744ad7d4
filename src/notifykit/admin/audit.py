"""The audit log: what callers of the REST API and of the pages did, newest first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import attrs

from ..models import checks
from ..models.access import OPERATORS
from ..models.audit import AuditEntry, entry_id
from ..models.checks import optional
from ..policies.arguments import checked
from ..ports import Clock, Store
from ..telemetry import ActionAudited

#: Entries that are read at a time, and that one search looks at.
_PAGE, _SEARCHED = 500, 5_000
_part = optional(checks.text(most=checks.MAX_ID, empty=True))


@attrs.frozen(kw_only=True)
class AuditFilter:
    """Which entries are meant; fields that are ``None`` do not restrict.

    Attributes:
        about: About this tenant.
        subject: Of whom this is a part of the name.
        action: This is a part of what was done.
    """

    about: str | None = attrs.field(default=None, validator=checks.field_check(_part))
    subject: str | None = attrs.field(default=None, validator=checks.field_check(_part))
    action: str | None = attrs.field(default=None, validator=checks.field_check(_part))

    def means(self, entry: AuditEntry) -> bool:
        """Return whether an entry is meant."""
        return (
            (not self.about or self.about == entry.about)
            and (self.subject or "") in entry.subject
            and (self.action or "") in entry.action
        )


EVERYTHING = AuditFilter()


class AuditPage(NamedTuple):
    """Some entries, newest first, and where the next page starts.

    Attributes:
        next: The id behind which the next page starts; ``None`` if there is none.
    """

    entries: Sequence[AuditEntry]
    next: str | None


class AuditLog:
    """What callers of the REST API and of the pages did.  It belongs to operators, not to the tenants."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def add(self, action: ActionAudited) -> AuditEntry:
        """Store what has been done."""
        at = self._clock.now()
        return await self._store.save(
            AuditEntry(
                id=entry_id(at),
                at=at,
                action=action.action,
                subject=action.subject,
                role=action.role,
                about=action.tenant,
                target=action.target,
                status=action.status,
                request_id=action.request_id,
            )
        )

    @checked(wanted=checks.instance(AuditFilter))
    async def page(self, wanted: AuditFilter = EVERYTHING, *, limit: int = 50, after: str | None = None) -> AuditPage:
        """Return the newest entries that are meant, from behind the id ``after``.

        A search looks at 5,000 entries at a time: a page may be empty and still have a ``next``.
        """
        found: list[AuditEntry] = []
        size = limit + 1 if wanted == EVERYTHING else _PAGE
        for _ in range(_SEARCHED // _PAGE):
            rows = await self._store.page(AuditEntry, OPERATORS, limit=size, after=after)
            for row in rows:
                if wanted.means(row):
                    if len(found) == limit:
                        return AuditPage(found, after)
                    found.append(row)
                after = row.id
            if len(rows) < size:
                return AuditPage(found, None)
        return AuditPage(found, after)
