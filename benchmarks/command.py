"""The command line of the suite."""

from __future__ import annotations

import argparse
from importlib import import_module
from pathlib import Path

import attrs

from .plan import Plan
from .stores import STORES
from .suite import AXES, GROUPS

_EXAMPLES = """
examples:
  python3 dev.py bench --quick                   a quick check of about a minute
  python3 dev.py bench                           the main job, and the same job with other tools
  python3 dev.py bench --axis tls,latency        the main job and two axes
  python3 dev.py bench --axis all --peers all    everything (hours)
  python3 dev.py bench --axis history --add      one axis again, into the results that are there

Results, tables and charts go to the folder of --out; `python -m benchmarks.report` makes the page of the
documentation out of them.  Ctrl-C stops and keeps what is finished.
"""


def parse(argv: list[str] | None = None) -> Plan:
    """Return the plan that a command line asks for."""
    parser = argparse.ArgumentParser(
        prog="python3 dev.py bench",
        description="Measure the whole job end to end: publish, plan, sign, POST, record.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--store", choices=list(STORES), help="only this one (axes: postgres unless given)")
    parser.add_argument(
        "--peers", metavar="NAMES", help="all, none, or names with commas; all by default if no axis is asked for"
    )
    parser.add_argument(
        "--axis", metavar="NAMES", default="", help=f"all, or names with commas: {', '.join(AXES)}"
    )  # fmt: skip
    parser.add_argument("--runs", type=_positive, help="how often each is measured (5)")
    parser.add_argument("--peer-runs", type=_positive, help="how often peers are (3)")
    parser.add_argument("--events", type=_positive, help="how many a run publishes (40,000)")
    parser.add_argument("--old-rows", type=_positive, help="length of the long history (5,000,000)")
    parser.add_argument("--fanout", type=_positive, help="subscribers of one event (100,000)")
    parser.add_argument("--out", type=Path, default=Path("reports/bench"), help="folder of the results (%(default)s)")
    parser.add_argument("--add", action="store_true", help="keep the parts in --out that are not measured now")
    parser.add_argument("--quick", action="store_true", help="small sizes and one run of each, for a quick check")
    args = parser.parse_args(argv)
    try:
        return _plan(args)
    except ValueError as error:
        parser.error(str(error))


def _plan(args: argparse.Namespace) -> Plan:
    plan = Plan()
    if args.quick:
        plan = attrs.evolve(
            plan, runs=1, peer_runs=1, events=3000, old_rows=50_000, fanout=5000, endpoints=1000, growth=500,
            idle_seconds=4,
        )  # fmt: skip
    axes = _names(args.axis, GROUPS, tuple(AXES), "axis")
    given = {
        "runs": args.runs, "peer_runs": args.peer_runs, "events": args.events, "old_rows": args.old_rows,
        "fanout": args.fanout,
    }  # fmt: skip
    return attrs.evolve(
        plan,
        axes=axes,
        peers=_peers(args.peers if args.peers is not None else ("none" if axes or args.quick else "all")),
        out=args.out,
        adds=args.add,
        **({"store": args.store, "stores": (args.store,)} if args.store else {}),
        **{name: value for name, value in given.items() if value is not None},
    )


def _peers(text: str) -> tuple[str, ...]:
    if text == "none":
        return ()
    known: tuple[str, ...] = import_module("benchmarks.peers").NAMES
    return _names(text, {"all": known}, known, "peer")


def _names(text: str, groups: dict[str, tuple[str, ...]], known: tuple[str, ...], what: str) -> tuple[str, ...]:
    """Return names in the order of ``known``, groups taken apart."""
    asked = [name.strip() for name in text.split(",") if name.strip()]
    wanted = {member for name in asked for member in groups.get(name, (name,))}
    if unknown := sorted(wanted - set(known)):
        raise ValueError(f"unknown {what}: {', '.join(unknown)}; there are {', '.join(('all', *known))}")
    return tuple(name for name in known if name in wanted)


def _positive(text: str) -> int:
    value = int(text.replace(",", "").replace("_", ""))
    if value < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return value
