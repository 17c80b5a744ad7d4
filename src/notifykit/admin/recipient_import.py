"""Importing recipients: lines are read one by one, and the recipients saved by the hundred."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

import attrs

from ..codec import structure
from ..errors import InvalidInputError
from ..models.addresses import Suppression
from ..models.preferences import Mute, Setting
from ..models.quiet_hours import QuietHours
from ..models.recipient import Consent, Recipient, RecipientAddress, recipient_id
from ..models.unreadable import UnreadableRecipient
from ..ports import Clock, Store
from .imported import BATCH, ImportReport, LineProblem, Said, csv_rows, json_objects
from .recipient_changes import applied, checked_fields, edit, new_recipient, require_size

#: What a line of JSON may say beside the fields of ``save``, as an export writes it.
_PARTS: Mapping[str, Any] = {
    "addresses": tuple[RecipientAddress, ...],
    "settings": tuple[Setting, ...],
    "mutes": tuple[Mute, ...],
    "consents": tuple[Consent, ...],
    "suppressions": tuple[Suppression, ...],
    "quiet_hours": QuietHours,
}
#: What an export says of a record, and an import does not need.
_OF_RECORD = frozenset({"tenant", "version", "created_at", "updated_at"})
_COLUMNS = ("id", "name", "email", "sms", "locale", "zone")
_SEVERAL = ("email", "sms")
_TRAIT = "traits."


class _Line(NamedTuple):
    """A line: what it says of which recipient, or what is wrong with it.

    Attributes:
        adds_traits: Whether its traits are added to those that are there, or replace them.
    """

    number: int
    id: str = ""
    fields: Mapping[str, Any] = {}
    problem: str | None = None
    adds_traits: bool = False


async def import_lines(
    store: Store,
    clock: Clock,
    tenant: str,
    lines: Iterable[str],
    format_: str,
    progress: Callable[[ImportReport], None],
) -> ImportReport:
    """Save the recipients of which there are lines, and report the lines that are wrong.

    Raises:
        InvalidInputError: The header of a CSV file is wrong.
    """
    report = ImportReport()
    is_csv = format_ == "csv"
    found = _lines(csv_rows(lines, _header_problems) if is_csv else json_objects(lines), is_csv=is_csv)
    while batch := list(islice(found, BATCH)):
        report.lines += len(batch)
        await _save(store, clock, tenant, batch, report)
        report.problems.sort()
        progress(report)
    return report


async def _save(store: Store, clock: Clock, tenant: str, batch: list[_Line], report: ImportReport) -> None:
    """Save the recipients of a batch; of a recipient that was changed in between, make the change anew."""
    report.problems += [LineProblem(line.number, line.problem) for line in batch if line.problem is not None]
    good = [line for line in batch if line.problem is None]
    stored = {each.id: each for each in await store.get(Recipient, tenant, {line.id for line in good})}
    changed: dict[str, Recipient] = {}
    said: dict[str, list[_Line]] = {}
    for line in good:
        before = changed.get(line.id) or stored.get(line.id) or new_recipient(tenant, line.id, clock.now())
        try:
            after = _applied(before, line, clock)
        except InvalidInputError as error:
            report.problems.append(LineProblem(line.number, "; ".join(error.problems)))
            continue
        said.setdefault(line.id, []).append(line)
        if after is not before or before.version == 0:
            changed[line.id] = after
    for id_, saved in zip(changed, await store.save_many([*changed.values()]), strict=True):
        if saved is None:
            for line in said[id_]:
                await edit(store, clock, tenant, id_, partial(_applied, line=line, clock=clock), may_create=True)
    report.saved += len(changed)


def _applied(before: Recipient, line: _Line, clock: Clock) -> Recipient:
    if isinstance(before, UnreadableRecipient):
        raise InvalidInputError(
            [f"id: the row of recipient {before.id} is damaged; repair it, or delete the recipient"]
        )
    parts = {name: value for name, value in line.fields.items() if name in _PARTS and name != "addresses"}
    fields = {name: value for name, value in line.fields.items() if name not in parts}
    if line.adds_traits and "traits" in fields:
        fields["traits"] = {**before.traits, **fields["traits"]}
    after = applied(before, fields, clock.now())
    after = attrs.evolve(after, **parts) if parts else after
    if after == before:
        return before
    require_size(after)
    return attrs.evolve(after, updated_at=clock.now())


# ── lines ──────────────────────────────────────────────────────────────────────────────────────


def _line(number: int, said: Mapping[str, Any]) -> _Line:
    """Return what a line says, or what is wrong with it."""
    wrong = recipient_id(said.get("id"))
    problems = [] if wrong is None else [f"id: {wrong if 'id' in said else 'is missing'}"]
    fields: dict[str, Any] = {}
    for name, value in said.items():
        if name in _PARTS:
            try:
                fields[name] = structure(value, _PARTS[name], path=name)
            except InvalidInputError as error:
                problems += error.problems
    try:
        plain = {name: value for name, value in said.items() if name not in _PARTS and name not in _OF_RECORD}
        plain.pop("id", None)
        fields |= checked_fields(plain)
    except InvalidInputError as error:
        problems += error.problems
    return _Line(number, problem="; ".join(problems)) if problems else _Line(number, said["id"], fields)


def _lines(said: Iterable[Said], *, is_csv: bool) -> Iterator[_Line]:
    for number, it in said:
        if isinstance(it, str):
            yield _Line(number, problem=it)
        else:
            yield _line(number, _said(it))._replace(adds_traits=True) if is_csv else _line(number, it)


def _header_problems(header: Sequence[str]) -> list[str]:
    problems = [] if "id" in header else ["header: has no column id"]
    unknown = [name for name in header if name not in _COLUMNS and not name.startswith(_TRAIT)]
    return problems + [
        f"header: {name[:40]!r} is unknown; known are {', '.join(_COLUMNS)} and traits.NAME" for name in unknown
    ]


def _said(cells: Mapping[str, str]) -> dict[str, Any]:
    """Return what a row says; an empty cell says nothing."""
    given = {name: cell.strip() for name, cell in cells.items() if cell.strip()}
    said: dict[str, Any] = {
        name: [part.strip() for part in cell.split(";") if part.strip()] if name in _SEVERAL else cell
        for name, cell in given.items()
        if not name.startswith(_TRAIT)
    }
    traits = {name.removeprefix(_TRAIT): cell for name, cell in given.items() if name.startswith(_TRAIT)}
    return {**said, "traits": traits} if traits else said
