"""The Python snippets of the documentation run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_snippets_of_the_documentation_run():
    """Each page is a program of its own; the pages have a process for themselves, because some set up a framework."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "docs"]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)

    assert 0 == done.returncode, done.stdout
