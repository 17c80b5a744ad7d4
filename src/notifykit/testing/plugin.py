"""The pytest plugin: the fixture ``outbox``.

pytest finds it by itself once notifykit is installed.  Every run of pytest imports
this module, so it imports nothing else before a test asks for the fixture.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .outbox import Outbox


@pytest.fixture
def outbox_options() -> dict[str, Any]:
    """What :class:`notifykit.testing.Outbox` is made with; override it to give event types or egress rules."""
    return {}


@pytest.fixture
def outbox(outbox_options: dict[str, Any]) -> Iterator[Outbox]:
    """A kit in memory that replaces the default kit, with a clock that the test moves."""
    from .outbox import Outbox

    with Outbox(**outbox_options) as outbox:
        yield outbox
