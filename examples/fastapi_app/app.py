"""A FastAPI program that publishes events and delivers them: API and dispatcher in one process.

Run it in this folder (the two variables let it deliver to this machine; production needs neither)::

    pip install 'notifykit-sdk[fastapi]' uvicorn
    NOTIFYKIT_ALLOW=127.0.0.0/8 NOTIFYKIT_ALLOW_HTTP=1 uvicorn app:app --port 8000

Then, with the program in ``../receiver`` listening on port 9000::

    curl -s localhost:8000/endpoints -H 'x-tenant: acme' -H 'content-type: application/json' \
         -d '{"url": "http://127.0.0.1:9000/hooks"}'
    curl -s localhost:8000/orders -H 'x-tenant: acme' -H 'content-type: application/json' -d '{"order_id": "A-1"}'
    curl -s localhost:8000/deliveries -H 'x-tenant: acme'

The first response has the secret that the receiver needs.  The last one shows the delivery: ``delivered`` if the
receiver accepted it, otherwise ``pending`` with the number of attempts so far.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import attrs
from fastapi import APIRouter, Depends, FastAPI, Header, HTTPException, Request
from pydantic import BaseModel

import notifykit
from notifykit import InvalidInputError, Notifykit

router = APIRouter()


@notifykit.event("order.placed")
@attrs.frozen
class OrderPlaced:
    """A customer has ordered."""

    order_id: str


class NewEndpoint(BaseModel):
    url: str
    secret: str | None = None


class NewOrder(BaseModel):
    order_id: str


def the_kit(request: Request) -> Notifykit:
    return request.app.state.kit


Kit = Annotated[Notifykit, Depends(the_kit)]
Tenant = Annotated[str, Header(alias="x-tenant")]  # in production: the tenant of the logged-in user


@router.post("/endpoints", status_code=201)
async def add_endpoint(new: NewEndpoint, kit: Kit, tenant: Tenant) -> dict[str, str]:
    try:
        _, endpoint = await kit.subscribe("order.*", tenant=tenant, endpoint=new.url, secret=new.secret)
    except InvalidInputError as error:
        raise HTTPException(422, list(error.problems)) from error
    return {"id": endpoint.id, "secret": endpoint.secrets[0].value}


@router.post("/orders", status_code=202)
async def place_order(new: NewOrder, kit: Kit, tenant: Tenant) -> dict[str, str]:
    # The key makes a repeated request harmless: the second publish finds the first.
    receipt = await kit.apublish(OrderPlaced(new.order_id), tenant=tenant, idempotency_key=f"placed-{new.order_id}")
    return {"event_id": receipt.event_id}


@router.get("/deliveries")
async def list_deliveries(kit: Kit, tenant: Tenant) -> list[dict[str, Any]]:
    return [
        {"id": delivery.id, "type": delivery.event_type, "state": delivery.state, "attempts": delivery.attempts}
        for delivery in await kit.deliveries.list(tenant=tenant)
    ]


def create_app(kit: Notifykit | None = None) -> FastAPI:
    """Create the application; tests pass their own kit."""
    kit = kit or Notifykit(event_types=[OrderPlaced])  # NOTIFYKIT_URL, or notifykit.db in this folder

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with kit, kit.dispatcher():
            app.state.kit = kit
            yield

    app = FastAPI(title="A shop", lifespan=lifespan)
    app.include_router(router)
    return app


app = create_app()
