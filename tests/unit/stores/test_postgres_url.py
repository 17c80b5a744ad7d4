"""A PostgreSQL URL as hosts hand it out, or as SQLAlchemy writes it: understood, or refused by what is wrong in it."""

from __future__ import annotations

import ssl

import pytest

from notifykit.errors import ConfigurationError
from notifykit.stores.sql.database_url import backend_of, without_password
from notifykit.stores.sql.postgres.url import Pooling, PostgresUrl

parse = PostgresUrl.parse


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgres://u:p@db/shop", (("db",), (), "u", "p", "shop")),
        ("postgresql://u:p%40s%2Fs@db:6432/a%20b", (("db",), (6432,), "u", "p@s/s", "a b")),
        ("postgresql+asyncpg://u@[::1]:6000/shop", (("::1",), (6000,), "u", None, "shop")),
        ("postgresql://admin@tenant:p@db/shop", (("db",), (), "admin@tenant", "p", "shop")),
        ("postgresql://u@a:1,b:2/shop", (("a", "b"), (1, 2), "u", None, "shop")),
        ("postgresql://u@a,b:2/shop", (("a", "b"), (5432, 2), "u", None, "shop")),
        ("postgresql://u@/shop?host=a,b&port=1,2", (("a", "b"), (1, 2), "u", None, "shop")),
        ("postgresql://u@/shop?host=a:1&host=b:2", (("a", "b"), (1, 2), "u", None, "shop")),
        ("postgresql://u@/shop?host=a,b&port=7", (("a", "b"), (7, 7), "u", None, "shop")),
        ("postgresql:///shop?host=/run/postgresql", (("/run/postgresql",), (), None, None, "shop")),
        ("postgresql://u@%2Frun%2Fpg:5433/shop", (("/run/pg",), (5433,), "u", None, "shop")),
        ("postgresql://u@localhost/shop?host=/cloudsql/a:b:c", (("/cloudsql/a:b:c",), (), "u", None, "shop")),
        ("postgresql:///?user=u&password=p&dbname=shop&port=1", ((), (1,), "u", "p", "shop")),
        ("postgresql://", ((), (), None, None, None)),
    ],
)
def test_where_the_database_is(url, expected):
    """Every form that libpq and SQLAlchemy have for hosts, sockets, users and passwords."""
    found = parse(url)

    assert expected == (found.hosts, found.ports, found.user, found.password, found.database)


@pytest.mark.parametrize(
    ("query", "arguments"),
    [
        ("sslmode=require", {"dsn": "postgresql://?sslmode=require"}),
        ("ssl=verify-full", {"dsn": "postgresql://?sslmode=verify-full"}),
        ("ssl=true", {"dsn": "postgresql://?sslmode=require"}),
        ("target_session_attrs=primary", {"dsn": "postgresql://?target_session_attrs=primary"}),
        ("connect_timeout=5", {"timeout": 5, "dsn": None}),
        ("connect_timeout=0", {"timeout": None}),
        ("timeout=2.5&command_timeout=20", {"timeout": 2.5, "command_timeout": 20}),
        ("prepared_statement_cache_size=0", {"statement_cache_size": 0}),
        ("statement_cache_size=0&prepared_statement_cache_size=50", {"statement_cache_size": 0}),
        ("passfile=/etc/pgpass", {"passfile": "/etc/pgpass"}),
        ("keepalives=1&keepalives_idle=30&channel_binding=prefer&gssencmode=disable", {"dsn": None}),
        ("client_encoding=UTF8&async_fallback=true&sslcompression=0", {"dsn": None}),
    ],
)
def test_how_to_connect(query, arguments):
    """Parameters of libpq and of asyncpg become arguments of asyncpg; those that mean nothing here do no harm."""
    made = parse(f"postgresql://u@db/shop?{query}").arguments()

    assert arguments == {name: made[name] for name in arguments}


@pytest.mark.parametrize(
    ("query", "settings"),
    [
        ("options=-csearch_path%3Dshop%2Cpublic", {"search_path": "shop,public"}),
        ("options=-c%20search_path=a%20-c%20geqo=off", {"search_path": "a", "geqo": "off"}),
        ("options=--statement-timeout=5s", {"statement_timeout": "5s"}),
        ("options=-crole%3Da%5C+b", {"role": "a b"}),
        ("options=endpoint%3Dep-1", {"options": "endpoint=ep-1"}),
        ("options=endpoint%3Dep-1+-cgeqo%3Doff", {"options": "endpoint=ep-1 -cgeqo=off"}),
        ("application_name=shop", {"application_name": "shop"}),
        ("fallback_application_name=shop", {"application_name": "shop"}),
        ("", {}),
    ],
)
def test_settings_of_the_session(query, settings):
    """``options`` becomes settings, which also reach a server behind a pooler; what is none stays as it is."""
    assert settings == parse(f"postgresql://u@db/shop?{query}").settings


@pytest.mark.parametrize(
    ("query", "pooling"),
    [
        ("", None),
        ("pooler=none", Pooling.NONE),
        ("pooler=session", Pooling.SESSION),
        ("pooler=transaction", Pooling.TRANSACTION),
        ("pgbouncer=true", Pooling.TRANSACTION),
        ("pgbouncer=false", None),
    ],
)
def test_what_is_said_of_a_pooler(query, pooling):
    """It may be stated; else it is found out."""
    assert pooling == parse(f"postgresql://u@db/shop?{query}").pooling


@pytest.mark.parametrize(
    ("rest", "named"),
    [
        ("?sslmode=yes", "sslmode=yes"),
        ("?channel_binding=require", "sslmode=verify-full"),
        ("?gssencmode=require", "gssencmode=require"),
        ("?client_encoding=latin1", "UTF-8"),
        ("?hostaddr=10.0.0.1", "hostaddr"),
        ("?require_auth=scram-sha-256", "require_auth"),
        ("?search_path=shop", "options=-csearch_path"),
        ("?frobnicate=1", "frobnicate"),
        ("?connect_timeout=soon", "connect_timeout=soon"),
        ("?connect_timeout=-1", "connect_timeout=-1"),
        ("?command_timeout=nan", "command_timeout=nan"),
        ("?target_session_attrs=leader", "read-write"),
        ("?pooler=statement", "none, session, transaction"),
        ("?service=nowhere&servicefile=/nowhere", "service=nowhere"),
        ("?host=a,b,c&port=1,2", "3 hosts and 2 ports"),
        ("?port=abc", "'abc'"),
        ("?sslrootcert=system&sslmode=require", "sslmode=verify-full"),
    ],
)
def test_what_cannot_be_kept_is_refused_by_its_name(rest, named):
    """One sentence that says which parameter it is and what to do, whoever reads the URL first."""
    with pytest.raises(ConfigurationError, match="store's URL") as refused:
        parse(f"postgresql://u@/shop{rest}").arguments()

    assert named in str(refused.value)


@pytest.mark.parametrize("port", ["abc", "0", "65536", "²"])
def test_a_port_that_is_none_is_refused(port):
    """Before anything is connected."""
    with pytest.raises(ConfigurationError, match="a port is a number"):
        parse(f"postgresql://u@db:{port}/shop")


@pytest.mark.parametrize("url", ["postgresql://u:a@b@db/shop", "postgresql://u:a/b@db/shop", "postgresql:/shop"])
def test_an_unescaped_password_is_explained(url):
    """And not shown."""
    with pytest.raises(ConfigurationError, match="write @ as %40") as refused:
        parse(url)

    assert "a@b" not in str(refused.value)


def test_files_that_are_not_there_are_named():
    """Not reported as a database that does not answer."""
    with pytest.raises(ConfigurationError, match=r"sslrootcert=/nowhere/ca\.pem.*no such file"):
        parse("postgresql://u@db/shop?sslmode=verify-full&sslrootcert=/nowhere/ca.pem").arguments()


def test_several_hosts_are_asked_for_the_one_that_takes_writes():
    """A store on a standby could not store anything."""
    assert "read-write" == parse("postgresql://a,b/shop").driver["target_session_attrs"]
    assert "any" == parse("postgresql://a,b/shop?target_session_attrs=any").driver["target_session_attrs"]


def test_the_systems_authorities_are_trusted_on_demand():
    """``sslrootcert=system``, as managed databases recommend it."""
    context = parse("postgresql://u@db/shop?sslmode=verify-full&sslrootcert=system").arguments()["ssl"]

    assert (ssl.CERT_REQUIRED, True) == (context.verify_mode, context.check_hostname)


def test_a_service_says_what_the_url_leaves_out(tmp_path, monkeypatch):
    """The URL counts more than the file, and what follows the question mark most."""
    file = tmp_path / "services"
    file.write_text("# ours\n[shop]\nhost=db.internal\nport=6432\nuser=app\ndbname=shop\nsslmode=require\n")
    monkeypatch.setenv("PGSERVICEFILE", str(file))

    plain = parse("postgresql://?service=shop")
    changed = parse("postgresql://root@/other?service=shop&sslmode=disable")

    assert (("db.internal",), (6432,), "app", "shop") == (plain.hosts, plain.ports, plain.user, plain.database)
    assert ("root", "other", {"sslmode": "disable"}) == (changed.user, changed.database, changed.driver)


def test_the_systems_file_of_services_is_read_too(tmp_path, monkeypatch):
    """Where ``PGSYSCONFDIR`` says; one that is no such file is named."""
    (tmp_path / "pg_service.conf").write_text("[shop]\nhost=db\n")
    monkeypatch.setenv("PGSYSCONFDIR", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))

    assert ("db",) == parse("postgresql://?service=shop").hosts
    (tmp_path / "pg_service.conf").write_text("host=db\n")
    with pytest.raises(ConfigurationError, match=r"pg_service\.conf cannot be read"):
        parse("postgresql://?service=shop")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:p@db/shop", "postgresql://u:***@db/shop"),
        ("postgresql://u:p@a:1,b:2/shop", "postgresql://u:***@a:1,b:2/shop"),
        ("postgresql://u:p/q?r@s@db/shop?sslmode=require", "postgresql://u:***@db/shop?sslmode=require"),
        (
            "postgresql:///shop?user=u&password=p&sslpassword=q",
            "postgresql:///shop?user=u&password=***&sslpassword=***",
        ),
        ("postgresql://u@db/shop", "postgresql://u@db/shop"),
        ("u:p@db/shop", "u:***@db/shop"),
        ("sqlite:///a:b@shop.db", "sqlite:///a:b@shop.db"),
    ],
)
def test_a_url_is_shown_without_its_passwords(url, shown):
    """Whether it is a valid one or not."""
    assert shown == without_password(url)


def test_a_url_does_not_show_its_password_in_a_traceback():
    """Which prints the values that functions were called with."""
    shown = repr(parse("postgresql://u:geheim@db/shop?sslpassword=geheim"))

    assert "geheim" not in shown


def test_the_kind_of_database():
    """Without its driver, and by one name."""
    assert ["postgresql", "postgresql", "sqlite"] == [*map(backend_of, ("postgres://", "postgresql+x://", "SQLite://"))]
