"""The command line of every ``job.py``, and the ways to publish: ``python job.py publish EVENTS SIZE``.

What a command returns is printed as JSON; coroutines run on uvloop where the peer has it.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from webhook import message

Timing = dict[str, float]

#: How many publishers of one producer run at the same time, where the tool is asynchronous and nothing else is said.
PUBLISHERS = 32


def main(*commands: Callable[..., Any]) -> None:
    """Run the command that ``sys.argv`` names, with numbers for arguments."""
    name, *numbers = sys.argv[1:]
    result = {command.__name__: command for command in commands}[name](*map(int, numbers))
    if inspect.iscoroutine(result):
        result = run(result)
    if result is not None:
        print(json.dumps(result), flush=True)


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine to its end."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(coroutine)
    return uvloop.run(coroutine)


def in_turn(events: int, size: int, enqueue: Callable[[str, str], object]) -> Timing:
    """Publish one event after the other."""
    started = time.perf_counter()
    for at in range(events):
        enqueue(*message(size, at))
    return {"events": events, "seconds": time.perf_counter() - started}


def in_threads(events: int, size: int, publishers: int, enqueue: Callable[[str, str], object]) -> Timing:
    """Publish with several threads, as a web server of threads would."""
    numbers = iter(range(events))
    started = time.perf_counter()

    def publisher() -> None:
        for at in numbers:  # an iterator of numbers may be shared by threads
            enqueue(*message(size, at))

    with ThreadPoolExecutor(publishers) as threads:
        for done in [threads.submit(publisher) for _ in range(publishers)]:
            done.result()
    return {"events": events, "seconds": time.perf_counter() - started}


async def side_by_side(
    events: int, size: int, enqueue: Callable[[str, str], Awaitable[object]], publishers: int = PUBLISHERS
) -> Timing:
    """Publish with several publishers at a time, as a busy web server would."""
    numbers = iter(range(events))
    started = time.perf_counter()

    async def publisher() -> None:
        for at in numbers:
            await enqueue(*message(size, at))

    await asyncio.gather(*(publisher() for _ in range(publishers)))
    return {"events": events, "seconds": time.perf_counter() - started}


async def in_batches(
    events: int, size: int, batch: int, enqueue: Callable[[list[tuple[str, str]]], Awaitable[object]]
) -> Timing:
    """Publish ``batch`` events with one call, which only a bulk job can do: a request has one event."""
    started = time.perf_counter()
    for first in range(0, events, batch):
        await enqueue([message(size, at) for at in range(first, min(first + batch, events))])
    return {"events": events, "seconds": time.perf_counter() - started}
