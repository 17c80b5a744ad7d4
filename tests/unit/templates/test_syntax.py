"""Only the subset of templates is compiled, and what is compiled means what was written."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifykit import TemplateError
from notifykit.templates.limits import PIECE
from tests.unit.templates.rendering import rendered

DATA = {"n": 3, "name": "Ada", "list": [1, 2], "object": {"key": "value"}, "null": None, "no": False, "items": "own"}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{{ data.name }} {{ data['name'] }} {{ data.list[1] }}", "Ada Ada 2"),
        ("{{ data.items }}", "own"),
        ("{{ 'a\"b' }} {{ \"it's\" }} {{ -1 }} {{ 1.5 }} {{ true }}{{ none }}", "a\"b it's -1 1.5 true"),
        ("{% if data.n == 3 and not data.no %}yes{% elif data.no %}no{% else %}never{% endif %}", "yes"),
        ("{% if data.name in ['Ada', 'Eve'] %}x{% endif %}", "x"),
        ("{% if data.n is divisibleby(3) and data.x is not defined %}x{% endif %}", "x"),
        ("{{ 'one' if data.n == 1 else 'many' }}", "many"),
        ("{% for i in data.list %}{{ loop.index }}:{{ i }}{% if not loop.last %}, {% endif %}{% endfor %}", "1:1, 2:2"),
        ("{% for i in [] %}{% else %}none{% endfor %}", "none"),
        ("{% for key, value in data.object|items %}{{ key }}={{ value }}{% endfor %}", "key=value"),
        ("{% for i in range(3) if i %}{{ i }}{% endfor %}", "12"),
        ("{% set who = data.name %}{{ who }}", "Ada"),
        ("{% with who='Eve', n=data.n %}{{ who }}{{ n }}{% endwith %}", "Eve3"),
        ("{{ (data.n) }}{{ data.missing|default('-') }}{{ data.null|default('-') }}", "3-"),
        ("a{# no\nmatter #}b {{- data.n -}} c", "ab3c"),
        ("{% if true %}\nline\n{% endif %}\nend", "line\nend"),
        ("{ {not a tag} }}", "{ {not a tag} }}"),
    ],
)
def test_what_can_be_written(source, expected):
    """Expressions and tags of the subset do what they do in Jinja."""
    assert expected == rendered(source, DATA)


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("{{ data.a ~ data.b }}", "'~' cannot be used in a tag: write the values one after the other"),
        ("{{ data.n + 1 }}", "use the filter plus"),
        ("{{ 10|times(1000000000000000) }}", "a number has more than 15 digits before or behind the point"),
        ("{{ 1a }}", "'1' cannot be used in a tag"),
        ("{{ data.n - 1 }}", "use the filter minus"),
        ("{{ data.name[1:] }}", "no slices"),
        ("{{ {'a': 1} }}", "mappings cannot be written"),
        ("{{ [data.n] }}", "without names"),
        ("{{ [[1]] }}", "without brackets"),
        ("{{ data.name.upper() }}", "methods cannot be called"),
        ("{{ dict(a=1) }}", "there is no function 'dict'"),
        ("{{ 'x'(1) }}", "take arguments in brackets"),
        ("{{ range }}", "'range' is a function"),
        ("{{ data.name|nope }}", "there is no filter 'nope'; the filters are capitalize,"),
        ("{{ data.name is nope }}", "there is no test 'nope'; the tests are defined,"),
        ("{% macro a() %}{% endmacro %}", "there is no tag 'macro'; the tags are block,"),
        ("{% 1 %}", "there is no tag '1'"),
        ("{{ data._x }}", "underscore"),
        ("{{ data['_x'] }}", "underscore"),
        ("{{ (1, 2) }}", "',' cannot be used here"),
        ("{{ a = 1 }}", "compared with =="),
        ("{{ data. }}", "a name must stand behind the full stop"),
        ("{{ (1 }}", "a bracket is not closed"),
        ("{{ 1) }}", "')' closes nothing"),
        ("{{ (1] }}", "']' closes nothing"),
        ("{{ 1 %}", "{{ is closed with %}"),
        ("{{ 1", "{{ is not closed with }}"),
        ("{# x", "a comment {# is not closed"),
        ("{{ }}", "{{ }} is empty"),
        ("{% set x %}", "write {% set name = value %}"),
        ("{% if 1 %}", "{% if %} is not ended"),
        ("{% endfor %}", "nothing is open that {% endfor %} could end"),
        ("{% if 1 %}{% endfor %}", "nothing is open that {% endfor %} could end"),
        ("{% if 1 %}{% endif x %}", "write {% endif %}"),
        ("{% block a b %}", "write {% block name %}"),
        ("{% include x %}", "one name, in quotes"),
        ("{% include '../x.txt' %}", "is no file of the templates' folder"),
        ("{% include 'a/x.html' %}", "a .txt template can only include .txt files"),
        ("x{% extends 'a/x.txt' %}", "must be the first tag"),
        ("{{ data.n data.n }}", "unexpected identifier"),
    ],
)
def test_what_cannot_be_written_is_named_with_its_line(source, problem):
    """The error names file and line, and says what to write instead."""
    with pytest.raises(TemplateError) as caught:
        rendered("first line\n" + source, DATA)

    assert str(caught.value).startswith("order.shipped/chat.txt, line 2: ")
    assert problem in str(caught.value)
    assert ("order.shipped/chat.txt", 2) == (caught.value.template, caught.value.line)


def test_lines_are_those_of_the_source():
    """Long texts, comments and tags of several lines do not move what follows."""
    source = "x" * PIECE * 3 + "\n{# a\nb #}\n{% if\n  true %}\n{% endif %}{{ data\n.name }}\n{{ data.nope }}"

    with pytest.raises(TemplateError, match=r"line 8: `data.nope` is undefined"):
        rendered(source, DATA)


@given(st.text(st.characters(exclude_characters="{", exclude_categories=["Cs"]), max_size=3 * PIECE))
def test_text_between_tags_stays_as_it_is(text):
    """Nothing is lost where a long text is cut into pieces."""
    assert text.strip() == rendered(f"{text}\n", {})


@given(st.text("{}%#|()[]'\"-.,= \nabdt_if", max_size=60))
def test_whatever_is_written_is_rendered_or_refused(source):
    """No text makes the compiler fail in another way."""
    with suppress(TemplateError):
        rendered(source, DATA)
