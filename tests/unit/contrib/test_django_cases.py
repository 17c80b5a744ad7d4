"""``OutboxTestCase``: an outbox for tests that are classes, Django's too."""

from __future__ import annotations

import unittest

import django.test
from django.db import transaction

import notifykit
from notifykit import Event
from notifykit.contrib.django import publish
from notifykit.default import configured
from notifykit.testing import Outbox, OutboxTestCase

PLACED = Event(type="order.placed", data={"order_id": "A-1"})


def run_all(case: type[unittest.TestCase]) -> unittest.TestResult:
    """Run the tests of a class."""
    return unittest.defaultTestLoader.loadTestsFromTestCase(case).run(unittest.TestResult())


def test_each_test_of_a_class_has_an_outbox_of_its_own() -> None:
    """What one publishes the next does not see, and afterwards the default kit is no longer replaced."""
    seen: list[tuple[Outbox, int]] = []

    class Shipping(OutboxTestCase):
        outbox_options = {"event_types": ()}  # noqa: RUF012 - as a reader would write it

        def test_one(self) -> None:
            notifykit.publish(PLACED, tenant="acme")
            seen.append((self.outbox, len(self.outbox.events)))

        test_two = test_one

    before = configured()
    result = run_all(Shipping)

    assert (2, []) == (result.testsRun, result.errors)
    assert [1, 1] == [count for _, count in seen]
    assert seen[0][0] is not seen[1][0]
    assert before is configured()


def test_a_test_case_of_django_sees_what_would_be_published(url: str) -> None:
    """Inside of the transaction that never commits: a publish is seen, and a rolled-back one is not."""
    seen: list[list[str]] = []

    class Orders(OutboxTestCase, django.test.TestCase):
        def test_publishing(self) -> None:
            publish(PLACED, tenant="acme")
            try:
                with transaction.atomic():
                    publish(Event(type="order.lost", data={}), tenant="acme")
                    raise LookupError
            except LookupError:
                pass
            seen.append([event.type for event in self.outbox.events])
            self.outbox.assert_published("order.placed", tenant="acme", order_id="A-1")

    result = run_all(Orders)

    assert ([], []) == (result.errors, result.failures)
    assert [["order.placed"]] == seen
