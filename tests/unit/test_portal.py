"""The portal in forked processes, in processes patched by gevent, and in processes that end."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading

import pytest

from notifykit import Notifykit
from notifykit.errors import ConfigurationError, StoreUnavailableError
from notifykit.portal import LoopThread

pytestmark = pytest.mark.in_turn

needs_fork = pytest.mark.skipif(not hasattr(sys.modules["os"], "fork"), reason="needs fork")


def run(script: str, *arguments: str) -> tuple[int, str, str]:
    command = [sys.executable, "-X", "dev", "-c", textwrap.dedent(script), *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout, done.stderr


# -- the thread -----------------------------------------------------------------------------------


async def nothing() -> None:
    pass


def test_a_call_when_the_loop_has_ended_is_refused():
    """A late call raises an error, and does not wait for a loop that has ended."""
    thread = LoopThread("notifykit-test")
    thread.end()

    with pytest.raises(StoreUnavailableError, match="was closed"):
        thread.call(nothing)


def test_calls_under_way_end_with_the_loop():
    """A call whose kit is closed by another thread raises an error."""
    thread, begun, refused = LoopThread("notifykit-test"), threading.Event(), []

    async def wait_for_ever() -> None:
        begun.set()
        await thread._loop.create_future()

    def call() -> None:
        with pytest.raises(StoreUnavailableError, match="was closed"):
            thread.call(wait_for_ever)
        refused.append(True)

    caller = threading.Thread(target=call)
    caller.start()
    assert begun.wait(60)
    thread.end()
    caller.join(60)

    assert [True] == refused


def test_a_loop_does_not_wait_for_itself():
    """A sync call from code that runs in the portal's own thread is refused, not a deadlock."""
    thread = LoopThread("notifykit-test")

    async def call_again() -> None:
        thread.call(nothing)

    with pytest.raises(ConfigurationError, match="await apublish"):
        thread.call(call_again)
    thread.end()


# -- the end of the interpreter -------------------------------------------------------------------


def test_a_program_may_end_without_closing(sqlite_store_url):
    """A script that publishes and ends leaves nothing behind: no message, no hanging thread, no journal."""
    done = run(
        """
        import sys, notifykit
        notifykit.configure(sys.argv[1])
        notifykit.publish(notifykit.Event(type="a.b", data={}), tenant="acme")
        """,
        sqlite_store_url,
    )

    assert (0, "", "") == done


def test_a_program_that_ends_may_still_publish(store_url):
    """Threads that outlive the main thread publish, and so do exit handlers, whenever they were registered."""
    done = run(
        """
        import atexit, sys, threading
        import notifykit

        def publish(when):
            notifykit.publish(notifykit.Event(type="a.b", data={}), tenant="acme")
            print(when)

        atexit.register(publish, "handler before the kit")
        notifykit.configure(sys.argv[1])
        atexit.register(publish, "handler before the first publish")
        publish("main")
        atexit.register(publish, "handler")

        def outlive():
            threading.main_thread().join()
            publish("thread")

        threading.Thread(target=outlive).start()
        """,
        store_url,
    )

    said = ["main", "thread", "handler", "handler before the first publish", "handler before the kit"]
    assert (0, said, "") == (done[0], done[1].splitlines(), done[2])


# -- forked processes -----------------------------------------------------------------------------


@needs_fork
@pytest.mark.parametrize(("store", "fork"), [("postgres", "os.fork"), ("sqlite", "ctypes.PyDLL(None).fork")])
def test_a_forked_process_opens_its_own(request, store, fork):
    """A server that loads the application and then forks: parent and children publish, and none hangs.

    Some fork without running Python's hooks for it (uWSGI).
    """
    done = run(
        """
        import ctypes, os, sys, warnings
        import notifykit
        fork = eval(sys.argv[2])
        warnings.simplefilter("ignore", DeprecationWarning)  # newer Pythons warn of every fork beside threads
        kit = notifykit.configure(sys.argv[1])
        event = notifykit.Event(type="a.b", data={})
        kit.publish(event, tenant="acme")
        for _ in range(2):
            if (child := fork()) == 0:
                kit.publish(event, tenant="acme")
                sys.exit()
            assert os.waitpid(child, 0)[1] == 0
        kit.publish(event, tenant="acme")
        print(kit.blocking.stats().unplanned)
        """,
        request.getfixturevalue(f"{store}_store_url"),
        fork,
    )

    assert (0, "4\n", "") == done


@needs_fork
def test_multiprocessing_publishes(sqlite_store_url):
    """Workers of a pool that was forked after the first publish open their own."""
    done = run(
        """
        import multiprocessing, sys, warnings
        import notifykit
        warnings.simplefilter("ignore", DeprecationWarning)

        def publish(number):
            return kit.publish(notifykit.Event(type="a.b", data={"n": number}), tenant="acme").event_id

        kit = notifykit.configure(sys.argv[1])
        publish(0)
        with multiprocessing.get_context("fork").Pool(2) as pool:
            ids = pool.map(publish, range(20))
        print(len(set(ids)), kit.blocking.stats().unplanned)
        """,
        sqlite_store_url,
    )

    assert (0, "20 21\n", "") == done


@needs_fork
def test_a_forked_process_does_not_publish_to_its_copy_of_memory():
    """A store in memory is copied by a fork: an event that nothing can deliver is refused, with what to do instead."""
    done = run(
        """
        import asyncio, os, warnings
        import notifykit
        warnings.simplefilter("ignore", DeprecationWarning)
        event = notifykit.Event(type="a.b", data={})

        def in_child(publish):
            if (child := os.fork()) == 0:
                try:
                    publish()
                except notifykit.ConfigurationError as error:
                    print(error, flush=True)
                os._exit(0)
            os.waitpid(child, 0)

        kit = notifykit.Notifykit("memory://")
        kit.publish(event, tenant="acme")
        in_child(lambda: kit.publish(event, tenant="acme"))
        kit.close()
        in_child(lambda: asyncio.run(kit.apublish(event, tenant="acme")))
        """
    )

    assert (0, 2, "") == (done[0], done[1].count("this process was forked"), done[2])


# -- greenlets ------------------------------------------------------------------------------------


@pytest.mark.parametrize("store", ["sqlite", "postgres"])
def test_greenlets_publish_and_none_sees_the_loop(request, store):
    """Where gevent has patched threads the portal has a real one: other greenlets use asyncio as before."""
    done = run(
        """
        from gevent import monkey; monkey.patch_all()
        import asyncio, sys
        import gevent, notifykit

        kit = notifykit.configure(sys.argv[1])

        def publish(number):
            return kit.publish(notifykit.Event(type="a.b", data={"n": number}), tenant="acme").event_id

        def use_asyncio():
            for _ in range(3):
                asyncio.run(asyncio.sleep(0))
            return "used asyncio"

        publish(0)  # with nothing else for the hub to do
        publishers = [gevent.spawn(publish, number) for number in range(20)]
        other = gevent.spawn(use_asyncio)
        gevent.joinall([*publishers, other], raise_error=True)
        print(len({greenlet.value for greenlet in publishers}), other.value)
        kit.close()
        gevent.spawn(publish, 21).get()
        print(kit.blocking.stats().unplanned)
        """,
        request.getfixturevalue(f"{store}_store_url"),
    )

    assert (0, "20 used asyncio\n22\n") == done[:2], done[2]
    assert "Traceback" not in done[2]


def test_greenlets_go_on_while_one_publishes(sqlite_store_url):
    """Waiting for a publish does not hold the thread that all greenlets share, and a killed one leaves nothing."""
    done = run(
        """
        from gevent import monkey; monkey.patch_all()
        import sys, time
        import gevent, notifykit
        from notifykit.stores.sql.sqlite.store import SqliteStore

        kit = notifykit.configure(sys.argv[1])
        kit.blocking.stats()
        real_stats, turns = SqliteStore.stats, []

        async def slow_stats(self, *, now):
            while len(turns) < 3:
                time.sleep(0.001)  # holds the portal's thread, as a slow disk does
            return await real_stats(self, now=now)

        def count():
            while len(turns) < 3:
                turns.append(1)
                gevent.sleep(0)

        SqliteStore.stats = slow_stats
        asking = gevent.spawn(lambda: kit.blocking.stats().unplanned)
        killed = gevent.spawn(lambda: kit.blocking.stats().unplanned)
        gevent.sleep(0)
        killed.kill()
        gevent.spawn(count).join()
        print(asking.get(), len(turns))
        """,
        sqlite_store_url,
    )

    assert (0, "0 3\n") == done[:2], done[2]


def test_threads_that_are_greenlets_of_this_one_are_refused(monkeypatch):
    """A library that makes greenlets of threads in a way we do not know (eventlet) is named as the cause."""
    monkeypatch.setattr(threading, "get_native_id", lambda: 7)

    with pytest.raises(ConfigurationError, match="eventlet"):
        Notifykit("memory://").blocking.stats()
