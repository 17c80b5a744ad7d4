"""What is built is what users get: the wheel holds the whole package, and nothing else."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

import notifykit
from notifykit import distribution

#: Its tests share what is made once for the module.
pytestmark = pytest.mark.xdist_group("wheel")

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
#: ``notifykit`` where an installer would look it up; commands, options and the import have the name, too.
OTHER_PROJECT = re.compile(r"notifykit\[[a-z]|\b(?:pip|uv|poetry|pdm)3? (?:install|add)[^\n#;`]*\bnotifykit(?![-\w])")


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and the wheel that was made from the sdist's files."""
    folder = tmp_path_factory.mktemp("dist")
    build(ROOT, "sdist", folder)
    with tarfile.open(next(folder.glob("*.tar.gz"))) as sdist:
        sdist.extraction_filter = getattr(tarfile, "data_filter", None)  # not in the first releases of 3.11
        sdist.extractall(folder)
    build(next(path for path in folder.iterdir() if path.is_dir()), "wheel", folder)
    return folder


def build(project: Path, target: str, folder: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(folder)],
        cwd=project,
        check=True,
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def files(dist: Path) -> dict[str, bytes]:
    """Each file in the wheel, with its content."""
    with zipfile.ZipFile(next(dist.glob("*.whl"))) as wheel:
        return {name: wheel.read(name) for name in wheel.namelist()}


@pytest.fixture(scope="module")
def metadata(files: dict[str, bytes]):
    """The wheel's METADATA."""
    return Parser().parsestr(next(text for name, text in files.items() if name.endswith("/METADATA")).decode())


def test_the_wheel_holds_the_whole_package(files: dict[str, bytes]) -> None:
    """Every file of the package is in the wheel: code, migrations, samples, the typing marker."""
    package = (SOURCE / "notifykit").rglob("*")
    expected = {
        path.relative_to(SOURCE).as_posix() for path in package if path.is_file() and "__pycache__" not in path.parts
    }

    shipped = {name for name in files if name.startswith("notifykit/")}

    assert expected == shipped
    assert "notifykit/py.typed" in shipped


def test_the_wheel_holds_nothing_else(files: dict[str, bytes]) -> None:
    """No tests, tools or documentation end up beside the package in site-packages."""
    information = f"notifykit_sdk-{PROJECT['version']}.dist-info"

    assert {"notifykit", information} == {name.split("/")[0] for name in files}


def test_the_wheel_has_the_licence(files: dict[str, bytes]) -> None:
    """The wheel carries the licence, word for word."""
    (licence,) = (text for name, text in files.items() if name.endswith("/licenses/LICENSE"))

    assert (ROOT / "LICENSE").read_bytes() == licence


def test_the_command_is_installed(files: dict[str, bytes]) -> None:
    """Installing the wheel gives the command ``notifykit``."""
    (entry_points,) = (text.decode() for name, text in files.items() if name.endswith("/entry_points.txt"))

    assert "notifykit = notifykit.cli:main" in entry_points.splitlines()


def test_install_hints_use_the_name_of_the_wheel(metadata) -> None:
    """The name in every install hint is the name of the wheel, which is not the name of the package."""
    assert distribution.NAME == PROJECT["name"] == metadata["Name"]
    assert notifykit.__version__ == metadata["Version"]


def test_no_text_names_another_project_to_install() -> None:
    """Every text about installation uses the name on the package index."""
    folders = [ROOT / name for name in ("src", "docs", "examples", "benchmarks")]
    texts = [*ROOT.glob("*.*"), *(path for folder in folders for path in folder.rglob("*.*"))]

    wrong = [
        f"{path.relative_to(ROOT)}: {found[0]}"
        for path in texts
        if path.suffix in {".md", ".py", ".toml"}
        for found in OTHER_PROJECT.finditer(path.read_text("utf-8"))
    ]

    assert [] == wrong
    assert all(map(OTHER_PROJECT.search, ("pip install notifykit", "uv add 'notifykit[postgres]'", '"notifykit[all]"')))


def test_the_metadata_says_what_is_needed(metadata) -> None:
    """Installers learn the oldest Python, and what each extra brings."""
    assert PROJECT["requires-python"] == metadata["Requires-Python"]
    assert set(PROJECT["optional-dependencies"]) == set(metadata.get_all("Provides-Extra"))


def test_the_extra_all_leaves_nothing_out() -> None:
    """``notifykit-sdk[all]`` stands for every other extra."""
    extras = PROJECT["optional-dependencies"]
    others = sorted(set(extras) - {"all"})

    assert [f"notifykit-sdk[{','.join(others)}]"] == extras["all"]
