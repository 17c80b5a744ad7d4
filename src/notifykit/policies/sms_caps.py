"""Caps of text messages by country: what is left of an attack that makes you send to expensive numbers.

Pure.  A cap counts for each tenant and country; premium-rate and satellite numbers are a country of their own.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..models.delivery import Claim, DeliveryState, NewDelivery
from ..models.throttle import Throttle, country_bucket
from .audience import NoticePlan
from .contact import Code
from .decide import Decision, Hold
from .sms import countries_of

#: The channel whose messages are counted.
SMS = "sms"
#: The key of the cap that counts for each country without one of its own.
ANY = "*"


def cap_of(caps: Mapping[str, Throttle], number: str) -> tuple[str, Throttle] | None:
    """Return the cap that counts for a number, with the key of its bucket among those of the tenant.

    Countries that share a calling code share the bucket; the cap is that of the first one that has any.
    """
    countries = sorted(countries_of(number))
    named = next((country for country in countries if country in caps), ANY)
    throttle = caps.get(named)
    return None if throttle is None else (country_bucket(",".join(countries), throttle), throttle)


def is_counted(new: NewDelivery) -> bool:
    """Tell whether a planned delivery is a text message that is sent now, or after quiet hours."""
    is_sent = new.state is DeliveryState.PENDING or new.reason == Code.QUIET_HOURS
    return new.channel == SMS and new.digest is None and is_sent


def is_counted_later(plan: NoticePlan, claim: Claim, decision: Decision | None) -> bool:
    """Tell whether a claim is a text message that was not counted when it was planned: a later step, or a digest.

    Args:
        decision: What is decided of it; ``None`` if it is sent.
    """
    step = plan.step(claim.channel)
    was_late = claim.digest is not None or (step is not None and (step.fallback or bool(step.after)))
    return claim.channel == SMS and claim.fence == 1 and was_late and (decision is None or isinstance(decision, Hold))
