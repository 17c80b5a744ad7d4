"""The program's own types of events: declared as classes, collected in a catalog.

::

    @event("order.shipped", category="orders")
    @attrs.frozen
    class OrderShipped:
        order_id: str

There is no global registry: a class only carries what was declared, and a catalog is
made of the classes it is given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import import_module
from typing import Any, NoReturn, TypeVar

import attrs

from .codec import structure, unstructure
from .errors import ConfigurationError, InvalidEventError, InvalidInputError, MissingExtraError, NotFoundError
from .models.delivery import Priority
from .models.event import Event, EventType
from .policies.admit import DataCheck, Limits
