"""``notifykit decide``: what would be decided for a person on a channel?  Needs no store."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from .failures import FAILED, OK
from .output import Output
from .parser import Commands

if TYPE_CHECKING:
    from ..policies.contact import Decision
    from .context import Context

#: A longer line is refused without being held in memory.
MAX_LINE = 8 * 1024 * 1024

_EXAMPLE = """\
echo '{"now": "2026-03-29T21:30:00Z", "channel": "email", "zone": "Europe/Berlin",
  "type": {"name": "comment.created", "category": "comments", "purpose": "transactional"},
  "addresses": [{"channel": "email", "address": "ada@example.org", "state": "active"}],
  "quiet_hours": [{"days": ["sun"], "from": "22:00", "to": "07:00"}]}' | tr -d '\\n' | notifykit decide
notifykit decide --explain < questions.jsonl"""


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.command(
        "decide",
        decide,
        help="try the decision for a person and a channel, without a store",
        description="Read questions from stdin, one JSON object a line, and write for each, in the same order, what is "
        "decided: verdict, code, until, digest. Needed are now, channel, type (name, category, purpose); what else "
        "there is: event (topic, expires_at), settings, mutes, consents, tokens_left, addresses, suppressions, zone, "
        "quiet_hours, quiet_except. A line that cannot be decided is answered with an error and all its problems, and "
        "the exit code is 1 at the end. Blank lines are left out.",
        example=_EXAMPLE,
    )
    parser.add_argument("--explain", action="store_true", help="add to each answer a sentence for people")


def decide(context: Context) -> int:
    """Answer questions."""
    out = Output(json=True)
    code = OK
    for number, line in enumerate(_lines(), 1):
        if line is not None and not line.strip():
            continue
        found = answer(line, number, explain=context.args.explain)
        if "error" in found:
            code = FAILED
        out.record(found)  # and flush: another program may wait for it before it asks the next question
    return code


def _lines() -> Iterator[bytes | None]:
    """Yield the lines of stdin as they come; ``None`` for one that is too long."""
    stream = getattr(sys.stdin, "buffer", None)
    if stream is None:  # a text stream stands in for it
        yield from (line.encode("utf-8", "surrogatepass") for line in sys.stdin)
        return
    while line := stream.readline(MAX_LINE + 1):
        if len(line) <= MAX_LINE or line.endswith(b"\n"):
            yield line
            continue
        while line and not line.endswith(b"\n"):
            line = stream.readline(64 * 1024)
        yield None


def answer(line: bytes | None, number: int = 1, *, explain: bool = False) -> dict[str, Any]:
    """Return what is answered to a line; ``None`` stands for one that is too long."""
    from ..codec import loads_unique, structure
    from ..errors import InvalidInputError
    from .question import ROOT, Question

    if line is None:
        return _refused(number, [f"{ROOT}: longer than {MAX_LINE} bytes"])
    try:
        value, problems = loads_unique(line.rstrip(b"\r\n"), path=ROOT)
    except ValueError as error:
        return _refused(number, [f"{ROOT}: {_not_json(error)}"])
    try:
        question = structure(value, Question, path=ROOT)
    except InvalidInputError as error:
        return _refused(number, [*problems, *error.problems])
    return _refused(number, problems) if problems else answer_of(question.decide(), explain=explain)


def _not_json(error: ValueError) -> str:
    if isinstance(error, UnicodeDecodeError):
        return f"not UTF-8 at byte {error.start + 1}"
    if isinstance(error, UnicodeEncodeError):
        return "has half of a surrogate pair, which is no character"
    return f"not JSON: {error}"


def answer_of(decision: Decision, *, explain: bool = False) -> dict[str, Any]:
    """Return a decision as it is written."""
    from ..codec import timestamp
    from ..policies.contact import REASONS

    reason = REASONS[decision.code]
    until: datetime | None = getattr(decision, "until", None)
    answer = {
        "verdict": reason.verdict.value,
        "code": decision.code.value,
        "until": None if until is None else timestamp(until),
        "digest": getattr(decision, "digest", None),
    }
    return answer | {"sentence": reason.sentence} if explain else answer


def _refused(number: int, problems: list[str]) -> dict[str, Any]:
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    return {
        "error": f"line {number} was not decided: {count}; what is asked for: notifykit decide --help",
        "problems": [_problem(text) for text in problems],
    }


#: The path of a problem: names, indexes, and keys in quotes, of which only the beginning may be shown.
_PATH = re.compile(r"""\$(?:\.\w[\w-]*|\[\d+\]|\[(?:'(?:[^'\\…]|\\.)*(?:'|…)|"(?:[^"\\…]|\\.)*(?:"|…))\])*""", re.ASCII)


def _problem(text: str) -> dict[str, str]:
    match = _PATH.match(text)
    path = "" if match is None else match[0]
    return {"path": path.removeprefix("$").removeprefix(".") or "$", "message": text[len(path) + 2 :]}
