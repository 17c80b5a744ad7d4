"""The audit log, for operators."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import attrs

from ...admin import AuditFilter
from ...models.access import AccessScope
from ...models.audit import AuditEntry
from ...models.checks import MAX_ID, optional, text, whole
from ..route import MOST, Call, Page, PageOf, PageQuery, Routes, cursor_of, described

ROUTES = Routes("Audit log")
_part = optional(text(most=MAX_ID, empty=True))


@attrs.frozen(kw_only=True)
class AuditEntryView:
    """One request that changed something, or that an operator sent.

    Attributes:
        action: The operation (``update_endpoint``) or the page (``portal.reveal_secret``).
        subject: Who it was: the id of the API key, the subject of the token, or the person.
        role: Of the caller.
        tenant: Which tenant it was about; ``null`` if none.
        target: The object, if there is one: an id or a name.
        status: The HTTP status that it was answered with: also what was refused is here.
        request_id: What the response and the log call the request.
    """

    id: str
    at: datetime
    action: str
    subject: str
    role: str
    tenant: str | None
    target: str | None
    status: int
    request_id: str

    @classmethod
    def of(cls, entry: AuditEntry) -> AuditEntryView:
        """Return what is shown of an entry."""
        shown = {field.name: getattr(entry, field.name) for field in attrs.fields(cls) if field.name != "tenant"}
        return cls(tenant=entry.about or None, **shown)


@attrs.frozen(kw_only=True)
class AuditQuery(PageQuery):
    """Which entries.

    Attributes:
        tenant: About this tenant.
        subject: Of whom this is a part of the name.
        action: This is a part of what was done.
        limit: How many at the most.
        cursor: The ``next`` of the page before.
    """

    tenant: str | None = described(_part, default=None, maxLength=MAX_ID)
    subject: str | None = described(_part, default=None, maxLength=MAX_ID)
    action: str | None = described(_part, default=None, maxLength=MAX_ID)
    limit: int = described(whole(1, MOST), default=50, minimum=1, maximum=MOST)
    cursor: str | None = cursor_of()


@ROUTES.add(
    "GET", "/v1/audit", AccessScope.SYSTEM_READ, query=AuditQuery, answer=PageOf(AuditEntryView), is_system=True
)
async def list_audit_log(call: Call) -> Any:
    """List what callers did, newest first.

    It has what operators did, and what others changed, apart from events, inboxes and preferences. A search looks at
    5,000 entries at a time: a page that is not full may have a `next`.
    """
    query: AuditQuery = call.query
    wanted = AuditFilter(about=query.tenant, subject=query.subject, action=query.action)
    found = await call.kit.audit.page(wanted, limit=query.limit, after=query.cursor)
    return Page([*map(AuditEntryView.of, found.entries)], found.next)
