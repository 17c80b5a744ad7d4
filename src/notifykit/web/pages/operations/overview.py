"""How much work waits, where, and since when."""

from __future__ import annotations

from starlette.responses import Response

from ....models.access import AccessScope
from ..page import PageRoutes, Visit
from ..sessions import OPERATIONS

PAGES = PageRoutes(OPERATIONS)


@PAGES.add("GET", "", AccessScope.SYSTEM_READ)
async def overview(visit: Visit) -> Response:
    """Show how the system is doing."""
    return visit.show("operations/overview.html", stats=await visit.kit.stats())
