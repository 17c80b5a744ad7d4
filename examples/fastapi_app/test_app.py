"""Tests of the program with notifykit's fixture ``outbox``.  Run ``pytest`` in this folder."""

from __future__ import annotations

from datetime import timedelta

import pytest
from app import OrderPlaced, create_app
from fastapi.testclient import TestClient

from notifykit.models.outcome import Transient

ACME = {"x-tenant": "acme"}


@pytest.fixture
def client(outbox):
    with TestClient(create_app(outbox.kit), headers=ACME) as client:
        yield client


def test_an_order_is_announced_to_the_customers_endpoint(client, outbox):
    client.post("/endpoints", json={"url": "https://acme.example/hooks"}).raise_for_status()

    client.post("/orders", json={"order_id": "A-1"}).raise_for_status()
    outbox.deliver()

    delivery = outbox.one(OrderPlaced("A-1"), tenant="acme")
    assert delivery.endpoint.url == "https://acme.example/hooks"
    assert delivery.headers["webhook-signature"].startswith("v1,")
    assert client.get("/deliveries").json()[0]["state"] == "delivered"


def test_a_repeated_request_is_one_event(client, outbox):
    for _ in range(2):
        client.post("/orders", json={"order_id": "A-1"}).raise_for_status()

    assert [event.data for event in outbox.events] == [{"order_id": "A-1"}]


def test_a_receiver_that_is_down_gets_it_later(client, outbox):
    client.post("/endpoints", json={"url": "https://acme.example/hooks"}).raise_for_status()
    outbox.fail_next(Transient(reason="http_503"))

    client.post("/orders", json={"order_id": "A-1"}).raise_for_status()
    outbox.advance(timedelta(minutes=1))

    assert outbox.one(OrderPlaced).attempts == 2


def test_an_address_in_our_own_network_is_refused(client):
    answer = client.post("/endpoints", json={"url": "https://169.254.169.254/"})

    assert answer.status_code == 422


def test_who_ordered_is_told_by_e_mail_and_in_the_inbox(client, outbox):
    client.put("/people/user:42", json={"email": "ada@example.org"}).raise_for_status()

    client.post("/orders", json={"order_id": "A-1", "user_id": "user:42"}).raise_for_status()
    outbox.deliver()

    assert outbox.one(OrderPlaced, to="user:42", channel="email").message.subject == "Your order A-1"
    inbox = client.get("/people/user:42/inbox").json()
    client.post(f"/people/user:42/inbox/{inbox['items'][0]['id']}/read").raise_for_status()
    assert (inbox["unread"], client.get("/people/user:42/inbox").json()["unread"]) == (1, 0)


def test_an_address_that_is_none_is_refused(client):
    answer = client.put("/people/user:42", json={"email": "not an address"})

    assert answer.status_code == 422
