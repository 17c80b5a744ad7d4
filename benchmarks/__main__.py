"""``python -m benchmarks``: the main job on every store; options as for ``benchmarks.deliver``."""

from __future__ import annotations

import sys

from .deliver import main


def run(argv: list[str]) -> int:
    """Run the job on the chosen store, or on each."""
    if "--store" in argv or "--help" in argv or "-h" in argv:
        return main(argv)
    return max(main(["--store", store, *argv]) for store in ("sqlite", "postgres"))


raise SystemExit(run(sys.argv[1:]))
