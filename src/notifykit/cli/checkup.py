"""``notifykit check``: check this installation, and say how to fix what is wrong."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from . import inputs
from .checks import SOFTWARE, STORE, Finding, Opened
from .failures import FAILED, NO_STORE, OK, CommandError, explained
from .parser import Commands
from .text import Cell, Column, plain

if TYPE_CHECKING:
    from ..kit import Notifykit
    from .context import Context

MAX_AGE = timedelta(minutes=1)
_STYLES = {"ok": "green", "note": None, "warn": "yellow", "bad": "red"}


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.command(
        "check",
        check_all,
        help="check that this installation is healthy",
        description="Check versions, the store, its schema, the age of due work, workers, expired leases, dead "
        "letters, the clocks, whether the configured keys decrypt stored values, on PostgreSQL poolers and "
        "notifications, on Redis and MySQL what a power cut can take, and the broker if there is one. Counts cover all "
        "tenants. Exit code 1 if a check fails, 4 if the store cannot be used. Dead letters are a warning; "
        "'notifykit dead list --fail-if-any' makes them an error.",
        example="notifykit check --url postgresql://app@db.internal/app\nnotifykit check --json --max-age 5m",
    )
    parser.add_argument(
        "--max-age",
        type=inputs.duration,
        default=MAX_AGE,
        metavar="TIME",
        help="how long due work may wait before the check fails (1m)",
    )
    parser.add_argument("--broker", metavar="URL", help="the broker that workers use (NOTIFYKIT_BROKER)")


async def check_all(context: Context) -> int:
    """Run all checks and show the findings."""
    from ..errors import NotifykitError

    findings = [finding for look in SOFTWARE for finding in look()]
    code = OK
    findings += _wrong_broker(context)
    try:
        async with context.open() as kit:
            opened = await _opened(context, kit)
            for check in STORE:
                findings += [finding async for finding in check(opened)]
    except (NotifykitError, CommandError) as error:
        failure = error if isinstance(error, CommandError) else explained(error, context.tenant)
        what, _, remedy = str(failure).rpartition("; ")
        findings.append(Finding("store", "bad", what or remedy, remedy if what else ""))
        code = failure.code if failure.code != FAILED else NO_STORE
    wrong = [finding for finding in findings if finding.level == "bad"]
    columns = [Column("CHECK"), Column(""), Column("FOUND", wraps=True), Column("TO DO", wraps=True)]
    rows = [(f.name, Cell(f.level, _STYLES[f.level]), f.found, f.remedy or " ") for f in findings]
    context.out.rows([finding._asdict() for finding in findings], columns, rows)
    context.out.line()
    context.out.line(_conclusion(len(wrong)))
    return code or (FAILED if wrong else OK)


def _wrong_broker(context: Context) -> list[Finding]:
    """Return what is wrong with the broker's URL; the store is then checked without a broker."""
    from ..errors import ConfigurationError
    from ..options import given_broker

    try:
        given_broker(context.broker)
    except ConfigurationError as error:
        context.args.broker = ""
        return [Finding("broker", "bad", plain(str(error)), "correct its URL (--broker, NOTIFYKIT_BROKER)")]
    return []


def _conclusion(wrong: int) -> str:
    if not wrong:
        return "All checks passed."
    return "1 check failed." if wrong == 1 else f"{wrong} checks failed."


async def _opened(context: Context, kit: Notifykit) -> Opened:
    from ..stores.sharded import ShardedStore
    from ..stores.sql.health import health, together
    from ..stores.sql.store import SqlStore

    store = kit.store
    stores = [await shard.ready() for shard in store.shards.values()] if isinstance(store, ShardedStore) else [store]
    now = datetime.now(UTC)
    found = [await health(each, now=now) for each in stores if isinstance(each, SqlStore)]
    return Opened(
        kit=kit,
        shown_url=context.shown_url,
        tenant=context.tenant,
        now=now,
        max_age=context.args.max_age,
        stats=await kit.stats(),
        health=together(found) if found else None,
    )
