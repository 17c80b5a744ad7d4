"""The compiled form of the inner loop: all of it is installed, or none."""

from __future__ import annotations

import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest

from notifykit.native import is_compiled, mypyc_attr

WHEEL = tomllib.loads(Path("pyproject.toml").read_text("utf-8"))["tool"]["hatch"]["build"]["targets"]["wheel"]
MODULES = WHEEL["hooks"]["custom"]["modules"]


@pytest.mark.parametrize("module", MODULES)
def test_every_module_has_the_same_form(module: str) -> None:
    """The modules that the build lists exist, and are compiled if the package reports that they are."""
    spec = find_spec(f"notifykit.{module.replace('/', '.')}")

    assert spec is not None
    assert spec.origin is not None
    assert is_compiled() is not spec.origin.endswith(".py")


def test_compiler_options_change_no_class() -> None:
    """Where the code is interpreted, options for the compiler have no effect."""

    class Plain:
        pass

    assert Plain is mypyc_attr(allow_interpreted_subclasses=True)(Plain)
