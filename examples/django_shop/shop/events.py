"""What the shop tells of."""

import attrs

import notifykit


@notifykit.event("order.placed", category="orders")
@attrs.frozen
class OrderPlaced:
    """A customer has placed an order."""

    order_id: str
