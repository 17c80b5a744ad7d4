"""The egress guard: decides which addresses a delivery may be sent to, at the moment of dialling.

The check at registration only gives early feedback; this one is the security boundary, because a
name may point elsewhere a second later.  A transport dials only what :meth:`Guard.vet`
returned in the same attempt.
"""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections import OrderedDict
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from typing import Literal, NamedTuple, Protocol

import attrs

from ...errors import ConfigurationError, DestinationRefusedError
from . import addresses
from .lookups import WAIT, SystemResolver
from .reasons import Refusal
from .shortage import shortage_at_lookup
from .transport import WireError
from .url import Target, parse, read_name

#: How long a lookup may take.
LOOKUP_TIMEOUT = 5.0
#: How many addresses of a lookup are considered.
MAX_ANSWERS = 16
#: How long, and for how many names, vetted answers are remembered.
ANSWER_TTL = 10.0
MAX_REMEMBERED = 2048
#: A name that an operator allows by allowing loopback; never looked up in the DNS (RFC 6761).
_LOCALHOST = ("127.0.0.1", "::1")


class Resolver(Protocol):
    """Turns a name into addresses."""

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        """Return the addresses of ``host`` in the order in which they should be tried.

        A ``host`` with a dot is a complete name: no search domain may be appended.  One without
        a dot is only asked for if the operator listed it.

        Raises:
            OSError: The name has no address, or no server answered.
        """
        ...


class Verdict(NamedTuple):
    """The guard's decision about a URL, for people and for ``notifykit endpoints check``.

    Attributes:
        reason: A code of :class:`~.reasons.Refusal`, ``dns_failure``, what this process lacked for the
            lookup (``lookup_limit`` …), or ``None`` if it is allowed.
        url: The canonical URL, once it could be read.
        addresses: What would be dialled.
    """

    verdict: Literal["allow", "deny"]
    reason: str | None = None
    url: str | None = None
    addresses: tuple[str, ...] = ()


def _name_pattern(text: str) -> str:
    """Return a name of the operator's list as it is compared: with a dot in front if it means all names below it."""
    try:
        name = read_name(text.removeprefix("*.").lower())
    except DestinationRefusedError as error:
        raise ConfigurationError(
            f"the guard's list of names takes names such as receiver or *.svc.cluster.local, not {text!r}: "
            f"{error.detail}"
        ) from error
    if name.split(".")[-1] == "localhost":
        raise ConfigurationError("localhost needs no place in the list of names: allow the block 127.0.0.0/8")
    return f".{name}" if text.startswith("*.") else name


@attrs.define(eq=False)
class _Remembered:
    until: float
    addresses: tuple[str, ...]


class Guard:
    """Allows a delivery to leave, or returns the reason why it may not.

    Args:
        allow: CIDR blocks that the operator allows although the table refuses them, such as
            ``127.0.0.0/8`` in a test.  Metadata services stay refused.
        allow_http: Whether ``http://`` is acceptable.
        allow_names: Names that the operator allows although they exist only inside a private network:
            ``receiver``, or ``*.svc.cluster.local`` for all names below one.  What they resolve to is vetted
            like any other address, so the block of a private one must be in ``allow`` as well.
        resolver: What turns names into addresses; the operating system's by default.
    """

    def __init__(
        self,
        allow: Iterable[str] = (),
        *,
        allow_http: bool = False,
        allow_names: Iterable[str] = (),
        resolver: Resolver | None = None,
    ) -> None:
        try:
            self._allowed = tuple(ipaddress.ip_network(block) for block in allow)
        except ValueError as error:
            raise ConfigurationError(f"the guard's allow-list takes CIDR blocks: {error}") from error
        self._names = tuple(map(_name_pattern, allow_names))
        self.allow_http = allow_http
        self._resolver = resolver or SystemResolver()
        self._remembered: OrderedDict[tuple[str, int], _Remembered] = OrderedDict()

    def judge(self, address: str) -> Refusal | None:
        """Return why nothing may be sent to ``address``, the operator's allow-list considered."""
        reason = addresses.judge(address)
        if reason is None or reason is Refusal.METADATA or not self._allowed:
            return reason
        packed = addresses.pack(address)
        if packed is None or not self._lists(packed):
            return reason
        refused = (self.judge(addresses.text(inner)) for inner in addresses.carried(packed))
        return next((inner for inner in refused if inner is not None), None)

    def _lists(self, packed: bytes) -> bool:
        address = ipaddress.ip_address(packed)
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address in block for block in self._allowed)

    def parse(self, url: str) -> Target:
        """Read ``url`` and judge all that can be judged without asking the DNS.

        Raises:
            DestinationRefusedError: The URL will never be delivered to.
        """
        return parse(url, allow_http=self.allow_http, judge=self.judge, lists_name=self._lists_name)

    def _lists_name(self, name: str) -> bool:
        return any(name.endswith(listed) if listed[0] == "." else name == listed for listed in self._names)

    async def vet(self, host: str, port: int, *, patience: float = WAIT) -> tuple[str, ...]:
        """Return the addresses that may be dialled for ``host`` now, in the order of preference.

        One refused address refuses the name: a mixed set is an attack or a mistake.

        Args:
            patience: Seconds for which the operating system's resolver is waited for, if too many names hang.

        Raises:
            DestinationRefusedError: The host is, or points to, an address that is refused.
            WireError: The name could not be resolved.
        """
        if addresses.pack(host) is not None:
            return self._vetted((host,))
        if host == "localhost":
            return self._vetted([address for address in _LOCALHOST if self.judge(address) is None] or _LOCALHOST)
        key = (host, port)
        now = time.monotonic()
        known = self._remembered.get(key)
        if known is not None and now < known.until:
            return known.addresses
        vetted = self._vetted(await self._resolve(host, port, patience))
        self._remembered[key] = _Remembered(now + ANSWER_TTL, vetted)
        self._remembered.move_to_end(key)
        if len(self._remembered) > MAX_REMEMBERED:
            self._remembered.popitem(last=False)
        return vetted

    async def _resolve(self, host: str, port: int, patience: float) -> Sequence[str]:
        try:
            lookup = await self._begun(host, port, patience)
            async with asyncio.timeout(LOOKUP_TIMEOUT):
                answers = await lookup
        except (OSError, UnicodeError) as error:  # a TimeoutError is an OSError
            lacking = shortage_at_lookup(error)
            raise WireError(lacking or "dns_failure", own=lacking is not None) from error
        if not answers:
            raise WireError("dns_failure")
        return answers

    async def _begun(self, host: str, port: int, patience: float) -> Awaitable[Sequence[str]]:
        """Return a look-up that runs: the wait for a thread is not the name's."""
        if isinstance(self._resolver, SystemResolver):
            return asyncio.shield(await self._resolver.begin(host, port, patience))
        return self._resolver.resolve(host, port)

    def _vetted(self, answers: Sequence[str]) -> tuple[str, ...]:
        considered = tuple(answers[:MAX_ANSWERS])
        refused = [(reason, address) for address in considered if (reason := self.judge(address)) is not None]
        if refused:
            # The text does not contain the addresses: it may be shown to the tenant that chose the name.
            reason, address = refused[0]
            detail = f"{len(refused)} of {len(considered)} addresses"
            raise DestinationRefusedError(reason, detail, block=addresses.block_of(address))
        return considered

    async def judge_url(self, url: str, answers: Mapping[str, Sequence[str]] | None = None) -> Verdict:
        """Return whether deliveries to ``url`` would be allowed, and if not, why.

        Args:
            answers: Addresses to take for a host (lower case, no trailing dot) instead of asking the DNS.
        """
        canonical = None
        try:
            target = self.parse(url)
            canonical = target.url
            given = None if answers is None else answers.get(target.host)
            if given is None or target.literal:
                vetted = await self.vet(target.host, target.port)
            elif given:
                vetted = self._vetted(given)
            else:
                raise WireError("dns_failure")
        except DestinationRefusedError as refused:
            return Verdict("deny", str(refused.reason), canonical)
        except WireError as failed:
            return Verdict("deny", failed.reason, canonical)
        return Verdict("allow", None, canonical, vetted)
