"""An SQLite URL names one file, whatever the release of SQLAlchemy and wherever the process goes."""

from __future__ import annotations

import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifykit import ConfigurationError, Event, Notifykit, StoreUnavailableError
from notifykit.stores.sql.sqlite.url import file_of, url_of

SHIPPED = Event(type="order.shipped", data={})


@pytest.mark.parametrize(
    ("url", "file"),
    [
        ("sqlite:///shop.db", "shop.db"),
        ("sqlite:///./data/../shop.db", "shop.db"),
        ("sqlite:///my%20shop.db", "my shop.db"),
        ("sqlite:///my shop.db", "my shop.db"),
        ("sqlite:///100%.db", "100%.db"),
        ("sqlite:///what%3F.db", "what?.db"),
        ("sqlite:///a+b#c.db", "a+b#c.db"),
        ("sqlite+aiosqlite:///shop.db", "shop.db"),
        ("sqlite:///shop.db?timeout=30&check_same_thread=false", "shop.db"),
    ],
)
def test_a_relative_path_is_decoded_and_counts_from_this_folder(url, file, tmp_path, monkeypatch):
    """``%20`` is a space under every SQLAlchemy, and the path is absolute from the start."""
    monkeypatch.chdir(tmp_path)

    assert str(tmp_path / file) == file_of(url)
    assert file_of(url) == file_of(url_of(file_of(url) or ""))


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite+pysqlite://"])
def test_memory_is_no_file(url):
    """The URLs of a database in memory name no file, and stay what they are."""
    assert file_of(url) is None
    assert "sqlite://" == url_of(":memory:") == url_of("")


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=())).map("/tmp/{}x".format))
def test_any_file_has_a_url(path):
    """What the system takes as the name of a file comes back from its URL, characters that are none included."""
    absolute = file_of(url_of(path))

    assert url_of(path) == url_of(absolute or "")


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("sqlite://shop.db", "three slashes"),
        ("sqlite:///shop.db?mode=ro", "does not know mode; leave that out"),
        ("sqlite:///cache?mode=memory&cache=shared", "does not know cache, mode; .* memory://"),
        ("sqlite:///file:shop.db?uri=true", "does not know uri"),
        ("sqlite:///file:shop.db", "not the name of a file"),
        ("sqlite:///shop%00.db", "not the name of a file"),
    ],
)
def test_what_a_store_cannot_open_as_asked_is_refused(url, problem, tmp_path, monkeypatch):
    """A file that was to be read only, or to be in memory, is not opened in another way."""
    monkeypatch.chdir(tmp_path)

    with pytest.raises(ConfigurationError, match=problem):
        Notifykit(url)

    assert [] == list(tmp_path.iterdir())


async def test_a_kit_keeps_its_file_when_the_process_goes_elsewhere(tmp_path, monkeypatch):
    """The open kit, its sync half, and the same kit opened again after a change of the folder use one file."""
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    for folder in (home, elsewhere):
        folder.mkdir()
    monkeypatch.chdir(home)
    kit = Notifykit("sqlite:///shop.db")

    async with kit:
        monkeypatch.chdir(elsewhere)
        await kit.apublish(SHIPPED, tenant="acme")
        kit.publish(SHIPPED, tenant="acme")
        kit.close()
    async with kit:
        found = await kit.events.list(tenant="acme")
    await kit.migrate()

    assert 2 == len(found)
    assert [] == list(elsewhere.iterdir())


async def test_a_folder_that_is_not_there_is_not_made(tmp_path):
    """A mistyped path makes no folders: the error names the file and what to do."""
    with pytest.raises(StoreUnavailableError, match=r"nowhere/shop\.db: its folder does not exist; make the folder"):
        await Notifykit(f"sqlite:///{tmp_path}/nowhere/shop.db").open()

    assert [] == list(tmp_path.iterdir())


async def test_the_name_in_the_url_is_the_name_of_the_file(tmp_path):
    """What is decoded is also what is opened."""
    async with Notifykit(f"sqlite:///{tmp_path}/100%25%20shop.db") as kit:
        await kit.apublish(SHIPPED, tenant="acme")

    db = sqlite3.connect(tmp_path / "100% shop.db")
    assert (1,) == db.execute("SELECT count(*) FROM notifykit_events").fetchone()
    db.close()
