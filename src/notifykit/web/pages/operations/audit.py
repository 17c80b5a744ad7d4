"""What callers did: the latest of it, as this process remembers it."""

from __future__ import annotations

from starlette.responses import Response

from ....models.access import AccessScope
from ....telemetry import ActionAudited
from ...audit import REMEMBERED
from ..page import PageRoutes, Visit
from ..sessions import OPERATIONS

PAGES = PageRoutes(OPERATIONS)
_NAMES = ("tenant", "subject", "action")


@PAGES.add("GET", "/audit", AccessScope.SYSTEM_READ)
async def audit_log(visit: Visit) -> Response:
    """List what callers did, newest first."""
    given = {name: visit.query.get(name, "").strip() for name in _NAMES}

    def wanted(action: ActionAudited) -> bool:
        return all(not value or value in (getattr(action, name) or "") for name, value in given.items())

    found = [each._asdict() for each in visit.audit.latest(wanted)]
    return visit.show("operations/audit.html", actions=found, given=given, most=REMEMBERED)
