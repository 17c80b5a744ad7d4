"""Mistakes that a type checker finds: an ignore that is not needed any more is an error of mypy's."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncSession

import notifykit
from notifykit import Event, Notifykit, RateLimit


def misspelt_options(kit: Notifykit, event: Event) -> None:
    Notifykit("sqlite:///shop.db", creat=True)  # type: ignore[call-arg]
    Notifykit("postgresql://db/app", pool_size="20")  # type: ignore[arg-type]
    notifykit.configure("sqlite:///shop.db", event_type=[Event])  # type: ignore[call-arg]
    kit.blocking.publish(event, tennant="acme")  # type: ignore[call-arg]
    kit.blocking.subscribe("*", tenant="acme", endpoint="end_1", desciption="x")  # type: ignore[call-overload]
    kit.blocking.subscribe("*", tenant="acme", endpoint="end_1", timeout=5)  # type: ignore[call-overload]
    kit.blocking.endpoints.create("https://acme.example", tennant="acme")  # type: ignore[call-arg]
    kit.blocking.endpoints.update("end_1", tenant="acme", rate_limit="nothing")  # type: ignore[arg-type]
    kit.blocking.subscriptions.update("sub_1", tenant="acme", enable=True)  # type: ignore[call-arg]
    kit.blocking.endpoints.paint("end_1")  # type: ignore[attr-defined]
    kit.blocking.endpoints.create("https://acme.example").id  # type: ignore[call-arg] # noqa: B018


async def misspelt_options_in_async_code(kit: Notifykit, event: Event) -> None:
    limit = RateLimit(per_second=5)
    await kit.subscribe("*", tenant="acme", endpoint="https://acme.example", ratelimit=limit)  # type: ignore[call-overload]
    await kit.apublish(event, tenant="acme", expires_at=timedelta(hours=1))  # type: ignore[arg-type]


def what_is_no_transaction(event: Event, session: AsyncSession) -> None:
    notifykit.publish(event, session=5)  # type: ignore[arg-type]
    notifykit.publish(event, session=session)  # type: ignore[arg-type]
    notifykit.publish(event, connection="default")  # type: ignore[arg-type]


async def what_is_no_transaction_in_async_code(event: Event) -> None:
    await notifykit.apublish(event, session=5)  # type: ignore[arg-type]
    await notifykit.apublish(event, connection=5)  # type: ignore[arg-type]


def wrong_priorities(kit: Notifykit, event: Event) -> None:
    kit.publish(event, tenant="acme", priority="hihg")  # type: ignore[arg-type]
    kit.publish(event, tenant="acme", priority=1)  # type: ignore[arg-type]
    Event(type="a.b", data={}, priority="high")  # type: ignore[arg-type]
