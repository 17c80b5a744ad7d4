"""``notifykit endpoints check``: check URLs against the egress rules.  Needs no store."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from .failures import FAILED, OK
from .parser import Commands
from .text import plain, styled

if TYPE_CHECKING:
    from ..channels.webhook import Guard, Verdict
    from .context import Context

#: URLs checked at the same time; each may wait for the DNS.
_AT_ONCE = 64


def add(group: Commands) -> None:
    """Add the command."""
    parser = group.command(
        "check",
        check,
        help="check whether deliveries to URLs are allowed, and why not",
        description="Report for each URL whether the egress rules allow deliveries to it, and if not, the reason code. "
        "Needs no store. Names are looked up in the DNS unless --resolve gives their addresses. "
        "Exit code 0 if all URLs are allowed, else 1.",
        example="notifykit endpoints check https://acme.example/hooks --resolve acme.example=93.184.216.34\n"
        "notifykit endpoints check --json --allow-http - < urls.txt",
    )
    parser.add_argument("urls", nargs="+", metavar="URL", help="URLs; - reads them from stdin, one on each line")
    parser.add_argument(
        "--resolve",
        type=_answer,
        action="append",
        default=[],
        metavar="HOST=ADDR,…",
        help="use these addresses for a host instead of the DNS; an empty list means that it does not resolve",
    )
    parser.add_argument("--escaped", action="store_true", help="URLs contain the escapes of JSON strings: \\t, \\u0000")


def _answer(text: str) -> tuple[str, tuple[str, ...]]:
    host, equals, given = text.partition("=")
    if not (host and equals):
        raise argparse.ArgumentTypeError(f"{plain(text)!r} is not of the form HOST=ADDR,ADDR")
    return host.lower().rstrip("."), tuple(part.strip() for part in given.split(",") if part.strip())


async def check(context: Context) -> int:
    """Check URLs."""
    guard = context.egress().guard()
    answers = dict(context.args.resolve)
    urls = _urls(context.args.urls, escaped=context.args.escaped)
    everything = True
    while batch := list(islice(urls, _AT_ONCE)):
        verdicts = await _judged(guard, batch, answers)
        for url, verdict in zip(batch, verdicts, strict=True):
            everything = everything and verdict.verdict == "allow"
            context.out.record({"url": url, "verdict": verdict.verdict, "reason": verdict.reason})
            context.out.line(_line(url, verdict))
    return OK if everything else FAILED


async def _judged(guard: Guard, urls: Sequence[str], answers: dict[str, tuple[str, ...]]) -> list[Verdict]:
    return list(await asyncio.gather(*(guard.judge_url(url, answers) for url in urls)))


def _line(url: str, verdict: Verdict) -> str:
    if verdict.verdict == "allow":
        return f"{styled('allow', 'green')}  {plain(url)}  -> {', '.join(verdict.addresses)}"
    return f"{styled('deny', 'red')}   {plain(url)}  ({verdict.reason})"


def _urls(given: Iterable[str], *, escaped: bool) -> Iterator[str]:
    for text in given:
        for url in _stdin_lines() if text == "-" else (text,):
            yield _unescaped(url) if escaped else url


def _stdin_lines() -> Iterator[str]:
    """Yield the lines of stdin with any bytes that they contain, without the line feed."""
    stream = getattr(sys.stdin, "buffer", None)
    if stream is None:  # a text stream replaces it
        yield from (line.removesuffix("\n") for line in sys.stdin)
    else:
        yield from (line.removesuffix(b"\n").decode("utf-8", "surrogateescape") for line in stream)


def _unescaped(line: str) -> str:
    """Return a line with its JSON escapes decoded, or unchanged if they are invalid."""
    text = line.rstrip("\r")
    quoted = text if len(text) > 1 and text[0] == text[-1] == '"' else f'"{text}"'
    try:
        url = json.loads(quoted, strict=False)
    except (ValueError, RecursionError):
        return line
    return url if isinstance(url, str) else line
