"""What the URLs of brokers have in common."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Final
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit

from ..errors import ConfigurationError
from ..models.delivery import Lane

_UNSAFE: Final = re.compile(r"[^A-Za-z0-9]")
#: Options of a client that an error lists.
_MOST_LISTED: Final = 12
#: What a prefix may be: every broker takes it in a name.
_PREFIX: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


def split_options(url: str, defaults: Mapping[str, str], passed_on: Collection[str] = ()) -> tuple[str, dict[str, str]]:
    """Return the URL without options of ours, and these.

    Args:
        url: The broker's.
        defaults: The options that we read, with what they are if the URL does not say; one of them is ``prefix``.
        passed_on: The options that the broker's client reads; they stay in the URL.

    Raises:
        ConfigurationError: An option is not known or cannot be used, or a port is no number.
    """
    parts = _parts(url)
    options, rest = dict(defaults), []
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name in defaults:
            options[name] = value
        elif name in passed_on:
            rest.append((name, value))
        else:
            listed = passed_on if len(passed_on) <= _MOST_LISTED else ()
            known = ", ".join(sorted({*defaults, *listed})) + ("" if listed or not passed_on else ", and its client's")
            raise ConfigurationError(f"{parts.scheme}:// URLs have no option {name[:80]!r}; known: {known}")
    if not _PREFIX.fullmatch(options["prefix"]):
        raise ConfigurationError(
            f"prefix={options['prefix'][:80]!r}: use letters, digits, - and _, at most 64, as in ?prefix=shop-tickets"
        )
    return parts._replace(query=urlencode(rest)).geturl(), options


def _parts(url: str) -> SplitResult:
    """Return the parts of a URL, which may name several hosts."""
    scheme = url.partition(":")[0]
    try:
        parts = urlsplit(url)
        for host in parts.netloc.rpartition("@")[2].split(","):
            urlsplit(f"//{host}").port  # noqa: B018 - which raises
    except ValueError:  # the text is not repeated: a password that is not quoted may be in it
        raise ConfigurationError(
            f"the host or the port of the {scheme}:// URL cannot be read: write it like {scheme}://host:1234, "
            "and quote what is special in a password, such as %2F for /"
        ) from None
    return parts


def seconds(options: Mapping[str, str], name: str) -> float:
    """Return an option that is a number of seconds.

    Raises:
        ConfigurationError: It is none, or not more than 0.
    """
    try:
        value = float(options[name])
    except ValueError:
        value = 0.0
    if not 0 < value < 1e6:
        raise ConfigurationError(f"{name}={options[name][:80]!r}: give seconds, as in ?{name}=60")
    return value


def count(options: Mapping[str, str], name: str, most: int) -> int:
    """Return an option that is a whole number between 1 and ``most``.

    Raises:
        ConfigurationError: It is none.
    """
    text = options[name]
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= most:
        raise ConfigurationError(f"{name}={text[:80]!r}: give a number between 1 and {most}")
    return int(text)


def lane_name(prefix: str, lane: Lane, separator: str = "-") -> str:
    """Return what the queue, topic or stream of a lane is called; different lanes have different names."""
    channel = _UNSAFE.sub(lambda found: f"_{ord(found[0]):x}_", lane.channel)
    return separator.join((prefix, channel, lane.priority.value))
