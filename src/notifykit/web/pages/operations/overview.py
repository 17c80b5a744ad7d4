"""How much work waits, where, and since when; what keeps failing."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, NamedTuple

from starlette.responses import Response

from ....models.access import AccessScope, Role
from ....models.delivery import Lane
from ...problems import Refusal
from ..page import PageRoutes, Visit
from ..sessions import OPERATIONS

PAGES = PageRoutes(OPERATIONS)
_OF_SYSTEM = {AccessScope.SYSTEM_READ, AccessScope.SYSTEM_WRITE}


class LaneRow(NamedTuple):
    """A lane in which something waits.

    Attributes:
        waiting: How many deliveries, as far as the store counts them.
        age: For how long the most overdue one has been waiting; ``None`` if none is due.
    """

    name: str
    waiting: int | None
    due_at: datetime
    age: timedelta | None


@PAGES.add("GET", "", AccessScope.SYSTEM_READ)
async def overview(visit: Visit) -> Response:
    """Show how much work waits, and what keeps failing."""
    kit, now = visit.kit, visit.kit.clock.now()
    stats = await kit.stats()
    next_due = await kit.store.next_due()
    circuits = sorted(await kit.store.circuits(), key=lambda each: each.since)
    return visit.show(
        "operations/overview.html",
        stats=stats._asdict(),
        cap=10_000,
        age=None if stats.oldest_due is None else max(now - stats.oldest_due, timedelta(0)),
        lanes=[_lane(lane, due_at, stats, now)._asdict() for lane, due_at in sorted(next_due.lanes.items())],
        circuits=circuits,
    )


@PAGES.add("POST", "/portal", AccessScope.SYSTEM_READ)
async def open_portal(visit: Visit) -> Response:
    """Open the portal of a tenant, with what this operator may do."""
    scopes = visit.access.may - _OF_SYSTEM
    if not scopes:
        raise Refusal(403, "forbidden", "your key gives you nothing to do in a portal")
    link = visit.kit.portal_links.url(
        tenant=visit.tenant,
        role=Role.TENANT_ADMIN,
        scopes=sorted(scopes),
        subject=visit.access.subject,
        expires_in=timedelta(minutes=1),
        base_url="",
    )
    return visit.go(link)


def _lane(lane: Lane, due_at: datetime, stats: Any, now: datetime) -> LaneRow:
    counted = getattr(stats, "lanes", {}).get(lane)
    age = now - due_at
    return LaneRow(
        name=str(lane),
        waiting=None if counted is None else counted.waiting,
        due_at=due_at,
        age=age if age > timedelta(0) else None,
    )
