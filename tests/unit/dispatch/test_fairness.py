"""Turns of tenants, and how many attempts may be open to destinations that answer late or not at all."""

from __future__ import annotations

import pytest

from notifykit.dispatch import fairness
from notifykit.dispatch.fairness import PROMPT, SLOW, UNPROVEN, Places, Proofs, Rotation


def test_names_take_turns_within_their_tenants() -> None:
    """A tenant with many names gets no more turns than one with few."""
    rotation = Rotation()
    for tenant, name in (("large", "a"), ("large", "b"), ("large", "c"), ("small", "d")):
        rotation.add(tenant, name)

    first = rotation.next()
    rotation.add("large", "a")
    order = [first, *(rotation.next() for _ in range(5))]

    assert ["a", "d", "b", "c", "a", None] == order


def test_prompt_destinations_get_any_place() -> None:
    """Whatever takes long leaves its place, and so does not count."""
    places = Places(concurrency=16, max_unproven=8)
    for _ in range(16):
        assert places.admits(PROMPT)
        places.begin(PROMPT)

    assert (0, False) == (places.free, places.admits(PROMPT))

    assert places.prolong(PROMPT)
    assert (1, True, 1) == (places.free, places.admits(PROMPT), places.long)


def test_unproven_destinations_get_a_part_of_the_places_and_of_the_room() -> None:
    """An eighth of the places at a time, and half of the room for attempts that take long."""
    places = Places(concurrency=16, max_unproven=8)
    begun = 0
    while places.admits(UNPROVEN):
        places.begin(UNPROVEN)
        begun += 1
        assert begun == 1 + places.long or places.prolong(UNPROVEN)

    assert 4 == begun
    assert (True, True) == (places.admits(SLOW), places.admits(PROMPT))


def test_slow_destinations_leave_room_for_prompt_ones_that_become_slow() -> None:
    """Three quarters of the room are for destinations that are known to answer late."""
    places = Places(concurrency=16, max_unproven=8)
    while places.admits(SLOW):
        places.begin(SLOW)

    assert 6 == places.new
    for _ in range(6):
        assert places.prolong(SLOW)
    for _ in range(3):
        places.begin(PROMPT)
    assert [True, True, False] == [places.prolong(PROMPT) for _ in range(3)]

    places.end(PROMPT, is_long=True)
    places.end(PROMPT, is_long=False)
    assert (7, 0) == (places.long, places.new)


def test_without_room_for_long_attempts_all_count_alike() -> None:
    """``max_unproven=0`` bounds all attempts by the concurrency."""
    places = Places(concurrency=2, max_unproven=0)
    places.begin(UNPROVEN)
    places.begin(UNPROVEN)

    assert not places.prolong(UNPROVEN)
    assert not places.admits(UNPROVEN)


@pytest.mark.interpreted  # a compiled module does not see another value of its constant
def test_what_is_expected_is_remembered_for_a_bounded_number(monkeypatch) -> None:
    """The oldest are forgotten, and destinations that did not answer are not kept at all."""
    monkeypatch.setattr(fairness, "_REMEMBERED", 2)
    proofs = Proofs()
    for name, proof in (("a", PROMPT), ("b", SLOW), ("c", PROMPT), ("d", PROMPT), ("d", UNPROVEN)):
        proofs.keep(name, proof)

    assert [UNPROVEN, UNPROVEN, PROMPT, UNPROVEN] == [proofs.of(name) for name in "abcd"]
    assert ["c"] == proofs.latest(5)
    assert [] == proofs.latest(0)
