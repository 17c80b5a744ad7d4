"""Signing and verifying, beside the two packages that do the same."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import attrs

from notifykit.signing import Signer, Verifier, generate_secret

from .payloads import order
from .plan import Plan, Say
from .results import Column, Part, Row, cells

_COLUMNS = (
    Column(key="sign", title="sign", unit="1/s", chart="bars"),
    Column(key="verify", title="verify", unit="1/s", chart="bars"),
)


@attrs.frozen
class _Package:
    label: str
    sign: Callable[[], object] | None
    verify: Callable[[], object]
    found: list[dict[str, float]] = attrs.field(factory=list)


def part(plan: Plan, say: Say) -> Part:
    """Measure all packages in turns."""
    say("signatures")
    packages = [*_notifykit(), *map(_other, ("standardwebhooks", "svix"))]
    seconds = 0.3 if plan.runs > 1 else 0.1
    for _ in range(plan.runs):
        for package in packages:
            ways = {"sign": package.sign, "verify": package.verify}
            package.found.append({name: _rate(way, seconds) for name, way in ways.items() if way is not None})
    return Part(
        name="signatures",
        title="Signatures",
        about=(
            "Standard Webhooks, HMAC-SHA256, a body of 1 kB, one process, objects made beforehand. "
            "Bodies are verified and not parsed; in the row of open() they are parsed as an event with its fields."
        ),
        columns=_COLUMNS,
        rows=[Row(label=package.label, cells=cells(package.found, _COLUMNS)) for package in packages],
        across="package",
    )


_SECRET = generate_secret()
_BODY = json.dumps({"type": "order.created", "timestamp": "2026-01-01T00:00:00Z", "data": order(1000, 1)}).encode()
_ID = "evt_01JC0000000000000000000000"


def _notifykit() -> list[_Package]:
    now = datetime.now(UTC)
    signer, verifier = Signer(_SECRET), Verifier(_SECRET)
    headers = signer.headers(_ID, now, _BODY)
    name = f"notifykit {version('notifykit-sdk')}"
    return [
        _Package(name, lambda: signer.sign(_ID, now, _BODY), lambda: verifier.verify(_BODY, headers)),
        _Package(f"{name}, open()", None, lambda: verifier.open(_BODY, headers)),
    ]


def _other(name: str) -> _Package:
    from importlib import import_module

    module: Any = import_module({"svix": "svix.webhooks"}.get(name, name))
    webhook = module.Webhook(_SECRET)
    now, text = datetime.now(UTC), _BODY.decode()
    headers = Signer(_SECRET).headers(_ID, now, _BODY)
    parsing = {"json_parse": False} if name == "standardwebhooks" else {}  # the other one never parses
    assert webhook.sign(_ID, now, text) == headers["webhook-signature"], f"{name} signs differently"
    return _Package(
        f"{name} {version(name)}",
        lambda: webhook.sign(_ID, now, text),
        lambda: webhook.verify(_BODY, headers, **parsing),
    )


def _rate(work: Callable[[], object], seconds: float) -> float:
    """Return how often ``work`` is done in a second of this process's time."""
    started = time.process_time()
    count = 0
    while (used := time.process_time() - started) < seconds:
        for _ in range(200):
            work()
        count += 200
    return count / used
