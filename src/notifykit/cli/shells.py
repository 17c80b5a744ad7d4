"""Completion scripts for bash, zsh and fish, generated from the words that may follow each command.

All three scripts read the words before the cursor in the same way: they skip the value of an option, and go one level
down at the name of a command.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Option(NamedTuple):
    """An option.

    Attributes:
        flags: ``-v``, ``--verbose``.
        takes_value: Whether a value follows.
        choices: The accepted values; empty if any text is accepted.
    """

    flags: tuple[str, ...]
    help: str
    takes_value: bool
    choices: tuple[str, ...]


class Level(NamedTuple):
    """The words that may follow a command.

    Attributes:
        path: The words of the command, such as ``endpoints list``; empty at the top.
        commands: Names of commands below, with their help.
        choices: The accepted arguments, if they are a closed list.
    """

    path: str
    commands: dict[str, str]
    options: tuple[Option, ...]
    choices: tuple[str, ...]

    @property
    def flags(self) -> list[str]:
        """All spellings of all options."""
        return [flag for option in self.options for flag in option.flags]

    @property
    def valued(self) -> list[str]:
        """Spellings of options that take a value."""
        return [flag for option in self.options if option.takes_value for flag in option.flags]


def bash(levels: Sequence[Level]) -> str:
    """Return the script for bash."""
    return f"""\
# Completion of notifykit for bash: source <(notifykit completion bash)
{_tables(levels)}
_notifykit() {{
    local cur=${{COMP_WORDS[COMP_CWORD]}} at="" before="" word i
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${{COMP_WORDS[i]}}
        if [[ -n $before && " $(_notifykit_valued "$at") " == *" $before "* ]]; then
            before=""
        elif [[ " $(_notifykit_commands "$at") " == *" $word "* ]]; then
            at="${{at:+$at }}$word" before=""
        else
            before=$word
        fi
    done
    local found
    if [[ -n $before && " $(_notifykit_valued "$at") " == *" $before "* ]]; then
        found=$(_notifykit_values "$at $before")
    elif [[ $cur == -* ]]; then
        found=$(_notifykit_options "$at")
    else
        found="$(_notifykit_commands "$at") $(_notifykit_values "$at")"
    fi
    COMPREPLY=($(compgen -W "$found" -- "$cur"))
}}
complete -o default -F _notifykit notifykit"""


def zsh(levels: Sequence[Level]) -> str:
    """Return the script for zsh."""
    return f"""\
#compdef notifykit
# Completion of notifykit for zsh: source <(notifykit completion zsh), after compinit
{_tables(levels)}
_notifykit() {{
    local cur=${{words[CURRENT]}} at="" before="" word found
    local -i i
    for ((i = 2; i < CURRENT; i++)); do
        word=${{words[i]}}
        if [[ -n $before && " $(_notifykit_valued "$at") " == *" $before "* ]]; then
            before=""
        elif [[ " $(_notifykit_commands "$at") " == *" $word "* ]]; then
            at="${{at:+$at }}$word" before=""
        else
            before=$word
        fi
    done
    if [[ -n $before && " $(_notifykit_valued "$at") " == *" $before "* ]]; then
        found=$(_notifykit_values "$at $before")
    elif [[ $cur == -* ]]; then
        found=$(_notifykit_options "$at")
    else
        found="$(_notifykit_commands "$at") $(_notifykit_values "$at")"
    fi
    if [[ -n ${{found// /}} ]]; then
        compadd -- ${{=found}}
    else
        _files
    fi
}}
if [[ ${{funcstack[1]}} == _notifykit ]]; then
    _notifykit "$@"
else
    compdef _notifykit notifykit
fi"""


def fish(levels: Sequence[Level]) -> str:
    """Return the script for fish."""
    lines = [
        "# Completion of notifykit for fish: notifykit completion fish > ~/.config/fish/completions/notifykit.fish",
        _fish_table("valued", ((level.path, level.valued) for level in levels)),
        _fish_table("commands", ((level.path, list(level.commands)) for level in levels)),
        _FISH_WALK,
    ]
    for level in levels:
        here = f"complete -c notifykit -n '__notifykit_at \"{level.path}\"'"
        for name, help in level.commands.items():
            lines.append(f"{here} -f -a {name} -d {_quoted(help)}")
        if level.choices:
            lines.append(f"{here} -f -a {_quoted(' '.join(level.choices))}")
        for option in level.options:
            names = " ".join(f"-l {f[2:]}" if f.startswith("--") else f"-s {f[1:]}" for f in option.flags)
            value = (
                f" -x -a {_quoted(' '.join(option.choices))}" if option.choices else " -r" if option.takes_value else ""
            )
            lines.append(f"{here} {names}{value} -d {_quoted(option.help)}")
    return "\n".join(lines)


_FISH_WALK = """\
function __notifykit_at
    set -l at ""
    set -l before ""
    for word in (commandline -opc)[2..]
        if test -n "$before"; and contains -- "$before" (__notifykit_valued "$at")
            set before ""
        else if contains -- "$word" (__notifykit_commands "$at")
            set at (string trim -- "$at $word")
            set before ""
        else
            set before "$word"
        end
    end
    test "$at" = "$argv[1]"
end"""


def _tables(levels: Sequence[Level]) -> str:
    """Return functions, for bash and zsh, that print the words of a level."""
    chosen = [(level.path, list(level.choices)) for level in levels if level.choices]
    chosen += [
        (f"{level.path} {flag}", list(option.choices))
        for level in levels
        for option in level.options
        for flag in option.flags
        if option.choices
    ]
    tables: list[tuple[str, Iterable[tuple[str, list[str]]]]] = [
        ("commands", ((level.path, list(level.commands)) for level in levels)),
        ("options", ((level.path, level.flags) for level in levels)),
        ("valued", ((level.path, level.valued) for level in levels)),
        ("values", chosen),
    ]
    return "\n".join(_table(name, rows) for name, rows in tables)


def _table(name: str, rows: Iterable[tuple[str, list[str]]]) -> str:
    cases = "\n".join(f"""        "{path}") echo "{" ".join(words)}" ;;""" for path, words in rows if words)
    return f'_notifykit_{name}() {{\n    case "$1" in\n{cases}\n    esac\n}}'


def _fish_table(name: str, rows: Iterable[tuple[str, list[str]]]) -> str:
    cases = "\n".join(
        f"        case '{path}'\n            string split ' ' -- '{' '.join(words)}'" for path, words in rows if words
    )
    return f'function __notifykit_{name}\n    switch "$argv[1]"\n{cases}\n    end\nend'


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", " ")
    return f"'{escaped}'"
