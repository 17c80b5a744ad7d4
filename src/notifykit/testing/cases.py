"""An outbox for tests that are classes: of unittest, and so of Django.

::

    class ShippingTest(OutboxTestCase, django.test.TestCase):
        def test_shipping_is_announced(self):
            ship("A-1")

            self.outbox.assert_published(OrderShipped, tenant="acme")
"""

from __future__ import annotations

import unittest
from collections.abc import Mapping
from typing import Any, ClassVar

from .outbox import Outbox


class OutboxTestCase(unittest.TestCase):
    """Each test has an outbox of its own, which replaces the default kit while the test runs.

    With a ``TestCase`` of Django it comes first among the bases.  A ``setUp`` of yours calls ``super().setUp()``.

    Attributes:
        outbox_options: What the :class:`Outbox` is made with.
        outbox: What was published, and what came of it.
    """

    outbox_options: ClassVar[Mapping[str, Any]] = {}
    outbox: Outbox

    def setUp(self) -> None:
        """Open the outbox; it is closed after the test and its clean-ups."""
        super().setUp()
        self.outbox = self.enterContext(Outbox(**self.outbox_options))
