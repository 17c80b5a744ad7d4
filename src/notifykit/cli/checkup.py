"""``notifykit check``: is this installation healthy, and if not, what is to be done?"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, cast

from ..native import is_compiled
from . import inputs
from .connection_check import way
from .failures import FAILED, NO_STORE, OK, CommandError, explained
from .findings import Finding
from .parser import Commands
from .text import Cell, Column, plain

if TYPE_CHECKING:
    from ..kit import Notifykit
    from ..models.health import Ailment
    from ..ports import StoreStats
    from ..stores.sql.health import Health
    from ..stores.sql.postgres import PostgresStore
    from .context import Context

#: What each extra brings.
EXTRAS = {
    "asyncpg": "postgres",
    "orjson": "speed",
    "uvloop": "speed",
    "h2": "http2",
    "jsonschema-rs": "schema",
}
MAX_AGE = timedelta(minutes=1)
MAX_SKEW = timedelta(seconds=2)
_STYLES = {"ok": "green", "note": None, "warn": "yellow", "bad": "red"}
#: Counts of a store stop there.
_CAP = 10_000


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.command(
        "check",
        check,
        help="is this installation healthy?",
        description="Look at versions, the store, its schema, how long due work has been waiting, leases that nobody "
        "ends, dead letters, the clocks, and on PostgreSQL poolers and hints. Exit code 1 if something is wrong, 4 if "
        "the store cannot be used. Dead letters are a warning; 'notifykit dead list --fail-if-any' makes them an "
        "error.",
        example="notifykit check --url postgresql://app@db.internal/app\nnotifykit check --json --max-age 5m",
    )
    parser.add_argument(
        "--max-age",
        type=inputs.duration,
        default=MAX_AGE,
        metavar="TIME",
        help="how long due work may wait before something is wrong (1m)",
    )


async def check(context: Context) -> int:
    """Look at everything and say what is wrong."""
    from ..errors import NotifykitError

    findings = list(_software())
    code = OK
    try:
        async with context.open() as kit:
            findings += await _store(kit, context.shown_url, context.args.max_age)
    except (NotifykitError, CommandError) as error:
        failure = error if isinstance(error, CommandError) else explained(error, context.tenant)
        what, _, remedy = str(failure).rpartition("; ")
        findings.append(Finding("store", "bad", what or remedy, remedy if what else ""))
        code = failure.code if failure.code != FAILED else NO_STORE
    wrong = [finding for finding in findings if finding.level == "bad"]
    columns = [Column("CHECK"), Column(""), Column("FOUND", flexible=True), Column("TO DO", flexible=True)]
    rows = [(f.name, Cell(f.level, _STYLES[f.level]), f.found, f.remedy or " ") for f in findings]
    context.out.rows([finding._asdict() for finding in findings], columns, rows)
    context.out.line()
    context.out.line(_conclusion(len(wrong)))
    return code or (FAILED if wrong else OK)


def _conclusion(wrong: int) -> str:
    if not wrong:
        return "All is well."
    return "1 thing is wrong." if wrong == 1 else f"{wrong} things are wrong."


def _software() -> Iterator[Finding]:
    supported = sys.version_info >= (3, 11)
    yield Finding(
        "python",
        "ok" if supported else "bad",
        f"{platform.python_implementation()} {platform.python_version()} on {platform.system()}",
        "" if supported else "Python 3.11 or newer is needed",
    )
    form = ", compiled" if is_compiled() else ""
    yield Finding("notifykit", "ok", (_installed("notifykit") or "not installed, run from its source") + form)
    found = {name: _installed(name) for name in EXTRAS}
    present = ", ".join(f"{name} {text}" for name, text in found.items() if text) or "none"
    missing = sorted({EXTRAS[name] for name, text in found.items() if not text})
    yield Finding(
        "extras", "note" if missing else "ok", present, f"if wanted: notifykit[{','.join(missing)}]" if missing else ""
    )


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


async def _store(kit: Notifykit, shown_url: str, max_age: timedelta) -> list[Finding]:
    from ..stores.sql.database_url import backend_of
    from ..stores.sql.health import health
    from ..stores.sql.store import SqlStore

    findings = [Finding("store", "ok", shown_url)]
    now = datetime.now(UTC)
    if backend_of(kit.url) == "postgresql":
        findings += [finding async for finding in way(cast("PostgresStore", kit.store))]
    if isinstance(kit.store, SqlStore):
        findings += _health(await health(kit.store, now=now))
    findings += _keys(kit)
    stats = await kit.stats()
    findings.append(_age(stats, now, max_age))
    findings.append(Finding("sending", "ok", _capped(stats.sending)))
    findings.append(
        Finding("dead letters", "warn", _capped(stats.dead), "look: notifykit dead list; then: notifykit dead redrive")
        if stats.dead
        else Finding("dead letters", "ok", "0")
    )
    findings.append(_failing(await kit.store.ailments()))
    egress = kit.egress
    if egress.allow or egress.allow_http:
        opened = [*egress.allow, *(["http://"] if egress.allow_http else [])]
        findings.append(Finding("egress", "note", f"also {', '.join(map(plain, opened))}", "not in production"))
    return findings


def _failing(ailments: Sequence[Ailment]) -> Finding:
    if not ailments:
        return Finding("endpoints", "ok", "none failing")
    worst = min(ailments, key=lambda ailment: ailment.since)
    return Finding(
        "endpoints",
        "warn",
        f"{len(ailments)} failing; {worst.endpoint_id} of tenant {worst.tenant} since {worst.since:%Y-%m-%d %H:%M:%SZ} "
        f"({worst.reason})",
        "their deliveries wait and use up no attempts; tell the receivers",
    )


def _keys(kit: Notifykit) -> Iterator[Finding]:
    """Say which key seals secrets."""
    from ..stores.sql.store import SqlStore

    if isinstance(kit.store, SqlStore):
        given = bool(os.environ.get("NOTIFYKIT_KEYS"))
        yield Finding(
            "keys",
            "ok" if given else "note",
            "NOTIFYKIT_KEYS" if given else "a key made for development",
            "" if given else "before production set NOTIFYKIT_KEYS: notifykit keys generate",
        )


def _health(health: Health) -> Iterator[Finding]:
    from . import views

    yield Finding("schema", "ok", str(health.version))
    if health.expired_leases:
        yield Finding(
            "leases",
            "bad",
            f"{_capped(health.expired_leases)} expired, the oldest {views.span(health.oldest_expiry)} ago",
            "their worker died and nobody cleans up: notifykit run",
        )
    else:
        yield Finding("leases", "ok", "none expired")
    if health.skew is not None:
        far = abs(health.skew) > MAX_SKEW
        yield Finding(
            "clock",
            "bad" if far else "ok",
            f"{views.span(abs(health.skew))} {'ahead of' if health.skew > timedelta(0) else 'behind'} the database",
            "set this machine's clock (NTP)" if far else "",
        )


def _age(stats: StoreStats, now: datetime, max_age: timedelta) -> Finding:
    from . import views

    waiting = f"{_capped(stats.unplanned)} events and {_capped(stats.waiting)} deliveries"
    if stats.oldest_due is None:
        return Finding("waiting", "ok", f"{waiting}, none due")
    age = max(now - stats.oldest_due, timedelta(0))
    if age > max_age:
        return Finding(
            "waiting",
            "bad",
            f"{waiting}, due since {views.span(age)}",
            "does a dispatcher run? notifykit run; if one does, it needs more --processes",
        )
    return Finding("waiting", "ok", f"{waiting}, due since {views.span(age)}")


def _capped(count: int) -> str:
    return f"{count:,}" if count < _CAP else f"{_CAP:,} or more"
