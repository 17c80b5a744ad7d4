"""HTML for mail programs: styles in the tags, and a text beside it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifykit.templates.html import inlined, text_of
from notifykit.templates.rendering import Problem


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<h1>Hi</h1><p>one\n two</p><p>three</p>", "Hi\n\none two\n\nthree"),
        ("<div>a</div><div>b</div>c<br>d<br/>e", "a\nb\nc\nd\ne"),
        ("<ul><li>a</li><li>b</li></ul>", "- a\n- b"),
        ("<table><tr><td>a</td><td>b</td></tr><tr><th>c</th></tr></table>", "a b\nc"),
        ("<head><title>T</title><style>p{}</style></head><body>x<script>y</script></body>", "x"),
        ("a<!-- <p>b</p> -->c", "ac"),
        ("&lt;b&gt; &amp; &eacute;", "<b> & é"),
        ("a &#" + "9" * 5_000 + ";", "a &#" + "9" * 5_000 + ";"),
        ("<a href='https://x.example/?a=1&amp;b=2'>here</a>", "here (https://x.example/?a=1&b=2)"),
        ('<a href="https://x.example">https://x.example</a>', "https://x.example"),
        ("<a href=https://x.example><img src=a alt='Logo'></a>", "Logo (https://x.example)"),
        ("<a href='https://x.example'></a>", "https://x.example"),
        ("<a href='mailto:a@example.org'>a</a> <a name=x>b</a> </a>", "a b"),
        ("a <b", "a"),
        ("a <!-- b", "a"),
        ("1 < 2 > 3 <> <5>", "1 3"),
        ("", ""),
    ],
)
def test_the_text_of_html(html, text):
    """Blocks are lines, links have their address, and what is not shown is left out."""
    assert text == text_of(html)


@given(st.text("<>/!-ab pliustye='\"&;", max_size=200))
def test_any_html_has_a_text(html):
    """However broken it is."""
    assert text_of(html) == text_of(html).strip()


def test_styles_are_written_into_the_tags():
    """Rules for screens stay, because no tag could have them."""
    html = "<style>p, .a{color:red} @media (max-width:3px){p{color:blue}}</style><p>x</p><b class=a>y</b>"

    made = inlined(html)

    assert '<p style="color: red;">x</p><b class="a" style="color: red;">y</b>' in made
    assert "@media (max-width:3px){p{color:blue}}" in made
    assert "<p>no styles</p>" == inlined("<p>no styles</p>")


@pytest.mark.parametrize(
    ("html", "problem"),
    [
        ("<p>" * 3_000, "more than 2,500 tags"),
        ("<style>p{}</style><p " + "a " * 2_000 + ">", "a tag has more than 2,048 characters"),
        ("<style>" + "x" * 40_000 + "</style>", "more than 32,768 characters"),
        ("<style>p:HAS(a){}</style>", ":has()"),
        ("<style>" + ".a{}" * 500 + "</style>" + "<p>" * 1_000, "too many rules for"),
        ("<STYLE>p{" + "a:b;" * 2_000 + "}</STYLE>" + "<p>" * 1_000, "too many rules for"),
        (
            "<style>p{" + "color:red;" * 160 + "}</style>" + "<p>x</p>" * 1_200 + "y" * 600_000,
            "with its styles has more",
        ),
    ],
)
def test_what_would_take_long_is_refused(html, problem):
    """Each limit has its own sentence."""
    with pytest.raises(Problem) as caught:
        inlined(html)

    assert problem in str(caught.value)
