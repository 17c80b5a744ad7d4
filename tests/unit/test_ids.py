"""Ids: prefixed, unique, in the order of their making; a delivery's id follows from its event."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifykit.models import ids
from notifykit.models.ids import DELIVERY, ENDPOINT, EVENT, delivery_id, event_of, is_id, new_id, recipient_key


@pytest.fixture
def source():
    return ids._Source()


@pytest.fixture
def clock(monkeypatch):
    """The machine's clock, in milliseconds, to be set by the test."""
    now = [1_772_366_400_000]
    monkeypatch.setattr(time, "time_ns", lambda: now[0] * 1_000_000 + 999_999)
    return now


def test_an_id_is_a_prefix_and_a_ulid():
    """Its first part is the time of its making."""
    before = time.time_ns() // 1_000_000
    made = new_id(EVENT)
    after = time.time_ns() // 1_000_000

    millis = 0
    for digit in made[4:14]:
        millis = millis * 32 + "0123456789ABCDEFGHJKMNPQRSTVWXYZ".index(digit)
    assert is_id(made, EVENT)
    assert 30 == len(made)
    assert before <= millis <= after


def test_ids_of_many_threads_are_unique():
    """However many are made at the same moment."""
    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(lambda _: new_id(EVENT), range(20_000)))

    assert 20_000 == len(set(made))


def test_ids_sort_in_the_order_of_their_making(source, clock):
    """Within a millisecond, over milliseconds, and when the clock goes back."""
    made = []
    for at in (0, 0, 0, 1, 1, 5, 3, -1000, -1000, 6):
        clock[0] = 1_772_366_400_000 + at
        made.append(source.next())

    assert sorted(made) == made
    assert 10 == len(set(made))


def test_a_full_millisecond_runs_over_into_the_next(source, clock):
    """Order and uniqueness survive where the random part has no room left."""
    first = source.next()
    source._last = (1 << 80) - 1

    made = [first, source.next(), source.next()]
    clock[0] += 1
    made.append(source.next())

    assert sorted(set(made)) == made


def test_randomness_is_used_once(source, clock):
    """Each millisecond starts from random bytes of its own, over many refills."""
    tails = set()
    for _ in range(1000):
        clock[0] += 1
        tails.add(source.next()[10:])

    assert 1000 == len(tails)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("fork", ["os.fork", "ctypes.PyDLL(None).fork"], ids=["with hooks", "without hooks"])
def test_a_forked_process_makes_other_ids(fork):
    """Parent and child go on from the same state, in the same millisecond, and never make the same id."""
    script = """
import ctypes, os, sys, time
fork = eval(sys.argv[1])
from notifykit.models.ids import new_id
now = time.time_ns()
time.time_ns = lambda: now
new_id("evt_")
reading, writing = os.pipe()
if fork() == 0:
    os.write(writing, " ".join(new_id("evt_") for _ in range(1000)).encode())
    os._exit(0)
os.close(writing)
mine = {new_id("evt_") for _ in range(1000)}
theirs = set()
with os.fdopen(reading) as pipe:
    theirs = set(pipe.read().split())
print(len(mine), len(theirs), len(mine & theirs))
"""
    done = subprocess.run([sys.executable, "-c", script, fork], check=True, capture_output=True, text=True)

    assert "1000 1000 0\n" == done.stdout


def test_a_delivery_belongs_to_its_event():
    """Its id begins with its event's, so that a range of ids finds an event's deliveries."""
    event = new_id(EVENT)

    made = delivery_id(event, recipient_key("end_1", "webhook", ""))

    assert made.startswith(DELIVERY + event.removeprefix(EVENT))
    assert event == event_of(made)
    assert is_id(made, DELIVERY)
    assert 43 == len(made)


texts = st.text(max_size=40)


@given(texts, texts, texts)
def test_a_recipients_key_is_always_the_same(subscriber, channel, address):
    """Planning twice makes the same deliveries: 13 digits that depend only on the recipient."""
    key = recipient_key(subscriber, channel, address)

    assert key == recipient_key(subscriber, channel, address)
    assert 13 == len(key)
    assert set(key) <= set("0123456789ABCDEFGHJKMNPQRSTVWXYZ")


def test_recipients_have_different_keys():
    """Subscriber, channel and address: each part counts, and so does where it ends."""
    parts = ["end_1", "end_2", "", "a", "ab"]
    recipients = {(one, two, three) for one in parts for two in parts for three in parts}

    assert len(recipients) == len({recipient_key(*recipient) for recipient in recipients})


def test_the_key_of_a_recipient_is_for_ever():
    """A later version must derive the ids that an earlier one has stored."""
    assert "CFG38BD7N00PR" == recipient_key("end_01KJMMA2KV0000000000000001", "webhook", "")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("end_01KJMMA2KV0000000000000001", True),
        ("end_01KJMMA2KV000000000000000", False),
        ("end_01kjmma2kv0000000000000001", False),
        ("end_01KJMMA2KV000000000000000U", False),
        ("evt_01KJMMA2KV0000000000000001", False),
        ("01KJMMA2KV0000000000000001", False),
        ("", False),
    ],
)
def test_what_could_be_an_id(value, expected):
    """The prefix and the alphabet decide."""
    assert expected == is_id(value, ENDPOINT)
