"""The Python snippets in the documentation are executed by the test run.

All snippets of a page share their names and one event loop, may ``await`` at the
top level, and run in an empty working directory.  A snippet that cannot run stands
after the comment ``<!-- skip: next -->``.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import os
import tempfile
from pathlib import Path
from types import CodeType
from typing import Any

from sybil import Example, Sybil
from sybil.evaluators.python import pad
from sybil.parsers.myst import CodeBlockParser, SkipParser

_LOOP = "__loop__"
_FOLDER = "__folder__"
_BEFORE = "__before__"


class SnippetParser(CodeBlockParser):
    """Finds Python snippets and runs them, asynchronous ones on the page's loop."""

    language = "python"

    def evaluate(self, example: Example) -> None:
        """Run one snippet, with line numbers that are those of the page."""
        source = pad(example.parsed, example.line + example.parsed.line_offset)
        code: CodeType = compile(source, example.path, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
        if code.co_flags & inspect.CO_COROUTINE:
            example.namespace[_LOOP].run(_awaited(code, example.namespace))
        else:
            exec(code, example.namespace)


async def _awaited(code: CodeType, namespace: dict[str, Any]) -> None:
    await eval(code, namespace)


def _open_page(namespace: dict[str, Any]) -> None:
    namespace[_LOOP] = asyncio.Runner()
    namespace[_BEFORE] = Path.cwd()
    namespace[_FOLDER] = tempfile.TemporaryDirectory()
    os.chdir(namespace[_FOLDER].name)


def _close_page(namespace: dict[str, Any]) -> None:
    namespace[_LOOP].close()
    os.chdir(namespace[_BEFORE])
    namespace[_FOLDER].cleanup()


pytest_collect_file = Sybil(
    parsers=[SnippetParser(), SkipParser()],
    patterns=["*.md"],
    setup=_open_page,
    teardown=_close_page,
).pytest()
