"""A TCP proxy that fails on demand: put it before a database or a receiver, and call one of its faults.

It runs on a thread of its own, so that faults can be called from any test::

    with FaultProxy("127.0.0.1", 5432) as proxy:
        ... connect to proxy.port ...
        proxy.cut()
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable
from typing import Any, Self

from anyio.from_thread import start_blocking_portal

_CHUNK = 16 * 1024


class FaultProxy:
    """Forwards bytes, until a fault is called.

    Attributes:
        latency: Seconds that each chunk is held back.
        rate: Bytes a second in each direction of a connection; 0 is as fast as it goes.
        is_deaf: Whether chunks are read and thrown away: a half-open connection.
        refuses: Whether new connections are closed at once.
        drop_after: Reset each connection once so many bytes have come back through it.
        upstream: The host and the port of the server.
        cuts: How often a fault has ended a connection.
    """

    def __init__(self, host: str, port: int) -> None:
        self.upstream = (host, port)
        self._pairs: dict[asyncio.Task[None], tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = {}
        self._marker: bytes | None = None
        self._exit = contextlib.ExitStack()
        self.port = 0
        self.cuts = 0
        self.heal()

    # -- life ------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as opening:
            self._portal = opening.enter_context(start_blocking_portal("asyncio", name="fault-proxy"))
            server = self._portal.call(asyncio.start_server, self._serve, "127.0.0.1", 0)
            opening.callback(self._portal.call, self._close, server)
            self.port = server.sockets[0].getsockname()[1]
            self._exit = opening.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._exit.close()

    async def _close(self, server: asyncio.Server) -> None:
        server.close()
        running = list(self._pairs)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    # -- faults ----------------------------------------------------------------------------------

    def heal(self) -> None:
        """Pass everything on again, at full speed."""
        self.latency = 0.0
        self.rate = 0
        self.is_deaf = False
        self.refuses = False
        self.drop_after = 0
        self._marker = None

    def cut(self) -> None:
        """End every connection in good order (FIN)."""
        self._portal.call(self._end_all, False)

    def reset(self) -> None:
        """End every connection with a reset (RST)."""
        self._portal.call(self._end_all, True)

    def swallow_answer_to(self, marker: bytes) -> None:
        """Pass the next chunk with ``marker`` on to the server, then reset that connection before the answer comes.

        To a database that is a commit of which the client never learns.
        """
        self._marker = marker

    async def _end_all(self, hard: bool) -> None:
        for task, pair in list(self._pairs.items()):
            self._end(task, pair, hard)

    def _end(self, task: asyncio.Task[None], pair: tuple[asyncio.StreamWriter, ...], hard: bool) -> None:
        self.cuts += 1
        for writer in pair:
            if hard:
                # Zero seconds of linger turn a close into a reset.
                raw: Any = writer.get_extra_info("socket")
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
            else:
                writer.close()
        task.cancel()

    # -- the bytes -------------------------------------------------------------------------------

    async def _serve(self, from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        try:
            if self.refuses:
                raise ConnectionRefusedError
            from_server, to_server = await asyncio.open_connection(*self.upstream)
        except OSError:
            to_client.close()
            return
        pair = self._pairs[task] = (to_client, to_server)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pass(from_client, to_server, lambda chunk: self._swallows(task, pair, chunk)))
                both.create_task(self._pass(from_server, to_client, self._counter(task, pair)))
        except* (OSError, asyncio.CancelledError):
            pass
        finally:
            del self._pairs[task]
            for writer in pair:
                writer.close()

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Callable[[bytes], None]
    ) -> None:
        while chunk := await reader.read(_CHUNK):
            if self.latency or self.rate:
                await asyncio.sleep(self.latency + (len(chunk) / self.rate if self.rate else 0))
            if self.is_deaf:
                continue
            writer.write(chunk)
            await writer.drain()
            seen(chunk)
        writer.close()

    def _swallows(self, task: asyncio.Task[None], pair: tuple[asyncio.StreamWriter, ...], chunk: bytes) -> None:
        if self._marker is not None and self._marker in chunk:
            self._marker = None
            self._end(task, pair[:1], hard=True)  # only the client's side: the server must get to read it

    def _counter(self, task: asyncio.Task[None], pair: tuple[asyncio.StreamWriter, ...]) -> Callable[[bytes], None]:
        passed = 0

        def count(chunk: bytes) -> None:
            nonlocal passed
            passed += len(chunk)
            if self.drop_after and passed > self.drop_after:
                self._end(task, pair, hard=True)

        return count
