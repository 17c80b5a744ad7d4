"""``notifykit completion``: a script for a shell, generated from the parser, so that it always fits the commands."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from . import shells
from .failures import OK
from .parser import Commands

if TYPE_CHECKING:
    from .context import Context

SHELLS: dict[str, Callable[[list[shells.Level]], str]] = {
    "bash": shells.bash,
    "zsh": shells.zsh,
    "fish": shells.fish,
}


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.command(
        "completion",
        partial(completion, commands.parser),
        help="print a script that completes commands in your shell",
        description="Print a script with which bash, zsh or fish completes commands and options. Load it in each "
        "shell, or put it where the shell looks for such scripts.",
        example="source <(notifykit completion bash)                       # in ~/.bashrc\n"
        "source <(notifykit completion zsh)                        # in ~/.zshrc, after compinit\n"
        "notifykit completion fish > ~/.config/fish/completions/notifykit.fish",
    )
    parser.add_argument("shell", choices=tuple(SHELLS), help="bash, zsh or fish")


def completion(root: argparse.ArgumentParser, context: Context) -> int:
    """Print the script."""
    shell = context.args.shell
    script = SHELLS[shell](list(levels(root)))
    context.out.answer({"shell": shell, "script": script}, script)
    return OK


class _Found(NamedTuple):
    parser: argparse.ArgumentParser
    help: str


def levels(parser: argparse.ArgumentParser, path: str = "") -> Iterator[shells.Level]:
    """Yield the words that may follow each command, from the top level down."""
    below: dict[str, _Found] = {}
    options: list[shells.Option] = []
    choices: list[str] = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            helps = {choice.dest: choice.help or "" for choice in action._choices_actions}
            below = {name: _Found(found, helps.get(name, "")) for name, found in action.choices.items()}
        elif action.option_strings:
            takes = action.nargs != 0
            values = tuple(map(str, action.choices or ()))
            options.append(shells.Option(tuple(action.option_strings), action.help or "", takes, values))
        else:
            choices += map(str, action.choices or ())
    commands = {name: found.help for name, found in below.items()}
    yield shells.Level(path, commands, tuple(options), tuple(choices))
    for name, found in below.items():
        yield from levels(found.parser, f"{path} {name}".strip())
