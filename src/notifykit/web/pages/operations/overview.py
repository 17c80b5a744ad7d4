"""How much work waits, where, and since when; what keeps failing."""

from __future__ import annotations

from datetime import datetime, timedelta

from starlette.responses import Response

from ....models.access import AccessScope, Role
from ...problems import Refusal
from ..page import PageRoutes, Visit
from ..sessions import OPERATIONS

PAGES = PageRoutes(OPERATIONS)
_WORKERS = 100
_OF_SYSTEM = {AccessScope.SYSTEM_READ, AccessScope.SYSTEM_WRITE}


@PAGES.add("GET", "", AccessScope.SYSTEM_READ)
async def overview(visit: Visit) -> Response:
    """Show how much work waits, and what keeps failing."""
    kit, now = visit.kit, visit.kit.clock.now()
    stats = await kit.stats()
    workers = await kit.workers(limit=_WORKERS + 1)
    circuits = sorted(await kit.store.circuits(), key=lambda each: each.since)
    return visit.show(
        "operations/overview.html",
        stats=stats._asdict(),
        cap=10_000,
        age=_age(stats.oldest_due, now),
        lanes=[(str(lane), its.waiting, _age(its.oldest_due, now)) for lane, its in sorted(stats.lanes.items())],
        circuits=circuits,
        workers=[(each, each.is_silent(now)) for each in workers[:_WORKERS]],
        has_more_workers=len(workers) > _WORKERS,
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


def _age(since: datetime | None, now: datetime) -> timedelta | None:
    return None if since is None else max(now - since, timedelta(0))
