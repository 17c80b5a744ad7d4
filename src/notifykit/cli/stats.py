"""``notifykit stats``: how much work waits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from .failures import OK
from .parser import Commands
from .text import fields

if TYPE_CHECKING:
    from .context import Context

#: Workers that are counted at the most.
_WORKERS = 1000


def add(commands: Commands) -> None:
    """Add the command."""
    commands.command(
        "stats",
        stats,
        help="count the waiting work of all tenants",
        description="Count events to plan, waiting deliveries, deliveries being sent, and dead letters, and show how "
        "long the most overdue one has been waiting. Counts cover all tenants of the store and stop at 10,000. For a "
        "health check with an exit code see: notifykit check.",
        example="notifykit stats\nnotifykit stats --json",
    )


async def stats(context: Context) -> int:
    """Count."""
    from ..stores.sharded import ShardedStore
    from . import views

    async with context.open() as kit:
        found = await kit.stats()
        failing = len(await kit.store.circuits())
        workers = await kit.workers(limit=_WORKERS)
        missing = await kit.store.missing() if isinstance(kit.store, ShardedStore) else []
    now = datetime.now(UTC)
    silent = sum(worker.is_silent(now) for worker in workers)
    age = None if found.oldest_due is None else max(now - found.oldest_due, timedelta(0))
    context.out.record(
        {
            "tenants": "all",
            "unplanned": found.unplanned,
            "waiting": found.waiting,
            "sending": found.sending,
            "dead": found.dead,
            "failing_endpoints": failing,
            "workers": len(workers) - silent,
            "silent_workers": silent,
            **({"missing_shards": missing} if missing else {}),
            "oldest_due": views.instant(found.oldest_due),
            "oldest_due_age_s": None if age is None else round(age.total_seconds(), 3),
        }
    )
    overdue = "nothing" if age is None else f"{views.span(age)}, since {views.clock(found.oldest_due)}"
    context.out.lines(
        fields(
            {
                "store": f"{context.shown_url} (all tenants)",
                "events to plan": views.capped(found.unplanned),
                "deliveries waiting": views.capped(found.waiting),
                "being sent": views.capped(found.sending),
                "dead letters": views.capped(found.dead),
                "failing endpoints": f"{failing:,}",
                "workers": f"{len(workers) - silent:,}" + (f", and {silent:,} silent" if silent else ""),
                "most overdue": overdue,
            }
        )
    )
    if missing:
        context.out.note(f"not counted, because these shards do not answer: {', '.join(missing)}")
    return OK
