"""Checks a template before it is compiled, and rewrites it so that every step of it is counted.

A template is written in a subset of Jinja.  Whatever is not known here is refused, so a new feature of the engine
does not become one of tenants' templates by itself.  The reasons for each restriction are in ADR 0026.

What is compiled has the same lines as the source.  Before a value is written, ``_at`` is told the number of its
:class:`Place`, and every filter of ours gets such a number, so that an error can name the template and the line.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, NamedTuple, NoReturn

from ..errors import TemplateError
from .limits import MAX_BLOCKS, MAX_ELIF, MAX_NESTING, MAX_SOURCE, MAX_TAG, MAX_TOKENS, PIECE

TAGS: Final = frozenset(
    {
        "if",
        "elif",
        "else",
        "endif",
        "for",
        "endfor",
        "set",
        "extends",
        "block",
        "endblock",
        "include",
        "with",
        "endwith",
    }
)
#: Filters of the engine itself: their result is never larger than what they take.
BUILT_IN: Final = frozenset({"default", "safe"})
TESTS: Final = frozenset({"defined", "undefined", "none", "odd", "even", "divisibleby"})
FUNCTIONS: Final = frozenset({"range", "super"})
_WORDS: Final = frozenset({"and", "or", "not", "in", "is", "if", "else"})
_CONSTANTS: Final = frozenset({"true", "false", "none", "True", "False", "None"})
_KEYWORDS: Final = _WORDS | _CONSTANTS

#: What to write in place of what is refused.
_INSTEAD: Final = {
    "~": "write the values one after the other: {{ a }}{{ b }}",
    "+": "use the filter plus: {{ n|plus(1) }}",
    "-": "use the filter minus: {{ n|minus(1) }}",
    "*": "use the filter times: {{ n|times(2) }}",
    "/": "use the filter divided_by: {{ n|divided_by(2) }}",
    "%": "use the test divisibleby: {% if n is divisibleby(2) %}",
    ":": "lists have no slices",
    "{": "mappings cannot be written in a template",
}

_CLOSES: Final = {"call": ")", "group": ")", "list": "]", "index": "]"}
_OPENING = re.compile(r"\{[{%#]")
_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\n]+)
      | (?P<end>-?\}\}|-?%\})
      | (?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
      | (?P<number>[0-9]{1,15}(?:\.[0-9]{1,15})?(?![\w.]))
      | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<sign>==|!=|<=|>=|[-<>|.,()\[\]=])""",
    re.VERBOSE | re.DOTALL,
)
MAX_DIGITS: Final = 15
_DIGITS = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_FILE = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*(?:/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*")


class Place(NamedTuple):
    """Where in a template something is."""

    template: str
    line: int
    text: str = ""

    def error(self, problem: str) -> TemplateError:
        """Return an error that names this place."""
        at = f"{self.template}, line {self.line}"
        about = f": {self.text}" if self.text else ""
        return TemplateError(f"{at}{about}: {problem}", template=self.template, line=self.line)


class Token(NamedTuple):
    """One word inside of a tag."""

    kind: str
    text: str
    space: str


class Checked(NamedTuple):
    """A template that may be compiled.

    Attributes:
        source: What is compiled.
        tokens: How many words and signs are inside of its tags.
        uses: The names of the files that it includes or extends, each with its place.
    """

    source: str
    tokens: int
    uses: tuple[tuple[str, Place], ...]


def check(source: str, name: str, *, filters: frozenset[str], place: Callable[[Place], int]) -> Checked:
    """Return a template in the form in which it is compiled.

    Args:
        source: The template as it was written.
        name: What errors call the template.
        filters: The names of our own filters.
        place: Keeps a place and returns its number.

    Raises:
        TemplateError: The template is not in the subset, or too large.
    """
    if len(source) > MAX_SOURCE:
        raise Place(name, 1).error(f"has {len(source):,} characters, at most {MAX_SOURCE:,}")
    return _Template(source, name, filters, place).check()


class _Template:
    """One pass over a template."""

    def __init__(self, source: str, name: str, filters: frozenset[str], place: Callable[[Place], int]) -> None:
        self._source = source
        self._name = name
        self._filters = filters
        self._keep = place
        self._line = 1
        self._tokens = 0
        self._blocks = 0
        self._out: list[str] = []
        self._uses: list[tuple[str, Place]] = []
        self._open: list[tuple[str, int]] = []  # block tags that have not ended, with the number of their elifs

    def check(self) -> Checked:
        at, source = 0, self._source
        while (match := _OPENING.search(source, at)) is not None:
            self._write_text(source[at : match.start()])
            opening, at = match[0], match.end()
            at = self._comment(at) if opening == "{#" else self._tag(opening, at)
        self._write_text(source[at:])
        if self._open:
            self._fail(f"{{% {self._open[-1][0]} %}} is not ended")
        return Checked("".join(self._out), self._tokens, tuple(self._uses))

    def _error(self, problem: str) -> TemplateError:
        return Place(self._name, self._line).error(problem)

    def _fail(self, problem: str) -> NoReturn:
        raise self._error(problem)

    def _write_text(self, text: str) -> None:
        """Write what stands between tags in pieces, each but the first behind an expression that is counted."""
        for start in range(0, len(text), PIECE):
            if start:
                self._out.append("{{''|_piece}}")
            self._out.append(text[start : start + PIECE])
        self._line += text.count("\n")

    def _comment(self, at: int) -> int:
        end = self._source.find("#}", at)
        if end < 0:
            self._fail("a comment {# is not closed with #}")
        text = self._source[at:end]
        lines = text.count("\n")
        self._out.append("{#" + ("-" if text.startswith("-") else "") + " " + "\n" * lines)
        self._out.append(("-" if text.endswith("-") else "") + "#}")
        self._line += lines
        return end + 2

    # -- tags ------------------------------------------------------------------------------------

    def _tag(self, opening: str, at: int) -> int:
        """Check one tag; return where it ends."""
        trim = "-" if self._source.startswith("-", at) else ""
        start, line = at, self._line
        tokens, end, at = self._read(opening, at + len(trim))
        if not tokens:
            self._fail(f"{opening} {end.strip()} is empty")
        if opening == "{{":
            inner = _Expression(self, tokens).checked()
            number = self._keep(Place(self._name, line, _shown(tokens)))
            self._out.append(f"{{{{{trim} {number}|_at }}}}{{{{ {inner}{end}")
        else:
            self._out.append(f"{{%{trim} {self._statement(tokens)}{end}")
        self._line = line + self._source.count("\n", start, at)
        return at

    def _read(self, opening: str, at: int) -> tuple[list[Token], str, int]:
        closing = "}}" if opening == "{{" else "%}"
        tokens: list[Token] = []
        space = ""
        while (match := _TOKEN.match(self._source, at)) is not None:
            kind, text, at = str(match.lastgroup), match[0], match.end()
            if kind == "space":
                space = "\n" * text.count("\n")
            elif kind == "end":
                if not text.endswith(closing):
                    self._fail(f"{opening} is closed with {text}")
                return tokens, space + text, at
            else:
                tokens.append(Token(kind, text, space))
                space = ""
                self._tokens += 1
                if len(tokens) > MAX_TAG:
                    self._fail(f"a tag has more than {MAX_TAG} words and signs")
                if self._tokens > MAX_TOKENS:
                    self._fail(f"the tags of the template have more than {MAX_TOKENS:,} words and signs")
        if (number := _DIGITS.match(self._source, at)) is not None and max(map(len, number[0].split("."))) > MAX_DIGITS:
            self._fail(f"a number has more than {MAX_DIGITS} digits before or behind the point")
        sign = self._source[at : at + 1]
        instead = f": {_INSTEAD[sign]}" if sign in _INSTEAD else ""
        raise self._error(
            f"{sign!r} cannot be used in a tag{instead}" if sign else f"{opening} is not closed with {closing}"
        )

    def _statement(self, tokens: list[Token]) -> str:
        tag, rest = tokens[0].text, tokens[1:]
        if tokens[0].kind != "name" or tag not in TAGS:
            self._fail(f"there is no tag {tag[:40]!r}; the tags are {', '.join(sorted(TAGS))}")
        self._nest(tag)
        self._blocks += tag == "block"
        if self._blocks > MAX_BLOCKS:
            self._fail(f"the template has more than {MAX_BLOCKS} blocks")
        if tag in ("extends", "include"):
            return f"{tag} {self._use(tag, rest)}"
        if tag in ("else", "endif", "endfor", "endblock", "endwith", "block"):
            return " ".join([tag, *(token.space + token.text for token in self._names(tag, rest))])
        if tag == "set" and not (len(rest) > 2 and rest[0].kind == "name" and rest[1].text == "="):
            self._fail("write {% set name = value %}")
        return f"{tag} {_Expression(self, rest, tag).checked()}"

    def _names(self, tag: str, rest: list[Token]) -> list[Token]:
        most = 1 if tag in ("block", "endblock") else 0
        if len(rest) > most or any(token.kind != "name" or token.text in _KEYWORDS for token in rest):
            self._fail(f"write {{% {tag}{' name' if most else ''} %}}")
        return rest

    def _nest(self, tag: str) -> None:
        if tag in ("if", "for", "block", "with"):
            self._open.append((tag, 0))
            if len(self._open) > MAX_NESTING:
                self._fail(f"tags nest more than {MAX_NESTING} deep")
        elif tag.startswith("end"):
            if not self._open or self._open[-1][0] != tag.removeprefix("end"):
                self._fail(f"nothing is open that {{% {tag} %}} could end")
            self._open.pop()
        elif tag == "elif" and self._open:
            kind, count = self._open.pop()
            if count == MAX_ELIF:
                self._fail(f"an if has more than {MAX_ELIF} elif")
            self._open.append((kind, count + 1))

    def _use(self, tag: str, rest: list[Token]) -> str:
        if len(rest) != 1 or rest[0].kind != "text":
            self._fail(f'write {{% {tag} "folder/name.html" %}}: one name, in quotes')
        name = rest[0].text[1:-1]
        if not _FILE.fullmatch(name):
            self._fail(f"{name[:80]!r} is no file of the templates' folder")
        ending = self._name.rpartition(".")[2]
        if name.rpartition(".")[2] != ending:
            self._fail(f"{name[:80]!r}: a .{ending} template can only {tag} .{ending} files")
        if tag == "extends" and any(not out.isspace() and not out.startswith("{#") for out in self._out if out):
            self._fail("{% extends %} must be the first tag")
        self._uses.append((name, Place(self._name, self._line, f"{{% {tag} %}}")))
        return f'{rest[0].space}"{name}"'


class _Expression:
    """The tokens behind a tag's name, or between ``{{`` and ``}}``.

    Args:
        tag: ``None`` for an expression that is written.
    """

    def __init__(self, template: _Template, tokens: list[Token], tag: str | None = None) -> None:
        self._template = template
        self._fail = template._fail
        self._tokens = tokens
        self._tag = tag
        self._stack: list[str] = []  # of what is open: call, group, list, index

    def checked(self) -> str:
        """Return the expression as it is compiled."""
        out: list[str] = []
        for at, token in enumerate(self._tokens):
            text = token.text
            if token.kind == "name":
                text += self._name(at)
            elif token.kind == "sign":
                text = self._sign(at)
            out.append(f"{token.space} {text}")
        if self._stack:
            self._fail("a bracket is not closed")
        return "".join(out).lstrip(" ")

    def _text(self, at: int) -> str:
        return self._tokens[at].text if 0 <= at < len(self._tokens) else ""

    # -- names -----------------------------------------------------------------------------------

    def _name(self, at: int) -> str:
        """Check a name; return what is compiled behind it."""
        name, before, after = self._text(at), self._text(at - 1), self._text(at + 1)
        if name.startswith("_"):
            self._fail(f"{name[:40]!r}: names do not begin with an underscore")
        if before == "|":
            return self._filter(name, after, at)
        if before == "is" or (before == "not" and self._text(at - 2) == "is"):
            if name not in TESTS and name != "not":
                self._fail(f"there is no test {name[:40]!r}; the tests are {', '.join(sorted(TESTS))}")
            return ""
        if self._stack and self._stack[-1] == "list" and name not in _CONSTANTS:
            self._fail("a list is written of texts and numbers only, without names")
        if name in ("recursive", "self"):
            self._fail(f"{name!r} cannot be used")
        if name in FUNCTIONS and before != "." and after not in ("(", "="):
            self._fail(f"{name!r} is a function: write {name}(…)")
        if after == "(" and (before == "." or name not in _KEYWORDS | FUNCTIONS):
            what = "methods cannot be called" if before == "." else f"there is no function {name[:40]!r}"
            self._fail(f"{what}; the functions are {', '.join(sorted(FUNCTIONS))}, and filters do the rest")
        return ""

    def _filter(self, name: str, after: str, at: int) -> str:
        if name in BUILT_IN:
            return ""
        if name not in self._template._filters:
            known = ", ".join(sorted({*BUILT_IN, *self._template._filters}))
            self._fail(f"there is no filter {name[:40]!r}; the filters are {known}")
        shown = _shown(self._tokens[:at]) + name
        number = self._template._keep(Place(self._template._name, self._template._line, shown))
        if after != "(":
            return f"({number})"
        # The number comes before the filter's own arguments.
        self._tokens[at + 1] = Token("sign", f"({number}" + ("" if self._text(at + 2) == ")" else ","), "")
        return ""

    # -- signs -----------------------------------------------------------------------------------

    def _sign(self, at: int) -> str:
        sign = self._text(at)
        if sign[0] in "([":
            self._opens(at, sign[0])
        elif sign in ")]":
            if not self._stack or _CLOSES[self._stack.pop()] != sign:
                self._fail(f"{sign!r} closes nothing")
        elif sign == "." and (at + 1 >= len(self._tokens) or self._tokens[at + 1].kind != "name"):
            self._fail("a name must stand behind the full stop")
        elif sign == "," and not self._is_allowed({"call", "list"}, {"for", "with"}):
            self._fail("',' cannot be used here")
        elif sign == "=" and not self._is_allowed({"call"}, {"set", "with"}):
            self._fail("'=' cannot be used here; two values are compared with ==")
        elif sign == "-" and self._is_operand(at - 1):
            self._fail(f"'-' cannot be used in a tag: {_INSTEAD['-']}")
        return sign

    def _is_allowed(self, brackets: set[str], tags: set[str]) -> bool:
        """Tell whether a sign stands in such brackets, or outside of all in such a tag."""
        return self._stack[-1] in brackets if self._stack else self._tag in tags

    def _opens(self, at: int, bracket: str) -> None:
        is_behind_value = self._is_operand(at - 1)
        if bracket == "[":
            self._open("index" if is_behind_value else "list")
            if self._text(at + 1)[1:2] == "_":
                self._fail(f"{self._text(at + 1)[:40]}: names do not begin with an underscore")
            return
        self._open("call" if is_behind_value else "group")
        if is_behind_value and self._tokens[at - 1].kind != "name":
            self._fail("only filters, tests and functions take arguments in brackets")

    def _open(self, kind: str) -> None:
        if "list" in self._stack:
            self._fail("a list is written of texts and numbers only, without brackets")
        self._stack.append(kind)
        if len(self._stack) > MAX_NESTING:
            self._fail(f"brackets nest more than {MAX_NESTING} deep")

    def _is_operand(self, at: int) -> bool:
        if at < 0:
            return False
        kind, text, _ = self._tokens[at]
        if kind == "name":
            return text not in _WORDS or self._text(at - 1) == "."
        return kind in ("text", "number") or text in (")", "]")


def _shown(tokens: list[Token]) -> str:
    text = "".join(token.text for token in tokens)
    return text if len(text) <= 60 else text[:59] + "…"
