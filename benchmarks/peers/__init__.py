"""The benchmark's job, done with the tools a Python user would take today.

Each peer has a folder with ``job.py`` (its worker and its producer, to be read and
doubted) and ``requirements.txt``; what they share is in ``shared/``.  A peer runs in
an environment of its own below ``.bench``, made the first time it is measured::

    python -m benchmarks.peers celery --events 5000
"""

from __future__ import annotations

from .catalog import NAMES, PeerUnavailable, source
from .live import measure

__all__ = ["NAMES", "PeerUnavailable", "measure", "source"]
