"""What callers did: the audit log."""

from __future__ import annotations

from starlette.responses import Response

from ....admin import AuditFilter
from ....models.access import AccessScope
from ....models.checks import MAX_ID
from ..page import PageRoutes, Visit
from ..sessions import OPERATIONS

PAGES = PageRoutes(OPERATIONS)
_SHOWN = 100
_NAMES = ("tenant", "subject", "action")


@PAGES.add("GET", "/audit", AccessScope.SYSTEM_READ)
async def audit_log(visit: Visit) -> Response:
    """List what callers did, newest first."""
    given = {name: visit.query.get(name, "").strip()[:MAX_ID] for name in _NAMES}
    wanted = AuditFilter(about=given["tenant"], subject=given["subject"], action=given["action"])
    found = await visit.kit.audit.page(wanted, limit=_SHOWN, after=visit.query.get("cursor"))
    return visit.show("operations/audit.html", entries=found.entries, next=found.next, given=given)
