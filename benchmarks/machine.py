"""What a figure was measured on: without it, a figure has no meaning."""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from notifykit.native import is_compiled
from notifykit.testing.servers import ServerUnavailableError

from . import stores

_PACKAGES = ("notifykit-sdk", "asyncpg", "uvloop", "orjson", "httptools", "sqlalchemy")


def facts() -> dict[str, str]:
    """Return the machine, the programs and the date."""
    packages = []
    for name in _PACKAGES:
        with suppress(PackageNotFoundError):
            packages.append(f"{name} {version(name)}")
    if is_compiled():
        packages[0] += " (compiled)"
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": f"{_cpu_model()}, {len(_cores())} cores",
        "memory": _memory(),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}, {platform.python_compiler()}",
        "packages": ", ".join(packages),
        "postgres": _server("postgres"),
        "redis": _server("redis"),
        "sqlite": stores.version("sqlite"),
        "load before the run": f"{os.getloadavg()[0]:.2f}" if hasattr(os, "getloadavg") else "unknown",
    }


def _cores() -> set[int]:
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))


def _cpu_model() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _memory() -> str:
    with suppress(OSError, ValueError):
        return f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB"
    return "unknown"


def _server(kind: str) -> str:
    try:
        return stores.version(kind)
    except ServerUnavailableError as error:
        return f"none ({error})"
