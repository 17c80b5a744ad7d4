"""The everyday form of suites that run on one store in several ways."""

from __future__ import annotations

import pytest


@pytest.hookimpl(tryfirst=True)  # before marks are looked at
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the everyday run short: of a class that names what its way ``touches``, the other promises are for CI."""
    for item in items:
        touches = getattr(getattr(item, "cls", None), "touches", None)
        if touches is not None and not any(item.originalname in vars(promises) for promises in touches):  # type: ignore[attr-defined]
            item.add_marker(pytest.mark.thorough)
