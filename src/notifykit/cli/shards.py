"""``notifykit shards``: the databases that tenants are spread over, and moving a tenant to another one."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from .failures import OK, UsageError
from .parser import Commands

if TYPE_CHECKING:
    from ..stores.sharded import ShardedStore
    from .context import Context

_EXAMPLE = "notifykit shards list --url 'sharded://?a=sqlite:///a.db&b=sqlite:///b.db'"


def add(commands: Commands) -> None:
    """Add the group of commands."""
    group = commands.group("shards", help="list the databases of a sharded store, and move tenants between them")
    group.command(
        "list",
        list_,
        help="list the databases, how much work waits in each, and the tenants that were moved",
        description="List the databases of a sharded store with the work that waits in each, and the tenants that were "
        "moved or are being moved. All other tenants are where their hash puts them.",
        example=_EXAMPLE,
    )
    move_ = group.command(
        "move",
        move,
        help="move a tenant to another database while it is in use",
        description="Move a tenant with everything it has to another database of a sharded store. Publishes and "
        "deliveries of the tenant go on, and pause for a second or so at the end. A move that was interrupted "
        "continues when the command is repeated.",
        example="notifykit shards move acme b",
    )
    move_.add_argument("moved", metavar="TENANT", help="the tenant")
    move_.add_argument("shard", metavar="SHARD", help="the name of the database")
    rebalance_ = group.command(
        "rebalance",
        rebalance,
        help="deal new tenants to every database, and move those to it that its hash puts there",
        description="After a database was added to the URL of every process: deal new tenants to all databases, and "
        "move the tenants that belong on another one now, one by one. They stay in use. Repeat the command if it was "
        "interrupted: it continues.",
        example="notifykit shards rebalance",
    )
    rebalance_.add_argument(
        "--moved", action="store_true", help="move tenants as well that were moved before, by hand or by this command"
    )


def _sharded(context: Context, store: object) -> ShardedStore:
    from ..stores.sharded import ShardedStore

    if not isinstance(store, ShardedStore):
        raise UsageError(f"{context.shown_url} is one database; name several: {_EXAMPLE}")
    return store


async def list_(context: Context) -> int:
    """List the databases and the placements."""
    from ..errors import StoreUnavailableError
    from ..stores.sharded.mover import has_died
    from ..stores.sql.database_url import without_password

    async with context.open() as kit:
        store = _sharded(context, kit.store)
        for name, shard in store.shards.items():
            shown = {"shard": name, "url": without_password(shard.store.url), "dealt": name in store.placements.ring}
            try:
                stats = await (await shard.ready()).stats(now=kit.clock.now())
            except StoreUnavailableError as error:
                context.out.answer({**shown, "error": str(error)}, f"{name}  {shown['url']}  {error}")
                continue
            work = {"unplanned": stats.unplanned, "waiting": stats.waiting, "sending": stats.sending}
            counts = ", ".join(f"{count:,} {what}" for what, count in work.items())
            context.out.answer(
                {**shown, **work}, f"{name}  {shown['url']}  {counts}" + ("" if shown["dealt"] else "  (moves only)")
            )
        for placement in sorted(store.placements.known.values()):
            where = {"tenant": placement.tenant, "shard": placement.shard, "state": placement.state}
            text = f"{placement.tenant} is on {placement.shard}"
            if placement.state != "moved":
                text = f"{placement.tenant} is being moved from {placement.source} to {placement.shard}"
                if has_died(placement):
                    text += f"; that was cut off: notifykit shards move {placement.tenant} {placement.shard}"
            context.out.answer(where, text)
    return OK


async def move(context: Context) -> int:
    """Move a tenant."""
    tenant, shard = context.args.moved, context.args.shard
    async with context.open() as kit:
        store = _sharded(context, kit.store)
        started = time.monotonic()
        placement = await store.move_tenant(tenant, shard)
        took = round(time.monotonic() - started, 1)
    context.out.answer(
        {"tenant": tenant, "shard": placement.shard, "took_s": took},
        f"{tenant} is on {placement.shard} (moved in {took:g} s)",
    )
    return OK


async def rebalance(context: Context) -> int:
    """Deal new tenants to every database, and move the others one by one."""
    moved = 0
    async with context.open() as kit:
        store = _sharded(context, kit.store)
        async for placement, left in store.rebalance(moved=context.args.moved):
            moved += 1
            context.out.answer(
                {"tenant": placement.tenant, "shard": placement.shard, "left": left},
                f"{placement.tenant} is on {placement.shard} ({left:,} left to move)",
            )
        names = [*store.placements.ring]
    context.out.answer(
        {"moved": moved, "dealt": names}, f"tenants are dealt to {', '.join(names)}; {moved:,} were moved"
    )
    return OK
