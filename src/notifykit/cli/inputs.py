"""Parsing of arguments: times, durations, JSON, headers, resources."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from .failures import CommandError, UsageError
from .text import plain

T = TypeVar("T")

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)")
_RELATIVE = re.compile(r"([+-]?)(\d.*[a-z])")
#: A relative time in the past looks like an option to argparse.
_PAST = re.compile(r"-\d+(?:\.\d+)?(?:ms|s|m|h|d|w)")


def join_relative_times(argv: Sequence[str]) -> list[str]:
    """Return ``argv`` with ``--since -2h`` as ``--since=-2h``, so that argparse takes it for a value."""
    joined: list[str] = []
    for at, argument in enumerate(argv):
        if argument == "--":
            return [*joined, *argv[at:]]
        if joined and _PAST.fullmatch(argument) and re.fullmatch(r"--[a-z-]+", joined[-1]):
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined


def argument(read: Callable[[str], T]) -> Callable[[str], T]:
    """Return ``read`` as a type for argparse: the text of a ValueError becomes the usage error."""

    def typed(text: str) -> T:
        try:
            return read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return typed


def read_duration(text: str) -> timedelta:
    """Read ``90s``, ``1.5h``, ``1h30m``, ``7d``.

    Raises:
        ValueError: It is not a duration.
    """
    parts = list(_DURATION.finditer(text))
    if not parts or "".join(part[0] for part in parts) != text:
        raise ValueError(f"{plain(text)!r} is not a duration; write it like 90s, 15m, 2h, 7d or 1h30m")
    try:
        return timedelta(seconds=sum(float(part[1]) * _UNITS[part[2]] for part in parts))
    except OverflowError:
        raise ValueError(f"{plain(text)!r} is too long for a duration") from None


def read_time(text: str, *, now: datetime | None = None, past: bool = True) -> datetime:
    """Read an instant: ISO 8601 (UTC unless it has a zone), ``now``, ``-2h`` or ``+30m``.

    Args:
        now: The instant to which relative times refer.
        past: Whether ``2h`` without a sign means two hours ago; else it means in two hours.

    Raises:
        ValueError: It is not a time.
    """
    now = now or datetime.now(UTC)
    if text == "now":
        return now
    try:
        if (match := _RELATIVE.fullmatch(text)) is not None:
            distance = read_duration(match[2])
            return now - distance if match[1] == "-" or (not match[1] and past) else now + distance
        instant = datetime.fromisoformat(text)
        return (instant if instant.tzinfo is not None else instant.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(
            f"{plain(text)!r} is not a time; write ISO 8601 like 2026-01-31T09:00Z, or relative like -2h or +30m"
        ) from None


past_time = argument(read_time)
future_time = argument(lambda text: read_time(text, past=False))
duration = argument(read_duration)


@argument
def durations(text: str) -> tuple[timedelta, ...]:
    """Read ``5s,5m,30m``; ``none`` means no retry."""
    return () if text == "none" else tuple(read_duration(part.strip()) for part in text.split(","))


@argument
def resource(text: str) -> tuple[str, str]:
    """Read ``kind:id``."""
    kind, colon, id_ = text.partition(":")
    if not (kind and colon and id_):
        raise ValueError(f"{plain(text)!r} is not a resource; write it like order:A-1")
    return kind, id_


@argument
def header(text: str) -> tuple[str, str]:
    """Read ``Name: value``."""
    name, colon, value = text.partition(":")
    if not (name.strip() and colon):
        raise ValueError(f"{plain(text)!r} is not a header; write it like 'Authorization: Bearer abc'")
    return name.strip(), value.strip()


@argument
def pair(text: str) -> tuple[str, str]:
    """Read ``key=value``."""
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise ValueError(f"{plain(text)!r} is not of the form key=value")
    return key, value


@argument
def positive(text: str) -> int:
    """Read a whole number from 1 up."""
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) > 0):
        raise ValueError(f"{plain(text)!r} is not a whole number from 1 up")
    return int(text)


@argument
def count(text: str) -> int:
    """Read a whole number from 0 up."""
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise ValueError(f"{plain(text)!r} is not a whole number from 0 up")
    return int(text)


@argument
def port(text: str) -> int:
    """Read the number of a port; 0 means any free port."""
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) <= 65535):
        raise ValueError(f"{plain(text)!r} is not a port; write a number from 0 to 65535")
    return int(text)


@argument
def http_url(text: str) -> str:
    """Read a URL of HTTP."""
    if not text.startswith(("http://", "https://")) or not urlsplit(text).hostname:
        raise ValueError("a URL that begins with http:// or https:// is needed")
    return text


@argument
def rate(text: str) -> float:
    """Read a number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e9:
        raise ValueError(f"{plain(text)!r} is not a number above 0")
    return value


@argument
def rate_limit(text: str) -> tuple[float, int]:
    """Read ``10`` or ``0.5,5``: the rate per second, and the burst."""
    per_second, comma, burst = text.partition(",")
    try:
        return rate(per_second), positive(burst) if comma else 1
    except argparse.ArgumentTypeError as error:
        raise ValueError(f"{error}; write it like 10, or 0.5,5") from None


def read_text(source: str) -> str:
    """Return the text of ``-`` (stdin), ``@file``, or ``source`` itself.

    Raises:
        UsageError: The file cannot be read, or is not UTF-8.
    """
    try:
        if source == "-":
            return read_stdin()
        if source.startswith("@"):
            return Path(source[1:]).read_text("utf-8")
        # Bytes of the command line that are not UTF-8 arrive as lone surrogates.
        return source.encode("utf-8", "surrogateescape").decode("utf-8")
    except (OSError, ValueError) as error:
        raise UsageError(
            f"cannot read {plain(source[:80])}: {unreadable(error)}; give @FILE, - for stdin, or the JSON itself"
        ) from error


def read_stdin() -> str:
    """Return all of stdin.

    Raises:
        ValueError: It is not UTF-8; the locale does not matter.
    """
    stream = getattr(sys.stdin, "buffer", None)  # a replacement of stdin may have no buffer
    return sys.stdin.read() if stream is None else stream.read().decode("utf-8")


def unreadable(error: Exception) -> str:
    """Return in a few words why a source could not be read."""
    if isinstance(error, UnicodeError):
        return "it is not UTF-8" + (f" (at byte {error.start + 1})" if isinstance(error, UnicodeDecodeError) else "")
    return plain(error.strerror or error) if isinstance(error, OSError) else plain(error)


def cannot_listen(host: str, port: int, error: BaseException | None) -> CommandError:
    """Return the error of a command that could not listen, where ``error`` says why."""
    # ValueError: a host name that no resolver accepts
    why = unreadable(error) if isinstance(error, OSError) else "this is not a host name"
    return CommandError(f"cannot listen on {plain(host)}:{port}: {why}; try another --port or --host")


def read_object(source: str, what: str) -> dict[str, Any]:
    """Return the JSON object in a source that :func:`read_text` accepts.

    Raises:
        UsageError: It is not a JSON object.
    """
    text = read_text(source)
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{what} is not JSON ({plain(error)}); write it like '{{\"id\": 7}}', @FILE or -") from error
    if not isinstance(value, dict):
        raise UsageError(f"{what} must be a JSON object, not {type(value).__name__}; write it like '{{\"id\": 7}}'")
    return value
