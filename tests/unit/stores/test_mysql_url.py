"""URLs of MySQL databases, as hosting platforms and other clients write them."""

from __future__ import annotations

import ssl

import pytest

from notifykit import ConfigurationError

pytest.importorskip("asyncmy", reason="needs asyncmy")

from notifykit.stores.sql.mysql.url import Encrypted, MysqlUrl

AWAY = "mysql://app:s@db.example.com/shop"


def test_the_parts_are_read():
    """User, password with escapes, host, port and database."""
    url = MysqlUrl.parse("mariadb://app:p%40ss%2F@db.example.com:3307/shop")

    assert ("app", "p@ss/", "db.example.com", 3307, "shop") == (
        url.user,
        url.password,
        url.host,
        url.port,
        url.database,
    )
    assert "p@ss" not in repr(url)


@pytest.mark.parametrize(
    ("query", "encrypted"),
    [
        ("", Encrypted.PREFERRED),
        ("?ssl-mode=REQUIRED", Encrypted.REQUIRED),
        ("?sslmode=require", Encrypted.REQUIRED),
        ("?ssl_mode=VERIFY_IDENTITY", Encrypted.VERIFY_IDENTITY),
        ("?sslmode=verify-full", Encrypted.VERIFY_IDENTITY),
        ("?ssl=true", Encrypted.REQUIRED),
        ('?ssl={"rejectUnauthorized":true}', Encrypted.VERIFY_IDENTITY),
        ('?ssl={"rejectUnauthorized":false}', Encrypted.REQUIRED),
        ("?sslaccept=strict", Encrypted.VERIFY_IDENTITY),
        ("?useSSL=true&verifyServerCertificate=false", Encrypted.REQUIRED),
        ("?useSSL=false", Encrypted.DISABLED),
        ("?reconnect=true", Encrypted.PREFERRED),
        ("?charset=utf8mb4", Encrypted.PREFERRED),
    ],
)
def test_parameters_for_other_clients_are_understood(query, encrypted):
    """What a platform hands out works as it is, and is as safe as it says."""
    assert encrypted is MysqlUrl.parse(AWAY + query).encrypted


def test_this_machine_needs_no_encryption():
    """Neither the loopback nor a socket is encrypted unless the URL says so."""
    assert MysqlUrl.parse("mysql://root@127.0.0.1/shop").context() is None
    assert MysqlUrl.parse("mysql://root@localhost/shop?unix_socket=/run/mysqld.sock").context() is None
    assert MysqlUrl.parse("mysql://root@localhost/shop?ssl-mode=REQUIRED").context() is not None


@pytest.mark.parametrize(
    ("mode", "checks", "host"),
    [
        ("REQUIRED", ssl.CERT_NONE, False),
        ("VERIFY_CA", ssl.CERT_REQUIRED, False),
        ("VERIFY_IDENTITY", ssl.CERT_REQUIRED, True),
    ],
)
def test_a_mode_verifies_what_it_says(mode, checks, host):
    """The certificate, and the name in it."""
    context = MysqlUrl.parse(f"{AWAY}?ssl-mode={mode}").context()

    assert context is not None
    assert (checks, host) == (context.verify_mode, context.check_hostname)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("mysql://app@db.example.com", "with a database"),
        ("mysql://app:p@ss@db/shop", "with a database"),
        ("mysql://app@db:port/shop", "port=port"),
        ("mysql://app@db:99999/shop", "a number from 1 to 65535"),
        (f"{AWAY}?ssl-mode=sometimes", "one of DISABLED"),
        (f"{AWAY}?ssl-key=/k.pem", "ssl-key without ssl-cert"),
        (f"{AWAY}?charset=latin1", "always uses utf8mb4"),
        (f"{AWAY}?pool_size=5", "an argument of Notifykit"),
        (f"{AWAY}?sql_mode=ANSI", "sets its own"),
        (f"{AWAY}?connect_timeout=soon", "a number"),
        (f"{AWAY}?compression=zlib", "compression"),
        (f"{AWAY}?ssl={{", "no JSON"),
    ],
)
def test_what_cannot_be_kept_is_refused(url, why):
    """With a sentence that names it."""
    with pytest.raises(ConfigurationError, match=why):
        MysqlUrl.parse(url)


def test_a_certificate_that_is_not_there_is_named():
    """Before anything connects."""
    with pytest.raises(ConfigurationError, match=r"ssl-ca=/no/such\.pem, which cannot be kept: there is no such file"):
        MysqlUrl.parse(f"{AWAY}?ssl-ca=/no/such.pem").context()
