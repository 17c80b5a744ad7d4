"""The first page of the portal."""

from __future__ import annotations

from starlette.responses import Response

from ....models.access import AccessScope
from ..page import PageRoutes, Visit
from ..sessions import PORTAL

PAGES = PageRoutes(PORTAL)


@PAGES.add("GET", "", AccessScope.ENDPOINTS_READ)
async def home(visit: Visit) -> Response:
    """Show how the tenant's endpoints are doing."""
    return visit.show("portal/home.html")
