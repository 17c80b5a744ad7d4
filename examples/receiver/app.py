"""A FastAPI program that receives webhooks: it verifies them and handles each one once.

Run it in this folder, with the signing secret of your endpoint from the sender::

    pip install 'notifykit-sdk[fastapi]' uvicorn
    WEBHOOK_SECRET=whsec_... uvicorn app:app --port 9000

It lists the handled messages at ``/handled``::

    curl -s localhost:9000/handled

It answers a request without a valid signature with 401, and a repeated message with 204 without handling it again.
Handled messages are remembered in ``received.db``, by several processes and after a restart.
"""

from __future__ import annotations

import os

import sqlalchemy as sa
from fastapi import FastAPI

from notifykit.contrib.receivers.asgi import ReceivedEvent, WebhookReceiver
from notifykit.contrib.receivers.sql import SqlDedupe

engine = sa.create_engine(os.environ.get("RECEIVER_URL", "sqlite:///received.db"))
dedupe = SqlDedupe(engine)
dedupe.create_table()

app = FastAPI(title="A receiver")
receiver = WebhookReceiver(os.environ["WEBHOOK_SECRET"], dedupe=dedupe, source="shop")
handled: list[dict[str, object]] = []


@app.post("/hooks")
@receiver
async def on_event(event: ReceivedEvent) -> None:
    handled.append({"id": event.id, "type": event.type, "data": event.data})


@app.get("/handled")
async def list_handled() -> list[dict[str, object]]:
    return handled
