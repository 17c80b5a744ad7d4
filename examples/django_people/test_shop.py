"""Tests of the shop with notifykit's ``OutboxTestCase``.  Run ``pytest`` in this folder."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

os.environ["SHOP_DATABASE"] = str(Path(tempfile.mkdtemp(), "shop.db"))

from django.test import Client, TransactionTestCase
from manage import OrderPlaced, create_table

from notifykit.testing import OutboxTestCase

JSON = {"content_type": "application/json"}


def setUpModule():
    create_table()


class PlacingTest(OutboxTestCase, TransactionTestCase):
    client: Client

    def place(self, order, card="valid"):
        given = {"order_id": order, "card": card, "customer": "ada"}
        return self.client.post("/orders", given, **JSON)

    def test_an_order_that_fails_is_not_announced(self):
        assert self.place("A-1", "declined").status_code == 402
        assert self.client.get("/orders").json() == []
        self.outbox.assert_none()

    def test_a_customer_is_told_and_gets_no_e_mail_of_what_they_have_read(self):
        self.client.put("/customers/ada", {"email": "ada@example.org"}, **JSON)
        self.place("A-1")
        self.outbox.deliver()
        assert self.client.get("/customers/ada/inbox").json() == [{"title": "Order placed", "text": "Order id: A-1"}]
        assert self.client.post("/customers/ada/inbox").json() == {"read": 1}
        self.place("A-2")

        self.outbox.advance(minutes=15)

        mail = self.outbox.one(OrderPlaced, to="ada", channel="email")  # the only one
        assert mail.message.text == "Order id: A-2"
