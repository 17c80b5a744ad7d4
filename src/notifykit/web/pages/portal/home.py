"""The first page of the portal: how deliveries are going."""

from __future__ import annotations

from starlette.responses import Response

from ....models.access import AccessScope
from ..page import PageRoutes, Visit
from ..sessions import PORTAL
from .health import circuits_of, statistics

PAGES = PageRoutes(PORTAL)
_MOST_ENDPOINTS = 200


@PAGES.add("GET", "", AccessScope.DELIVERIES_READ)
async def home(visit: Visit) -> Response:
    """Show what became of the newest deliveries."""
    kit, tenant = visit.kit, visit.tenant
    return visit.show(
        "portal/home.html",
        statistics=await statistics(kit, tenant),
        endpoints=await kit.endpoints.list(tenant=tenant, limit=_MOST_ENDPOINTS),
        circuits=await circuits_of(kit, tenant),
    )
