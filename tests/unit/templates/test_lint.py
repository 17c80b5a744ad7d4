"""Mistakes in a folder of templates are found before anything is sent."""

from __future__ import annotations

import pytest

from notifykit.templates import Lint, Templates

UNSUBSCRIBE = "{% if unsubscribe_url %}{{ unsubscribe_url }}{% endif %}"
GOOD = {
    "order.shipped/email.html": "<p>{{ data.order_id }} {{ to.name }}" + UNSUBSCRIBE + "</p>",
    "order.shipped/email.de.html": "<p>{{ data.order_id }}</p>",
    "order.shipped/email.subject.txt": "Order",
    "order.shipped/email.de.subject.txt": "Bestellung",
    "order.shipped/email.unsubscribe.txt": "https://shop.example/{{ to.id }}",
    "order.shipped/sms.txt": "Order {{ data.order_id }}",
    "order.shipped/sms.de.txt": "Bestellung {{ data.order_id }}",
    "order.shipped/example.json": '{"order_id": "A-1"}',
}


def found(changes: dict[str, str | None], **options: object) -> list[tuple[str, str]]:
    """Return template and code of each mistake of the good folder with changes; ``None`` removes a file."""
    files = {name: text for name, text in (GOOD | changes).items() if text is not None}
    return [(each.template, each.code) for each in Lint(Templates(files), **options).findings()]  # type: ignore[arg-type]


EMAIL, SMS = "order.shipped/email", "order.shipped/sms"
LONG = "x" * 60_000 + "{% for i in range(45) %}" + "y" * 1_000 + "{% endfor %}"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({f"{EMAIL}.de.html": None}, [(EMAIL, "missing_locale")]),
        ({f"{SMS}.txt": None}, [(SMS, "missing_locale")]),
        ({f"{EMAIL}.de.subject.txt": None}, [(EMAIL, "no_subject")]),
        ({f"{EMAIL}.unsubscribe.txt": None}, [(EMAIL, "no_unsubscribe")]),
        ({"order.shipped/push.url.txt": "x"}, [("order.shipped/push", "no_content")]),
        ({"order.shipped/example.json": None}, [("order.shipped", "no_example")]),
        ({f"{SMS}.txt": "{{ data.id }}"}, [(f"{SMS}.txt", "template_failed"), (f"{SMS}.txt", "unknown_variable")]),
        ({f"{SMS}.txt": "{% if false %}{{ order.id }}{% endif %}x"}, [(f"{SMS}.txt", "unknown_variable")]),
        (
            {"order.shipped/example.json": '{"order_id": 1e999}'},
            [(name, "template_failed") for name in (EMAIL, f"{EMAIL}.de", SMS, f"{SMS}.de")],
        ),
        ({f"{SMS}.txt": "{{ 1 + 1 }}"}, [(f"{SMS}.txt", "template_failed")]),
        ({f"{SMS}.txt": "x" * 161}, [(f"{SMS}.txt", "sms_segments")]),
        ({f"{SMS}.txt": "“" + "x" * 70}, [(f"{SMS}.txt", "sms_segments")]),
        ({f"{EMAIL}.html": UNSUBSCRIBE + LONG}, [(EMAIL, "clipped")]),
        ({f"{SMS}.txt": " \n"}, [(SMS, "empty")]),
        ({f"{EMAIL}.html": ""}, [(EMAIL, "empty")]),
        ({f"{SMS}.txt": "{% if data.order_id == 'B' %}x{% endif %}"}, [(SMS, "empty")]),
        ({f"{SMS}.xx.txt": "x"}, [(EMAIL, "missing_locale"), (SMS, "unknown_locale")]),
    ],
)
def test_each_kind_of_mistake_is_found(changes, expected):
    """Once, with the file or the channel that it is in."""
    assert expected == sorted(found(changes, marketing=["order.shipped"]))


def test_with_a_page_marketing_needs_only_a_link():
    """The header has the address then, and the text has to show it; what cannot be compiled is found once."""
    page = {"marketing": ["order.shipped"], "has_page": True}
    without: dict[str, str | None] = {f"{EMAIL}.unsubscribe.txt": None}

    assert [] == found(without, **page)
    assert [(EMAIL, "no_unsubscribe")] == found({**without, f"{EMAIL}.html": "x"}, **page)
    assert [(f"{EMAIL}.html", "template_failed")] == found({**without, f"{EMAIL}.html": "{{"}, **page)


def test_what_is_allowed_can_be_widened():
    """Longer text messages; and only marketing needs an address for unsubscribing."""
    assert [] == found({"order.shipped/sms.txt": "x" * 306}, sms_segments=2)
    assert [] == found({"order.shipped/email.unsubscribe.txt": None})


def test_the_files_of_tenants_have_to_work():
    """What is missing is the host's business, and what the host does wrong is found once."""
    files = {
        "_tenants/acme/order.shipped/sms.txt": "{{ data.nope }}",
        "_tenants/globex/order.shipped/sms.txt": "x" * 161,
        "_tenants/other/order.shipped/nope.txt": "",
        "_tenants/other/order.shipped/sms.txt": "",
        "order.shipped/sms.de.txt": None,
    }

    assert [
        ("order.shipped/sms", "missing_locale"),
        ("_tenants/acme/order.shipped/sms.txt", "unknown_variable"),
        ("_tenants/acme/order.shipped/sms.txt", "template_failed"),
        ("_tenants/globex/order.shipped/sms.txt", "sms_segments"),
        ("_tenants/other/order.shipped/nope.txt", "template_failed"),
    ] == found(files)


def test_a_finding_says_what_to_do():
    """With the line, and without naming the file twice."""
    (finding, *_) = Lint(Templates(GOOD | {"order.shipped/sms.txt": "\n{{ 'x'|nope }}"})).findings()

    assert ("order.shipped/sms.txt", 2, "template_failed") == (finding.template, finding.line, finding.code)
    assert finding.message.startswith("there is no filter 'nope'; the filters are ")
