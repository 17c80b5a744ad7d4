"""Makes messages with methods of typed event classes: ``def email(self, to: Person) -> EmailMessage``."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import FunctionType
from typing import TYPE_CHECKING, Any, Protocol

import attrs

from ..codec import loads
from ..errors import TemplateError
from ..models.delivery import Claim
from ..models.destination import Destination
from ..models.event import EventType
from ..models.messages import KINDS, Message

if TYPE_CHECKING:
    from ..ports import Renderer


class EventTypes(Protocol):
    """What a renderer needs of the catalog."""

    def get(self, name: str, /) -> EventType | None:
        """Return what is known of a type."""
        ...

    def load(self, type_name: str, data: Mapping[str, Any], version: int = 1) -> Any:
        """Return data as an instance of its type's class."""
        ...


class MethodRenderer:
    """Renders with the method of the event's class that has the channel's name.

    Args:
        types: The types of events that the program knows.
        otherwise: Renders if the class has no such method, or it returns ``None``.
    """

    def __init__(self, types: EventTypes, otherwise: Renderer) -> None:
        self._types = types
        self._otherwise = otherwise

    def render(self, claim: Claim, destination: Destination, *, now: datetime) -> Message:
        is_digest = claim.collected is not None  # of several events, so of no class
        event_type = None if is_digest else self._types.get(claim.event_type)
        method = None if event_type is None else _method(event_type.payload, claim.channel)
        message = None if method is None else self._called(method, claim, destination)
        return self._otherwise.render(claim, destination, now=now) if message is None else message

    def _called(self, method: FunctionType, claim: Claim, destination: Destination) -> Message | None:
        body = loads(claim.body)
        kind = KINDS[claim.channel]
        try:
            event = self._types.load(claim.event_type, body["data"], body.get("version", 1))
            message = method(event, destination.config)
        except Exception as error:
            raise TemplateError(f"{method.__qualname__} failed: {type(error).__name__}: {error}") from error
        if message is None:
            return None
        if not isinstance(message, kind):
            raise TemplateError(f"{method.__qualname__} must return {kind.__name__}, not {type(message).__name__}")
        return attrs.evolve(message, template=message.template or method.__qualname__)


def _method(payload: type | None, channel: str) -> FunctionType | None:
    """Return the method of a channel; a field of this name, such as a person's ``email``, is none."""
    if channel not in KINDS:
        return None
    for owner in () if payload is None else payload.__mro__:
        if (found := vars(owner).get(channel)) is not None:
            return found if isinstance(found, FunctionType) else None
    return None


if TYPE_CHECKING:
    _conforms: type[Renderer] = MethodRenderer
