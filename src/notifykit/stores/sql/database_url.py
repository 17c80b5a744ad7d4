"""What can be said of a store's URL without opening it: its kind of database, and the URL without its secrets."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl

#: Other names of the same kind of database.
_SAME = {"postgres": "postgresql", "mariadb": "mysql"}
_SECRET = re.compile(r"(?i)(?<=[?&])(password|sslpassword)=[^&]*")
_PASSWORD = re.compile(r"^((?:[^:/?#]+://|(?!.*://))[^:/?]*):.*@(?=[^@]*$)")


def backend_of(url: str) -> str:
    """Return the kind of database: ``postgresql``, ``mysql``, ``sqlite``, or another scheme without its driver."""
    name = url.partition(":")[0].partition("+")[0].lower()
    return _SAME.get(name, name)


def without_password(url: str) -> str:
    """Return a URL as it may be shown; it need not be a valid one."""
    if url.startswith("sharded://"):
        pairs = parse_qsl(url.partition("?")[2], keep_blank_values=True)
        return "sharded://?" + "&".join(f"{name}={without_password(each)}" for name, each in pairs)
    address, mark, query = url.partition("?")
    if "@" in query and "@" not in address:  # a password with an unescaped question mark
        address, mark, query = url, "", ""
    return _SECRET.sub(r"\1=***", _PASSWORD.sub(r"\1:***@", address) + mark + query)
