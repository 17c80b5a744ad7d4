"""The depth of HTML is known, or it is known to be unknown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifykit.templates.nesting import levels


@pytest.mark.parametrize(
    ("html", "deep"),
    [
        ("", 0),
        ("<div><p>a<p>b</div><br><img src='x'/>", 2),
        ("<!doctype html><html><head><title>a > b</title><style type='text/css'>a>b{}</style></head></html>", 2),
        ("<table><tr><td>a<td>b<tr><td>c</table>", 3),
        ("<ul><li>a<li>b<ul><li>c</ul></ul>", 4),
        ("<style>p{}", None),
        ("<!--[if mso]><table><![endif]--><p>x</p><![if !mso]><b>y</b><![endif]>", 1),
        ('<a href="https://x.example/?a=1&amp;b" class=c data-x>z</a>', 1),
        ("<DIV></div>", 1),
        # what parsers repair, each in its way
        ("<div><b></div></b>", None),
        ("<div><table></div></table>", None),
        ("<div><!-- </div>", None),
        ("<div><?</div>", None),
        ("<div><![CDATA[ > </div> ]]>", None),
        ("<div a='<!--'></div>", None),
        ('<div a="></div>">', None),
        ("<div 'x=\"' y></div>", None),
        ('<div ="></div>">', None),
        ("<div><style></div></style>", None),
        ("<div><textarea></div></textarea>", None),
        ("<div><select></div></select>", None),
        ("</div>", None),
        ("a < b", None),
    ],
)  # fmt: skip
def test_the_depth_of_html(html, deep):
    """Closing tags that a parser might ignore do not make it less."""
    assert deep == levels(html + "<br>", -1)


def test_few_tags_need_no_look():
    """They cannot nest deeper than there are."""
    assert 2 == levels("<b><i></b>", 2)


@given(
    st.lists(st.sampled_from(["<div>", "</div>", "<b>", "</b>", "<p>", "x", "<br>", "<!-- </div> -->"]), max_size=40)
)
def test_no_open_tag_is_forgotten(parts):
    """Where it is certain, each tag that is open counts."""
    html = "".join(parts)
    found = levels(html, -1)
    if found is None:
        return
    deep = deepest = 0
    for part in parts:
        deep += {"<div>": 1, "</div>": -1, "<b>": 1, "</b>": -1}.get(part, 0)
        deepest = max(deepest, deep)

    assert deepest <= found
