"""What an item says when there is no template for it."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from ...codec import loads
from ...models.delivery import Claim
from ...models.destination import Destination
from ...models.messages import InAppMessage

if TYPE_CHECKING:
    from ...ports import Renderer


class TitleRenderer:
    """Makes the title from the name of the event's type: ``order.shipped`` is "Order shipped"; clients get the data."""

    def render(self, claim: Claim, destination: Destination, *, now: datetime) -> InAppMessage:
        del destination, now
        words = claim.event_type.replace(".", " ").replace("_", " ")
        return InAppMessage(title=words[:1].upper() + words[1:], data=loads(claim.body)["data"])


if TYPE_CHECKING:
    _conforms: type[Renderer] = TitleRenderer
