"""Sync and async callers get the same types: each result has its type, and nothing is ``Any``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import assert_type

import attrs
import sqlalchemy as sa
from django.db import connection, connections
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, async_scoped_session
from sqlalchemy.orm import Session, scoped_session

import notifykit
from notifykit import Attempt, Delivery, DeliveryFilter, Endpoint, Event, Notifykit, Priority, Receipt, Subscription
from notifykit.admin import Explanation
from notifykit.contrib import django
from notifykit.models.event import StoredEvent
from notifykit.models.messages import EmailMessage, SmsMessage
from notifykit.ports import Person, RendersEmail, RendersSms, StoreStats


def blocking(kit: Notifykit, event: Event) -> None:
    assert_type(kit.blocking.publish(event, tenant="acme"), Receipt)
    assert_type(kit.blocking.publish_many([event], tenant="acme"), list[Receipt])
    assert_type(kit.blocking.stats(), StoreStats)
    subscribed = kit.blocking.subscribe("order.*", tenant="acme", endpoint="https://acme.example", max_in_flight=3)
    assert_type(subscribed, tuple[Subscription, Endpoint])

    assert_type(kit.blocking.endpoints.create("https://acme.example", tenant="acme", description="x"), Endpoint)
    assert_type(kit.blocking.endpoints.get("end_1", tenant="acme"), Endpoint)
    assert_type(kit.blocking.endpoints.list(tenant="acme", limit=5), Sequence[Endpoint])
    assert_type(kit.blocking.endpoints.test("end_1", tenant="acme"), Receipt)
    kit.blocking.endpoints.delete("end_1", tenant="acme")

    assert_type(kit.blocking.subscriptions.list(tenant="acme"), Sequence[Subscription])
    assert_type(kit.blocking.subscriptions.update("sub_1", tenant="acme", topic=None, enabled=False), Subscription)
    assert_type(kit.blocking.deliveries.list(DeliveryFilter(), tenant="acme"), Sequence[Delivery])
    assert_type(kit.blocking.deliveries.attempts("dlv_1", tenant="acme"), Sequence[Attempt])
    assert_type(kit.blocking.deliveries.recover("end_1", tenant="acme", since=datetime.now(UTC)), int)
    assert_type(kit.blocking.events.get("evt_1", tenant="acme"), StoredEvent)
    assert_type(kit.blocking.events.explain("evt_1", tenant="acme"), Explanation)


def sync_transactions(
    event: Event, session: Session, scoped: scoped_session[Session], connected: sa.Connection
) -> None:
    assert_type(notifykit.publish(event, session=session), Receipt)
    assert_type(notifykit.publish(event, session=scoped), Receipt)  # db.session of Flask-SQLAlchemy
    assert_type(notifykit.publish_many([event], connection=connected), list[Receipt])
    assert_type(notifykit.publish(event, connection=connections["default"]), Receipt)
    assert_type(notifykit.publish(event, connection=connection, priority="high"), Receipt)
    assert_type(django.publish(event, tenant="acme", priority=Priority.LOW), Receipt)


async def async_transactions(
    event: Event,
    session: AsyncSession,
    scoped: async_scoped_session[AsyncSession],
    connected: AsyncConnection,
    inside_run_sync: Session,
) -> None:
    assert_type(await notifykit.apublish(event, session=session), Receipt)
    assert_type(await notifykit.apublish(event, session=scoped), Receipt)
    assert_type(await notifykit.apublish(event, session=inside_run_sync), Receipt)
    assert_type(await notifykit.apublish_many([event], connection=connected), list[Receipt])


@notifykit.event("order.shipped")
@attrs.frozen
class OrderShipped(RendersEmail, RendersSms):
    """An event that makes its messages itself; the type checker compares its methods with the bases."""

    order_id: str

    def email(self, to: Person) -> EmailMessage:
        assert_type(to.name, str | None)
        return EmailMessage(subject=f"Order {self.order_id}", text=f"Hello {to.name}")

    def sms(self, to: Person) -> SmsMessage | None:
        return None if to.traits.get("no_sms") else SmsMessage(text=f"Order {self.order_id} is on its way")


def settings() -> None:
    notifykit.configure("sqlite:///shop.db", create=False, synchronous="NORMAL", environment="production")
    Notifykit("postgresql://app@db/app", pool_size=20, event_types=[Event])
