"""A change of a record that others may change at the same time.

A record is read, changed by a pure function and saved; the store refuses the save if the record has changed
in between (:class:`~notifykit.errors.StaleWriteError`), and then the change is made anew from what is there.
So two changes at the same time are both kept: the second is made from the result of the first.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from .errors import StaleWriteError

T = TypeVar("T")

#: How often a change is tried.  Of concurrent changes one always succeeds; a slow process beside a fast one
#: that changes the same record without a pause may be refused dozens of times in a row.
TRIES = 100
#: Seconds to wait at the most before the second try, and before any: longer each time, so that many writers
#: spread out.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.002, 0.2


async def change(read: Callable[[], Awaitable[T]], make: Callable[[T], T], save: Callable[[T], Awaitable[T]]) -> T:
    """Read a record, change it with ``make`` and save it; if it was changed meanwhile, do so again.

    Args:
        read: Returns the record as it is now.
        make: Returns the changed record, or the same one if there is nothing to change; called once for each try.
        save: Saves it at the version that was read; called once for each try.

    Returns:
        The record as it was saved, or as it was read if there was nothing to change.

    Raises:
        StaleWriteError: It was changed before each try, which means that others change it without a pause.
    """
    longest = _FIRST_PAUSE
    for _ in range(TRIES - 1):
        try:
            return await _changed(read, make, save)
        except StaleWriteError:
            await asyncio.sleep(random.uniform(0, longest))  # noqa: S311 - spreads tries, hides nothing
            longest = min(2 * longest, _LONGEST_PAUSE)
    return await _changed(read, make, save)


async def _changed(read: Callable[[], Awaitable[T]], make: Callable[[T], T], save: Callable[[T], Awaitable[T]]) -> T:
    current = await read()
    wanted = make(current)
    return current if wanted is current else await save(wanted)
