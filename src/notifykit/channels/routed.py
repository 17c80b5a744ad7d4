"""A channel to people that sends over several provider accounts, and over those that tenants have themselves.

The rules are :mod:`notifykit.policies.routing`; the circuits are the engine's.
"""

from __future__ import annotations

import random
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import attrs

from ..errors import InvalidInputError, NotifykitError
from ..models.delivery import Claim
from ..models.destination import Destination
from ..models.messages import Message, SmsMessage
from ..models.outcome import Accepted, Outcome, Uncertain
from ..models.routing import MAX_COST
from ..policies.decide import HOLD, Hold
from ..policies.retry import Rng
from ..policies.routing import Candidate, Health, choose, is_critical
from ..policies.sms import canonical_number, countries_of, plain, segments
from .accounts import Account, accounts_of
from .messages import MessageChannel, any_address
from .plain import PlainRenderer

if TYPE_CHECKING:
    from ..ports import CircuitStates, Provider, Renderer, RoutesDeliveries
    from .tenant_accounts import TenantAccounts

#: Why a delivery is held: no account can take it now, or a tenant's own account is not usable.
FAILING, MISCONFIGURED = "provider_failing", "provider_misconfigured"
#: How many sets of accounts of tenants are set up at the same time.
_KEPT = 256
_SMS = "sms"
_MILLIONTH = Decimal("0.000001")

#: Makes the channel of the provider of a URL.
MakeChannel = Callable[[str], MessageChannel]


@attrs.frozen(eq=False)
class Member:
    """One account that is set up.

    Attributes:
        channel: What sends over it alone.
    """

    channel: MessageChannel
    health: Health

    @property
    def provider(self) -> Provider:
        """The provider, with its account's name."""
        return self.channel.provider

    def takes(self, address: str) -> bool:
        """Tell whether the provider has such addresses."""
        try:
            self.channel.check_address(address)
        except InvalidInputError:
            return False
        return True

    async def send(self, claim: Claim, destination: Destination, *, now: datetime) -> Outcome:
        """Make one attempt, and note how it went and what it cost."""
        message = self.channel.render(claim, destination, now=now)
        outcome = await self.channel.simulate(claim, destination)
        if outcome is not None:
            return outcome
        ticket, began = self.health.begin(now), time.monotonic()
        try:
            outcome = await self.provider.send(message, claim, destination, now=now)
        finally:
            self.health.end(ticket, outcome, timedelta(seconds=time.monotonic() - began))
        if self.health.options.costs and isinstance(outcome, Accepted | Uncertain):
            cost = self._cost(message, destination)
            outcome = attrs.evolve(outcome, answer=attrs.evolve(outcome.answer, cost=cost))
        return outcome

    def _cost(self, message: Message, destination: Destination) -> Decimal | None:
        price = self.health.options.price(_countries(destination))
        if price is not None and isinstance(message, SmsMessage):
            price *= segments(plain(message.text)).total
        # What cannot be recorded would be taken for a fault of the channel, and the message sent again.
        return None if price is None else min(price, MAX_COST - 1).quantize(_MILLIONTH)


class RoutedChannel:
    """Sends messages to people over the account that a policy chooses for each attempt.

    Args:
        name: The channel's name: ``email``.
        accounts: At least one.
        make: Makes the channel of a URL.
        renderer: Makes the messages of providers that are objects; by default plain texts.
        tenants: Knows the accounts that tenants have themselves.

    Raises:
        ConfigurationError: An account is not acceptable.
        MissingExtraError: What a provider needs is not installed.
    """

    def __init__(
        self,
        name: str,
        accounts: Sequence[Account],
        make: MakeChannel,
        *,
        renderer: Renderer | None = None,
        tenants: TenantAccounts | None = None,
        rng: Rng = random.random,
    ) -> None:
        self.name = name
        self._make = make
        self._renderer = renderer or PlainRenderer()
        self._tenants = tenants
        self._rng = rng
        self.members = self._set_up(accounts)
        #: By what tenants have: its URL, which may be the same for several of them.
        self._of_tenants: OrderedDict[str, tuple[Member, ...]] = OrderedDict()

    def __repr__(self) -> str:
        return f"<RoutedChannel {self.name}: {', '.join(each.provider.account for each in self.members)}>"

    # -- what a channel does ---------------------------------------------------------------------

    def check_address(self, address: str) -> str:
        taking = [each for each in self.members if each.takes(address)]
        return (taking or self.members)[0].channel.check_address(address)

    def destination(self, *, tenant: str, subscriber_id: str, address: str, app: str | None = None) -> Destination:
        first = self.members[0].channel
        made = first.destination(tenant=tenant, subscriber_id=subscriber_id, address=address, app=app)
        return attrs.evolve(made, circuit_key=None, timeout=max(each.channel.timeout for each in self.members))

    async def route(
        self, claim: Claim, destination: Destination, circuits: CircuitStates, *, now: datetime
    ) -> Destination | Hold:
        members = self.members
        if self._tenants is not None:
            own = await self._tenants.url(claim.tenant, self.name, claim.version)
            if own is not None:
                members = await self._set_up_tenant(own)
                if not members:
                    return Hold(now + HOLD, MISCONFIGURED)
        return self._choose(members, claim, destination, circuits, now)

    async def send(self, claim: Claim, destination: Destination, *, now: datetime) -> Outcome:
        member = destination.route if isinstance(destination.route, Member) else self.members[0]
        return await member.send(claim, destination, now=now)

    async def aclose(self) -> None:
        for members in (self.members, *self._of_tenants.values()):
            await _close(members)

    # -- choosing --------------------------------------------------------------------------------

    def _choose(
        self,
        members: Sequence[Member],
        claim: Claim,
        destination: Destination,
        circuits: CircuitStates,
        now: datetime,
    ) -> Destination | Hold:
        if len(members) > 1:
            members = [each for each in members if each.takes(destination.address)] or members[:1]
        countries = _countries(destination)
        candidates = {_candidate(each, destination, circuits, countries): each for each in members}
        chosen = choose(
            [*candidates],
            critical=is_critical(claim.details.purpose, claim.priority),
            tries=claim.tries,
            now=now,
            rng=self._rng,
        )
        if isinstance(chosen, datetime):
            return Hold(chosen, FAILING)
        return _routed(candidates[chosen], destination)

    # -- setting accounts up ---------------------------------------------------------------------

    def _set_up(self, accounts: Iterable[Account]) -> tuple[Member, ...]:
        return tuple(Member(self._channel(each), Health(each.options)) for each in accounts)

    def _channel(self, account: Account) -> MessageChannel:
        url = account.url()
        if url is not None:
            return self._make(url)
        provider: Any = account.provider
        return MessageChannel(self.name, self._renderer, provider, check_address=check_of(self.name))

    async def _set_up_tenant(self, url: str) -> tuple[Member, ...]:
        """Return the accounts of a tenant's URL, set up once; none if that is not possible (any more)."""
        if url not in self._of_tenants and len(self._of_tenants) >= _KEPT:
            await self._make_room()  # before: while this task waits, another one may close what is idle
        members = self._of_tenants.get(url)
        if members is None:
            try:
                members = self._set_up(accounts_of(url))
            except NotifykitError:  # it was checked when it was set: an extra may be missing in this process
                return ()
            self._of_tenants[url] = members
        self._of_tenants.move_to_end(url)
        return members

    async def _make_room(self) -> None:
        for url, members in self._of_tenants.items():
            if not any(each.health.in_flight for each in members):
                del self._of_tenants[url]
                return await _close(members)
        return None


def check_of(channel: str) -> Callable[[str], str]:
    """Return what checks the addresses of a channel whose provider is an object."""
    if channel == _SMS:
        return canonical_number
    if channel == "email":
        from .email.address import canonical_address

        return canonical_address
    return any_address


async def _close(members: Collection[Member]) -> None:
    for each in members:
        await each.channel.aclose()


def _countries(destination: Destination) -> frozenset[str]:
    return countries_of(destination.address) if destination.channel == _SMS else frozenset()


def _candidate(
    member: Member, destination: Destination, circuits: CircuitStates, countries: frozenset[str]
) -> Candidate:
    routed = _routed(member, destination)
    circuit = circuits.circuit(routed.circuit_key)
    places = 1 if circuit is None else circuits.places(routed)
    return Candidate(member.health, circuit, places, member.health.options.price(countries))


def _routed(member: Member, destination: Destination) -> Destination:
    channel = member.channel
    key = channel.circuit_key(destination.address, destination.app)
    return attrs.evolve(destination, circuit_key=key, timeout=min(destination.timeout, channel.timeout), route=member)


if TYPE_CHECKING:
    _conforms: type[RoutesDeliveries] = RoutedChannel
