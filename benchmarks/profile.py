"""Where the time of a delivery is spent: ``python -m benchmarks.profile``.

A worker and a producer do the main job while py-spy samples their stacks from
outside, which hardly disturbs them.  They run the code from its source: py-spy cannot
see into the compiled form.  The processor time of the database server and the receiver
comes from the kernel.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import attrs

from notifykit.vault import KeyRing

from . import flame
from .job import Job, stage
from .plan import say
from .processes import answer, cpu_seconds, ready, role, stop, tree
from .stores import STORES

#: Samples a second.
HERTZ = 400
#: The first group whose expression is in the path of a frame, from the innermost frame outwards, gets the sample.
GROUPS: Mapping[str, str] = {
    "store client": r"notifykit/stores/|/asyncpg/|/asyncmy/|/sqlalchemy/|/sqlite3/",
    "planning": r"notifykit/policies/(plan|patterns|filters)|notifykit/dispatch/(planning|directory|large_tenants)",
    "signing": r"notifykit/signing/",
    "wire": r"notifykit/channels/|/httptools/|/httpx/|/httpcore/",
    "recording": r"notifykit/dispatch/sending/recorder",
    "dispatching": r"notifykit/(dispatch|policies)/(?!admit)|notifykit/telemetry",
    "publishing and codec": r"notifykit/(publisher|codec|catalog|kit|models|policies/admit)",
    "the benchmark itself": r"benchmarks/(payloads|roles)",
    "event loop": r"/uvloop/|/asyncio/|/concurrent/futures/|/threading\.py",
}
_OTHER = "other"
_COLOURS = ("#7fb3d5", "#f0b27a", "#c39bd3", "#82c99d", "#f1948a", "#f7dc6f", "#76d7c4", "#d7bde2", "#d5d8dc")
#: Only samples of the running program count; imports and the end of the process are not deliveries.
_RUNS = re.compile(r"/uvloop/|/asyncio/runners|/concurrent/futures/thread")
_IMPORTS = re.compile(r"importlib")
#: A frame is written ``function (path:line)``.
_FRAME = re.compile(r"(.*) \((.*):\d+\)$")


class CannotProfileError(Exception):
    """This machine does not let one process inspect another, or the profiler is not installed."""


@attrs.frozen
class Profile:
    """What one process did.

    Attributes:
        cpu_us: Processor time of a delivery.
        stacks: How often each stack was seen, the outermost frame first.
    """

    name: str
    cpu_us: float
    stacks: Mapping[tuple[str, ...], int]

    def groups(self) -> dict[str, float]:
        """Return the microseconds of each group, the largest first."""
        counts: Counter[str] = Counter()
        for stack, count in self.stacks.items():
            counts[group_of(stack)] += count
        whole = sum(counts.values()) or 1
        return {name: count / whole * self.cpu_us for name, count in counts.most_common()}


def group_of(stack: Sequence[str]) -> str:
    """Return the group of a stack: that of the innermost frame that belongs to one."""
    for frame in reversed(stack):
        for name, expression in GROUPS.items():
            if re.search(expression, frame):
                return name
    return _OTHER


def read(text: str) -> dict[tuple[str, ...], int]:
    """Return the stacks of a raw profile: a line each, frames with semicolons between them, and the count."""
    found: Counter[tuple[str, ...]] = Counter()
    for line in text.splitlines():
        stack, _, count = line.rpartition(" ")
        frames = tuple(stack.split(";"))
        if _RUNS.search(stack) and not _IMPORTS.search(stack):
            found[frames] += int(count)
    return dict(found)


# ── measuring ──────────────────────────────────────────────────────────────────────────────────


def measure(job: Job) -> tuple[list[Profile], dict[str, float]]:
    """Return the profiles of worker and producer, and the microseconds of the servers.

    Raises:
        CannotProfileError: Processes cannot be inspected here.
    """
    spy = shutil.which("py-spy", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if spy is None:
        raise CannotProfileError("py-spy is not installed: it is in the dependency group bench")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="notifykit-bench-")))
        on = stack.enter_context(stage(job))
        worker = _watched(stack, spy, folder / "worker", "worker", on.database.url)
        try:
            ready(worker)
        except RuntimeError as error:
            raise CannotProfileError(
                f"py-spy may not inspect a process here ({error}); in a container that takes --cap-add SYS_PTRACE"
            ) from error
        time.sleep(1)
        inner = tree(worker.pid)[-1]  # the profiler runs it
        pids = {"worker": inner, "database server": on.database.pid, "receiver": on.receiver.pid}
        before = {name: cpu_seconds(pid) for name, pid in pids.items()}
        producer = _watched(
            stack, spy, folder / "producer", "producer", on.database.url,
            "--events", str(job.events), "--size", str(job.size),
        )  # fmt: skip
        made = answer(producer)
        on.receiver.follow(job.wanted, patience=30)
        time.sleep(0.5)
        costs = {name: (cpu_seconds(pid) - before[name]) / job.wanted * 1e6 for name, pid in pids.items()}
        os.kill(inner, signal.SIGTERM)
        answer(worker)
        profiles = [
            Profile("worker", costs.pop("worker"), read((folder / "worker").read_text())),
            Profile("producer", made["cpu"] / job.wanted * 1e6, read((folder / "producer").read_text())),
        ]
    return profiles, costs


def _watched(stack: ExitStack, spy: str, file: Path, *words: str) -> subprocess.Popen[str]:
    looks = ["record", "--rate", str(HERTZ), "--format", "raw", "--full-filenames", "--output", str(file)]
    process = role(*words, before=[spy, *looks, "--"], interpreted=True)
    stack.callback(stop, process)
    return process


# ── showing ────────────────────────────────────────────────────────────────────────────────────


def table(profiles: Sequence[Profile], servers: Mapping[str, float]) -> str:
    """Return where the time goes, as text."""
    lines = []
    for profile in profiles:
        lines.append(f"{profile.name:<28}{profile.cpu_us:8.1f} µs a delivery, {sum(profile.stacks.values())} samples")
        for name, us in profile.groups().items():
            lines.append(f"  {name:<26}{us:8.1f} µs  {us / profile.cpu_us:6.1%}")
    lines += [f"{name:<28}{us:8.1f} µs a delivery" for name, us in servers.items() if us == us]
    lines.append("The event loop's share holds what it calls in C by itself: socket reads, and asyncpg's protocol.")
    return "\n".join(lines)


def _short(frame: str) -> str:
    found = _FRAME.match(frame)
    return f"{found[1]} {Path(found[2]).stem}" if found else frame


def _colour(frame: str) -> str:
    group = group_of([frame])
    return "#eeeeee" if group == _OTHER else _COLOURS[list(GROUPS).index(group) % len(_COLOURS)]


def _without_folders(stacks: Mapping[tuple[str, ...], int]) -> dict[tuple[str, ...], int]:
    """Return stacks whose frames name the path inside a package, without the folders of this machine."""
    shorter: Counter[tuple[str, ...]] = Counter()
    for stack, count in stacks.items():
        shorter[tuple(re.sub(r"\((?:/.*)?/(?:src|site-packages|python3\.\d+)/", "(/", f) for f in stack)] += count
    return dict(shorter)


def main(argv: list[str] | None = None) -> int:
    """Print the table and draw the flame graphs."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profile", description=__doc__.partition("\n")[0])
    parser.add_argument("--store", choices=list(STORES), default="postgres")
    parser.add_argument("--events", type=int, default=60_000)
    parser.add_argument("--out", type=Path, default=Path("reports/profile"), help="%(default)s")
    args = parser.parse_args(argv)
    os.environ.setdefault("NOTIFYKIT_KEYS", KeyRing.generate("bench").text())
    say(f"profiling the main job on {STORES[args.store]}, {args.events:,} events")
    try:
        profiles, servers = measure(Job(store=args.store, events=args.events))
    except CannotProfileError as error:
        print(error, file=sys.stderr)
        return 1
    print(table(profiles, servers))
    for profile in profiles:
        file = args.out / f"{args.store}-{profile.name}.svg"
        title = f"{profile.name}, {STORES[args.store]}: {profile.cpu_us:.0f} µs a delivery"
        flame.write(_without_folders(profile.stacks), file, title=title, short=_short, colour=_colour)
        print(f"flame graph: {file}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
