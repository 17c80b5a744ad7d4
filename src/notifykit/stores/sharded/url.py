"""The URL of several databases: ``sharded://?east=postgresql%3A%2F%2F…&west=…``."""

from __future__ import annotations

from urllib.parse import parse_qsl, quote

from ...errors import ConfigurationError


def shards_of(url: str) -> dict[str, str]:
    """Return the URLs of the shards by their names.

    Raises:
        ConfigurationError: It names no shards, or one twice.
    """
    pairs = parse_qsl(url.partition("?")[2], keep_blank_values=True)
    shards = dict(pairs)
    if not shards or len(shards) != len(pairs) or not all(shards.values()) or not url.startswith("sharded://?"):
        raise ConfigurationError(
            "a store over several databases has a URL such as sharded://?a=sqlite:///a.db&b=sqlite:///b.db, with a "
            "name for each database; write & and % in a database's URL as %26 and %25"
        )
    return shards


def url_of(shards: dict[str, str]) -> str:
    """Return the URL of shards."""
    return "sharded://?" + "&".join(f"{quote(name)}={quote(url, safe=':/@,')}" for name, url in shards.items())
