"""The claims that this process holds: bounded, and fair between subscribers.

Senders pull from here.  The next claim comes from the next subscriber in turn that
is below its in-flight cap, so a slow endpoint takes no slots from other endpoints.
Every operation is O(1).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from ...models.delivery import Claim

#: A claim with its subscriber's in-flight cap, and whether it takes a token to send it.
Held = tuple[Claim, int, bool]


class _Queue:
    """One subscriber's claims."""

    __slots__ = ("blocked", "cap", "claims", "done", "done_before", "in_flight", "listed", "tokens")

    def __init__(self, cap: int) -> None:
        self.cap = cap
        self.claims: deque[Claim] = deque()
        self.in_flight = 0
        self.listed = False
        self.blocked = False
        self.done = 0
        self.done_before = 0
        self.tokens: int | None = None

    def ready(self) -> bool:
        """Whether its next claim may be handed out now."""
        return self.in_flight < self.cap and self.tokens != 0 and bool(self.claims)

    def share(self) -> int:
        """How many claims may wait here: what its cap admits, or what it proved to finish in a moment."""
        return max(self.cap, 2 * (self.done + self.done_before))


class Backlog:
    """Claims of one lane that wait for a sender of this process.

    Args:
        prefetch: How many claims may be held, those being sent included.
        on_room: Called when a subscriber that was full can take claims again.
        on_thirst: Called when claims wait for tokens.
    """

    def __init__(self, prefetch: int, on_room: Callable[[], None], on_token_shortage: Callable[[], None]) -> None:
        self._prefetch = prefetch
        self._on_room = on_room
        self._on_token_shortage = on_token_shortage
        self._queues: dict[str, _Queue] = {}
        self._rotation: deque[_Queue] = deque()
        self._idle: deque[asyncio.Future[None]] = deque()
        self._waiting = 0
        self._in_flight = 0
        self._closed = self._shut = False
        self._halts: set[str] = set()
        self._room = asyncio.Event()
        self._room.set()

    @property
    def waiting(self) -> int:
        """How many claims no sender has started."""
        return self._waiting

    @property
    def in_flight(self) -> int:
        """How many claims are being sent."""
        return self._in_flight

    @property
    def ready(self) -> bool:
        """Whether :meth:`take` has a claim at once."""
        return not self._shut and any(queue.ready() for queue in self._rotation)

    def room(self) -> int:
        """Return how many more claims may be held."""
        return 0 if self._halts else self._prefetch - self._waiting - self._in_flight

    def accepts(self, subscriber_id: str, of_it: int = 0, in_all: int = 0) -> bool:
        """Tell whether one more claim of the subscriber may be held beside those that are on their way.

        Args:
            subscriber_id: Whose claim it is.
            of_it: How many of the subscriber are on their way.
            in_all: How many of all subscribers are.
        """
        if self.room() <= in_all:
            return False
        queue = self._queues.get(subscriber_id)
        if queue is None:
            return True
        waiting = len(queue.claims) + of_it
        return waiting < queue.cap or waiting < queue.share()

    def holds(self, subscriber_id: str) -> bool:
        """Tell whether a claim of the subscriber waits here or is being sent; ``on_room`` is called when it ends."""
        queue = self._queues.get(subscriber_id)
        if queue is None or not (queue.in_flight or queue.claims):
            return False
        queue.blocked = True
        return True

    def full(self) -> list[str]:
        """Return the subscribers of which no more claims may be held; ``on_room`` is called when that changes."""
        full = []
        for subscriber, queue in self._queues.items():
            if len(queue.claims) >= queue.share():
                queue.blocked = True
                full.append(subscriber)
        return full

    def add(self, *held: Held) -> None:
        """Hold claims until senders take them."""
        for claim, cap, metered in held:
            queue = self._queues.get(claim.subscriber_id)
            if queue is None:
                queue = self._queues[claim.subscriber_id] = _Queue(cap)
            queue.cap = cap
            if metered != (queue.tokens is not None):
                queue.tokens = 0 if metered else None
            queue.claims.append(claim)
            if not queue.listed:
                self._list(queue)
            if queue.tokens == 0:
                self._on_token_shortage()
        self._waiting += len(held)
        if self._idle:
            self._call(len(held))

    def _list(self, queue: _Queue) -> bool:
        """Give a line a place in turn if it can use one and has none."""
        if queue.listed or not queue.ready():
            return False
        queue.listed = True
        self._rotation.append(queue)
        return True

    def _call(self, count: int) -> None:
        while count > 0 and self._idle:
            future = self._idle.popleft()
            if not future.done():
                future.set_result(None)
                count -= 1

    async def take(self) -> Claim:
        """Wait for the next claim in turn; the caller must tell :meth:`done` when it is finished."""
        while (claim := self.take_now()) is None:
            future = asyncio.get_running_loop().create_future()
            self._idle.append(future)
            try:
                await future
            except asyncio.CancelledError:
                if future.done() and not future.cancelled():
                    self._call(1)  # we were called but will not come: call the next one
                raise
        return claim

    def take_now(self) -> Claim | None:
        """Return the next claim in turn as :meth:`take` does, or ``None`` if that would wait."""
        while self._rotation and not self._shut:
            queue = self._rotation.popleft()
            queue.listed = False
            if queue.ready():  # a cap or a bucket may have shrunk since it was listed
                break
        else:
            return None
        claim = queue.claims.popleft()
        queue.in_flight += 1
        self._waiting -= 1
        self._in_flight += 1
        if queue.tokens is not None:
            queue.tokens -= 1
            if not queue.tokens and queue.claims:
                self._on_token_shortage()
        if queue.claims:
            self._list(queue)
        return claim

    def done(self, subscriber_id: str) -> None:
        """Note that a claim of the subscriber is finished."""
        queue = self._queues[subscriber_id]
        queue.in_flight -= 1
        queue.done += 1
        self._in_flight -= 1
        if self._list(queue):
            self._call(1)
        if queue.blocked and 2 * len(queue.claims) <= queue.cap:
            queue.blocked = False
            self._on_room()
        self._room.set()

    def allow(self, subscriber_id: str, cap: int) -> None:
        """Change how many attempts of a subscriber may be open."""
        queue = self._queues.get(subscriber_id)
        if queue is not None and queue.cap != cap:
            queue.cap = cap
            if self._list(queue):
                self._call(cap - queue.in_flight)

    def short_of_tokens(self) -> dict[str, tuple[Claim, int]]:
        """Return the subscribers that wait for tokens: their next claim, and how many tokens they could use."""
        return {
            subscriber: (queue.claims[0], len(queue.claims))
            for subscriber, queue in self._queues.items()
            if queue.tokens == 0 and queue.claims
        }

    def add_tokens(self, subscriber_id: str, tokens: int) -> None:
        """Give a subscriber tokens; one is used up by each claim that is handed out."""
        queue = self._queues.get(subscriber_id)
        if queue is not None and queue.tokens is not None:
            queue.tokens += tokens
            if self._list(queue):
                self._call(tokens)

    async def wait_for_room(self) -> None:
        """Return once a claim has been finished since the last call."""
        self._room.clear()
        await self._room.wait()

    def close(self) -> None:
        """Hand out no more claims, and let :meth:`wait_for_room` return."""
        self._closed = self._shut = True
        self._room.set()

    def halt(self, reason: str) -> None:
        """Hand out no claims, and have no room for more, until :meth:`resume` is called for each reason."""
        self._halts.add(reason)
        self._shut = True

    def resume(self, reason: str) -> None:
        """Hand out claims again, unless there is another reason not to."""
        self._halts.discard(reason)
        if not self._halts:
            self._shut = self._closed
            self._call(len(self._idle))
            self._room.set()

    def tick(self) -> None:
        """Forget subscribers that have gone quiet, and what was finished before the last tick."""
        for subscriber, queue in list(self._queues.items()):
            queue.done_before, queue.done = queue.done, 0
            if not queue.claims and not queue.in_flight and not queue.done_before:
                del self._queues[subscriber]

    def drain(self) -> list[Claim]:
        """Take out and return every claim that no sender has started."""
        claims = [claim for queue in self._queues.values() for claim in queue.claims]
        for queue in self._queues.values():
            queue.claims.clear()
            queue.listed = False
        self._rotation.clear()
        self._waiting = 0
        return claims
