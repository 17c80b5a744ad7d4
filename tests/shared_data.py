"""Large or borrowed test data lives beside the checkout, not inside it.

A test that wants a file of it asks here, and is skipped where the folder is not
there.  ``NOTIFYKIT_REQUIRE=data`` turns that skip into a failure.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.services import is_required

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def shared_data(name: str) -> Path:
    """Return the path of the file ``name``, or skip the test (at import time: the whole module)."""
    path = DATA / name
    if path.is_file():
        return path
    missing = f"needs ../shared/data/{name}"
    if is_required("data"):
        pytest.fail(missing)
    pytest.skip(missing, allow_module_level=True)
