"""A client of the REST API: publish from a program that has no access to the database, and manage what a tenant has.

``publish`` has the signature of the kit's, so that a program can change from one to the other, and there is a typed
method for each operation of the API, named as in its reference::

    with Client("https://notify.example", "nk_…") as client:
        client.publish(OrderShipped("A-1"), topic="shop/7")
        client.create_subscription(event_types=["order.*"], endpoint_id="end_…")

A request that fails on the way is sent again; a publish carries an idempotency key, so that it is stored once.
"""

from .http import ApiError as ApiError
from .http import ApiUnavailableError as ApiUnavailableError
from .http import AsyncClient as AsyncClient
from .http import Change as Change
from .http import Client as Client

__all__ = ["ApiError", "ApiUnavailableError", "AsyncClient", "Change", "Client"]
