"""Every type that the public API mentions can be imported from a public module."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Callable, Iterator
from importlib import import_module
from pkgutil import walk_packages
from types import ModuleType
from typing import Any

import attrs
import pytest

import notifykit

#: Modules that the how-tos name: what they hold need not be in ``notifykit`` itself.
DOCUMENTED = (
    "notifykit.admin",
    "notifykit.blocking",
    "notifykit.catalog",
    "notifykit.channels.webhook",
    "notifykit.client",
    "notifykit.errors",
    "notifykit.models.outcome",  # for authors of channels
    "notifykit.ports",
    "notifykit.signing",
    "notifykit.telemetry",
    "notifykit.templates",
    "notifykit.testing",
    "notifykit.web",
)


def modules() -> dict[str, ModuleType]:
    """Return the modules of the package that need no extra, without the types of the API, which have the same names."""
    found = {}
    for each in walk_packages(notifykit.__path__, "notifykit."):
        if not re.search(
            r"\.(cli|contrib|migrations|__main__|suites|plugin)\b|\.templates\.|\.client\.shapes$", each.name
        ):
            found[each.name] = import_module(each.name)
    return found


MODULES = modules()
#: Names that are imported for type checkers only are looked up here.
NAMES = {name: value for module in MODULES.values() for name, value in vars(module).items() if not name.startswith("_")}
REACHABLE = {id(getattr(notifykit, name)) for name in notifykit.__all__} | {
    id(value) for path in DOCUMENTED for name, value in vars(import_module(path)).items() if not name.startswith("_")
}


def signatures(owner: str, value: Any) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Yield everything with a signature that users call of ``value``."""
    if inspect.isfunction(value):
        yield owner, value
    if inspect.isclass(value):
        for name, found in vars(value).items():
            member = found.fget if isinstance(found, property) else getattr(found, "__func__", found)
            if inspect.isfunction(member) and (not name.startswith("_") or name == "__init__"):
                yield f"{owner}.{name}", member


def mentioned(hint: Any) -> Iterator[Any]:
    """Yield the classes of the package in an annotation."""
    if inspect.isclass(hint) and hint.__module__.startswith("notifykit"):
        yield hint
    for part in typing.get_args(hint):
        yield from mentioned(part)


def hints_of(value: Any) -> dict[str, Any]:
    home = MODULES.get(value.__module__)
    names = {**NAMES, **(vars(home) if home else {})}
    # Aliases of what is imported for type checkers only are text, which cannot be part of a union.
    names = {name: Any if isinstance(value, str) else value for name, value in names.items()}
    return typing.get_type_hints(value, names, names)


@pytest.mark.interpreted
@pytest.mark.parametrize("name", [name for name in notifykit.__all__ if name != "signing"])
def test_what_a_public_name_mentions_can_be_imported(name):
    """Every class of ours in the signatures and fields of a public name is public itself."""
    value = getattr(notifykit, name)
    missing = set()
    for place, function in signatures(name, value):
        for parameter, hint in hints_of(function).items():
            missing |= {f"{place}({parameter}): {each}" for each in mentioned(hint) if id(each) not in REACHABLE}
    if inspect.isclass(value) and attrs.has(value):
        for field, hint in hints_of(value).items():
            missing |= {f"{name}.{field}: {each}" for each in mentioned(hint) if id(each) not in REACHABLE}

    assert not missing


def test_every_public_name_is_there():
    """The list, the imports for type checkers and those at run time are the same."""
    source = inspect.getsource(notifykit)
    typed = set(re.findall(r"^    from \S+ import (\w+) as \1$", source, re.MULTILINE))

    assert set(notifykit.__all__) == typed == {*notifykit._HOMES}
    assert sorted(notifykit.__all__) == notifykit.__all__
