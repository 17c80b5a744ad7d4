"""Importing suppressed addresses: lines are read one by one, and the addresses saved by the hundred."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any, NamedTuple

import attrs

from ..changes import change
from ..codec import structure, timestamp
from ..errors import InvalidInputError
from ..models import checks
from ..models.addresses import MAX_ADDRESS
from ..models.checks import field_check, optional
from ..models.preferences import Purpose
from ..models.recipient import ADDRESS_CHECKS
from ..models.suppression import (
    DEFAULT_PURPOSES,
    SuppressedAddress,
    SuppressionEntry,
    SuppressionReason,
    listed_channel,
    normalized,
    record_id,
    suppression_id,
)
from ..models.unreadable import UnreadableSuppression
from ..ports import Clock, Store
from .imported import BATCH, ImportReport, LineProblem, Said, csv_rows, json_objects

_COLUMNS = ("channel", "address", "id", "reason", "purposes", "evidence", "since", "until")


@attrs.frozen(kw_only=True)
class _Said:
    """What a line says."""

    channel: str | None = attrs.field(default=None, validator=field_check(optional(listed_channel)))
    address: str | None = attrs.field(default=None, validator=field_check(optional(checks.text(most=MAX_ADDRESS))))
    id: str | None = attrs.field(default=None, validator=field_check(optional(record_id)))
    reason: SuppressionReason
    purposes: tuple[Purpose, ...] | None = None
    evidence: str = ""
    since: datetime | None = None
    until: datetime | None = None

    def __attrs_post_init__(self) -> None:
        if (self.id is None) == (self.address is None):
            raise InvalidInputError(["address: give either the address or the id of an export"])
        if self.address is not None and self.channel is None:
            raise InvalidInputError(["channel: is missing"])
        check = ADDRESS_CHECKS.get(self.channel or "")
        if check is not None and self.address is not None:
            wrong = check(normalized(self.channel or "", self.address))
            if wrong is not None:
                raise InvalidInputError([f"address: {wrong}"])

    def id_for(self, tenant: str) -> str:
        """Return the id of the record."""
        return self.id or suppression_id(tenant, self.channel or "", self.address or "")

    def entry(self, now: datetime) -> SuppressionEntry:
        """Return what the record gets."""
        purposes = DEFAULT_PURPOSES.get(self.reason, ()) if self.purposes is None else self.purposes
        return SuppressionEntry(
            reason=self.reason, purposes=purposes, evidence=self.evidence, since=self.since or now, until=self.until
        )


class _Line(NamedTuple):
    """A line: which record gets what, or what is wrong with it."""

    number: int
    id: str = ""
    entry: SuppressionEntry | None = None
    problem: str | None = None


def fields_of(suppressed: SuppressedAddress, entry: SuppressionEntry) -> dict[str, Any]:
    """Return one reason as a line of an export."""
    return {
        "id": suppressed.id,
        "reason": entry.reason.value,
        "purposes": [purpose.value for purpose in entry.purposes],
        "evidence": entry.evidence,
        "since": timestamp(entry.since),
        "until": None if entry.until is None else timestamp(entry.until),
    }


async def import_lines(
    store: Store,
    clock: Clock,
    tenant: str,
    lines: Iterable[str],
    format_: str,
    defaults: Mapping[str, Any],
    progress: Callable[[ImportReport], None],
) -> ImportReport:
    """Save the addresses of which there are lines, and report the lines that are wrong.

    Args:
        defaults: What a line says that does not say it.

    Raises:
        InvalidInputError: The header of a CSV file is wrong.
    """
    report = ImportReport()
    said = map(_of_row, csv_rows(lines, _header_problems)) if format_ == "csv" else json_objects(lines)
    found = (_line(number, it, tenant, defaults, clock.now()) for number, it in said)
    while batch := list(islice(found, BATCH)):
        report.lines += len(batch)
        await _save(store, tenant, batch, report)
        report.problems.sort()
        progress(report)
    return report


async def _save(store: Store, tenant: str, batch: list[_Line], report: ImportReport) -> None:
    """Save the records of a batch; to one that was changed in between, make the change anew."""
    entries: dict[str, dict[int, SuppressionEntry]] = {}
    for line in batch:
        if line.entry is None:
            report.problems.append(LineProblem(line.number, line.problem or ""))
        else:
            entries.setdefault(line.id, {})[line.number] = line.entry
    stored = {each.id: each for each in await store.get(SuppressedAddress, tenant, entries)}
    changed: dict[str, SuppressedAddress] = {}
    for id_, its in entries.items():
        before = stored.get(id_) or SuppressedAddress(id=id_, tenant=tenant, entries=())
        if isinstance(before, UnreadableSuppression):
            report.problems += [LineProblem(number, f"id: the row of {id_} is damaged; repair it") for number in its]
        elif (after := before.with_entries(its.values())) is not before:
            changed[id_] = after
    for id_, saved in zip(changed, await store.save_many([*changed.values()]) if changed else (), strict=True):
        if saved is None:
            await _save_again(store, tenant, id_, [*entries[id_].values()])
    report.saved += len(changed)


async def _save_again(store: Store, tenant: str, id_: str, entries: list[SuppressionEntry]) -> None:
    async def read() -> SuppressedAddress:
        found = await store.get(SuppressedAddress, tenant, [id_])
        return found[0] if found else SuppressedAddress(id=id_, tenant=tenant, entries=())

    await change(read, lambda current: current.with_entries(entries), store.save)


# ── lines ──────────────────────────────────────────────────────────────────────────────────────


def _line(number: int, said: Mapping[str, Any] | str, tenant: str, defaults: Mapping[str, Any], now: datetime) -> _Line:
    """Return what a line says, or what is wrong with it."""
    if isinstance(said, str):
        return _Line(number, problem=said)
    given = {**defaults, **{name: value for name, value in said.items() if value is not None}}
    try:
        found = structure(given, _Said, path="")
        return _Line(number, found.id_for(tenant), found.entry(now))
    except InvalidInputError as error:
        return _Line(number, problem="; ".join(problem.removeprefix(".") for problem in error.problems))


def _header_problems(header: Sequence[str]) -> list[str]:
    problems = [] if {"address", "id"} & {*header} else ["header: has no column address"]
    unknown = [name for name in header if name not in _COLUMNS]
    return problems + [f"header: {name[:40]!r} is unknown; known are {', '.join(_COLUMNS)}" for name in unknown]


def _of_row(said: Said) -> Said:
    """Return what a row says; an empty cell says nothing."""
    number, cells = said
    if isinstance(cells, str):
        return said
    given: dict[str, Any] = {name: cell.strip() for name, cell in cells.items() if cell.strip()}
    if "purposes" in given:
        given["purposes"] = [part.strip() for part in given["purposes"].split(";") if part.strip()]
    return number, given
