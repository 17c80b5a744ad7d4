"""The API behind a real server, in a thread of this process or in its event loop."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, NamedTuple

import uvicorn
from starlette.applications import Starlette


class Served(NamedTuple):
    """A server that runs.

    Attributes:
        call: Runs a coroutine in the server's event loop and returns its result.
    """

    url: str
    call: Callable[[Coroutine[Any, Any, Any]], Any]


@contextlib.contextmanager
def serving(app: Starlette, **options: Any) -> Iterator[Served]:
    """Serve an application while the block runs."""
    config = uvicorn.Config(
        app, host="127.0.0.1", port=0, log_level="warning", timeout_graceful_shutdown=1, lifespan="on", **options
    )
    server = uvicorn.Server(config)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_until_complete, args=(server.serve(),), name="served")
    thread.start()
    try:
        asyncio.run(_started(server, thread))
        port = server.servers[0].sockets[0].getsockname()[1]
        yield Served(f"http://127.0.0.1:{port}", lambda made: asyncio.run_coroutine_threadsafe(made, loop).result(30))
    finally:
        server.should_exit = True
        thread.join()
        loop.close()


@contextlib.asynccontextmanager
async def here(app: Starlette) -> AsyncIterator[str]:
    """Serve an application in this event loop, and give its URL."""
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    config.load()
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        await server.shutdown()


async def _started(server: uvicorn.Server, thread: threading.Thread) -> None:
    while not server.started:
        assert thread.is_alive(), "the server has ended before it began"
        await asyncio.sleep(0.005)
