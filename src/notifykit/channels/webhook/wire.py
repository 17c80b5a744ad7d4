"""The purpose-built transport: HTTP/1.1 POST, keep-alive, one deadline per attempt.

A request over a warm connection costs one future and no task, timer or scope.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING

from ...native import mypyc_attr
from .connection import StaleConnectionError
from .guard import Guard
from .limits import Limits
from .pool import Pool
from .transport import BODY_CAP, Response, Transport, WireError
from .url import Target


@mypyc_attr(allow_interpreted_subclasses=True)
class Wire:
    """Posts over its own keep-alive connections.

    Args:
        guard: What decides on every address that is dialled.
        body_cap: How much of an answer's body is kept; a longer one closes the connection.
        tls: TLS settings; by default certificates are verified against the system's authorities.
        limits: How many connections there may be, and for how long.
        resends: Whether a request is sent again over a fresh connection if the receiver has closed an idle one just
            as it was used, most probably without reading it.
    """

    def __init__(
        self,
        guard: Guard,
        *,
        body_cap: int = BODY_CAP,
        tls: ssl.SSLContext | None = None,
        limits: Limits | None = None,
        resends: bool = True,
    ) -> None:
        self._guard = guard
        self._body_cap = body_cap
        self._tls = tls
        self._limits = limits or Limits()
        self._resends = resends
        self._pool: Pool | None = None

    async def post(self, target: Target, head: bytes, body: bytes, *, timeout: float) -> Response:
        """Send one request and return its answer; see :class:`~.transport.Transport`."""
        loop = asyncio.get_running_loop()
        pool = self._pool
        if pool is None or pool.loop is not loop:  # connections of an earlier loop were closed with it
            pool = self._pool = Pool(loop, self._guard, body_cap=self._body_cap, tls=self._tls, limits=self._limits)
        now = loop.time()
        deadline = now + timeout
        data = head + body
        connection = pool.take(target.pool_key, now)
        if connection is not None:
            waiter = pool.start(connection, data, deadline)
            try:
                return await waiter
            except StaleConnectionError as error:
                if not self._resends:
                    raise WireError("reset", uncertain=True) from error
                # the same attempt continues over a fresh connection, once
            except BaseException:
                connection.abandon(waiter)
                raise
        connection = await pool.dial(target, deadline)
        waiter = pool.start(connection, data, deadline)
        try:
            return await waiter
        except BaseException:
            connection.abandon(waiter)
            raise

    async def aclose(self) -> None:
        """Close every connection; requests that still run end as ``reset``."""
        if self._pool is not None:
            self._pool.close()
            self._pool = None
            await asyncio.sleep(0)  # the loop closes aborted sockets in its next iteration


if TYPE_CHECKING:
    _conforms: type[Transport] = Wire
