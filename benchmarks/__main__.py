"""``python -m benchmarks``: the suite; see ``--help``."""

from __future__ import annotations

from .command import parse
from .suite import run

raise SystemExit(run(parse()))
