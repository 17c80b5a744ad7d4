"""The command ``notifykit``.

One module per group of commands.  Nothing heavy is imported before a command runs, so
that ``notifykit --help`` and completion stay fast.
"""

from __future__ import annotations

from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; never raises and never exits.

    Args:
        argv: The arguments after the program's name; by default those of the process.
    """
    from .entry import run

    return run(argv)
