"""Records that are rows of one text of JSON beside the keys: keys of the REST API, the audit log, workers."""

from __future__ import annotations

from typing import Any, TypeVar

from ...codec import dumps, loads, structure, unstructure
from .rows import Row

R = TypeVar("R")
#: The fields of a record that are columns.
_COLUMNS = ("tenant", "id", "version")


def record_values(record: Any) -> dict[str, Any]:
    """Return the columns of a record."""
    details = {name: value for name, value in unstructure(record).items() if name not in _COLUMNS and value is not None}
    return {"tenant": record.tenant, "id": record.id, "details": dumps(details).decode(), "version": record.version}


def record_from(row: Row, kind: type[R]) -> R:
    """Return the record of a row."""
    keys = {name: row[name] for name in _COLUMNS}
    return structure({**loads(row["details"].encode()), **keys}, kind)
