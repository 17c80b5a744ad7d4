"""Checks of the store itself: its URL, tables, leases, clock and keys."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from datetime import timedelta

from ...environment import KEYS
from ..text import plain
from ..views import capped
from .finding import Finding, Opened

MAX_SKEW = timedelta(seconds=2)


async def address(opened: Opened) -> AsyncIterator[Finding]:
    """Report which store was opened."""
    yield Finding("store", "ok", opened.shown_url)


async def schema(opened: Opened) -> AsyncIterator[Finding]:
    """Report the version of the tables; with another version the store would not have opened."""
    if opened.health is not None:
        yield Finding("schema", "ok", str(opened.health.version))


async def leases(opened: Opened) -> AsyncIterator[Finding]:
    """Find claims whose lease has run out and that no dispatcher has rescued."""
    from .. import views

    health = opened.health
    if health is None:
        return
    if not health.expired_leases:
        yield Finding("leases", "ok", "none expired")
        return
    yield Finding(
        "leases",
        "bad",
        f"{capped(health.expired_leases)} expired, the oldest {views.span(health.oldest_expiry)} ago",
        "their workers died, and no dispatcher rescues the deliveries; start one: notifykit run",
    )


async def clock(opened: Opened) -> AsyncIterator[Finding]:
    """Compare this machine's clock with the database's."""
    from .. import views

    if opened.health is None or opened.health.skew is None:
        return
    skew = opened.health.skew
    far = abs(skew) > MAX_SKEW
    yield Finding(
        "clock",
        "bad" if far else "ok",
        f"{views.span(abs(skew))} {'ahead of' if skew > timedelta(0) else 'behind'} the database",
        "set this machine's clock (NTP)" if far else "",
    )


async def keys(opened: Opened) -> AsyncIterator[Finding]:
    """Decrypt stored values with the configured keys."""
    from ...ports import Rekeys

    if not isinstance(opened.kit.store, Rekeys):
        return
    found = await opened.kit.store.survey()
    given = bool(os.environ.get(KEYS, "").strip())
    source = "NOTIFYKIT_KEYS" if given else "a development key"
    for key_id, rows in sorted(found.unreadable.items()):
        yield _unreadable(key_id, rows, source)
    if found.unreadable:
        return
    read = f"; decrypted {capped(found.endpoints)} endpoints and a sample of the other rows" if found.encrypted else ""
    yield Finding(
        "keys",
        "ok" if given else "note",
        source + read,
        "" if given else "before production set NOTIFYKIT_KEYS: notifykit keys generate",
    )


def _unreadable(key_id: str, rows: int, source: str) -> Finding:
    from ...ports import TAMPERED

    amount = "1 row" if rows == 1 else f"{rows:,} rows"
    if key_id == TAMPERED:
        return Finding(
            "keys",
            "bad",
            f"{amount} cannot be decrypted: changed in the database, or encrypted with another key of the same id",
            "put the right key into NOTIFYKIT_KEYS; until then nothing is delivered with these rows",
        )
    return Finding(
        "keys",
        "bad",
        f"{amount} encrypted with the key {plain(key_id)}, which is not in {source}",
        f"add {plain(key_id)} to NOTIFYKIT_KEYS; until then nothing is delivered with these rows",
    )
