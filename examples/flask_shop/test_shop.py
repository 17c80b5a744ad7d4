"""Tests of the shop with notifykit's fixture ``outbox``.  Run ``pytest`` in this folder."""

from __future__ import annotations

import pytest
from shop import OrderPlaced, create_app


@pytest.fixture
def client(outbox, tmp_path):
    # The shop's database is a file; its events go to the outbox, which replaces the kit that the shop configures.
    return create_app(f"sqlite:///{tmp_path / 'shop.db'}").test_client()


def test_an_order_is_announced(client, outbox):
    outbox.subscribe("order.*", tenant="acme")

    client.post("/orders", json={"order_id": "A-1", "card": "valid"})
    outbox.deliver()

    assert outbox.one(OrderPlaced).json()["data"] == {"order_id": "A-1"}


def test_an_order_that_fails_is_not_announced(client, outbox):
    answer = client.post("/orders", json={"order_id": "A-2", "card": "declined"})

    assert answer.status_code == 402
    assert client.get("/orders").json == []
    outbox.assert_none()


def test_a_customer_is_told_and_gets_no_e_mail_of_what_they_have_read(client, outbox):
    client.put("/customers/ada", json={"email": "ada@example.org"})
    for order in ("A-1", "A-2"):
        client.post("/orders", json={"order_id": order, "card": "valid", "customer": "ada"})
        outbox.deliver()
        if order == "A-1":
            assert client.get("/customers/ada/inbox").json == [{"title": "Order placed", "text": "Order id: A-1"}]

    outbox.advance(minutes=15)

    mail = outbox.one(OrderPlaced, to="ada", channel="email")  # the only one
    assert mail.message.text == "Order id: A-2"
