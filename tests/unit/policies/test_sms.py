import pytest

from notifykit.errors import InvalidInputError
from notifykit.policies.sms import COUNTRIES, canonical_number, countries_of, plain, segments


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", (1, None)),
        ("x" * 160, (1, None)),
        ("x" * 161, (2, None)),
        ("x" * 306, (2, None)),
        ("x" * 307, (3, None)),
        ("€" * 80, (1, None)),
        ("€" * 81, (2, None)),
        ("€" * 152, (2, None)),
        ("€" * 153, (3, None)),
        ("x" * 152 + "€" + "x" * 151, (2, None)),
        ("x" * 152 + "€" + "x" * 152, (3, None)),
        ("ç" + "x" * 69, (1, "ç")),
        ("ç" + "x" * 70, (2, "ç")),
        ("ç" + "€" * 69, (1, "ç")),
        ("😀" * 35, (1, "😀")),
        ("😀" * 36, (2, "😀")),
        ("😀" * 66, (2, "😀")),
        ("😀" * 67, (3, "😀")),
    ],
)
def test_the_segments_of_a_text(text, expected):
    """160 septets in one, 153 in each of several; 70 and 67 units of UCS-2; a pair of two is not parted."""
    assert expected == segments(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("“It’s here” – today…", '"It\'s here" - today...'),
        ("12\u00a0€\u200b", "12 €"),
        ("“Привет”", "“Привет”"),
        ("plain", "plain"),
    ],
)
def test_typography_is_replaced_if_that_saves_segments(text, expected):
    """Quotes and dashes are replaced by those of GSM-7, unless the text needs UCS-2 all the same."""
    assert expected == plain(text)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("+4915123456789", "+4915123456789"),
        (" +49 (151) 234-567.89 ", "+4915123456789"),
        ("+1/212\u00a0555\u202f0100", "+12125550100"),
        ("+6834002", "+6834002"),
        ("+390612345678", "+390612345678"),
    ],
)
def test_a_number_has_one_form(address, expected):
    """Blanks and separators are removed; the canonical form is its own canonical form."""
    assert expected == canonical_number(address) == canonical_number(expected)


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ("", "must begin with + and"),
        ("0151 23456789", "must begin with + and"),
        ("0049 151 23456789", "must begin with + and"),
        ("+44 (0)20 7946 0000", "has a (0)"),
        ("+49", "must be + and 7 to 15 digits"),
        ("+4915123456789012", "must be + and 7 to 15 digits"),
        ("+0151234567", "must be + and 7 to 15 digits"),
        ("+49151234567x", "must be + and 7 to 15 digits"),
        ("+49151234567\n8", "must be + and 7 to 15 digits"),
        ("+٤٩١٥١٢٣٤٥٦٧", "must be + and 7 to 15 digits"),
        ("++4915123456789", "must be + and 7 to 15 digits"),
        ("+2101234567", "begins with a calling code that no country has"),
    ],
)
def test_what_is_no_number_is_refused_with_a_reason(address, problem):
    """The message says what is wrong and does not repeat the number."""
    with pytest.raises(InvalidInputError) as raised:
        canonical_number(address)

    assert f"address: {problem}" in str(raised.value)
    assert len(address) < 7 or address not in str(raised.value)


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        ("+4915123456789", {"DE"}),
        ("+12125550100", {"US", "CA"}),
        ("+18765550100", {"JM"}),
        ("+77011234567", {"KZ"}),
        ("+79161234567", {"RU"}),
        ("+881612345678", set()),
        ("+19005550100", set()),
        ("+2101234567", set()),
    ],
)
def test_the_countries_of_a_number(number, expected):
    """The longest calling code decides; satellites and premium-rate numbers belong to no country."""
    assert expected == countries_of(number)


def test_the_known_countries():
    """They are ISO codes."""
    assert {"DE", "US", "GB", "UZ"} < COUNTRIES
    assert all(len(country) == 2 and country.isupper() for country in COUNTRIES)
