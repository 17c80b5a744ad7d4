"""Keys of the REST API as rows: beside the keys of a row one text of JSON."""

from __future__ import annotations

from typing import Any

from ...codec import dumps, loads, structure, unstructure
from ...models.access import ApiKey
from .rows import Row

#: The fields of a key that are columns.
_COLUMNS = ("tenant", "id", "version")


def api_key_values(key: ApiKey) -> dict[str, Any]:
    """Return the columns of ``api_keys``."""
    details = {name: value for name, value in unstructure(key).items() if name not in _COLUMNS and value is not None}
    return {"tenant": key.tenant, "id": key.id, "details": dumps(details).decode(), "version": key.version}


def api_key_from(row: Row) -> ApiKey:
    """Return the key of a row of ``api_keys``."""
    keys = {name: row[name] for name in _COLUMNS}
    return structure({**loads(row["details"].encode()), **keys}, ApiKey)
