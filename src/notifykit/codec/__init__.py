"""Values to JSON and back: the one converter, and the one way to make bytes.

:data:`converter` turns attrs classes into JSON types and back.  :func:`dumps` and :func:`loads` make and read the
bytes.  :func:`json_problems` says what is wrong with data that is not JSON.

Knows no events: which bytes are an acceptable event is :mod:`notifykit.policies.admit`.
"""

from __future__ import annotations

from .conversion import JSON_NAME, converter, structure, timestamp, unstructure
from .problems import MAX_DEPTH, MAX_INT, MAX_PROBLEMS, MIN_INT, join_path, json_problems
from .text import dumps, loads, loads_unique

__all__ = [
    "JSON_NAME",
    "MAX_DEPTH",
    "MAX_INT",
    "MAX_PROBLEMS",
    "MIN_INT",
    "converter",
    "dumps",
    "join_path",
    "json_problems",
    "loads",
    "loads_unique",
    "structure",
    "timestamp",
    "unstructure",
]
