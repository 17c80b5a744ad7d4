"""``python -m notifykit``: the same as the command ``notifykit``."""

from __future__ import annotations

from notifykit.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
