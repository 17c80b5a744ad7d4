#!/usr/bin/env python3
"""Everything a developer does here, from a bare Python: standard library only.

    python3 dev.py demo [...]     see it work, on the embedded defaults
    python3 dev.py serve          start the example server: REST API, pages, dispatcher, demo data and a receiver
    python3 dev.py test [...]     run the tests (arguments go to pytest), with real servers where there are any; all of
                                  them run on all processors, `-n 0` or a chosen file in one process
    python3 dev.py bench [...]    run the benchmarks, compiled, on the fastest build of this Python that is on the PATH
    python3 dev.py docs           build the documentation
    python3 dev.py nox [...]      run any session of the noxfile, such as: nox -s lint types

Makes .venv (for benchmarks .bench/python) and installs what the verb needs into it; again only when pyproject.toml or
the Python has changed.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
PROJECT = HERE / "pyproject.toml"
VENV = HERE / ".venv"
#: The environment of the benchmarks: it may have another Python, and the package is compiled there.
BENCH = HERE / ".bench" / "python"
#: The first release that knows dependency groups.
PIP = "pip>=25.1"


class Verb(NamedTuple):
    """What a verb runs, and what has to be installed for it."""

    command: tuple[str, ...]
    extras: str = ""
    groups: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()

    @property
    def needs(self) -> list[str]:
        """The arguments of ``pip install``."""
        groups = [part for group in self.groups for part in ("--group", f"{PROJECT}:{group}")]
        return ["-e", f"{HERE}[{self.extras}]" if self.extras else str(HERE), *groups, *self.packages]


VERBS = {
    "demo": Verb(("-m", "notifykit", "demo"), extras="email,speed,testing"),
    "serve": Verb(("examples/server/app.py",), extras="email,server,speed"),
    "test": Verb(("-m", "pytest"), extras="all", groups=("test",)),
    "bench": Verb(("-m", "benchmarks"), extras="kafka,mysql,nats,postgres,rabbitmq,redis,speed", groups=("bench",)),
    "docs": Verb(
        ("-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", "docs", "docs/_build/html"),
        extras="all",
        groups=("docs",),
    ),
    "nox": Verb(("-m", "nox"), packages=("nox[uv]",)),
}


class Environment(NamedTuple):
    """A virtual environment, and the Python it is made of."""

    folder: Path
    base: str

    @property
    def python(self) -> Path:
        """Its own interpreter."""
        return self.folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")

    @property
    def stamp(self) -> Path:
        """The file that says what has been installed, and from which pyproject.toml."""
        return self.folder / "installed.json"


def main(arguments: Sequence[str]) -> int:
    """Install what the verb needs, then run it."""
    if not arguments or arguments[0] not in VERBS:
        print(__doc__, file=sys.stderr)
        return 2
    name, *rest = arguments
    base = fastest() if name == "bench" else sys.executable
    environment = Environment(BENCH if name == "bench" else VENV, base)
    try:
        install(name, VERBS[name], environment)
        if name == "bench":
            compile_into(environment)
    except subprocess.CalledProcessError as error:
        where = environment.folder.relative_to(HERE)
        print(f"dev.py: setting up {where} failed: {' '.join(map(str, error.cmd))}", file=sys.stderr)
        return 1
    options = in_parallel(rest) if name == "test" else []
    return run([str(environment.python), *VERBS[name].command, *options, *rest])


def in_parallel(arguments: Sequence[str]) -> list[str]:
    """Return the options that spread a whole test run over the processors; a chosen file runs in one process."""
    alone = {"-s", "-n", "--pdb", "--co", "--collect-only", "--last-failed", "--lf"}
    if any(word in alone or word.startswith("-n") or Path(word.split("::")[0]).exists() for word in arguments):
        return []
    # One process more than there are processors: some tests wait, for leases to expire and servers to start.
    return ["-n", str((os.cpu_count() or 1) + 1), "--dist", "loadgroup"]


#: Prints how long a piece of ordinary Python takes, in microseconds, and which interpreter that was.
PROBE = """
import os, sys, time, venv
class Box:
    def __init__(self, value): self.value = value
    def more(self, by): return Box(self.value + by)
def work():
    box, seen, started = Box(0), {}, time.perf_counter()
    for at in range(50_000):
        box = box.more(at & 7)
        seen[at & 255] = box.value
    return time.perf_counter() - started
print(int(min(work() for _ in range(5)) * 1e6), os.path.realpath(getattr(sys, "_base_executable", sys.executable)))
"""


def fastest() -> str:
    """Return the fastest build of this version of Python on the PATH: this one, unless another is faster by a tenth.

    Distributions and container images optimise theirs with a profile; one that was compiled by hand often is not,
    which takes a fifth to a third of the speed of everything that is written in Python.
    """
    name = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    found = [shutil.which(name, path=folder) for folder in os.get_exec_path()]
    took: dict[str, int] = {}
    for candidate in [sys.executable, *filter(None, found)] * 2:
        probe = subprocess.run([candidate, "-c", PROBE], check=False, capture_output=True, text=True)
        if not probe.returncode:
            microseconds, path = probe.stdout.split(maxsplit=1)
            took[path.strip()] = min(int(microseconds), took.get(path.strip(), sys.maxsize))
    ours = next(iter(took))
    best = min(took, key=lambda path: took[path])
    if took[best] > 0.9 * took[ours]:
        return sys.executable
    print(f"dev.py: measuring on {best}, which is {took[ours] / took[best]:.1f} x as fast as {ours}", file=sys.stderr)
    return best


def install(name: str, verb: Verb, into: Environment) -> None:
    """Make the environment and install what the verb needs, unless that has been done."""
    base = os.path.realpath(into.base)
    origin = hashlib.sha256(PROJECT.read_bytes() + f"{VERBS} {HERE} {sys.version} {base}".encode()).hexdigest()
    done = installed(origin, into)
    if name in done:
        return
    where = into.folder.relative_to(HERE)
    print(f"dev.py: installing what `{name}` needs into {where} ...", file=sys.stderr, flush=True)
    if not done:
        make_environment(shutil.which("uv"), into)
    pip_install(into, *verb.needs)
    into.stamp.write_text(json.dumps({"origin": origin, "verbs": [*done, name]}))


def pip_install(into: Environment, *needs: str) -> None:
    """Install packages."""
    uv = shutil.which("uv")
    pip = [uv, "pip", "install", "-p", str(into.python)] if uv else [str(into.python), "-m", "pip", "install"]
    subprocess.run([*pip, "-q", *needs], check=True, cwd=HERE)


def installed(origin: str, into: Environment) -> list[str]:
    """Return the verbs whose needs were installed from the pyproject.toml and the Python at hand."""
    try:
        stamp = json.loads(into.stamp.read_text())
    except (OSError, ValueError):
        return []
    return list(stamp["verbs"]) if stamp["origin"] == origin else []


#: Whether a Python has what compiling for it takes.
CAN_COMPILE = "import os, sysconfig; print(os.path.exists(os.path.join(sysconfig.get_paths()['include'], 'Python.h')))"


def compile_into(into: Environment) -> None:
    """Put the compiled package in the place of the sources, unless it is there; without a compiler the sources stay."""
    files = sorted((HERE / "src").rglob("*.py"))
    texts = b"".join(file.read_bytes() for file in [PROJECT, HERE / "hatch_build.py", *files])
    made_of, stamp = hashlib.sha256(texts).hexdigest(), into.folder / "compiled.txt"
    if stamp.exists() and stamp.read_text() == made_of:
        return
    headers = subprocess.run([into.python, "-c", CAN_COMPILE], check=True, capture_output=True, text=True)
    if headers.stdout.strip() == "True" and any(map(shutil.which, ("cc", "gcc", "clang"))):
        print("dev.py: compiling the inner loop, about a minute ...", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory() as folder:
            asks = {**os.environ, "HATCH_BUILD_HOOKS_ENABLE": "1"}
            pip = [str(into.python), "-m", "pip", "wheel", "-q", "--no-deps", "-w"]
            uv = shutil.which("uv")
            make = [uv, "build", "-q", "--wheel", "-p", str(into.python), "-o"] if uv else pip
            subprocess.run([*make, folder, str(HERE)], check=True, env=asks)
            pip_install(into, "--no-deps", "--force-reinstall", *map(str, Path(folder).glob("*.whl")))
        stamp.write_text(made_of)
        return
    print("dev.py: no C compiler, or no headers of this Python: measuring the interpreted code", file=sys.stderr)
    if stamp.exists():
        pip_install(into, "--no-deps", "-e", str(HERE))
        stamp.unlink()


def make_environment(uv: str | None, wanted: Environment) -> None:
    """Make an empty environment, with a pip that is new enough where uv does not take its place."""
    shutil.rmtree(wanted.folder, ignore_errors=True)
    if uv:
        subprocess.run([uv, "venv", "-q", "--no-python-downloads", "-p", wanted.base, str(wanted.folder)], check=True)
        return
    make = [wanted.base, "-m", "venv", str(wanted.folder)]
    if subprocess.run(make, check=False, capture_output=True).returncode == 0:
        subprocess.run([str(wanted.python), "-m", "pip", "install", "-q", "-U", PIP], check=True)
        return
    # Debian without python3-venv: no ensurepip inside, but perhaps a pip outside.
    subprocess.run([*make, "--without-pip", "--clear"], check=True)
    outside = [sys.executable, "-m", "pip", "--python", str(wanted.python), "install", "-q", PIP]
    if subprocess.run(outside, check=False).returncode:
        sys.exit("dev.py: this Python has neither ensurepip nor pip; on Debian: apt-get install python3-venv")


def variables() -> dict[str, str]:
    """Return the environment of what is run: in it, compiled Python files are always kept.

    Tests start hundreds of processes, and one that has to compile all it imports takes seconds instead of tenths of
    them.  Who wants no such files beside the sources finds them in .venv.
    """
    given = dict(os.environ)
    if given.pop("PYTHONDONTWRITEBYTECODE", ""):
        given.setdefault("PYTHONPYCACHEPREFIX", str(VENV / "pycache"))
    return given


def run(command: Sequence[str]) -> int:
    """Run the command to its end; a Ctrl-C is the command's to handle."""
    with subprocess.Popen(command, cwd=HERE, env=variables()) as process:
        while True:
            try:
                return process.wait()
            except KeyboardInterrupt:
                continue


if __name__ == "__main__":
    if sys.version_info < (3, 11):  # noqa: UP036 - this file also meets Pythons that the package does not support
        sys.exit("dev.py: Python 3.11 or newer is needed, this is " + sys.version.split()[0])
    try:
        raise SystemExit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        raise SystemExit(130) from None
