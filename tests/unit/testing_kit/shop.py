"""A program that publishes, as a host of notifykit would write it."""

from __future__ import annotations

import attrs

import notifykit


@notifykit.event("order.shipped")
@attrs.frozen
class OrderShipped:
    """An order has left."""

    order_id: str


@notifykit.event("order.cancelled")
@attrs.frozen
class OrderCancelled:
    """An order will not leave."""

    order_id: str


def ship(order_id, tenant="acme", **options):
    return notifykit.publish(OrderShipped(order_id), tenant=tenant, **options)


async def ship_async(order_id, tenant="acme", **options):
    return await notifykit.apublish(OrderShipped(order_id), tenant=tenant, **options)
