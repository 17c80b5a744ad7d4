"""``notifykit completion``: scripts that know every command, tried in the shells that are installed."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from notifykit.cli.commands import build
from notifykit.cli.completion import SHELLS, levels
from tests.unit.cli.driving import Command

#: What is typed before the cursor; what is offered, and what is not.
CASES = [
    ("notifykit end", ["endpoints"], ["end", "deliveries"]),
    ("notifykit endpoints l", ["list"], ["run", "create"]),
    ("notifykit --url endpoints del", ["deliveries"], ["delete"]),  # endpoints is the value of --url
    ("notifykit deliveries list --state de", ["dead", "delivered"], ["held"]),
    ("notifykit deliveries list --sta", ["--state"], ["--since"]),
    ("notifykit endpoints show --secret --js", ["--json"], []),  # a switch here
    ("notifykit endpoints create --secret list --eve", ["--events"], []),  # and an option with a value there
    ("notifykit completion ", ["bash", "zsh", "fish"], ["run"]),
]
#: How a shell is asked; zsh offers what fits, and leaves out the rest itself.
ASKED = {
    "bash": """source {script}
        COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _notifykit
        printf '%s\n' "${{COMPREPLY[@]}}"
        """,
    "zsh": """compdef() {{ }}; compadd() {{ shift; print -rl -- ${{(M)@:#$words[CURRENT]*}} }}; _files() {{ }}
        source {script}; words=({words}); CURRENT=$#words; _notifykit""",
    "fish": r"""source {script}; complete -C "{typed}" | string replace -r '\t.*' ''""",
}
INSTALLED = [shell for shell in SHELLS if shutil.which(shell)]


@pytest.fixture
def script(cli: Command, tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    file = tmp_path / "script"
    file.write_text(cli("completion", request.param).out, "utf-8")
    return file


@pytest.mark.parametrize("script", SHELLS, indirect=True)
def test_every_command_and_option_is_known(script: Path) -> None:
    """The script is made from the parser: nothing of it is missing."""
    text = script.read_text("utf-8")

    for level in levels(build()):
        assert level.path in text
        assert [] == [name for name in level.commands if name not in text]
        assert [] == [flag for flag in level.flags if flag.lstrip("-") not in text]


@pytest.mark.parametrize(("typed", "offered", "left_out"), CASES, ids=[case[0] for case in CASES])
@pytest.mark.parametrize(("shell", "script"), list(zip(INSTALLED, INSTALLED, strict=True)), indirect=["script"])
def test_the_shell_offers_what_fits(
    shell: str, script: Path, typed: str, offered: list[str], left_out: list[str], tmp_path: Path
) -> None:
    """Commands, options and closed lists of values, at the place where the cursor is."""
    words = " ".join(word or "''" for word in typed.split(" "))
    asked = ASKED[shell].format(script=script, words=words, typed=typed)

    environment = {**os.environ, "HOME": str(tmp_path)}
    done = subprocess.run([shell, "-c", asked], capture_output=True, text=True, check=False, env=environment)

    found = done.stdout.split()
    assert [] == [word for word in offered if word not in found]
    assert [] == [word for word in left_out if word in found]


def test_programs_get_it_as_a_record(cli: Command) -> None:
    """With ``--json`` the script is a field."""
    record = cli("completion", "bash", "--json").record

    assert ("bash", True) == (record["shell"], "complete -o default -F _notifykit notifykit" in record["script"])


def test_another_shell_is_a_usage_error(cli: Command) -> None:
    """The known ones are listed."""
    answer = cli("completion", "tcsh")

    assert 2 == answer.code
    assert "fish" in answer.err
