"""Filters write values in the person's locale and zone, and refuse what they cannot write."""

from __future__ import annotations

import pytest

from notifykit import TemplateError
from notifykit.templates.filters import FILTERS
from tests.unit.templates.rendering import Ada, rendered

DATA = {
    "name": " ada LOVE ",
    "n": 1234567.5,
    "total": "1299.5",
    "at": "2026-03-29T00:30:00Z",
    "day": "2026-03-29",
    "list": ["b", "a"],
    "people": [{"name": "Eve", "age": 3}, {"name": "Ada", "age": 5}],
    "object": {"a": 1},
    "null": None,
    "yes": True,
    "long": "x" * 40_000,
}
GERMAN = Ada(locale="de-AT", zone="Europe/Berlin")


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("data.name|trim|upper", "ADA LOVE"),
        ("data.name|trim|lower|capitalize", "Ada love"),
        ("'abcdef'|truncate(3)", "abc…"),
        ("'abcdef'|truncate(3, end='')", "abc"),
        ("'abc'|truncate(3)", "abc"),
        ("'a-b-c'|replace('-', '+')", "a+b+c"),
        ("'a b/ü'|urlencode", "a%20b%2F%C3%BC"),
        ("data.list|length", "2"),
        ("data.object|length", "1"),
        ("'abc'|length", "3"),
        ("data.list|first", "b"),
        ("data.list|last", "a"),
        ("data.list|join(' & ')", "b & a"),
        ("data.list|sort|join", "a, b"),
        ("data.people|sort('age', reverse=true)|first|items|length", "2"),
        ("2|plus(3)", "5"),
        ("2|minus(0.5)", "1.5"),
        ("'0.1'|plus('0.2')", "0.3"),
        ("3|times(4)", "12"),
        ("7|divided_by(2)", "3.5"),
    ],
)
def test_texts_lists_and_numbers(expression, expected):
    """What does not depend on a locale."""
    assert expected == rendered(f"{{{{ {expression} }}}}", DATA)


@pytest.mark.parametrize(
    ("expression", "english", "german"),
    [
        ("data.n|number", "1,234,567.5", "1.234.567,5"),
        ("data.n|number(2)", "1,234,567.50", "1.234.567,50"),
        ("0.256|percent", "26%", "26 %"),
        ("0.256|percent(1)", "25.6%", "25,6 %"),
        ("data.total|money('EUR')", "€1,299.50", "€ 1.299,50"),
        ("129950|money('EUR', minor=true)", "€1,299.50", "€ 1.299,50"),
        ("1299|money('JPY', minor=true)", "¥1,299", "¥ 1.299"),
        ("1|plural(one='# day', other='# days')", "1 day", "1 day"),
        ("2000|plural(one='# day', other='# days')", "2,000 days", "2.000 days"),
        ("data.at|date", "March 29, 2026", "29. März 2026"),
        ("data.at|date('short')", "3/29/26", "29.03.26"),
        ("data.at|time", "12:30 AM", "01:30"),
        ("data.at|datetime", "Mar 29, 2026, 12:30:00 AM", "29.03.2026, 01:30:00"),
        ("data.day|date", "March 29, 2026", "29. März 2026"),
        ("data.at|relative", "in 2 hours", "in 2 Stunden"),
    ],
)
def test_what_depends_on_the_person(expression, english, german):
    """A person in Austria reads another number, currency and hour than one without a locale."""
    german_file = {"order.shipped/chat.de.txt": f"{{{{ {expression} }}}}"}

    assert english == _spaces(rendered(f"{{{{ {expression} }}}}", DATA))
    assert german == _spaces(rendered("English", DATA, person=GERMAN, files=german_file))


def _spaces(text: str) -> str:
    return text.replace("\u202f", " ").replace("\xa0", " ")


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("data.yes|upper", "must be a text, not bool"),
        ("data.null|upper", "must be a text, not something that is missing or null"),
        ("data.missing|upper", "data.missing|upper: must be a text, not something that is missing"),
        ("data.list|upper", "must be a text, not a list"),
        ("data.long|upper", "a text of 40,000 characters, which is longer than templates take"),
        ("data.long", "data.long: a text of 40,000 characters, which is longer than templates take cannot be written"),
        ("data.list", "a list cannot be written; write its parts"),
        ("data.object", "an object cannot be written; write its parts"),
        ("'a'|truncate(0)", "the length must be a whole number from 1"),
        ("'a'|replace('', 'b')", "must not be empty"),
        ("'a'|join", "must be a list, not str"),
        ("1|length", "int has no length"),
        ("data.list|items", "must be an object, not a list"),
        ("data.people|sort", "only texts and numbers can be sorted"),
        ("['a', 1]|sort", "cannot be sorted together"),
        ("'x'|plus(1)", "must be a number of up to"),
        ("data.list|plus(1)", "must be a number, not a list"),
        ("1|divided_by(0)", "cannot be divided by 0"),
        ("999999999|times(999999999)", "the result is beyond"),
        ("1|number(99)", "decimals must be a whole number from 0 to 15"),
        ("1|money('Euro')", "three capital letters"),
        ("1|plural(one='x')", None),
        ("2|plural(one='x')", "needs at least the form other"),
        ("'soon'|date", "must be a time such as"),
        ("'0001-01-01T00:00:00+10:00'|datetime", "must be a time such as"),
        ("5|date", "must be a time such as 2026-01-31T12:00:00Z, not int"),
        ("data.day|time", "is a day without a time"),
        ("data.at|date('iso')", "the format is one of short, medium, long, full"),
        ("data.at|date('short', 'x')", "takes other arguments: |date(format='long')"),
        ("data.at|upper(1)", "takes other arguments: |upper()"),
    ],
)
def test_what_a_filter_cannot_use(expression, problem):
    """The error names the expression up to the filter."""
    if problem is None:
        assert rendered(f"{{{{ {expression} }}}}", DATA)
        return
    with pytest.raises(TemplateError) as caught:
        rendered(f"\n{{{{ {expression} }}}}", DATA)

    assert str(caught.value).startswith("order.shipped/chat.txt, line 2: ")
    assert problem in str(caught.value)


def test_a_time_at_the_end_of_summer_time_is_that_of_the_zone():
    """The same wall time comes twice, and each has its own offset."""
    source = "{{ data.a|datetime('full') }} {{ data.b|datetime('full') }}"
    texts = rendered(
        source,
        {"a": "2026-10-25T00:30:00Z", "b": "2026-10-25T01:30:00Z"},
        person=Ada(locale="en", zone="Europe/Berlin"),
    )

    assert 2 == texts.replace("\u202f", " ").count("2:30:00 AM Central European")
    assert "Summer Time" in texts
    assert "Standard Time" in texts


def test_every_filter_says_what_it_does():
    """The table of the documentation is made of these sentences."""
    assert all(function.__doc__ for function in FILTERS.values())
