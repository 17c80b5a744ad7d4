"""Read the pages of a list command up to its limit."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

from .output import Output

#: Rows in a page.
PAGE = 200


class Identified(Protocol):
    """A value with an id."""

    @property
    def id(self) -> str: ...


I = TypeVar("I", bound=Identified)  # noqa: E741 - ``I`` is an identified value


async def collect(page: Callable[[int, str | None], Awaitable[Sequence[I]]], limit: int) -> tuple[list[I], bool]:
    """Return up to ``limit`` values and whether there are more.

    Args:
        page: Returns a page, given its size and the id of the last value before it.
    """
    found: list[I] = []
    while len(found) <= limit:
        size = min(PAGE, limit + 1 - len(found))
        rows = await page(size, found[-1].id if found else None)
        found += rows
        if len(rows) < size:
            break
    return found[:limit], len(found) > limit


def note_more(out: Output, more: bool, limit: int) -> None:
    """Write on stderr that a list was cut."""
    if more:
        out.note(f"notifykit: only the first {limit} are shown; for more: --limit N")
