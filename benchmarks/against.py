"""The main job on another commit and on this tree, in turns: the ratio of two versions on one machine.

    python -m benchmarks.against COMMIT --runs 5 --compiled -- --store postgres --size 8000 --real

The arguments after ``--`` go to ``benchmarks.deliver`` of both.  Each side runs its own benchmark on its own
sources, with the dependencies of this interpreter.  With ``--compiled`` each side's inner loop is compiled as for
its wheel, which takes a C compiler and some minutes; this tree is then what is committed.
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
#: Puts the compiled modules of a tree beside their sources.
_COMPILE = """
import shutil, tempfile, tomllib
from pathlib import Path
from hatch_build import compiled
build = tomllib.loads(Path("pyproject.toml").read_text("utf-8"))["tool"]["hatch"]["build"]
with tempfile.TemporaryDirectory() as work:
    for file in compiled(Path.cwd(), build["targets"]["wheel"]["hooks"]["custom"]["modules"], Path(work)):
        shutil.copy(file, "src" / file.relative_to(Path(work, "lib")))
"""


def main(argv: list[str] | None = None) -> int:
    """Run both sides in turns and print each pair and the ratio of the medians."""
    given = sys.argv[1:] if argv is None else argv
    ours, _, job = " ".join(given).partition(" -- ")
    parser = argparse.ArgumentParser(prog="python -m benchmarks.against", description=__doc__.partition("\n")[0])
    parser.add_argument("commit", help="what to compare with, as git names it")
    parser.add_argument("--runs", type=int, default=5, help="pairs")
    parser.add_argument("--compiled", action="store_true", help="with the inner loop compiled, of both")
    args = parser.parse_args(ours.split())
    rates: dict[str, list[float]] = {"before": [], "now": []}
    with _checkout(args.commit) as before, _checkout("HEAD") as now:
        if args.compiled:
            for tree in (before, now):
                subprocess.run([sys.executable, "-c", _COMPILE], check=True, cwd=tree, stdout=subprocess.DEVNULL)
        for number in range(args.runs):
            # In turns, and each pair the other way round: what slows the machine slows both.
            sides = [("before", before), ("now", now if args.compiled else _HERE)]
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
