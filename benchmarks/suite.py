"""The whole suite, from what is asked for to what is written: ``python3 dev.py bench``."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import attrs

from notifykit.vault import KeyRing

from . import axes, bloat, brokers, fanout, growth, idle, mainjob, producing, signatures
from .machine import facts
from .plan import Plan, Say, say
from .plots import acquire
from .results import Part, Results
from .rounds import DisagreementError
from .tables import plain

#: What can be measured beside the main job, in the order of the report.
AXES: Mapping[str, Callable[[Plan, Say], Part]] = {
    "latency": axes.latency,
    "subscriptions": axes.subscriptions,
    "payload": axes.payload,
    "endpoints": axes.endpoints,
    "workers": axes.workers,
    "slow": brokers.slow,
    "brokers": brokers.part,
    "tls": axes.tls,
    "failing": axes.failing,
    "history": axes.history,
    "growth": growth.part,
    "fanout": fanout.part,
    "bloat": bloat.part,
    "idle": idle.part,
    "producers": producing.part,
    "signatures": signatures.part,
}
#: Names for groups of parts.
GROUPS = {"all": tuple(AXES), "growth": ("growth", "history", "fanout", "bloat")}


def run(plan: Plan) -> int:
    """Measure everything that is asked for; keep what is finished also if the rest is not."""
    # A key of this run's own: no key is written to the user's folder, and the stores need no other.
    os.environ.setdefault("NOTIFYKIT_KEYS", KeyRing.generate("bench").text())
    signal.signal(signal.SIGTERM, _interrupt)
    path = plan.out / "results.json"
    results = Results(machine={}, command=shlex.join(["python3", "dev.py", "bench", *sys.argv[1:]]))
    if plan.adds and path.exists():
        results = attrs.evolve(results, parts=Results.read(path).parts)
    void: list[str] = []
    try:
        results = attrs.evolve(results, machine=facts())
        main = mainjob.first(plan, say)
        if not (plan.adds and plan.axes and any(part.name == "main" for part in results.parts)):
            results = _keep(plan, results, mainjob.part(plan, main, say))
        for name in plan.axes:
            try:
                results = _keep(plan, results, AXES[name](plan, say))
            except (DisagreementError, RuntimeError) as error:  # the other parts are worth having all the same
                say(f"void: {name}: {error}")
                void.append(name)
    except DisagreementError as error:
        say(f"void: {error}")
        return 1
    except KeyboardInterrupt:
        say(f"interrupted; what was finished is in {path}" if results.parts else "interrupted")
        return 130
    broken = [finding for part in results.parts for finding in part.findings if not finding.is_kept]
    print(f"\nWritten: {path}, and a chart of each part beside it. Promises not kept: {len(broken)}.")
    if void:
        print(f"Void, see above: {', '.join(void)}.")
    return 1 if void else 0


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _keep(plan: Plan, results: Results, part: Part) -> Results:
    """Print, write and draw a part."""
    print(plain(part), flush=True)
    measured = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, `{results.command}`"
    results = results.with_part(attrs.evolve(part, measured=measured))
    results.write(plan.out / "results.json")
    acquire(part, plan.out, formats=("png", "svg"))
    return results
