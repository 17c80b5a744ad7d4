"""``manage.py notifykit …``: the command line, with the database and the settings of the Django project.

The configuration of the project's kit is passed to the command line as environment variables, so that the worker
processes of ``manage.py notifykit run --processes 2`` get it too.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import Any, TextIO, cast

from django.core.management.base import BaseCommand, CommandError
from django.db import DEFAULT_DB_ALIAS
from django.utils.connection import ConnectionDoesNotExist

from notifykit import environment as names
from notifykit.cli import main
from notifykit.contrib.django import store_url
from notifykit.default import configured
from notifykit.errors import ConfigurationError
from notifykit.kit import Notifykit
from notifykit.stores.encoding.encryption import Encryption

#: Options that Django has processed before it calls the command.
_OF_DJANGO = ("--settings", "--pythonpath")


class Command(BaseCommand):
    """Passes the arguments to notifykit's command line."""

    help = (
        "The command line of notifykit on a database of this project: that of the kit that notifykit.configure() made, "
        "else the default database. 'manage.py notifykit -- --help' lists the commands."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the alias of a database, and take all other arguments unchanged."""
        parser.add_argument("--database", metavar="ALIAS", help="a database of settings.DATABASES")
        parser.add_argument("arguments", nargs=argparse.REMAINDER, metavar="…", help="as for 'notifykit'")

    def handle(self, *_: Any, **options: Any) -> None:
        """Run the command line; exit with its code unless that is 0."""
        arguments = _without_djangos(options["arguments"])
        self.stdout.ending = ""  # the command line ends its lines itself
        try:
            environment = _environment(options["database"])
        except (ConnectionDoesNotExist, ConfigurationError) as error:
            raise CommandError(str(error)) from error
        with _set(environment), redirect_stdout(cast("TextIO", self.stdout)):
            code = main(arguments)
        if code:
            sys.exit(code)


def _without_djangos(arguments: Sequence[str]) -> list[str]:
    given = list(arguments[1:] if arguments[:1] == ["--"] else arguments)
    for option in _OF_DJANGO:
        while option in given:
            at = given.index(option)
            del given[at : at + 2]
    return [argument for argument in given if not argument.startswith(tuple(f"{option}=" for option in _OF_DJANGO))]


def _environment(alias: str | None) -> dict[str, str]:
    """Return the project's settings as variables."""
    kit = configured()
    if kit is None or not kit._owns_store:  # a store that the program made has no URL
        return {names.URL: store_url(alias or DEFAULT_DB_ALIAS)}
    return _settings(kit) | ({names.URL: store_url(alias)} if alias else {})


def _settings(kit: Notifykit) -> dict[str, str]:
    """Return the configuration of a kit as variables."""
    settings = {
        names.URL: kit.url,
        names.ALLOW: ",".join(kit.egress.allow),
        names.ALLOW_NAMES: ",".join(kit.egress.allow_names),
        names.ALLOW_HTTP: "1" if kit.egress.allow_http else "0",
    }
    encryption: Encryption | None = getattr(kit.store, "encryption", None)
    if encryption is not None:
        vault = encryption.vault
        settings[names.ENCRYPT_PAYLOADS] = "1" if encryption.payloads else "0"
        if vault.given is not None:
            settings[names.KEYS] = vault.given.text()
        if vault.environment:
            settings[names.ENVIRONMENT] = vault.environment
    return settings


@contextmanager
def _set(variables: Mapping[str, str]) -> Iterator[None]:
    """Set variables inside a block."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
