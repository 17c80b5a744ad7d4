"""Compiles the modules of the inner loop into the wheel, where that is asked for (see ADR 18).

``HATCH_BUILD_HOOKS_ENABLE=1 pip wheel --no-deps .`` asks for it; it takes a C compiler and a minute, or half of that
with ``MYPYC_OPT_LEVEL=0``, which is enough to test what was compiled.
"""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CustomBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """Adds the compiled form of ``modules`` to the wheel, beside their sources."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":  # in an editable install, edited sources would not be used
            return
        # removed when the wheel is made, or when this object is dropped because only the name was needed
        self._work = TemporaryDirectory()
        work = Path(self._work.name)
        for module in compiled(Path(self.root), self.config["modules"], work):
            build_data["force_include"][str(module)] = str(module.relative_to(work / "lib"))
        build_data["pure_python"] = False
        build_data["infer_tag"] = True


def compiled(root: Path, modules: list[str], work: Path) -> list[Path]:
    """Compile modules that are named as in ``dispatch/directory`` and return the files in their place below ``lib``."""
    from mypyc.build import mypycify
    from setuptools import Distribution

    sources = [str(root / "src" / "notifykit" / f"{module}.py") for module in modules]
    # Types are checked elsewhere, where everything that is optional is installed.
    lenient = ["--ignore-missing-imports", "--no-warn-unused-ignores", "--no-warn-return-any"]
    lenient += ["--allow-subclassing-any", "--allow-untyped-decorators"]  # what is not installed is Any
    extensions = mypycify(
        ["--config-file", str(root / "pyproject.toml"), "--cache-dir", str(work / "types"), *lenient, *sources],
        group_name="notifykit",
        opt_level=os.environ.get("MYPYC_OPT_LEVEL", "3"),
        debug_level="0",
        target_dir=str(work / "c"),
    )
    build = Distribution({"name": "notifykit", "ext_modules": extensions}).get_command_obj("build_ext")
    build.build_lib, build.build_temp = str(work / "lib"), str(work / "objects")
    build.ensure_finalized()
    build.run()
    return [path for path in (work / "lib").rglob("*") if path.is_file()]
