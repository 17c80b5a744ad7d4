"""The tenants, each with the way to its dead letters and its portal."""

from __future__ import annotations

from starlette.responses import Response

from ....models.access import AccessScope
from ..page import PageRoutes, Visit
from ..sessions import OPERATIONS

PAGES = PageRoutes(OPERATIONS)
_SHOWN = 100


@PAGES.add("GET", "/tenants", AccessScope.SYSTEM_READ)
async def tenants(visit: Visit) -> Response:
    """List tenants in the order of their names."""
    found = await visit.kit.tenants(limit=_SHOWN + 1, after=visit.query.get("cursor"))
    names = found[:_SHOWN]
    return visit.show("operations/tenants.html", names=names, next=names[-1] if len(found) > _SHOWN else None)
