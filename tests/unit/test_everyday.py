"""What the everyday run leaves to CI."""

from __future__ import annotations

from tests.everyday import TURNS, left_out, left_to, out_of_turn

STORES = [
    "tests/conformance/test_sqlite_store.py::TestSqliteStore::test_a",
    "tests/conformance/test_postgres_store.py::TestPostgresStore::test_a",
]
#: The second one has a group of xdist behind it.
BROKERS = ["tests/test_x.py::test_e[sqlite-redis]", "tests/test_x.py::test_e[sqlite-nats]@nats"]
PAIR = ["tests/test_x.py::test_b[sqlite-1]", "tests/test_x.py::test_b[postgres-1]"]
SINGLE = ["tests/test_x.py::test_c", "tests/test_x.py::test_b[postgres-2]", "tests/test_x.py::test_d[memory]"]


def test_one_of_each_pair_runs_and_each_on_some_day():
    """The choice is the same for a day, and tests without a counterpart always run."""
    days = [f"2026-03-{day:02}" for day in range(1, 31)]

    left = [left_out([*STORES, *PAIR, *SINGLE], day) for day in days]

    assert left == [left_out([*SINGLE, *reversed(PAIR), *STORES], day) for day in days]
    assert all(1 == len(each & {*STORES}) == len(each & {*PAIR}) == len(each) - 1 for each in left)
    assert {*STORES, *PAIR} == set().union(*left)


def test_a_long_test_runs_on_one_day_of_three_on_whatever_database():
    """Each has its own days, so that each day has about as many."""
    ids = [f"tests/test_x.py::test_{number}" for number in range(90)]

    runs = [{*ids} - out_of_turn(ids, f"2026-03-{day:02}") for day in range(1, 1 + TURNS)]

    assert {*ids} == set().union(*runs)
    assert len(ids) == sum(map(len, runs))
    assert all(15 < len(each) < 45 for each in runs)
    assert len(out_of_turn(PAIR, "2026-03-01")) in (0, len(PAIR))


def test_tests_on_several_brokers_are_alike():
    """One broker a day, whatever group its tests run in."""
    days = [f"2026-03-{day:02}" for day in range(1, 31)]

    left = [left_out(BROKERS, day) for day in days]

    assert all(1 == len(each) for each in left)
    assert {*BROKERS} == set().union(*left)


def test_a_long_test_runs_on_one_of_its_databases_in_ci():
    """Every day a third of the long tests run; CI adds the others, each on the database of the day."""
    long = [f"tests/test_x.py::test_{number}[{store}-1]" for number in range(90) for store in ("sqlite", "postgres")]

    marks = left_to([*long, *PAIR], long, "2026-03-01")

    assert 90 == sum("soak" == marks.get(name) for name in long)
    assert 45 < sum("thorough" == marks.get(name) for name in long) < 75
    assert [None, "thorough"] == sorted(map(marks.get, PAIR), key=str)
