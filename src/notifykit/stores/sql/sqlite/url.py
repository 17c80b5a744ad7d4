"""Which file an SQLite URL names.

SQLAlchemy 2.0 takes the path as it is written and 2.1 decodes ``%20``.  A store must not move to another file
with an upgrade, nor with a change of the working directory, so this rule is our own: the path is decoded, and made
absolute once, when the store is made.
"""

from __future__ import annotations

import os
import re
from urllib.parse import parse_qsl, quote, unquote

from ....errors import ConfigurationError

#: What SQLAlchemy and the driver take for the connections of the application; the store makes its own.
_OF_CONNECTIONS = frozenset(
    {"autocommit", "cached_statements", "check_same_thread", "detect_types", "isolation_level", "timeout"}
)
#: Names of files may hold any bytes.
_ANY_BYTES = "surrogateescape"
#: What means something else in a URL, or is no text.
_SPECIAL = re.compile("[%?\udc80-\udcff]")


def file_of(url: str) -> str | None:
    """Return the absolute path of the file that an SQLite URL names; ``None`` for a database in memory.

    Raises:
        ConfigurationError: The URL names no file, or wants it opened in a way that a store cannot use.
    """
    name, _, options = url.partition("://")[2].partition("?")
    if name and not name.startswith("/"):
        raise ConfigurationError(
            f"{url!r} names a host; use three slashes for a file in this folder: sqlite:///file.db"
        )
    path = unquote(name[1:], errors=_ANY_BYTES)
    refused = sorted({option for option, _ in parse_qsl(options, keep_blank_values=True)} - _OF_CONNECTIONS)
    if refused:
        raise ConfigurationError(
            f"a store opens its SQLite file for reading and writing and does not know {', '.join(refused)}; "
            f"leave that out of {url!r}, and for a store in memory use memory://"
        )
    return None if path in {"", ":memory:"} else _absolute(path)


def url_of(path: str) -> str:
    """Return the URL of an SQLite file, with an absolute path; ``:memory:`` and nothing stand for memory.

    Raises:
        ConfigurationError: The path names no file.
    """
    if path in {"", ":memory:"}:
        return "sqlite://"
    return f"sqlite:///{_SPECIAL.sub(lambda found: quote(found[0], errors=_ANY_BYTES), _absolute(path))}"


def _absolute(path: str) -> str:
    if "\0" in path or path.startswith("file:"):
        raise ConfigurationError(f"{path!r} is not the name of a file; use sqlite:///file.db")
    return os.path.abspath(path)  # noqa: PTH100 - without a drive or a link being resolved
