"""What the servers of chat vendors share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from ..receiver import ReceivedRequest, Reply
from .base import RefusedError, Sending, SimulatedVendor, new_id, option


class RoomServer(SimulatedVendor):
    """A vendor of chat rooms, which posts no receipts."""

    channel = "chat"
    #: Of its providers' URLs.
    scheme: ClassVar[str]
    #: A room's URL without its last part.
    room: ClassVar[str]

    @property
    def provider_url(self) -> str:
        return f"{self.scheme}://?{option(self.url)}"

    def address(self, name: str = "delivered") -> str:
        return f"{self.room}{name}"

    def is_authentic(self, request: ReceivedRequest) -> bool:  # noqa: ARG002 - the URL is all there is
        return True

    def read(self, request: ReceivedRequest) -> list[Sending]:
        try:
            body = request.json()
        except ValueError:
            body = None
        if not isinstance(body, dict):
            raise RefusedError(self.codes["rejected"])
        self.check(request, body)
        return [Sending(to=request.path.partition("?")[0], content=body)]

    def answer(self, sendings: Sequence[Sending]) -> Reply:
        self.refuse_named(sendings)
        reference = new_id(18)
        self.take(sendings[0], reference)
        return self.success(reference)

    @abstractmethod
    def check(self, request: ReceivedRequest, body: dict[str, Any]) -> None:
        """Raise :class:`~.base.RefusedError` for what the vendor does not want."""

    @abstractmethod
    def success(self, reference: str) -> Reply:
        """Return the vendor's answer to a message that it took."""
