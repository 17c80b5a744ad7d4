"""Checks of the work: what waits, what is being sent, what failed, and the egress rules."""

from __future__ import annotations

import shlex
from collections.abc import AsyncIterator
from datetime import timedelta

from ..text import plain
from ..views import capped
from .finding import Finding, Opened

#: How many tenants a finding names.
_NAMED = 3
#: Workers that are looked at.
_WORKERS = 1000
#: What to do about work that waits for long, without a broker and with one.
_LATE = (
    "start a dispatcher: notifykit run; if one runs, give it more --processes",
    "start a dispatcher: notifykit run --broker; if some run, all need the same broker, or more --processes",
)


async def waiting(opened: Opened) -> AsyncIterator[Finding]:
    """Report how much work waits, and for how long the due part has been waiting."""
    from .. import views

    stats = opened.stats
    amount = f"{capped(stats.unplanned)} events and {capped(stats.waiting)} deliveries"
    if stats.oldest_due is None:
        yield Finding("waiting", "ok", f"{amount}, none due")
        return
    age = max(opened.now - stats.oldest_due, timedelta(0))
    late = age > opened.max_age
    yield Finding(
        "waiting",
        "bad" if late else "ok",
        f"{amount}, due since {views.span(age)}",
        _LATE[opened.kit.new_broker() is not None] if late else "",
    )


async def workers(opened: Opened) -> AsyncIterator[Finding]:
    """Report how many workers are alive, and the roles that none of them has."""
    from ...dispatch.settings import ROLES

    alive = [worker for worker in await opened.kit.workers(limit=_WORKERS) if not worker.is_silent(opened.now)]
    if not alive:
        yield Finding("workers", "note", "none is alive", "to deliver, start one: notifykit run")
        return
    missing = [role for role in ROLES if not any(role in worker.roles for worker in alive)]
    if opened.kit.new_broker() is None:
        missing = [role for role in missing if role != "relay"]  # which needs a broker
    yield Finding(
        "workers",
        "bad" if missing else "ok",
        f"{len(alive)} alive" + (f"; none has the role {' or '.join(missing)}" if missing else ""),
        f"start one that has it: notifykit run --roles {','.join(missing)}" if missing else "",
    )


async def sending(opened: Opened) -> AsyncIterator[Finding]:
    """Report how many deliveries are being sent."""
    yield Finding("sending", "ok", capped(opened.stats.sending))


async def dead_letters(opened: Opened) -> AsyncIterator[Finding]:
    """Count dead letters and name their tenants, because the other commands show those of one tenant only."""
    dead = opened.stats.dead
    if not dead:
        yield Finding("dead letters", "ok", "none in any tenant")
        return
    tenants = {} if opened.health is None else opened.health.dead
    named = ", ".join(f"{plain(tenant)} {capped(count)}" for tenant, count in list(tenants.items())[:_NAMED])
    more = f" and {len(tenants) - _NAMED} more tenants" if len(tenants) > _NAMED else ""
    whose = next(iter(tenants), opened.tenant)
    yield Finding(
        "dead letters",
        "warn",
        f"{capped(dead)} of all tenants" + (f": {named}{more}" if named else ""),
        f"see: notifykit dead list --tenant {shlex.quote(plain(whose))}; then: notifykit dead redrive",
    )


async def failing(opened: Opened) -> AsyncIterator[Finding]:
    """Report endpoints, and accounts of providers, that keep failing."""
    circuits = await opened.kit.store.circuits()
    if not circuits:
        yield Finding("endpoints", "ok", "none failing")
        return
    worst = min(circuits, key=lambda circuit: circuit.since)
    yield Finding(
        "endpoints",
        "warn",
        f"{len(circuits)} failing; {plain(worst.key)}{f' of tenant {worst.tenant}' if worst.tenant else ''} since "
        f"{worst.since:%Y-%m-%d %H:%M:%SZ} ({worst.reason})",
        "their deliveries are held and use no attempts; inform the operators of the receivers"
        if worst.tenant
        else "deliveries over this account are held and use no attempts; correct its configuration",
    )


async def egress(opened: Opened) -> AsyncIterator[Finding]:
    """Report what the egress rules allow beside public addresses over https."""
    rules = opened.kit.egress
    if rules.allow or rules.allow_names or rules.allow_http:
        also = [*rules.allow, *rules.allow_names, *(["http://"] if rules.allow_http else [])]
        yield Finding("egress", "note", f"also allows {', '.join(map(plain, also))}", "do not use this in production")
