"""The table of the preference centre: what a person gets of each category on each channel, and what a form changes.

Pure: cells, settings and forms are arguments.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import quote

import attrs

from ....admin.preferences import Cell
from ....models.preferences import OFF, ON, Purpose, Scope, Selector, Setting

#: The value of a choice whose types of events differ; it changes nothing.
VARIES = ""
_CHANNELS = {"in_app": "In the app", "email": "E-mail", "sms": "SMS", "push": "Push"}


@attrs.frozen(kw_only=True)
class Choice:
    """What a person gets of a category on a channel.

    Attributes:
        name: Of the field.
        value: ``on``, ``off``, ``digest:NAME``, or empty where the types of the category differ.
        options: What can be chosen, with what it is called; none if nothing can.
        why: Why nothing can be chosen.
    """

    name: str
    category: str
    channel: str
    label: str
    value: str
    options: Sequence[tuple[str, str]]
    why: str
    muted: bool


@attrs.frozen(kw_only=True)
class Row:
    """A category."""

    category: str
    label: str
    types: Sequence[str]
    choices: Sequence[Choice]

    @property
    def why(self) -> str:
        """Why nothing can be chosen of the whole category, if that is so for one reason."""
        reasons = {choice.why for choice in self.choices}
        return reasons.pop() if len(reasons) == 1 else ""


def channel_label(channel: str) -> str:
    """Return what readers call a channel."""
    return _CHANNELS.get(channel) or _label(channel)


def rows_of(cells: Sequence[Cell], digests: Mapping[str, Sequence[str]], sender: str) -> list[Row]:
    """Return the table.

    Args:
        digests: The names of the digests of each category.
        sender: What the tenant is called.
    """
    grouped: dict[str, dict[str, list[Cell]]] = {}
    for cell in cells:
        grouped.setdefault(cell.category, {}).setdefault(cell.channel, []).append(cell)
    return [
        Row(
            category=category,
            label=_label(category),
            types=sorted({cell.type for its in channels.values() for cell in its}),
            choices=[_choice(category, channel, its, digests, sender) for channel, its in channels.items()],
        )
        for category, channels in sorted(grouped.items())
    ]


def _choice(
    category: str, channel: str, cells: Sequence[Cell], digests: Mapping[str, Sequence[str]], sender: str
) -> Choice:
    values = {cell.value for cell in cells}
    value = next(iter(values)) if len(values) == 1 else VARIES
    offered = {ON: "On", OFF: "Off", **{f"digest:{name}": _label(name) for name in digests[category]}}
    if value and value not in offered:
        offered[value] = _label(value)
    varies = [(VARIES, "Differs")] if value == VARIES else []
    is_locked = all(cell.locked for cell in cells)
    return Choice(
        name=field_name(category, channel),
        category=category,
        channel=channel,
        label=channel_label(channel),
        value=value,
        options=[] if is_locked else [*varies, *offered.items()],
        why=_why(cells, sender) if is_locked else "",
        muted=all(cell.muted for cell in cells),
    )


def _why(cells: Sequence[Cell], sender: str) -> str:
    if all(cell.purpose is Purpose.SECURITY for cell in cells):
        return "Always on, because it is about the security of your account"
    values = {cell.value for cell in cells}
    what = {frozenset({ON}): "Always on", frozenset({OFF}): "Always off"}.get(frozenset(values), "Fixed")
    return f"{what}, set by {sender}"


def field_name(category: str, channel: str) -> str:
    """Return the name of a choice in the form."""
    return f"{quote(category, safe='')}/{quote(channel, safe='')}"


def changed_settings(settings: Iterable[Setting], rows: Sequence[Row], given: Mapping[str, str]) -> tuple[Setting, ...]:
    """Return a person's settings after a form; what it does not change stays.

    A category's choice counts for all of its types: also for those that the person has set by themselves before.

    Args:
        given: The values of the form, by the names of choices.
    """
    kept = {setting.select: setting for setting in settings}
    by_type = {select.type for select in kept if select.type is not None}
    for row in rows:
        for choice in row.choices:
            value = given.get(choice.name, choice.value)
            if value == choice.value or value not in dict(choice.options) or value == VARIES:
                continue
            selects = [Selector(category=row.category, channel=choice.channel)]
            selects += [Selector(type=name, channel=choice.channel) for name in row.types if name in by_type]
            for select in selects:
                kept.pop(select, None)
                kept[select] = Setting(scope=Scope.RECIPIENT, select=select, value=value)
    return tuple(kept.values())


def _label(name: str) -> str:
    """Return a name of the program as readers see it."""
    text = name.replace("_", " ").replace(".", " ").strip()
    return text[:1].upper() + text[1:]
