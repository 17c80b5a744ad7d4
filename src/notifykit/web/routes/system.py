"""Whether the server works, and how much work waits."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import attrs

from ...errors import StoreError
from ...models.access import AccessScope
from ...models.worker import WorkerRecord
from ..problems import Refusal
from ..route import Call, PageOf, PageQuery, Routes, page_of

ROUTES = Routes("System")


@attrs.frozen(kw_only=True)
class Health:
    """Whether the server works.

    Attributes:
        status: Always ``ok``.
    """

    status: str = "ok"


@ROUTES.add("GET", "/healthz", None, answer=Health, needs_store=False)
async def get_health(_: Call) -> Any:
    """Return that the process answers; it asks nothing else."""
    return Health()


@ROUTES.add("GET", "/readyz", None, answer=Health)
async def get_readiness(call: Call) -> Any:
    """Return that the store answers as well."""
    try:
        await call.kit.store.next_due()
    except StoreError as error:
        raise Refusal(503, "unavailable", "the store does not answer now", {"Retry-After": "2"}) from error
    return Health()


@attrs.frozen(kw_only=True)
class LaneWork:
    """How much waits in a lane.

    Attributes:
        lane: The channel, and the priority unless it is normal: ``webhook:high``.
        oldest_due: Since when the most overdue delivery waits.
    """

    lane: str
    waiting: int
    oldest_due: datetime | None


@attrs.frozen(kw_only=True)
class Stats:
    """How much work waits; counts stop at 10,000.

    Attributes:
        unplanned: Events that are not planned yet.
        oldest_due: Since when the most overdue one waits.
        lanes: Those in which deliveries wait.
    """

    unplanned: int
    waiting: int
    sending: int
    dead: int
    oldest_due: datetime | None
    lanes: tuple[LaneWork, ...]


@ROUTES.add("GET", "/v1/stats", AccessScope.SYSTEM_READ, answer=Stats, is_system=True)
async def get_stats(call: Call) -> Any:
    """Return how much work of all tenants waits."""
    found = await call.kit.stats()
    lanes = tuple(LaneWork(lane=str(lane), **its._asdict()) for lane, its in found.lanes.items())
    return Stats(**{**found._asdict(), "lanes": lanes})


@attrs.frozen(kw_only=True)
class WorkerView:
    """A dispatcher: a process, or one of several in it.

    Attributes:
        host: The name of its machine.
        process: The id of its process there.
        roles: What it does: ``plan``, ``relay``, ``send``, ``clean``.
        channels: What it sends over.
        started_at: Since when it works.
        seen_at: When it last said that it does: it says so every 30 seconds.
        in_flight: Attempts in progress then.
        silent: Whether it should have said so since, and has probably died.
    """

    id: str
    host: str
    process: int
    roles: tuple[str, ...]
    channels: tuple[str, ...]
    started_at: datetime
    seen_at: datetime
    in_flight: int
    silent: bool

    @classmethod
    def of(cls, worker: WorkerRecord, now: datetime) -> WorkerView:
        """Return what is shown of a worker."""
        shown = {field.name: getattr(worker, field.name) for field in attrs.fields(cls) if field.name != "silent"}
        return cls(silent=worker.is_silent(now), **shown)


@ROUTES.add("GET", "/v1/workers", AccessScope.SYSTEM_READ, query=PageQuery, answer=PageOf(WorkerView), is_system=True)
async def list_workers(call: Call) -> Any:
    """List the workers: those that deliver, and for a day those that died."""
    query: PageQuery = call.query
    now = call.kit.clock.now()
    found = await call.kit.workers(limit=query.limit + 1, after=query.cursor)
    return page_of(found, query.limit, lambda worker: WorkerView.of(worker, now))


@attrs.frozen(kw_only=True)
class TenantView:
    """A tenant.

    Attributes:
        id: Its name, as operators' requests name it.
    """

    id: str


@ROUTES.add("GET", "/v1/tenants", AccessScope.SYSTEM_READ, query=PageQuery, answer=PageOf(TenantView), is_system=True)
async def list_tenants(call: Call) -> Any:
    """List tenants in the order of their names.

    Tenants are listed that have or had an endpoint, a subscription, a template, an account of a provider, defaults for
    their people, a suppressed address or a key of this API.
    """
    query: PageQuery = call.query
    found = await call.kit.tenants(limit=query.limit + 1, after=query.cursor)
    return page_of([TenantView(id=name) for name in found], query.limit, lambda tenant: tenant)
