"""The payloads of a benchmark's events.

``order`` makes an order of any size.  ``real`` takes examples of what services send:
out of ``../shared/data`` where that was laid beside the checkout, else out of the
package's own samples.
"""

from __future__ import annotations

import itertools
import json
import time
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

_SHARED = Path(__file__).resolve().parents[2] / "shared" / "data" / "github-events.jsonl"
#: How many different payloads are drawn from at the most.
_MANY = 50


def order(size: int, at: int, sent: float | None = None) -> dict[str, Any]:
    """Return an order that makes a body of about ``size`` bytes.

    Args:
        sent: When it was published, or should have been; by default now.
    """
    return {
        "order_id": f"A-{at}",
        "customer": {"id": at % 1000, "name": "Zoë Müller"},
        "items": _items(max(size - 200, 0) // 52),
        "sent": time.time() if sent is None else sent,
    }


@lru_cache(maxsize=8)
def _items(count: int) -> list[dict[str, Any]]:
    """Return the same items for all orders: making them is not what is measured."""
    return [{"sku": f"SKU-{i:05d}", "quantity": i % 7 + 1, "price": "19.90"} for i in range(count)]


@lru_cache(maxsize=8)
def real(size: int) -> tuple[dict[str, Any], ...]:
    """Return payloads of about ``size`` bytes of JSON each.

    Examples of nearly that size are taken as they are; where there are none, several
    smaller ones are put together, the way a batch of changes is sent.
    """
    examples = sorted(_examples(), key=_length)
    near = [example for example in examples if 0.8 * size <= _length(example) <= 1.1 * size]
    smaller = [example for example in examples if _length(example) < 0.8 * size]
    made = near[:_MANY]
    supply = itertools.cycle(smaller)
    while smaller and len(made) < min(_MANY, len(near) + len(smaller)):
        together: list[dict[str, Any]] = []
        while sum(map(_length, together)) < 0.85 * size:
            together.append(next(supply))
        made.append({"changes": together})
    return tuple(made or examples[:_MANY])


def _length(example: dict[str, Any]) -> int:
    return len(json.dumps(example, ensure_ascii=False, separators=(",", ":")).encode())


def _examples() -> list[dict[str, Any]]:
    samples = files("notifykit").joinpath("samples", "events.jsonl").read_text("utf-8")
    found = [json.loads(line)["data"] for line in samples.splitlines()]
    if _SHARED.is_file():
        found += [json.loads(line)["payload"] for line in _SHARED.read_text("utf-8").splitlines()]
    return found
