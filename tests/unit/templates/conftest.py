"""Without the extra ``templates`` there is nothing to test here."""

from __future__ import annotations

from importlib.util import find_spec

collect_ignore_glob = ["test_*.py"] if find_spec("minijinja") is None else []
