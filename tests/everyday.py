"""Which tests the everyday run has, what it leaves to CI, and what CI leaves to the soak.

The everyday run leaves to CI all but one of several databases, brokers or event loops of a test, two thirds of the
long tests, and most random examples.  CI has a long test on one of its databases, the soak on all.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterable
from datetime import date
from zlib import crc32

#: The day, or any other word, that the choice is made for: set it to repeat the choice of another day.
VARIABLE = "NOTIFYKIT_TEST_DAY"
#: A long test runs on one of so many days.
TURNS = 3
_KINDS = frozenset({"asyncio", "kafka", "mysql", "nats", "postgres", "rabbitmq", "redis", "sqlite", "sqs", "uvloop"})


def is_everyday() -> bool:
    """Return whether this is not CI."""
    return not os.environ.get("CI")


def examples(count: int) -> int:
    """Return how many random examples a test tries: ``count`` in CI, a tenth of them every day."""
    return count // 10 if is_everyday() else count


def chosen_day(arguments: Iterable[str]) -> str | None:
    """Return the day that tests are chosen for, or None if all run: of a chosen file, and in CI that names no day.

    Processes that are started later choose alike, even at midnight.
    """
    if VARIABLE not in os.environ:
        if not is_everyday() or any(".py" in argument for argument in arguments):
            return None
        os.environ[VARIABLE] = date.today().isoformat()  # noqa: DTZ011 - any day will do
    return os.environ[VARIABLE]


def left_to(ids: Iterable[str], long: Iterable[str], day: str) -> dict[str, str]:
    """Return the marks of the tests that the everyday run of a day leaves out: ``thorough`` for CI, ``soak``.

    CI runs what is thorough after an everyday run: together that is all but the long tests on further databases.
    """
    alike = left_out(ids, day)
    return {
        **dict.fromkeys(alike | out_of_turn(long, day), "thorough"),
        **dict.fromkeys(alike.intersection(long), "soak"),
    }


def left_out(ids: Iterable[str], day: str) -> set[str]:
    """Return the tests that this day leaves out: of those that differ in the database or the loop all but one.

    The choice changes from day to day, so that each of them runs every few days.
    """
    alike: dict[str, list[str]] = defaultdict(list)
    for node_id in ids:
        alike[_without_kind(node_id)].append(node_id)
    left = set()
    for name, same in alike.items():
        same.sort()
        same.pop(crc32(f"{name} {day}".encode()) % len(same))
        left.update(same)
    return left


def out_of_turn(ids: Iterable[str], day: str) -> set[str]:
    """Return the long tests that this day leaves out: each runs on one day of three."""
    turn = date.fromisoformat(day).toordinal() if re.fullmatch(r"\d{4}-\d\d-\d\d", day) else crc32(day.encode())
    return {node_id for node_id in ids if (crc32(_without_kind(node_id).encode()) + turn) % TURNS}


def _without_kind(node_id: str) -> str:
    """Return what a test has in common with the same test on another database or loop."""
    name, _, arguments = re.sub(r"@[\w-]+$", "", node_id).partition("[")  # xdist appends a test's group
    if "/conformance/" in name:
        name = re.sub("mysql|postgres|redis|sqlite", "*", name, flags=re.IGNORECASE)
    return name + "-".join("*" if word in _KINDS else word for word in arguments.rstrip("]").split("-"))
