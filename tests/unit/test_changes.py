"""A change of a record: made anew from the current record when others were faster, and given up in the end."""

from __future__ import annotations

import pytest

from notifykit import StaleWriteError, StoreError, changes
from notifykit.changes import TRIES, change

RECORD = "end_1"


class Shelf:
    """Holds one record, which is a list of marks, and refuses the first saves as if others were faster each time."""

    def __init__(self, rivals: int) -> None:
        self.rivals = rivals
        self.stored: tuple[str, ...] = ()
        self.saves = 0

    async def read(self) -> tuple[str, ...]:
        return self.stored

    async def save(self, record: tuple[str, ...]) -> tuple[str, ...]:
        self.saves += 1
        if self.saves <= self.rivals:
            self.stored = (*self.stored, "theirs")
            raise StaleWriteError("endpoint", RECORD)
        self.stored = record
        return record


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """There is no pause between two tries."""
    monkeypatch.setattr(changes, "_LONGEST_PAUSE", 0)
    monkeypatch.setattr(changes, "_FIRST_PAUSE", 0)


@pytest.mark.parametrize("rivals", [0, 1, TRIES - 1])
async def test_a_change_is_made_from_the_current_record(rivals):
    """However often others were faster, their changes stay and ours is added, once."""
    shelf = Shelf(rivals)

    changed = await change(shelf.read, lambda record: (*record, "ours"), shelf.save)

    assert ("theirs",) * rivals + ("ours",) == changed == shelf.stored
    assert rivals + 1 == shelf.saves


async def test_a_change_that_never_gets_through_is_an_error():
    """After so many tries the error names the record and what to do, and is an error of the store."""
    shelf = Shelf(TRIES)

    with pytest.raises(StaleWriteError, match=r"endpoint 'end_1' was changed .*repeat the change") as given_up:
        await change(shelf.read, lambda record: (*record, "ours"), shelf.save)

    assert ("endpoint", RECORD) == (given_up.value.kind, given_up.value.id)
    assert isinstance(given_up.value, StoreError)
    assert TRIES == shelf.saves
    assert "ours" not in shelf.stored


async def test_an_unchanged_record_is_not_saved():
    """A change that returns the record itself writes nothing."""
    shelf = Shelf(0)

    assert () == await change(shelf.read, lambda record: record, shelf.save)

    assert 0 == shelf.saves


async def test_a_change_that_is_refused_is_not_tried_again():
    """What the change itself raises is for its caller."""
    shelf = Shelf(0)

    def refuse(_record: tuple[str, ...]) -> tuple[str, ...]:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await change(shelf.read, refuse, shelf.save)
