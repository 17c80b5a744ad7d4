"""The main job on another commit and on this tree, in turns: the ratio of two versions on one machine.

    python -m benchmarks.against COMMIT --runs 5 -- --store postgres --size 8000 --real

The arguments after ``--`` go to ``benchmarks.deliver`` of both.  Each side runs its own benchmark on its own
sources, uncompiled, with the dependencies of this interpreter.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

_HERE = Path(__file__).resolve().parents[1]


def main(argv: list[str] | None = None) -> int:
    """Run both sides in turns and print each pair and the ratio of the medians."""
    given = sys.argv[1:] if argv is None else argv
    ours, _, job = " ".join(given).partition(" -- ")
    parser = argparse.ArgumentParser(prog="python -m benchmarks.against", description=__doc__.partition("\n")[0])
    parser.add_argument("commit", help="what to compare with, as git names it")
    parser.add_argument("--runs", type=int, default=5, help="pairs")
    args = parser.parse_args(ours.split())
    rates: dict[str, list[float]] = {"before": [], "now": []}
    with _checkout(args.commit) as before:
        for number in range(args.runs):
            # In turns, and each pair the other way round: what slows the machine slows both.
            sides = [("before", before), ("now", _HERE)]
            for side, folder in sides if number % 2 == 0 else sides[::-1]:
                rates[side].append(_run(folder, job.split())["rate"])
            print(f"{rates['before'][-1]:,.0f} -> {rates['now'][-1]:,.0f} deliveries/s", flush=True)
    ratio = median(rates["now"]) / median(rates["before"])
    pairs = sorted(now / before for before, now in zip(rates["before"], rates["now"], strict=True))
    print(f"now / {args.commit}: {ratio:.2f} (pairs {pairs[0]:.2f} to {pairs[-1]:.2f})")
    return 0


@contextmanager
def _checkout(commit: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder, "tree")
        if (data := _HERE.parent / "shared").exists():  # both sides take the same payloads
            Path(folder, "shared").symlink_to(data.resolve())
        subprocess.run(["git", "worktree", "add", "-q", "--detach", tree, commit], check=True, cwd=_HERE)
        try:
            yield tree
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", tree], check=True, cwd=_HERE)


def _run(folder: Path, job: list[str]) -> dict[str, Any]:
    env = {**os.environ, "PYTHONPATH": str(folder / "src")}
    command = [sys.executable, "-m", "benchmarks.deliver", "--json", *job]
    done = subprocess.run(command, check=True, cwd=folder, env=env, stdout=subprocess.PIPE, text=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


if __name__ == "__main__":
    raise SystemExit(main())
