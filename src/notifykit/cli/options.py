"""The global options, which work before and after a command."""

from __future__ import annotations

import argparse
from typing import Any


def add_globals(parser: argparse.ArgumentParser, level: int) -> None:
    """Add the global options, with a name for each level.

    A subparser fills its own namespace, which then overrides its parent's.  With one name for all
    levels, an option before the command would be lost.
    """
    group = parser.add_argument_group("global options, before or after the command")

    def add(*flags: str, name: str, **options: Any) -> None:
        group.add_argument(*flags, dest=f"{name}@{level}", default=argparse.SUPPRESS, **options)

    add("--url", name="url", metavar="URL", help="the store: sqlite:///file.db or postgresql://… (NOTIFYKIT_URL)")
    add("--tenant", name="tenant", metavar="NAME", help="the tenant (NOTIFYKIT_TENANT; else 'default')")
    add("--json", name="json", action="store_true", help="print results as JSON lines")
    add(
        "--allow",
        name="allow",
        metavar="CIDR",
        action="append",
        help="allow deliveries to this private block; repeatable (NOTIFYKIT_ALLOW)",
    )
    add(
        "--allow-name",
        name="allow_name",
        metavar="NAME",
        action="append",
        help="allow this private name, or *.NAME for all names below it; repeatable (NOTIFYKIT_ALLOW_NAMES)",
    )
    add("--allow-http", name="allow_http", action="store_true", help="accept http:// (NOTIFYKIT_ALLOW_HTTP=1)")
    add(
        "--show-addresses",
        name="show_addresses",
        action="store_true",
        help="show people's addresses in full; they are masked otherwise",
    )
    add("-v", "--verbose", name="verbose", action="count", help="log more to stderr; twice for everything")


def merged(given: argparse.Namespace, name: str) -> Any:
    """Return a global option from all levels: lists and counts are added, else the innermost value is used."""
    values = [getattr(given, f"{name}@{level}", None) for level in range(3)]
    found = [value for value in values if value is not None]
    if name in ("allow", "allow_name"):
        return [entry for entries in found for entry in entries]
    if name == "verbose":
        return sum(found)
    return found[-1] if found else None
