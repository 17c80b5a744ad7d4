"""How the code is checked, in one place: ``python3 dev.py nox -l`` lists the sessions.

A Python that is not installed is skipped, unless ``NOTIFYKIT_REQUIRE`` names ``pythons`` or ``all``.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import nox

PROJECT = nox.project.load_toml("pyproject.toml")
PYTHONS = nox.project.python_versions(PROJECT)
REQUIRED = os.environ.get("NOTIFYKIT_REQUIRE", "").replace(",", " ").split()
PACKAGE = ("-e", ".[all]")
#: Spreads a whole run over the processors.
PARALLEL = ("-n", "auto", "--dist", "loadgroup")
#: What the tests for interoperation compare with.
STRANGERS = (
    *("apprise", "botocore", "fast_mail_parser", "granian", "http_ece", "jwt", "moto"),
    *("sendgrid", "standardwebhooks", "svix", "twilio", "vonage"),
)
#: Where each dependency is used: databases and migrations, sending, frameworks; beside the modules of ``tests/unit``.
LOWEST = (
    "tests/conformance",
    "tests/packaging",
    "tests/unit/stores",
    "tests/unit/channels",
    "tests/unit/contrib",
    "tests/unit/templates",
    "tests/unit/testing_kit",
    "tests/unit/signing/test_receivers_frameworks.py",
    "tests/scenarios/test_transactions.py",
)

nox.needs_version = ">=2025.5.1"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.download_python = "never"
nox.options.error_on_missing_interpreters = bool({"all", "pythons"} & set(REQUIRED))
nox.options.sessions = ["lint", "types", "imports", "tests", "docs", "wheel"]


def group(name: str) -> tuple[str, ...]:
    """Return the arguments that install a dependency group of pyproject.toml."""
    return ("--group", f"pyproject.toml:{name}")


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run all tests; arguments go to pytest."""
    session.install(*PACKAGE, *group("test"))
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session(venv_backend="uv", python=PYTHONS[0])
def lowest(session: nox.Session) -> None:
    """Run the tests that use each dependency, with the oldest versions that are allowed; options go to pytest."""
    session.install("--resolution", "lowest-direct", *PACKAGE, *group("test"))
    modules = sorted(path for path in Path("tests/unit").glob("test_*.py") if "benchmarks" not in path.name)
    session.run("python", "-m", "pytest", *(session.posargs or PARALLEL), *LOWEST, *map(str, modules))


@nox.session
def compiled(session: nox.Session) -> None:
    """Build the wheel with the inner loop compiled (it is left in dist/compiled), and run all tests on it."""
    session.install("build")
    dist = Path("dist/compiled").resolve()
    shutil.rmtree(dist, ignore_errors=True)
    session.run("python", "-m", "build", "-o", str(dist), env={"HATCH_BUILD_HOOKS_ENABLE": "1"})
    (built,) = dist.glob("*.whl")
    session.install(f"{built}[all]", *group("test"))
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session
def conformance(session: nox.Session) -> None:
    """Run the suites that every store, broker and channel has to pass."""
    session.install(*PACKAGE, *group("test"))
    session.run("python", "-m", "pytest", "tests/conformance", *session.posargs)


@nox.session
def browser(session: nox.Session) -> None:
    """Drive the pages of the server in Chromium, which must be installed; arguments go to pytest."""
    session.install(*PACKAGE, *group("test"))
    options = ("-n", "0", "-m", "thorough or not thorough")
    session.run("python", "-m", "pytest", "tests/browser", *options, *session.posargs)


@nox.session
def interop(session: nox.Session) -> None:
    """Run the tests against software that nobody here wrote: vendors' packages, simulators, servers and parsers."""
    session.install(*PACKAGE, *group("test"))
    session.run("python", "-c", f"import {', '.join(STRANGERS)}")  # what is missing would be skipped
    folders = ("tests/unit/channels", "tests/unit/signing")
    session.run("python", "-m", "pytest", *folders, "-m", "interop", *session.posargs)


@nox.session
def soak(session: nox.Session) -> None:
    """Run the long form of the reliability scenarios (some two hours); the figures are in reports/reliability.json."""
    session.install(*PACKAGE, *group("test"))
    session.run("python", "-m", "pytest", "tests/scenarios/reliability", "-m", "soak or not soak", *session.posargs)
    session.run("python", "-m", "pytest", "-n", "0", "tests/scenarios/test_fairness_tenants.py", "-m", "soak")
    session.run("python", "-m", "pytest", "tests/scenarios/test_provider_outages.py", "-m", "soak")
    session.run("python", "-m", "pytest", *PARALLEL, "tests/scenarios/test_rest_schema.py", "-m", "soak")
    everywhere = ("tests", "--ignore=tests/scenarios/reliability", "-m", "in_turn and (soak or not soak)")
    session.run("python", "-m", "pytest", *PARALLEL, *everywhere)


@nox.session
def profile(session: nox.Session) -> None:
    """Print where the time of a delivery is spent; the flame graphs are in reports/profile."""
    session.install("-e", ".[postgres,speed]", *group("bench"))
    for store in ("postgres", "sqlite"):
        session.run("python", "-m", "benchmarks.profile", "--store", store, *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and format."""
    session.install(*group("lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Check the types."""
    session.install(*PACKAGE, *group("test"), *group("lint"), "nox")
    session.run("mypy")


@nox.session
def imports(session: nox.Session) -> None:
    """Check that imports point down."""
    session.install(*PACKAGE, *group("lint"))
    session.run("lint-imports", "--no-cache")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation; a warning is an error."""
    session.install(*PACKAGE, *group("docs"))
    out = Path(session.create_tmp()) / "html"
    session.run("sphinx-build", "-q", "-E", "-j", "auto", "-W", "--keep-going", "-b", "html", "docs", str(out))


@nox.session
def wheel(session: nox.Session) -> None:
    """Build the wheel, install it alone into an empty environment, run the README's quickstart as it is printed."""
    quickstart = re.search(r"^```python\n(.*?)^```$", Path("README.md").read_text("utf-8"), re.DOTALL | re.MULTILINE)
    if quickstart is None:
        session.error("README.md has no Python snippet")
    session.install("build", "virtualenv")
    folder = Path(session.create_tmp()).resolve()
    shutil.rmtree(folder)
    session.run("python", "-m", "build", "--outdir", str(folder / "dist"))  # the wheel is made from the sdist
    session.run("virtualenv", "-q", str(folder / "clean"))
    python = str(folder / "clean" / "bin" / "python")
    (built,) = (folder / "dist").glob("*.whl")
    session.run(python, "-m", "pip", "install", "-q", str(built), external=True)
    (folder / "empty").mkdir()
    (folder / "quickstart.py").write_text(quickstart[1], "utf-8")
    with session.chdir(folder / "empty"):
        session.run(python, "../quickstart.py", external=True)
