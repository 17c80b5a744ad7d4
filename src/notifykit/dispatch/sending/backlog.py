"""The claims that this process holds for one lane: bounded, and fair between tenants and subscribers.

Senders take from here.  The next claim comes from the next tenant in turn, and there from the
next subscriber in turn that is below its in-flight cap (see :mod:`notifykit.dispatch.fairness`).
Taking a claim and finishing it are O(1).
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable
from typing import Final

from ...models.delivery import Claim
from ...models.ids import ENDPOINT
from ..fairness import LONG, PROMPT, SLOW, UNPROVEN, Places, Proofs, Rotation
from ..settings import LaneSettings

#: A claim with its subscriber's in-flight cap, and whether it takes a token to send it.
Held = tuple[Claim, int, bool]

#: A tenant may hold so many times the claims for which there is still room: alone two thirds of all.
_TENANT_SHARE: Final = 2
#: A tenant may have so many times the attempts open, apart from those that take long, for which there are still
#: places: alone seven eighths of all, so that another one finds a place at once.
_TENANT_PLACES: Final = 7
#: So many tenants at the most are passed over in one search for a claim.
_PASSED_OVER: Final = 16
#: Claims for destinations that have not answered may be one in so many.
_UNPROVEN_SHARE: Final = 4
#: With so many claims that wait, or attempts that take long, there is much to do.
_MUCH: Final = 100
#: What has happened within so many seconds has happened lately.
_LATELY: Final = 5.0
#: A subscriber that has no claim ready, and is in no rotation.
_NOT_LISTED: Final = -1


class _Queue:
    """One subscriber's claims."""

    __slots__ = (
        "blocked",
        "cap",
        "claims",
        "done",
        "done_before",
        "in_flight",
        "key",
        "listed",
        "proof",
        "subscriber_id",
        "tenant",
        "tokens",
    )

    def __init__(self, key: str, claim: Claim, cap: int, proof: int) -> None:
        self.key = key
        self.tenant = claim.tenant
        self.subscriber_id = claim.subscriber_id
        self.cap = cap
        self.proof = proof
        self.claims: deque[Claim] = deque()
        self.in_flight = 0
        self.listed = _NOT_LISTED
        self.blocked = False
        self.done = 0
        self.done_before = 0
        self.tokens: int | None = None

    def ready(self) -> bool:
        """Whether its next claim may be handed out now."""
        return self.in_flight < self.cap and self.tokens != 0 and bool(self.claims)

    def share(self) -> int:
        """How many claims may wait here: what its cap admits, or twice what was finished lately."""
        return max(self.cap, 2 * (self.done + self.done_before))


def _key(tenant: str, subscriber_id: str) -> str:
    """Return what a subscriber's claims are kept under: ids of endpoints are unique, those of people a tenant's."""
    return subscriber_id if subscriber_id.startswith(ENDPOINT) else f"{tenant}\0{subscriber_id}"


def _nobody(count: int) -> None:
    """Call no senders, as long as there are none."""


class Turn:
    """A claim that was taken, until it is finished."""

    __slots__ = ("_queue", "claim", "ended", "is_long", "proof", "since")

    def __init__(self, queue: _Queue, claim: Claim, since: float) -> None:
        self._queue = queue
        self.claim = claim
        self.proof = queue.proof
        self.since = since
        self.is_long = False
        self.ended = False


class Backlog:
    """Claims of one lane that wait for a sender of this process.

    Args:
        settings: Of the lane; ``prefetch`` counts the claims held, those whose attempts take long excepted.
        on_room: Called when a tenant or subscriber that was full can take claims again.
        on_token_shortage: Called when claims wait for tokens.

    Attributes:
        on_ready: Called with how many senders are needed, each of which calls :meth:`arrived`.
    """

    def __init__(
        self,
        settings: LaneSettings,
        on_room: Callable[[], None],
        on_token_shortage: Callable[[], None],
    ) -> None:
        self._prefetch = settings.prefetch
        self._finds_long = settings.max_unproven > 0
        self._max_unproven = max(1, settings.prefetch // _UNPROVEN_SHARE) if self._finds_long else settings.prefetch
        self.on_ready: Callable[[int], None] = _nobody
        self._on_room = on_room
        self._on_token_shortage = on_token_shortage
        self._places = Places(settings.concurrency, settings.max_unproven)
        self._proofs = Proofs()
        self._queues: dict[str, _Queue] = {}
        #: Those with claims: few, where very many have been finished lately.
        self._filled: dict[str, _Queue] = {}
        self._waiting_of: dict[str, int] = {}
        self._new_of: dict[str, int] = {}
        self._blocked_tenants: set[str] = set()
        self._rotations = [Rotation(), Rotation(), Rotation()]
        self._next_rotation = 0
        self._called = 0
        self._light_at = -math.inf
        self._waiting = 0
        self._unproven = 0
        self._unproven_blocked = False
        self._new: deque[Turn] = deque()
        self._overdue: list[Turn] = []
        self._looking: asyncio.TimerHandle | None = None
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
        return self._places.new + self._places.long

    @property
    def ready(self) -> bool:
        """Whether :meth:`take` has a claim."""
        return not self._shut and any(
            queue.ready() and self._places.admits(queue.proof) for queue in self._queues.values()
        )

    def is_mixed(self) -> bool:
        """Tell whether tenants with little to do are served beside those with much, and would wait for long writes."""
        return asyncio.get_running_loop().time() - self._light_at < _LATELY

    # -- room ------------------------------------------------------------------------------------

    def room(self) -> int:
        """Return how many more claims may be held."""
        return 0 if self._halts else self._prefetch - self._waiting - self._places.new

    def accepts(self, tenant: str, subscriber_id: str, of_it: int = 0, in_all: int = 0) -> bool:
        """Tell whether one more claim of the subscriber may be held beside those that are on their way.

        Args:
            tenant: The subscriber's tenant.
            subscriber_id: Whose claim it is.
            of_it: How many of the subscriber are on their way.
            in_all: How many of all subscribers are.
        """
        room = self.room() - in_all
        if room <= 0 or self._waiting_of.get(tenant, 0) + in_all >= _TENANT_SHARE * room:
            return False
        key = _key(tenant, subscriber_id)
        queue = self._queues.get(key)
        proof = self._proofs.of(key) if queue is None else queue.proof
        if proof == UNPROVEN and self._unproven + in_all >= self._max_unproven:
            return False
        if queue is None:
            return True
        waiting = len(queue.claims) + of_it
        return waiting < queue.cap or waiting < queue.share()

    def holds(self, tenant: str, subscriber_id: str) -> bool:
        """Tell whether a claim of the subscriber waits here or is being sent; ``on_room`` is called when it ends."""
        queue = self._queues.get(_key(tenant, subscriber_id))
        if queue is None or not (queue.in_flight or queue.claims):
            return False
        queue.blocked = True
        return True

    def holds_much(self, tenant: str) -> bool:
        """Tell whether claims of the tenant that no sender has started take a third of all room."""
        return 3 * self._waiting_of.get(tenant, 0) > self._prefetch

    def full(self) -> list[str]:
        """Return the subscribers of which no more claims may be held; ``on_room`` is called when that changes."""
        full = []
        for queue in self._filled.values():
            if len(queue.claims) >= queue.share():
                queue.blocked = True
                full.append(queue.subscriber_id)
        return full

    def full_tenants(self) -> list[str]:
        """Return the tenants of which no more claims may be held; ``on_room`` is called when that changes."""
        share = _TENANT_SHARE * self.room()
        full = [tenant for tenant, waiting in self._waiting_of.items() if waiting >= share]
        self._blocked_tenants = set(full)
        return full

    def proven(self, limit: int) -> list[str] | None:
        """Return which subscribers have answered, if no claims of others may be held; else ``None``.

        ``on_room`` is called when that changes.
        """
        if self._unproven < self._max_unproven:
            return None
        self._unproven_blocked = True
        found = [queue.subscriber_id for queue in self._queues.values() if queue.proof != UNPROVEN][:limit]
        return found + [key.rpartition("\0")[2] for key in self._proofs.latest(limit - len(found))]

    async def wait_for_room(self) -> None:
        """Return once there is more room than at the last call."""
        self._room.clear()
        await self._room.wait()

    # -- what waits ------------------------------------------------------------------------------

    def add(self, *held: Held) -> None:
        """Hold claims until senders take them."""
        for claim, cap, metered in held:
            key = _key(claim.tenant, claim.subscriber_id)
            queue = self._queues.get(key)
            if queue is None:
                queue = self._queues[key] = _Queue(key, claim, cap, self._proofs.of(key))
            queue.cap = cap
            if metered != (queue.tokens is not None):
                queue.tokens = 0 if metered else None
            queue.claims.append(claim)
            self._filled[key] = queue
            self._waiting_of[queue.tenant] = self._waiting_of.get(queue.tenant, 0) + 1
            if queue.proof == UNPROVEN:
                self._unproven += 1
            self._list(queue)
            if queue.tokens == 0:
                self._on_token_shortage()
        self._waiting += len(held)
        self._call(len(held))

    def _list(self, queue: _Queue) -> bool:
        """Give a queue its turn if it can use one and has none."""
        if queue.listed != _NOT_LISTED or not queue.ready():
            return False
        queue.listed = queue.proof
        self._rotations[queue.proof].add(queue.tenant, queue.key)
        return True

    def _expect(self, queue: _Queue, proof: int) -> None:
        """Note what is expected of a subscriber from now on."""
        if proof == queue.proof:
            return
        if proof == UNPROVEN:
            self._unproven += len(queue.claims)
        elif queue.proof == UNPROVEN:
            self._unproven -= len(queue.claims)
        queue.proof = proof
        if queue.listed != _NOT_LISTED:  # its turn among the others is passed over when it comes
            queue.listed = _NOT_LISTED
            self._list(queue)
            self._call(len(queue.claims))

    def _call(self, count: int) -> None:
        count = min(count, self._places.free - self._called)
        if count > 0 and not self._shut:
            self._called += count
            self.on_ready(count)

    def arrived(self) -> None:
        """Note that a sender has come that was called."""
        self._called -= 1

    # -- turns -----------------------------------------------------------------------------------

    def take(self) -> Turn | None:
        """Return the next claim in turn, if one may be sent now; the caller must tell when it is :meth:`done`."""
        if self._shut:
            return None
        for _ in range(3):
            proof = self._next_rotation
            self._next_rotation = (proof + 1) % 3
            if len(self._rotations[proof]) and self._places.admits(proof):
                queue = self._next_queue(proof)
                if queue is not None:
                    return self._begin(queue)
        return None

    def _next_queue(self, proof: int) -> _Queue | None:
        rotation = self._rotations[proof]
        left = min(len(rotation), _PASSED_OVER)
        while left and (key := rotation.next()) is not None:
            queue = self._queues.get(key)
            if queue is None or queue.listed != proof:
                continue
            if self._new_of.get(queue.tenant, 0) >= _TENANT_PLACES * self._places.free:
                rotation.add(queue.tenant, key)
                left -= 1
                continue
            queue.listed = _NOT_LISTED
            if queue.ready():  # a cap or a bucket may have shrunk since it was listed
                return queue
        return None

    def _begin(self, queue: _Queue) -> Turn:
        loop = asyncio.get_running_loop()
        turn = Turn(queue, queue.claims.popleft(), loop.time())
        queue.in_flight += 1
        self._places.begin(turn.proof)
        self._new_of[queue.tenant] = self._new_of.get(queue.tenant, 0) + 1
        self._note_less(queue)
        if queue.tokens is not None:
            queue.tokens -= 1
            if not queue.tokens and queue.claims:
                self._on_token_shortage()
        if queue.claims:
            self._list(queue)
        else:
            del self._filled[queue.key]
        # Where it is not found out which attempts take long, those that are open say nothing of what waits.
        if queue.tenant not in self._waiting_of:
            much = self._waiting + self._places.slow if self._finds_long else self._waiting
            if much >= _MUCH:
                self._light_at = turn.since
        if self._finds_long:
            self._new.append(turn)
            if self._looking is None:
                self._looking = loop.call_later(LONG / 2, self._look, loop)
        return turn

    def _note_less(self, queue: _Queue) -> None:
        """Count a claim that waits no more, and tell if that makes room for others of its kind."""
        self._waiting -= 1
        if queue.proof == UNPROVEN:
            self._unproven -= 1
        waiting = self._waiting_of[queue.tenant] - 1
        if waiting:
            self._waiting_of[queue.tenant] = waiting
        else:
            del self._waiting_of[queue.tenant]
        has_room = False
        if queue.tenant in self._blocked_tenants and waiting < self.room():
            self._blocked_tenants.discard(queue.tenant)
            has_room = True
        if self._unproven_blocked and 2 * self._unproven <= self._max_unproven:
            self._unproven_blocked = False
            has_room = True
        if has_room:
            self._on_room()

    def done(self, turn: Turn, answered: bool | None) -> None:
        """Note that a claim is finished, and whether its destination has answered; ``None``: it was not asked.

        No sender is called for the place that is free now: the one that has finished takes the next claim.
        """
        queue = turn._queue
        turn.ended = True
        self._places.end(turn.proof, is_long=turn.is_long)
        if not turn.is_long:
            self._note_less_new(queue.tenant)
        queue.in_flight -= 1
        queue.done += 1
        if answered is not None:
            if not turn.is_long and asyncio.get_running_loop().time() - turn.since < LONG:
                self._expect(queue, PROMPT)
            else:
                self._expect(queue, SLOW if answered else UNPROVEN)
        self._list(queue)
        if queue.blocked and 2 * len(queue.claims) <= queue.cap:
            queue.blocked = False
            self._on_room()
        self._room.set()

    def _note_less_new(self, tenant: str) -> None:
        new = self._new_of[tenant] - 1
        if new:
            self._new_of[tenant] = new
        else:
            del self._new_of[tenant]

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """Count attempts that take long elsewhere, so that others may begin."""
        since = loop.time() - LONG
        overdue = [turn for turn in self._overdue if not turn.ended]
        while self._new:
            turn = self._new.popleft()
            if turn.ended:
                continue
            if turn.since > since:
                self._new.appendleft(turn)
                break
            overdue.append(turn)
        self._overdue = []
        before = self._places.long
        for turn in overdue:
            turn.is_long = self._places.prolong(turn.proof)
            if not turn.is_long:
                self._overdue.append(turn)
                continue
            self._note_less_new(turn._queue.tenant)
            if turn._queue.proof == PROMPT:
                self._expect(turn._queue, SLOW)
        more = bool(self._new or self._overdue)
        self._looking = loop.call_later(LONG / 2, self._look, loop) if more else None
        if self._places.long > before:
            self._call(min(self._places.long - before, self._waiting))
            self._room.set()

    def allow(self, endpoint_id: str, cap: int) -> None:
        """Change how many attempts of an endpoint may be open."""
        queue = self._queues.get(endpoint_id)
        if queue is not None and queue.cap != cap:
            queue.cap = cap
            if self._list(queue):
                self._call(cap - queue.in_flight)

    # -- tokens ----------------------------------------------------------------------------------

    def short_of_tokens(self) -> dict[str, tuple[Claim, int]]:
        """Return the subscribers that wait for tokens: their next claim, and how many tokens they could use."""
        return {
            key: (queue.claims[0], len(queue.claims))
            for key, queue in self._queues.items()
            if queue.tokens == 0 and queue.claims
        }

    def add_tokens(self, tenant: str, subscriber_id: str, tokens: int) -> None:
        """Give a subscriber tokens; one is used up by each claim that is handed out."""
        queue = self._queues.get(_key(tenant, subscriber_id))
        if queue is not None and queue.tokens is not None:
            queue.tokens += tokens
            if self._list(queue):
                self._call(tokens)

    # -- life ------------------------------------------------------------------------------------

    def open(self) -> None:
        """Begin to hand out claims."""
        self._called = 0
        self._closed = False
        self._shut = bool(self._halts)
        self._call(self._waiting)

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
            self._call(self._waiting)
            self._room.set()

    def tick(self) -> None:
        """Forget subscribers that have gone quiet, and what was finished before the last tick."""
        for key, queue in list(self._queues.items()):
            queue.done_before, queue.done = queue.done, 0
            if not queue.claims and not queue.in_flight and not queue.done_before:
                self._proofs.keep(key, queue.proof)
                del self._queues[key]

    def drain(self) -> list[Claim]:
        """Take out and return every claim that no sender has started."""
        claims = [claim for queue in self._queues.values() for claim in queue.claims]
        for queue in self._queues.values():
            queue.claims.clear()
            queue.listed = _NOT_LISTED
        for rotation in self._rotations:
            rotation.clear()
        self._filled.clear()
        self._waiting_of.clear()
        self._waiting = self._unproven = 0
        return claims
