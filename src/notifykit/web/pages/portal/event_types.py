"""The types of events there are, with their schemas."""

from __future__ import annotations

from starlette.responses import Response

from ....errors import NotFoundError
from ....models.access import AccessScope
from ....models.checks import MAX_ID
from ....models.event_type import ALL_TENANTS, StoredEventType
from ..page import PageRoutes, Visit
from ..sessions import PORTAL

PAGES = PageRoutes(PORTAL)
_SHOWN = 100


@PAGES.add("GET", "/events", AccessScope.EVENTS_READ)
async def event_types(visit: Visit) -> Response:
    """List the types of events, by name."""
    after = visit.query.get("cursor")
    found = await visit.kit.store.page(StoredEventType, ALL_TENANTS, limit=_SHOWN + 1, after=after and after[:MAX_ID])
    shown = found[:_SHOWN]
    return visit.show("portal/event_types.html", types=shown, next=shown[-1].id if len(found) > _SHOWN else None)


@PAGES.add("GET", "/events/{name}", AccessScope.EVENTS_READ)
async def event_type(visit: Visit) -> Response:
    """Show a type of event with its schema."""
    name = visit.path["name"][:MAX_ID]
    found = await visit.kit.store.get(StoredEventType, ALL_TENANTS, [name])
    if not found:
        raise NotFoundError("event type", name)
    endpoints = await visit.kit.endpoints.list(tenant=visit.tenant, limit=_SHOWN)
    return visit.show("portal/event_type.html", type=found[0], endpoints=endpoints)
