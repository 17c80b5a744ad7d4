"""What the everyday run leaves to CI: of a test for two databases one of them, and most random examples."""

from __future__ import annotations

import os
import re
from zlib import crc32

import pytest

_DATABASES = ["postgres", "sqlite"]


def examples(count: int) -> int:
    """Return how many random examples a test tries: ``count`` in CI, a fifth of them every day."""
    return count if os.environ.get("CI") else count // 5


def keep_one_database(item: pytest.Item) -> None:
    """Leave a test to CI if every day the same one runs on the other database; which one, its name decides."""
    for database in set(_DATABASES) & set(re.split(r"[\[\]-]", item.name)):
        if database != _DATABASES[crc32(item.name.replace(database, "").encode()) % 2]:
            item.add_marker(pytest.mark.thorough)
