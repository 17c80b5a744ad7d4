"""Chat rooms by the URL of their incoming webhook: it is the address, a secret, and all that is needed to post.

Only hosts of the vendor are accepted, over HTTPS, so that an address never leads into the own network.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

import attrs

from ...errors import InvalidInputError
from ...models.delivery import Claim
from ...models.destination import Destination
from ...models.messages import ChatMessage, Message
from ...models.outcome import Answer, BadRecipient, CircuitEffect, Outcome, Throttled, Transient
from ..http_answers import HttpAnswer, Meaning
from ..http_provider import HttpRequest, Vendor, http_channel
from ..messages import MessageChannel
from ..provider_url import parse_provider_url

if TYPE_CHECKING:
    from ...ports import Renderer

#: What a host, a path and a query may consist of: nothing that a client would write in another way.
_URL = re.compile(r"[A-Za-z0-9._~:/?&=%@+,-]+")


class Rooms(Protocol):
    """What one vendor's incoming webhooks need and say; no I/O.

    Attributes:
        name: The scheme of its URLs: ``slack``.
        hosts: What the whole host must match.
        paths: What the whole path must match.
        example: A room's URL, for errors.
    """

    name: str
    hosts: re.Pattern[str]
    paths: re.Pattern[str]
    example: str

    def body(self, message: ChatMessage) -> Mapping[str, Any]:
        """Return the JSON that posts a message."""
        ...

    def query(self, given: str) -> str:
        """Return the query of the request, given that of the room's URL."""
        ...

    def outcome(self, answer: HttpAnswer, *, now: datetime) -> Outcome:
        """Return what an answer means."""
        ...


@attrs.frozen
class RoomVendor:
    """Posts to the rooms of one vendor.

    Attributes:
        endpoint: What replaces the scheme and the host of each room; empty for nothing.
    """

    rooms: Rooms
    endpoint: str = ""
    secrets: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.rooms.name

    @property
    def account(self) -> str:
        """All rooms share a circuit: what concerns one of them alone does not count."""
        return f"{self.rooms.name}://"

    def check_address(self, address: str) -> str:
        """Return the canonical form of a room's URL.

        Raises:
            InvalidInputError: It is not one of this vendor.
        """
        host, path, query = _parts(address)
        if not self.rooms.hosts.fullmatch(host) or not self.rooms.paths.fullmatch(path):
            raise InvalidInputError([f"address: must be the URL of a room's webhook, such as {self.rooms.example}"])
        return f"https://{host}{path}{'?' + query if query else ''}"

    def request(
        self,
        message: Message,
        claim: Claim,  # noqa: ARG002 - webhooks take no reference
        destination: Destination,
        *,
        now: datetime,  # noqa: ARG002 - nothing in it depends on the time
    ) -> HttpRequest | Outcome:
        if not isinstance(message, ChatMessage):
            raise TypeError(f"{self.name} carries a ChatMessage, not a {type(message).__name__}")
        try:
            host, path, query = _parts(self.check_address(destination.address))  # another program may have stored it
        except InvalidInputError as error:
            return BadRecipient(reason="invalid_address", answer=Answer(body=str(error).encode()))
        query = self.rooms.query(query)
        url = f"{self.endpoint or 'https://' + host}{path}{'?' + query if query else ''}"
        return HttpRequest.of_json(url, self.rooms.body(message), {})

    def outcome(self, answer: HttpAnswer, *, now: datetime) -> Outcome:
        outcome = self.rooms.outcome(answer, now=now)
        if isinstance(outcome, Throttled) or (isinstance(outcome, Transient) and answer.status < 500):
            return attrs.evolve(outcome, circuit=CircuitEffect.NONE)  # the limits are those of the room
        return outcome


def refusal_of(answer: HttpAnswer) -> Meaning:
    """Return what a refusal without a known code says: the URL is the only credential, so it concerns one room."""
    meaning = answer.meaning()
    return Meaning.PERMANENT if meaning is Meaning.CONFIGURATION else meaning


def channel_maker(rooms: Rooms) -> Callable[..., MessageChannel]:
    """Return the function that makes the channel for the rooms of one vendor."""

    def channel_from_url(url: str, *, renderer: Renderer | None = None) -> MessageChannel:
        found = parse_provider_url(url, example=f"{rooms.name}://", credentials=0)
        vendor = RoomVendor(rooms, found.endpoint(""))
        return http_channel("chat", vendor, found, renderer=renderer, check_address=vendor.check_address)

    return channel_from_url


def _parts(address: str) -> tuple[str, str, str]:
    """Return the host, the path and the query of a URL.

    Raises:
        InvalidInputError: It is not an HTTPS URL, or it has a part that no room's URL has.
    """
    address = address.strip()
    try:
        parts = urlsplit(address)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port = "", 0
    if not host or parts.scheme != "https" or port not in (None, 443) or "@" in parts.netloc or "#" in address:
        raise InvalidInputError(["address: must be an https:// URL"])
    if not _URL.fullmatch(address):
        raise InvalidInputError(["address: has characters that a room's URL cannot have"])
    return host, parts.path, parts.query


if TYPE_CHECKING:
    _conforms: type[Vendor] = RoomVendor
