"""A FastAPI program that tells businesses by webhook and people by e-mail and inbox: API and dispatcher in one process.

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

A person who ordered is told, too.  Start the program with ``NOTIFYKIT_EMAIL=catch://`` as well, and ``notifykit catch``
shows the e-mails (with the URL of your mail server, ``smtp://...``, they are sent)::

    curl -s -X PUT localhost:8000/people/user:42 -H 'x-tenant: acme' -H 'content-type: application/json' \
         -d '{"email": "ada@example.org", "zone": "Europe/Berlin"}'
    curl -s localhost:8000/orders -H 'x-tenant: acme' -H 'content-type: application/json' \
         -d '{"order_id": "A-2", "user_id": "user:42"}'
    curl -s localhost:8000/people/user:42/inbox -H 'x-tenant: acme'
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import attrs
from fastapi import APIRouter, Depends, FastAPI, Header, HTTPException, Request
from pydantic import BaseModel

import notifykit
from notifykit import InvalidInputError, Notifykit, Person, Step
from notifykit.models.messages import EmailMessage

router = APIRouter()


@notifykit.event("order.placed", category="orders", steps=[Step("in_app"), Step("email")])
@attrs.frozen
class OrderPlaced:
    """A customer has ordered."""

    order_id: str

    def email(self, to: Person) -> EmailMessage:
        return EmailMessage(subject=f"Your order {self.order_id}", text="Thank you! We are packing it.")


class NewEndpoint(BaseModel):
    url: str
    secret: str | None = None


class NewOrder(BaseModel):
    order_id: str
    user_id: str | None = None


class Contact(BaseModel):
    email: str
    zone: str | None = None


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
    receipt = await kit.apublish(
        OrderPlaced(new.order_id),
        tenant=tenant,
        to=[new.user_id] if new.user_id else [],
        idempotency_key=f"placed-{new.order_id}",  # a repeated request is harmless: it finds the first event
    )
    return {"event_id": receipt.event_id}


@router.put("/people/{user_id}")
async def save_person(user_id: str, contact: Contact, kit: Kit, tenant: Tenant) -> dict[str, str]:
    try:
        await kit.recipients.save(user_id, tenant=tenant, email=contact.email, zone=contact.zone)
    except InvalidInputError as error:
        raise HTTPException(422, list(error.problems)) from error
    return {"id": user_id}


@router.get("/people/{user_id}/inbox")
async def read_inbox(user_id: str, kit: Kit, tenant: Tenant) -> dict[str, Any]:
    inbox = kit.inbox(user_id, tenant=tenant)  # in production: only that of the logged-in user
    page = await inbox.page()
    return {
        "unread": (await inbox.counts()).unread,
        "items": [{"id": item.id, "title": item.title, "read": item.marks.read_at is not None} for item in page.items],
    }


@router.post("/people/{user_id}/inbox/{item_id}/read", status_code=204)
async def mark_as_read(user_id: str, item_id: str, kit: Kit, tenant: Tenant) -> None:
    await kit.inbox(user_id, tenant=tenant).mark(item_id, "read")


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
