"""Would a person be told of an event, where and when: the decision for each step, with every rule on the way.

Pure: the clock is an argument.  It decides nothing itself: it asks the rule that planning and waking follow.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import attrs

from ..models.addresses import Suppression
from ..models.preferences import Purpose
from ..models.recipient import Recipient, TenantPreferences
from ..models.throttle import Throttle
from .audience import SENTENCES, NoticePlan, clock_of, decide_step, digest_for, quiet_for
from .contact import REASONS, Code, Defer, Skip, Verdict, person_of, usable_addresses
from .digest import window_from


class Rule(NamedTuple):
    """A rule of the decision that was tried.

    Attributes:
        applies: Whether it decided; the rules before it did not apply.
    """

    code: Code
    when: str
    applies: bool


@attrs.frozen(kw_only=True)
class StepExplanation:
    """What would become of one step of an event for one person.

    Attributes:
        code: Why; stable.
        at: When it would be sent; ``None`` if it would not.
        addresses: Where it would be sent to.
        fallback: Whether it would only be sent if no step before it arrives.
        throttle: The frequency cap that it counts for: it is only sent if the cap has a token left then.
        trail: The rules in the order in which they were tried; the last one decided.
    """

    channel: str
    verdict: Verdict
    code: Code
    at: datetime | None
    addresses: tuple[str, ...]
    fallback: bool
    throttle: Throttle | None
    trail: tuple[Rule, ...]

    @property
    def sentence(self) -> str:
        """The explanation for people."""
        return REASONS[self.code].sentence


def sentence_for(code: str) -> str:
    """Return what the reason of a delivery to a person means; empty for a code of a channel or provider."""
    known = {each.value: reason.sentence for each, reason in REASONS.items()} | SENTENCES
    return known.get(code, "")


def explain_steps(
    plan: NoticePlan,
    recipient: Recipient,
    tenant: TenantPreferences | None,
    listed: Sequence[Suppression] = (),
    *,
    now: datetime,
) -> tuple[StepExplanation, ...]:
    """Return what would become of each step if the event were planned at ``now`` and nothing changed after that.

    Args:
        listed: What the tenant's suppression list says of the recipient's addresses.
    """
    person = person_of(recipient, tenant, listed=listed)
    found = []
    for step in plan.steps:
        at = now + step.after
        decision = decide_step(plan, person, step.channel, at)
        code, sent_at = decision.code, decision.until if isinstance(decision, Defer) else at
        is_skipped = isinstance(decision, Skip)
        digest = None if is_skipped else digest_for(plan, step.channel, decision)
        if digest is not None:
            quiet = quiet_for(person, plan.notice)
            code, (sent_at, _) = Code.DIGEST, window_from(digest, clock_of(recipient, tenant), quiet, at)
        addresses = [] if is_skipped else usable_addresses(person, step.channel, plan.notice.purpose, at)
        found.append(
            StepExplanation(
                channel=step.channel,
                verdict=REASONS[code].verdict,
                code=code,
                at=None if is_skipped else sent_at,
                addresses=tuple(addresses),
                fallback=step.fallback,
                throttle=None if is_skipped or digest is not None else plan.cap_on(step.channel),
                trail=_trail(code, plan.notice.purpose),
            )
        )
    return tuple(found)


def _trail(decided: Code, purpose: Purpose) -> tuple[Rule, ...]:
    """Return the rules up to the one that decided."""
    tried = [code for code, reason in REASONS.items() if reason.security or purpose is not Purpose.SECURITY]
    return tuple(Rule(code, REASONS[code].when, code is decided) for code in tried[: tried.index(decided) + 1])
