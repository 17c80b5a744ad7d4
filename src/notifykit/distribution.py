"""The distribution of this package: its name on the package index, and whether another one conflicts with it."""

from __future__ import annotations

#: What users install; what they import is ``notifykit``.
NAME = "notifykit-sdk"
#: A file watcher by other authors, which is imported by the same name: its files and ours overwrite each other.
NAMESAKE = "notifykit"


def version(name: str = NAME) -> str | None:
    """Return the version of an installed distribution; ``None`` if it is not installed."""
    from importlib import metadata  # imported late: programs that only publish do not need it

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def with_extras(*extras: str) -> str:
    """Return what is given to ``pip install`` for these extras."""
    return f"{NAME}[{','.join(extras)}]"
