"""Templates that a hostile tenant might upload; run as a program, it renders each and writes what it took as JSON.

The data is what an event of the host may have: a long text, a long list, and the deepest nesting of an event.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path

MAIN = "order.shipped/email.html"
SELF = '{% include "_partials/a.html" %}'

DATA = {
    "name": "Ada",
    "long": "x" * 20_000,
    "longer": "y" * 100_000,
    "list": list(range(2_000)),
    "nested": [[[[[["deep"]]]]]] * 50,
    "object": {f"key{n}": n for n in range(500)},
    "when": "2026-03-29T00:30:00Z",
    "html": "<script>alert(1)</script>",
}


def one(source: str) -> dict[str, str]:
    return {MAIN: source}


def styled(style: str, body: str) -> dict[str, str]:
    return one(f"<style>{style}</style>{body}")


def loops(depth: int, inner: str, count: int = 1000) -> str:
    opened = "".join(f"{{% for i{n} in range({count}) %}}" for n in range(depth))
    return opened + inner + "{% endfor %}" * depth


#: By name the files, and a part of the error; ``None`` for what is harmless, and rendered.
CASES: Mapping[str, tuple[Mapping[str, str], str | None]] = {
    # loops
    "loop that does nothing": (one(loops(1, "", 100_000)), "too many steps"),
    "loops in loops": (one(loops(5, "x")), "too many steps"),
    "loop over a text literal": (one(loops(3, "y" * 5_000)), "too many steps|characters"),
    "loop over long texts": (one(loops(2, "{{ data.long }}")), "characters"),
    "loop over lists": (
        one("{% for a in data.list %}{% for b in data.list %}{{ a }}{% endfor %}{% endfor %}"),
        "steps",
    ),
    "loop over an object": (one(loops(2, "{% for k in data.object %}{% endfor %}")), "too many steps"),
    "range without end": (one(loops(1, "x", 999_999_999_999)), "range|steps|large|invalid"),
    "filters in a loop": (one(loops(2, "{{ data.when|datetime('full') }}")), "too many steps"),
    "plurals in a loop": (one(loops(2, "{{ 5|plural(one='#', other='#') }}")), "too many steps"),
    "lists walked in a loop": (one(loops(2, "{{ data.list|sort|length }}")), "too many steps"),
    "lists joined in a loop": (one(loops(2, "{{ data.list|join('-') }}")), "too many steps|characters"),
    "searched lists": (one(loops(2, "{% if 'z' in data.list %}{% endif %}")), "too many steps"),
    "searched texts": (one(loops(2, "{% if 'xxz' in data.long %}{% endif %}")), "too many steps"),
    "compared lists": (one(loops(2, "{% if data.nested == data.nested %}{% endif %}")), "too many steps"),
    "compared objects": (one(loops(2, "{% if data.object == data.object %}{% endif %}")), "too many steps"),
    "items of an object": (one(loops(2, "{{ data.object|items|length }}")), "too many steps"),
    "recursive loop": (one("{% for a in data.nested recursive %}{{ loop(a) }}{% endfor %}"), "recursive"),
    # deep nesting, for the native stack of the compiler
    "brackets": (one("{{ " + "(" * 5_000 + "1" + ")" * 5_000 + " }}"), "words and signs|nest"),
    "few brackets": (one("{{ " + "(" * 40 + "1" + ")" * 40 + " }}"), "nest"),
    "lists in lists": (one("{{ " + "[" * 50 + "]" * 50 + " }}"), "without brackets"),
    "not": (one("{{ " + "not " * 15_000 + "1 }}"), "words and signs"),
    "or": (one("{{ " + "1 or " * 10_000 + "1 }}"), "words and signs"),
    "comparisons": (one("{{ 1" + " < 1" * 10_000 + " }}"), "words and signs"),
    "conditions": (one("{{ " + "1 if 1 else " * 5_000 + "1 }}"), "words and signs"),
    "minus": (one("{{ " + "- " * 10_000 + "1 }}"), "words and signs"),
    "attributes": (one("{{ data" + ".a" * 20_000 + " }}"), "words and signs"),
    "indexes": (one("{{ data" + "[0]" * 15_000 + " }}"), "words and signs"),
    "filters": (one("{{ 1" + "|upper" * 9_000 + " }}"), "words and signs"),
    "if in if": (one("{% if 1 %}" * 3_000 + "{% endif %}" * 3_000), "nest"),
    "elif": (one("{% if 0 %}" + "{% elif 0 %}" * 4_000 + "{% endif %}"), "elif"),
    "blocks in blocks": (
        one("".join(f"{{% block b{n} %}}" for n in range(1_000)) + "{% endblock %}" * 1_000),
        "nest",
    ),
    "all that is allowed": (one(("{% if 1 %}" * 12 + "{{ " + "not " * 118 + "1 }}" + "{% endif %}" * 12) * 16), None),
    # size
    "a large file": (one("x" * 100_000), "characters, at most"),
    "many tags": (one("{{1}}" * 12_000), "words and signs"),
    "many comments": (one("{##}" * 16_000 + "."), None),
    "many lines": (one("\n" * 60_000 + "."), None),
    "many blocks": (one("".join(f"{{% block b{n} %}}{{% endblock %}}" for n in range(1_500))), "blocks"),
    "many large files": (
        {MAIN: "".join(f'{{% include "_p/{n}.html" %}}' for n in range(20))}
        | {f"_p/{n}.html": "x" * 60_000 for n in range(20)},
        "all files of the message",
    ),
    "many tags in many files": (
        {MAIN: "".join(f'{{% include "_p/{n}.html" %}}' for n in range(20))}
        | {f"_p/{n}.html": "{{1}}" * 2_900 for n in range(20)},
        "all files of the message",
    ),
    "everything at once": (
        {
            MAIN: "<style>p{color:red}</style>"
            + ("<div>" * 240 + "</div>" * 240) * 4
            + "{{ 1|money('EUR') }}" * 300
            + loops(1, "{{ data.when|datetime('full') }}", 100),
            "order.shipped/email.txt": loops(3, "{% if 'xxz' in data.long %}{% endif %}", 3),
        },
        None,
    ),
    "many variables": (one("".join(f"{{% set v{n} = data.long|upper %}}" for n in range(300))), "characters"),
    "doubled texts": (one("{% set x = 'xxxx' %}" + "{% set x = x ~ x %}" * 40), "'~' cannot be used"),
    "added texts": (one("{% set x = 'xxxx' %}" + "{% set x = x + x %}" * 40), "'\\+' cannot be used"),
    "repeated texts": (one("{{ 'x' * 1000000000 }}"), "'\\*' cannot be used"),
    "powers": (one("{{ 9 ** 9 ** 9 ** 9 }}"), "'\\*' cannot be used"),
    "products": (one("{% set x = 999999999999999 %}" + "{% set x = x|times(x) %}" * 50), "beyond|number of up to"),
    "doubled by replacing": (one("{% set x = 'xxxx' %}" + "{% set x = x|replace('x', x) %}" * 9), "characters"),
    "doubled by joining": (one("{{ data.list|join(data.long) }}"), "characters"),
    "doubled by capturing": (one("{% set x %}{{ data.long }}{% endset %}"), "set name"),
    "long padding": (one("{{ '%1000000000d'|format(1) }}"), "no filter"),
    "indentation": (one("{{ 'x'|indent(1000000000) }}"), "no filter"),
    "centred": (one("{{ 'x'|center(1000000000) }}"), "no filter"),
    "long ellipsis": (one(loops(1, "{{ data.long|truncate(1, data.long) }}", 50)), "characters"),
    "slices of texts": (one("{% set x = data.long[1:] %}" * 500), "slices"),
    "slices that step": (one("{{ data.long[::-1] }}"), "slices"),
    "lists that hold themselves": (one("{% set x = [1] %}" + "{% set x = [x, x] %}" * 40), "without names"),
    "mappings that hold themselves": (one("{% set x = {'a': x} %}"), "mappings cannot"),
    "a text that is too long": (one("{{ data.longer }}"), "100,000 characters"),
    "decimals": (one("{{ 1|number(1000000000) }}"), "decimals must be"),
    "a long number": (one("{{ " + "9" * 4_000 + " }}"), "more than 15 digits"),
    "exponents": (one("{{ 1e308 }}"), "cannot be used"),
    # what is not data
    "class": (one("{{ data.__class__ }}"), "underscore"),
    "class of a text": (one("{{ ''['__class__']['__mro__'] }}"), "underscore"),
    "class by a variable": (one("{% set n = 'x__class__'|replace('x', '') %}{{ data[n] }}"), "undefined"),
    "class of a class": (
        one("{% set c = '-_class__'|replace('-', '_') %}{% set m = '-_mro__'|replace('-', '_') %}{{ data[c][m] }}"),
        "undefined",
    ),
    "methods of a dictionary": (one("{{ data.clear() }}"), "methods cannot be called"),
    "a method as a value": (one("{{ data.items }}"), "`data.items` is undefined"),
    "a method of a list": (one("{{ data.list.append }}"), "is undefined"),
    "globals": (one("{{ namespace(a=1) }}"), "no function"),
    "debug": (one("{{ debug() }}"), "no function"),
    "debug as a value": (one("{{ debug }}"), "undefined"),
    "range as a value": (one("{{ range }}"), "is a function"),
    "attr": (one("{{ data|attr('items') }}"), "no filter"),
    "map": (one("{{ data.list|map('upper') }}"), "no filter"),
    "our own filter": (one("{{ 999999|_at }}"), "underscore"),
    "self": (one("{% block a %}{{ self.a() }}{% endblock %}"), "'self' cannot be used"),
    "macros": (one("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}"), "no tag 'macro'"),
    "import": (one("{% import 'os' as os %}"), "no tag 'import'"),
    "raw": (one("{% raw %}{{ 1 }}{% endraw %}"), "no tag 'raw'"),
    "do": (one("{% do data.clear() %}"), "no tag 'do'"),
    "autoescape": (one("{% autoescape false %}{{ data.html }}{% endautoescape %}"), "no tag 'autoescape'"),
    # includes
    "include of itself": ({MAIN: SELF, "_partials/a.html": SELF}, "includes itself"),
    "includes in a circle": (
        {MAIN: SELF, "_partials/a.html": '{% include "_partials/b.html" %}', "_partials/b.html": SELF},
        "includes itself",
    ),
    "include from outside": (one('{% include "../../etc/passwd" %}'), "no file of"),
    "include by an absolute path": (one('{% include "/etc/passwd" %}'), "no file of"),
    "include by a URL": (one('{% include "http://169.254.169.254/a.html" %}'), "no file of"),
    "include of what is not there": (one('{% include "_partials/none.html" %}'), "there is no file"),
    "include by a variable": (one("{% include data.name %}"), "one name, in quotes"),
    "include that escapes differently": (
        {MAIN: '{% include "_partials/a.txt" %}', "_partials/a.txt": "{{ data.html }}"},
        "can only include .html",
    ),
    "includes in loops": ({MAIN: loops(2, SELF), "_partials/a.html": "x" * 60_000}, "characters|steps"),
    "includes of includes": (
        {
            MAIN: SELF * 200,
            "_partials/a.html": '{% include "_partials/b.html" %}' * 200,
            "_partials/b.html": "{{ 1 }}" * 200,
        },
        "steps",
    ),
    "deep includes": (
        {MAIN: '{% include "_p/0.html" %}'}
        | {f"_p/{n}.html": f'{{% include "_p/{n + 1}.html" %}}' for n in range(500)},
        "deep",
    ),
    "layout of itself": (
        {MAIN: '{% extends "_layouts/a.html" %}', "_layouts/a.html": '{% extends "_layouts/a.html" %}'},
        "includes itself",
    ),
    # what becomes of the HTML
    "deep HTML": (styled("p{color:red}", "<div>" * 10_000), "tags"),
    "nested HTML": (styled("p{color:red}", "<div>" * 2_400), "nest more than|not closed"),
    "nested HTML that seems closed": (styled("p{color:red}", "<div><!--</div>-->" * 800), "nest more than"),
    "nested HTML that is closed in vain": (styled("p{color:red}", "<div><table></div></table>" * 600), "not closed"),
    "nested as deep as allowed": (styled("p{color:red}", ("<div>" * 240 + "</div>" * 240) * 5), None),
    "attributes of a tag": (styled("p{color:red}", "<p " + " ".join(f"a{n}" for n in range(9_000)) + ">"), "a tag has"),
    "many rules": (styled(".a .b{color:red}" * 1_500, "<p>" * 1_000), "too many rules"),
    "long rules": (styled("p{" + "color:red;" * 2_500 + "}", "<p>" * 1_000), "too many rules"),
    "selectors that look around": (styled("*:has(*:has(*)){color:red}", "<div></div>" * 1_000), ":has"),
    "selectors that hide it": (styled("*:h\\61s(*){color:red}", "<div></div>" * 1_000), ":has"),
    "selectors that go back": (styled("* " * 60 + "p{color:red}", ("<div>" * 240 + "</div>" * 240) * 4 + "<p>"), None),
    "a sheet of the network": (one("<style></style><link rel=stylesheet href='http://127.0.0.1:9/a.css'><p>x"), None),
    "a sheet of the disk": (one("<style>p{}</style><link rel=stylesheet href='file:///etc/passwd'><p>x"), None),
    "a style in a style": (styled("<" * 500 + "p{color:red}", "<p>" * 500), "not closed"),
    "comments that do not end": (one("<!--" * 2_400), None),
    "tags that do not end": (one("<" * 2_400 + "a" * 50_000), None),
    "the number of a character": (one("&#" + "9" * 50_000 + ";<a href='&#" + "9" * 5_000 + ";'>x</a>"), None),
    "numbers of characters": (one(("&#" + "9" * 4_200 + ";") * 14), None),
    "entities": (one("&amp;" * 12_000), None),
    "closing tags": (one("<a>" * 1_200 + "</a>" * 1_200), None),
}


def peak() -> int:
    """Return the most memory that this process has had, in KiB; ``getrusage`` would count what its parent had."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])


def main() -> None:
    from datetime import UTC, datetime

    from notifykit.errors import TemplateError
    from notifykit.templates import Templates
    from notifykit.templates.lint import render_example

    now = datetime(2026, 3, 28, tzinfo=UTC)

    def render(files: Mapping[str, str]) -> str | None:
        try:
            render_example(Templates(files), "order.shipped", "email", DATA, locale="de", now=now)
        except TemplateError as error:
            return str(error)
        return None

    warm = "<style>p{color:red}</style><p>{{ data.when|datetime }} {{ data.when|relative }} {{ 1|money('EUR') }}"
    assert render(one(warm)) is None, render(one(warm))
    before = peak()
    took, errors = {}, {}
    for name, (files, _) in CASES.items():
        started = time.process_time()
        errors[name] = render(files)
        took[name] = time.process_time() - started
        grown = peak() - before
        if "-v" in sys.argv:
            print(f"{took[name] * 1000:7.1f} ms {grown:7} KB  {name}: {(errors[name] or '')[:130]}", file=sys.stderr)
    # A slow moment of the machine is not the template's fault.
    for name in [name for name, seconds in took.items() if seconds > 0.05] * 2:
        started = time.process_time()
        render(CASES[name][0])
        took[name] = min(took[name], time.process_time() - started)
    print(json.dumps({"took": took, "errors": errors, "grown": grown}))


if __name__ == "__main__":
    main()
