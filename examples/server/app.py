"""The whole server: REST API, dispatcher, demo data and a receiver to deliver to, in one process.

Start it in this folder; it needs no other server (``python3 dev.py serve`` in a clone does both)::

    pip install 'notifykit-sdk[email,server]'
    python app.py

The first start makes a database with a tenant ``demo``, one endpoint (this program's own receiver) and one person, and
prints an API key, once.  With that key::

    export KEY=nk_...
    curl -s localhost:8400/v1/events -H "Authorization: Bearer $KEY" -H 'content-type: application/json' \
         -d '{"type": "order.shipped", "data": {"order_id": "A-2"}, "to": ["user:42"]}'
    curl -s localhost:8400/v1/deliveries -H "Authorization: Bearer $KEY"
    curl -s localhost:8400/v1/inbox/user:42 -H "Authorization: Bearer $KEY"
    curl -sN localhost:8400/v1/inbox/user:42/stream -H "Authorization: Bearer $KEY"

The page http://localhost:8400/shop has a person's inbox and preferences in it, as a shop would show them to its
customers: order something, and see it come.

It also prints links to the tenant's portal and to the operators' pages, which work for an hour.  The reference of the
API is at http://localhost:8400/docs.

Settings by environment: ``NOTIFYKIT_URL`` (``postgresql://…`` in place of the SQLite file), ``NOTIFYKIT_KEYS``,
``NOTIFYKIT_EMAIL`` and the other variables of the library; ``HOST`` and ``PORT``; ``DEMO=0`` for a server without demo
data, whose keys ``notifykit api-keys create`` makes.
"""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import attrs
import uvicorn
from shop import Shop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

import notifykit
from notifykit import EgressRules, Event, Notifykit, Person, Step
from notifykit.contrib.receivers.asgi import ReceivedEvent, WebhookReceiver
from notifykit.models.messages import InAppMessage
from notifykit.web import PageOptions, create_app

TENANT, ADA = "demo", "user:42"
HOST, PORT = os.environ.get("HOST", "127.0.0.1"), int(os.environ.get("PORT", "8400"))
#: The page of the shop shows the preferences in a frame.
SITES = [f"http://{name}:{PORT}" for name in ("127.0.0.1", "localhost")]
PAGES = PageOptions(name="Demo Shop", accent="#0b6e4f", embedded_in=SITES)


@notifykit.event("order.shipped", category="orders", steps=[Step("in_app"), Step("email")])
@attrs.frozen
class OrderShipped:
    """An order has left the warehouse."""

    order_id: str

    def in_app(self, to: Person) -> InAppMessage:
        return InAppMessage(title=f"Order {self.order_id} is on its way", body="It arrives in two days.")


class DemoReceiver:
    """What a customer's program would do: it verifies each webhook and prints it."""

    def __init__(self) -> None:
        self.received: list[ReceivedEvent] = []
        self._webhooks: WebhookReceiver | None = None

    def use(self, secret: str) -> None:
        self._webhooks = WebhookReceiver(secret, dedupe=None)

    async def __call__(self, request: Request) -> Response:
        if self._webhooks is None:
            return Response(status_code=404)
        return await self._webhooks(self._take)(request)

    async def _take(self, event: ReceivedEvent) -> None:
        self.received.append(event)
        print(f"demo receiver: {event.type} {event.data}", flush=True)


async def seed(kit: Notifykit, receiver: DemoReceiver) -> None:
    """Make the demo's tenant, or find it."""
    endpoints = await kit.endpoints.list(tenant=TENANT, limit=1)
    if endpoints:
        receiver.use(endpoints[0].secrets[0].value)
        return
    endpoint = await kit.endpoints.create(f"http://127.0.0.1:{PORT}/demo/hook", tenant=TENANT, description="demo")
    receiver.use(endpoint.secrets[0].value)
    await kit.subscribe("order.*", tenant=TENANT, endpoint=endpoint.id)
    await kit.recipients.save(ADA, tenant=TENANT, name="Ada", locale="en", zone="Europe/London")
    issued = await kit.api_keys.create(tenant=TENANT, role="tenant_admin", name="demo")
    await kit.apublish(Event(type="order.shipped", data={"order_id": "A-1"}), tenant=TENANT, to=ADA)
    print(f"API key of the tenant {TENANT}, shown once: {issued.secret}", flush=True)


def show_pages(kit: Notifykit) -> None:
    """Print links that open the pages; a product sends its signed-in users to such a link."""
    url, hour = f"http://{HOST}:{PORT}", timedelta(hours=1)
    portal = kit.portal_links.url(tenant=TENANT, expires_in=hour, base_url=url)
    operations = kit.portal_links.url(tenant="", role="operator", expires_in=hour, base_url=url)
    print(f"portal of the tenant {TENANT}: {portal}\noperations: {operations}\nshop: {url}/shop", flush=True)


def make_app(kit: Notifykit, *, demo: bool) -> Starlette:
    receiver = DemoReceiver()

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with kit, kit.dispatcher():
            if demo:
                await seed(kit, receiver)
                show_pages(kit)
            yield

    shop = Shop(kit, TENANT, ADA)
    api = create_app(kit, pages=PAGES, recipient=shop.signed_in if demo else None)
    routes = [Route("/demo/hook", receiver.__call__, methods=["POST"]), *(shop.routes if demo else []), Mount("/", api)]
    app = Starlette(routes=routes, lifespan=lifespan)
    app.state.receiver = receiver
    return app


def require_free_port() -> None:
    """Stop before anything is made or promised if another program has the port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, PORT))
        except OSError as error:
            raise SystemExit(f"cannot listen on {HOST}:{PORT} ({error.strerror}); set PORT, as in PORT=8401") from None


def main() -> None:
    require_free_port()
    demo = os.environ.get("DEMO", "1") == "1"
    rules = EgressRules.from_environment()
    if demo:  # the demo's receiver is this program; a server for others delivers to public addresses only
        rules = attrs.evolve(rules, allow=(*rules.allow, "127.0.0.0/8"), allow_http=True)
    kit = Notifykit(os.environ.get("NOTIFYKIT_URL"), egress=rules, event_types=[OrderShipped])
    uvicorn.run(make_app(kit, demo=demo), host=HOST, port=PORT, log_level="warning", timeout_graceful_shutdown=5)


if __name__ == "__main__":
    main()
