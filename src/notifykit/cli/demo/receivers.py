"""The demo's receivers: real HTTP servers on loopback, in a separate thread, that verify every signature."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AsyncExitStack, contextmanager

from ...signing import VerificationError, Verifier
from ..failures import CommandError
from ..receiver import Receiver, Reply, Request
from .scenario import Role


class DemoReceiver:
    """One receiver and its counts.

    The demo reads the counts from another thread: they only grow, and are compared when no
    delivery is in progress any more.

    Attributes:
        verifiers: The key for each path; set before the first event is published.
        attempts: Verified requests by (path, event id).
        accepted: When an event was answered with 200, by (path, event id), on the monotonic clock.
        refused: Requests that failed verification.
    """

    def __init__(self, role: Role) -> None:
        self.role = role
        self.receiver = Receiver(self._handle)
        self.verifiers: dict[str, Verifier] = {}
        self.attempts: Counter[tuple[str, str]] = Counter()
        self.accepted: dict[tuple[str, str], float] = {}
        self.refused = 0
        self.requests = 0

    def url(self, path: str) -> str:
        """Return the address of a path."""
        return f"http://127.0.0.1:{self.receiver.port}{path}"

    async def _handle(self, request: Request) -> Reply:
        arrived = time.monotonic()
        self.requests += 1
        verifier = self.verifiers.get(request.path)
        if verifier is None:
            self.refused += 1
            return Reply(404)
        try:
            event = verifier.open(request.body, request.headers)
        except VerificationError:
            self.refused += 1
            return Reply(401)
        key = (request.path, event.id)
        self.attempts[key] += 1
        if self.role.delay:
            await asyncio.sleep(self.role.delay)
        if self.role.fails is None or self.attempts[key] <= self.role.fails:
            return Reply(self.role.status, b"try again later")
        self.accepted.setdefault(key, arrived)
        return Reply(200)


@contextmanager
def open_receivers(roles: Sequence[Role]) -> Iterator[dict[str, DemoReceiver]]:
    """Run a receiver for each role; return them by name."""
    receivers = {role.name: DemoReceiver(role) for role in roles}
    loop = asyncio.new_event_loop()
    listening: Future[None] = Future()
    done = asyncio.Event()
    # A daemon thread does not prevent the end of the process if the demo is interrupted.
    thread = threading.Thread(
        target=_serve, args=(loop, receivers.values(), listening, done), name="notifykit-receivers", daemon=True
    )
    thread.start()
    try:
        listening.result()
        yield receivers
    finally:
        loop.call_soon_threadsafe(done.set)
        thread.join(timeout=5)


def _serve(
    loop: asyncio.AbstractEventLoop, receivers: Iterable[DemoReceiver], listening: Future[None], done: asyncio.Event
) -> None:
    async def serve() -> None:
        async with AsyncExitStack() as stack:
            for receiver in receivers:
                await stack.enter_async_context(receiver.receiver)
            listening.set_result(None)
            await done.wait()

    try:
        loop.run_until_complete(serve())
    except OSError as error:
        listening.set_exception(CommandError(f"cannot listen on this machine: {error.strerror or error}; try again"))
    finally:
        loop.close()
