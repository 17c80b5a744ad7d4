"""What happened: deliveries with filters, the timeline of one, and sending again."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from starlette.responses import Response

from ....codec import loads
from ....errors import NotFoundError
from ....models.access import AccessScope
from ....models.delivery import DeliveryState
from ....policies.explain import sentence_for
from ....ports import DeliveryFilter
from ...live.feeds import ActivityFeed
from ...live.stream import EventStream
from ...routes.deliveries import AttemptView
from ..page import PageRoutes, Visit
from ..sessions import PORTAL

PAGES = PageRoutes(PORTAL)
_SHOWN = 50
_MOST_ENDPOINTS = 200
#: Which deliveries are shown, in hours.
SINCE = {"1": "in the last hour", "24": "in the last day", "168": "in the last 7 days"}
_DONE = {"test": "The test event is on its way.", "resent": "It is sent again.", "cancelled": "It is cancelled."}
_READ, _WRITE = AccessScope.DELIVERIES_READ, AccessScope.DELIVERIES_WRITE


@PAGES.add("GET", "/activity", _READ)
async def activity(visit: Visit) -> Response:
    """List deliveries, newest first."""
    kit, tenant, cursor = visit.kit, visit.tenant, visit.query.get("cursor")
    found = await kit.deliveries.list(_filter(visit), tenant=tenant, limit=_SHOWN + 1, before=cursor)
    shown = found[:_SHOWN]
    endpoints = await kit.endpoints.list(tenant=tenant, limit=_MOST_ENDPOINTS)
    return visit.show(
        "portal/activity.html",
        deliveries=shown,
        endpoints={each.id: each.url for each in endpoints},
        choices={
            "state": [("", "any"), *((state.value, state.value) for state in DeliveryState)],
            "endpoint": [("", "any"), *((each.id, each.description or each.url) for each in endpoints)],
            "since": [("", "any time"), *SINCE.items()],
        },
        given={name: visit.query.get(name, "") for name in ("state", "endpoint", "type", "event", "since")},
        notice=_DONE.get(visit.query.get("done", "")),
        next=shown[-1].id if len(found) > _SHOWN else None,
        is_live=cursor is None,
    )


@PAGES.add("GET", "/activity/stream", _READ)
async def stream(visit: Visit) -> Response:
    """Tell as it happens that something happens, so that the list is read again."""
    return EventStream(ActivityFeed(visit.live.activity, visit.tenant, None))


@PAGES.add("GET", "/deliveries/{delivery_id}", _READ)
async def delivery(visit: Visit) -> Response:
    """Show the timeline of a delivery."""
    found = await visit.kit.deliveries.get(visit.path["delivery_id"], tenant=visit.tenant)
    try:
        event = await visit.kit.events.get(found.event_id, tenant=visit.tenant)
        payload: Any = loads(event.body)
    except NotFoundError:  # deleted by retention
        payload = None
    return visit.show(
        "portal/delivery.html",
        delivery=found,
        is_final=found.state.is_final,
        why="" if found.reason is None else sentence_for(found.reason),
        attempts=[AttemptView.of(each) for each in await visit.kit.deliveries.attempts(found.id, tenant=visit.tenant)],
        payload=payload if AccessScope.EVENTS_READ in visit.access.may else None,
        notice=_DONE.get(visit.query.get("done", "")),
    )


@PAGES.add("POST", "/deliveries/{delivery_id}/resend", _WRITE)
async def resend_delivery(visit: Visit) -> Response:
    """Send an ended delivery again."""
    await visit.kit.deliveries.redrive(visit.path["delivery_id"], tenant=visit.tenant)
    return visit.go(f"/portal/deliveries/{visit.path['delivery_id']}", done="resent")


@PAGES.add("POST", "/deliveries/{delivery_id}/cancel", _WRITE)
async def cancel_delivery(visit: Visit) -> Response:
    """Cancel a delivery that waits."""
    await visit.kit.deliveries.cancel(visit.path["delivery_id"], tenant=visit.tenant)
    return visit.go(f"/portal/deliveries/{visit.path['delivery_id']}", done="cancelled")


def _filter(visit: Visit) -> DeliveryFilter:
    given, hours = visit.query, visit.query.get("since")
    return DeliveryFilter(
        states=given.get("state") or None,
        subscriber_id=given.get("endpoint") or None,
        event_type=given.get("type") or None,
        event_id=given.get("event") or None,
        since=visit.kit.clock.now() - timedelta(hours=int(hours)) if hours in SINCE else None,
    )
