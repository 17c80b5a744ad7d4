"""The coalescer: what shares a batch, when it is sent, and who is told what."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from notifykit.channels.coalescer import Coalescer


class Sent:
    """Keeps the batches that it is given; each is sent once its gate is open."""

    def __init__(self, *, is_open: bool = True) -> None:
        self.batches: list[list[str]] = []
        self.gate = asyncio.Event()
        if is_open:
            self.gate.set()
        self.most_at_once = self._at_once = 0

    async def __call__(self, items):
        self.batches.append(list(items))
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        await self.gate.wait()
        self._at_once -= 1
        if "bad" in items:
            raise ValueError("bad")
        return [f"{item}!" for item in items]


async def turns(count: int = 5) -> None:
    """Let the loop turn."""
    for _ in range(count):
        await asyncio.sleep(0)


def start(coalescer, *items, **options):
    return [asyncio.create_task(coalescer.put(item, **options)) for item in items]


async def test_each_item_keeps_its_own_result():
    """What comes in one turn of the loop is one batch, as far as a batch goes."""
    sent = Sent()
    results = await asyncio.gather(*start(Coalescer(sent, most=3), *"abcde"))

    assert [["a", "b", "c"], ["d", "e"]] == sent.batches
    assert ["a!", "b!", "c!", "d!", "e!"] == results


async def test_the_next_ones_gather_while_one_is_under_way():
    """Without a delay until it has ended."""
    sent = Sent(is_open=False)
    coalescer = Coalescer(sent, most=10, concurrency=2)
    first = start(coalescer, "a")
    await turns()
    later = start(coalescer, "b", "c")
    await turns()
    assert [["a"]] == sent.batches

    sent.gate.set()
    await asyncio.gather(*first, *later)

    assert [["a"], ["b", "c"]] == sent.batches


@pytest.mark.parametrize(("delay", "expected"), [(0.01, [["a"], ["b", "c"]]), (30, [["a"]])])
async def test_who_waits_for_long_enough_is_sent(delay, expected):
    """Although another batch is under way, which takes longer."""
    sent = Sent(is_open=False)
    coalescer = Coalescer(sent, most=10, concurrency=2, delay=timedelta(seconds=delay))
    tasks = start(coalescer, "a")
    await turns()
    tasks += start(coalescer, "b", "c")
    await asyncio.sleep(0.05)
    assert expected == sent.batches

    sent.gate.set()
    await asyncio.gather(*tasks)
    await coalescer.aclose()


async def test_a_full_batch_waits_for_nothing():
    """By number, or by size; what is too large goes alone."""
    sent = Sent(is_open=False)
    coalescer = Coalescer(sent, most=3, most_bytes=100, delay=timedelta(seconds=30), concurrency=9)
    tasks = start(coalescer, "a", size=1)
    await turns()
    tasks += start(coalescer, "b", "c", "d", size=1)
    await turns()
    tasks += start(coalescer, "e", "f", size=60)
    await turns()
    assert [["a"], ["b", "c", "d"], ["e"]] == sent.batches

    sent.gate.set()
    await asyncio.gather(*tasks, *start(coalescer, "g", size=1000))

    assert [["f"], ["g"]] == sent.batches[3:]


async def test_only_equal_keys_share_a_batch():
    """And no more batches are under way than allowed; what waits is sent in the order of waiting."""
    sent = Sent(is_open=False)
    coalescer = Coalescer(sent, most=10, concurrency=1, delay=timedelta(milliseconds=1))
    tasks = [task for number in range(3) for task in start(coalescer, f"a{number}", f"b{number}", key=number)]
    await asyncio.sleep(0.02)
    tasks += start(coalescer, "c0", key=0)
    await asyncio.sleep(0.02)
    sent.gate.set()
    await asyncio.gather(*tasks)

    assert [["a0", "b0"], ["a1", "b1"], ["a2", "b2"], ["c0"]] == sent.batches
    assert 1 == sent.most_at_once
    assert {} == coalescer._groups


async def test_who_is_cancelled_before_is_not_sent():
    """A batch of those that were cancelled is none; a later cancellation concerns nobody else."""
    sent = Sent(is_open=False)
    coalescer = Coalescer(sent, most=10)
    first, second = start(coalescer, "a", "b")
    await turns()
    third, fourth = start(coalescer, "c", "d")
    await turns()
    second.cancel()
    third.cancel()
    fourth.cancel()
    await turns()
    sent.gate.set()

    assert "a!" == await first
    await coalescer.aclose()

    assert [["a", "b"]] == sent.batches
    assert {} == coalescer._groups


async def test_a_batch_without_senders_is_cancelled():
    """Only if all of them have gone; what waits is sent all the same."""
    sent = Sent(is_open=False)
    coalescer = Coalescer(sent, most=10, cancels=True)
    first, second = start(coalescer, "a", "b")
    await turns()
    (third,) = start(coalescer, "c")
    await turns()

    first.cancel()
    await turns()
    assert [["a", "b"]] == sent.batches
    second.cancel()
    await turns()
    assert [["a", "b"], ["c"]] == sent.batches
    sent.gate.set()

    assert "c!" == await third
    assert ({}, 1) == (coalescer._groups, coalescer._free)


async def test_who_waits_for_too_long_was_not_sent():
    """What is sent already is waited for."""
    sent = Sent(is_open=False)
    coalescer = Coalescer(sent, most=10)
    (first,) = start(coalescer, "a", timeout=0.01)
    await turns()
    with pytest.raises(TimeoutError):
        await coalescer.put("b", timeout=0.01)

    sent.gate.set()
    assert "a!" == await first
    assert [["a"]] == sent.batches


async def test_an_error_is_that_of_the_whole_batch():
    """The next batch is another one."""
    coalescer = Coalescer(Sent(), most=10)
    results = await asyncio.gather(*start(coalescer, "a", "bad"), return_exceptions=True)

    assert ["bad", "bad"] == [str(each) for each in results]
    assert "c!" == await coalescer.put("c")


async def test_results_that_are_not_as_many_are_an_error():
    """Nobody waits for ever."""

    async def send(items):
        return ["one"]

    with pytest.raises(ValueError, match="shorter"):
        await asyncio.gather(*start(Coalescer(send, most=10), "a", "b"))


async def test_the_end_of_the_loop_leaves_nobody_waiting():
    """Those that are under way, and those that wait."""
    coalescer = Coalescer(Sent(is_open=False), most=10)
    first = start(coalescer, "a")
    await turns()
    second = start(coalescer, "b")
    await turns()
    (task,) = coalescer._tasks
    task.cancel()

    results = await asyncio.gather(*first, *second, return_exceptions=True)

    assert [asyncio.CancelledError] * 2 == [type(each) for each in results]
    await coalescer.aclose()


async def test_many_at_once():
    """However items come, each is sent once, and gets its own result."""
    sent = Sent()
    coalescer = Coalescer(sent, most=7, delay=timedelta(milliseconds=1), concurrency=3)

    async def sender(number):
        await asyncio.sleep(number % 5 / 1000)
        return await coalescer.put(str(number), key=number % 3, timeout=5)

    results = await asyncio.gather(*(sender(number) for number in range(500)))

    assert [f"{number}!" for number in range(500)] == results
    assert sorted(map(str, range(500))) == sorted(item for batch in sent.batches for item in batch)
    assert sent.most_at_once <= 3
    assert all(len({int(item) % 3 for item in batch}) == 1 for batch in sent.batches)
    assert ({}, 3) == (coalescer._groups, coalescer._free)
