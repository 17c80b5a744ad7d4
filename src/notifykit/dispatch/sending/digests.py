"""What digests send: each event is decided about when its digest closes, and leaves it if it is refused."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import cast

from ...models.delivery import Claim, Collected
from ...policies.decide import SEND, Decision
from ...policies.digest import decide_digest, opened, parts_of, refused, without
from ...ports import Digests, Dismissal
from ..context import Context
from ..people import People
from .records import not_sent, record_of


class DigestDecisions:
    """Decides about claims of which some are digests.

    Args:
        people: Decides about single deliveries.
    """

    def __init__(self, context: Context, people: People) -> None:
        self._context = context
        self._people = people

    async def decide(self, claims: Sequence[Claim], now: datetime) -> tuple[list[Claim], dict[str, Decision]]:
        """Return the claims as they are sent, and each decision but :data:`SEND`."""
        decided: list[Claim] = []
        decisions: dict[str, Decision] = {}
        left = list(claims)
        while left:
            found = [(claim, await self._collected(claim)) for claim in left]
            parts = {claim.delivery_id: parts_of(claim, collected) for claim, collected in found}
            known = await self._people.decide([part for each in parts.values() for part in each], now)
            left = []
            for claim, collected in found:
                if collected is None:
                    decided.append(claim)
                    if claim.delivery_id in known:
                        decisions[claim.delivery_id] = known[claim.delivery_id]
                    continue
                decision = decide_digest(collected, known)
                leaving = refused(parts[claim.delivery_id], known) if decision is SEND else {}
                if leaving and not await self._dismiss(claim, parts[claim.delivery_id], leaving, now):
                    continue  # another worker has it by now
                if leaving and collected.total > len(collected.items):
                    left.append(claim)  # others come in the place of those that have left
                    continue
                decided.append(opened(claim, without(collected, leaving)))
                if decision is not SEND:
                    decisions[claim.delivery_id] = decision
        return decided, decisions

    async def _collected(self, claim: Claim) -> Collected | None:
        if claim.digest is None:
            return None
        store = cast("Digests", self._context.store)  # it has digests, or it had returned no claim of one
        return await store.collected(claim.tenant, claim.delivery_id)

    async def _dismiss(self, claim: Claim, parts: Sequence[Claim], leaving: dict[str, Decision], now: datetime) -> bool:
        """Take events out of a digest; return whether its claim was still held."""
        records = [
            (part, record_of(part, leaving[part.delivery_id], now)) for part in parts if part.delivery_id in leaving
        ]
        dismissals = [Dismissal(record.delivery_id, record.state, record.reason or "") for _, record in records]
        store = cast("Digests", self._context.store)
        if not await store.dismiss(claim.tenant, claim.delivery_id, claim.fence, dismissals, now=now):
            return False
        for part, record in records:
            self._context.emit(not_sent(part, record))
        return True
