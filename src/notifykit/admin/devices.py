"""How the tokens of a recipient's devices change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

import attrs

from ..models.addresses import MAX_ADDRESS, AddressState
from ..models.checks import kind_of
from ..models.recipient import PUSH, Recipient, RecipientAddress


def is_token(value: object) -> str | None:
    """Check that an argument is a text or a mapping; what must be in it is said by its form."""
    if isinstance(value, str):
        return None if len(value) <= MAX_ADDRESS else f"has {len(value)} characters, at most {MAX_ADDRESS}"
    return None if isinstance(value, Mapping) else f"must be text or a browser's subscription, not {kind_of(value)}"


def registered(
    current: Recipient, token: str, *, platform: str | None, app: str | None, replaces: str | None, now: datetime
) -> Recipient:
    """Return a recipient with a token, in place of another one and of those that are gone.

    What is not said of the device is taken from the token before.
    """
    mine = [each for each in current.addresses_on(PUSH) if each.address in (token, replaces)]
    before = next(iter(sorted(mine, key=lambda each: each.address != token)), None)
    new = before or RecipientAddress(channel=PUSH, address=token)
    new = attrs.evolve(new, address=token, platform=platform or new.platform, app=app or new.app)
    if new.state is AddressState.GONE:
        new = attrs.evolve(new, state=AddressState.ACTIVE, reason="registered again", changed_at=now)
    addresses = [new if each is before else each for each in current.addresses if each not in mine or each is before]
    addresses = [each for each in addresses if each.channel != PUSH or each.state is not AddressState.GONE]
    renamed = {before.address: token} if before is not None else {}
    return _changed(current, addresses if before is not None else [*addresses, new], renamed)


def unregistered(current: Recipient, token: str) -> Recipient:
    """Return a recipient without a token."""
    others = [each for each in current.addresses if (each.channel, each.address) != (PUSH, token)]
    return _changed(current, others, {})


def _changed(current: Recipient, addresses: Iterable[RecipientAddress], renamed: Mapping[str, str]) -> Recipient:
    """Return a recipient with other addresses, and the suppressions of those: the same one if that changes nothing."""
    changed = tuple(addresses)
    left = {each.address for each in changed if each.channel == PUSH}
    suppressions = [
        attrs.evolve(each, address=renamed.get(each.address, each.address)) if each.channel == PUSH else each
        for each in current.suppressions
    ]
    kept = tuple(each for each in suppressions if each.channel != PUSH or each.address in left)
    return attrs.evolve(current, addresses=changed, suppressions=kept)
