"""``python -m benchmarks.peers NAME [--events N]``: run one peer and print its figures."""

from __future__ import annotations

import argparse
import json
import signal
import sys

from . import NAMES, PeerUnavailable, measure


def main() -> int:
    """Run the peer that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=(__doc__ or "").partition(": ")[2])
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("--events", type=int, default=5000)
    parser.add_argument("--size", type=int, default=1000, help="bytes of an event's body, roughly")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # workers have groups of their own, and must not stay
    try:
        result = measure(args.name, events=args.events, size=args.size, say=lambda text: print(text, file=sys.stderr))
    except PeerUnavailable as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    print(json.dumps(result) if args.json else _line(result), flush=True)
    return 0 if result["agree"] else 1


def _line(result: dict[str, object]) -> str:
    agrees = "agrees" if result["agree"] else f"DISAGREES: {result['stored']:,} of {result['wanted']:,}"
    return (
        f"{result['name']} {result['version']} live {result['rate']:,.0f} deliveries/s "
        f"({result['received']:,} received, {result['store']} {agrees}; cpu {result['cpu_us']:,.0f} us a delivery; "
        f"published {result['publish_rate']:,.0f}/s; {result['client']}; receiver {result['receiver']}; "
        f"{result['settings']})"
    )


raise SystemExit(main())
