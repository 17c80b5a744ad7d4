"""The claims that this process holds: bounded, and fair between subscribers.

Senders pull from here.  The next claim comes from the next subscriber in turn that
is below its in-flight cap, so a slow endpoint costs its own slots and nobody else's.
Every operation is O(1).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from ..models.delivery import Claim

#: A claim with its subscriber's in-flight cap, and whether it takes a token to send it.
Held = tuple[Claim, int, bool]


class _Line:
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

    def __init__(self, prefetch: int, on_room: Callable[[], None], on_thirst: Callable[[], None]) -> None:
        self._prefetch = prefetch
        self._on_room = on_room
        self._on_thirst = on_thirst
        self._lines: dict[str, _Line] = {}
        self._turn: deque[_Line] = deque()
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
        return not self._shut and any(line.ready() for line in self._turn)

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
        line = self._lines.get(subscriber_id)
        if line is None:
            return True
        waiting = len(line.claims) + of_it
        return waiting < line.cap or waiting < line.share()

    def holds(self, subscriber_id: str) -> bool:
        """Tell whether a claim of the subscriber waits here or is being sent; ``on_room`` is called when it ends."""
        line = self._lines.get(subscriber_id)
        if line is None or not (line.in_flight or line.claims):
            return False
        line.blocked = True
        return True

    def full(self) -> list[str]:
        """Return the subscribers of which no more claims may be held; ``on_room`` is called when that changes."""
        full = []
        for subscriber, line in self._lines.items():
            if len(line.claims) >= line.share():
                line.blocked = True
                full.append(subscriber)
        return full

    def add(self, *held: Held) -> None:
        """Hold claims until senders take them."""
        for claim, cap, metered in held:
            line = self._lines.get(claim.subscriber_id)
            if line is None:
                line = self._lines[claim.subscriber_id] = _Line(cap)
            line.cap = cap
            if metered != (line.tokens is not None):
                line.tokens = 0 if metered else None
            line.claims.append(claim)
            if not line.listed:
                self._list(line)
            if line.tokens == 0:
                self._on_thirst()
        self._waiting += len(held)
        if self._idle:
            self._call(len(held))

    def _list(self, line: _Line) -> bool:
        """Give a line a place in turn if it can use one and has none."""
        if line.listed or not line.ready():
            return False
        line.listed = True
        self._turn.append(line)
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
        while self._turn and not self._shut:
            line = self._turn.popleft()
            line.listed = False
            if line.ready():  # a cap or a bucket may have shrunk since it was listed
                break
        else:
            return None
        claim = line.claims.popleft()
        line.in_flight += 1
        self._waiting -= 1
        self._in_flight += 1
        if line.tokens is not None:
            line.tokens -= 1
            if not line.tokens and line.claims:
                self._on_thirst()
        if line.claims:
            self._list(line)
        return claim

    def done(self, subscriber_id: str) -> None:
        """Note that a claim of the subscriber is finished."""
        line = self._lines[subscriber_id]
        line.in_flight -= 1
        line.done += 1
        self._in_flight -= 1
        if self._list(line):
            self._call(1)
        if line.blocked and 2 * len(line.claims) <= line.cap:
            line.blocked = False
            self._on_room()
        self._room.set()

    def allow(self, subscriber_id: str, cap: int) -> None:
        """Change how many attempts of a subscriber may be open."""
        line = self._lines.get(subscriber_id)
        if line is not None and line.cap != cap:
            line.cap = cap
            if self._list(line):
                self._call(cap - line.in_flight)

    def thirsty(self) -> dict[str, tuple[str, int]]:
        """Return the subscribers that wait for tokens: their tenant, and how many they could use."""
        return {
            subscriber: (line.claims[0].tenant, len(line.claims))
            for subscriber, line in self._lines.items()
            if line.tokens == 0 and line.claims
        }

    def grant(self, subscriber_id: str, tokens: int) -> None:
        """Give a subscriber tokens; one is used up by each claim that is handed out."""
        line = self._lines.get(subscriber_id)
        if line is not None and line.tokens is not None:
            line.tokens += tokens
            if self._list(line):
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
        for subscriber, line in list(self._lines.items()):
            line.done_before, line.done = line.done, 0
            if not line.claims and not line.in_flight and not line.done_before:
                del self._lines[subscriber]

    def drain(self) -> list[Claim]:
        """Take out and return every claim that no sender has started."""
        claims = [claim for line in self._lines.values() for claim in line.claims]
        for line in self._lines.values():
            line.claims.clear()
            line.listed = False
        self._turn.clear()
        self._waiting = 0
        return claims
