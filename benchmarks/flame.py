"""A flame graph as one SVG file: which functions were on the stack, and how often.

Each bar is a function, as wide as its share of the samples; the functions that it called are above
it.  The tooltip of a bar shows the whole name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from xml.sax.saxutils import escape

import attrs

Stack = tuple[str, ...]

_WIDTH, _HEIGHT, _TOP, _LETTER = 1400, 17, 40, 6.6
#: Bars that are narrower than this are left out.
_LEAST = 0.6


@attrs.define
class _Bar:
    count: int = 0
    above: dict[str, _Bar] = attrs.field(factory=dict)

    def add(self, stack: Stack, count: int) -> None:
        """Add samples of one stack, its root first."""
        self.count += count
        if stack:
            self.above.setdefault(stack[0], _Bar()).add(stack[1:], count)

    def depth(self) -> int:
        return 1 + max((bar.depth() for bar in self.above.values()), default=0)


def write(
    stacks: Mapping[Stack, int], file: Path, *, title: str, short: Callable[[str], str], colour: Callable[[str], str]
) -> None:
    """Draw ``stacks``.

    Args:
        short: What stands in the bar of a frame.
        colour: What fills it.
    """
    root = _Bar()
    for stack, count in stacks.items():
        root.add(stack, count)
    height = _TOP + root.depth() * _HEIGHT + 10
    bars = "\n".join(_drawn(root, 0.0, height - 10 - _HEIGHT, root.count or 1, short, colour))
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
        'font-family="monospace" font-size="11">\n'
        f'<rect width="100%" height="100%" fill="white"/>\n'
        f'<text x="8" y="22" font-size="15" font-family="sans-serif">{escape(title)}</text>\n{bars}\n</svg>\n',
        "utf-8",
    )


def _drawn(
    bar: _Bar, left: float, top: float, all_of_them: int, short: Callable[[str], str], colour: Callable[[str], str]
) -> Iterable[str]:
    for name, above in sorted(bar.above.items()):
        width = above.count / all_of_them * _WIDTH
        if width >= _LEAST:
            share = above.count / all_of_them * 100
            letters = int(width / _LETTER) - 1
            text = short(name)[: max(letters, 0)]
            yield (
                f"<g><title>{escape(name)}: {share:.1f} %, {above.count} samples</title>"
                f'<rect x="{left:.1f}" y="{top}" width="{width - 0.4:.1f}" height="{_HEIGHT - 1}" rx="1" '
                f'fill="{colour(name)}"/>'
                + (f'<text x="{left + 3:.1f}" y="{top + 12}">{escape(text)}</text>' if letters > 2 else "")
                + "</g>"
            )
            yield from _drawn(above, left, top - _HEIGHT, all_of_them, short, colour)
        left += width
