"""Compiles and renders templates: minijinja, inside of the limits.

An engine is for one locale of templates.  It never reads a file: what may be included was read and checked before.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

from minijinja import Environment
from minijinja import TemplateError as EngineError

from ..errors import TemplateError
from . import filters
from .limits import FUEL, PIECE
from .rendering import CURRENT, Problem, Rendering
from .syntax import FUNCTIONS, Place

#: The line of a description that says what went wrong in an included template, and where.
_CAUSE = re.compile(r"^caused by: (?:undefined value: )?(.*) \(in (.+):([0-9]+)\)$", re.MULTILINE)


class Places:
    """Numbers of places, which the compiled templates hand to filters."""

    def __init__(self) -> None:
        self._places: list[Place] = []

    def add(self, place: Place) -> int:
        """Keep a place; return its number."""
        self._places.append(place)
        return len(self._places) - 1

    def __getitem__(self, number: int) -> Place:
        return self._places[number]


class Engine:
    """Renders checked templates.

    Args:
        load: Returns the checked source for a name that a template includes.
        file_of: Returns the file behind a name, for errors.
        places: What the numbers in the sources mean.
    """

    def __init__(self, load: Callable[[str], str | None], file_of: Callable[[str], str], places: Places) -> None:
        self._file_of = file_of
        self._places = places
        self._environment = Environment(
            loader=load,
            fuel=FUEL,
            undefined_behavior="strict",
            auto_escape_callback=lambda name: name.endswith(".html"),
            trim_blocks=True,
            lstrip_blocks=True,
            pycompat=False,
            finalizer=_write,
        )
        for name in set(self._environment.globals) - FUNCTIONS:
            self._environment.remove_global(name)
        for name, function in filters.FILTERS.items():
            self._environment.add_filter(name, _placed(function, name, places))
        self._environment.add_filter("_at", _at)
        self._environment.add_filter("_piece", _piece)

    def render(self, name: str, rendering: Rendering, values: Mapping[str, Any]) -> str:
        """Return what a template makes of ``values``.

        Raises:
            TemplateError: The template failed, or went beyond a limit.
        """
        token = CURRENT.set(rendering)
        try:
            return str(self._environment.render_template(name, **values))
        except EngineError as error:
            raise self._explained(error, name) from error
        except Problem as problem:
            place = Place(self._file_of(name), 1) if rendering.place is None else self._places[rendering.place]
            raise place.error(str(problem)) from problem
        finally:
            CURRENT.reset(token)

    def variables(self, name: str) -> set[str]:
        """Return the names, with those of their fields, that a template uses and does not set.

        Raises:
            TemplateError: It cannot be compiled.
        """
        try:
            return set(self._environment.undeclared_variables_in_template(name, nested=True)) - FUNCTIONS
        except EngineError as error:
            raise self._explained(error, name) from error

    def _explained(self, error: EngineError, name: str) -> TemplateError:
        found: Any = error
        problem, template, line = found.detail or found.message, found.name or name, found.line or 1
        if found.kind == "BadInclude" and (causes := _CAUSE.findall(str(error))):
            problem, template, line = causes[-1]  # which the engine tells in its description only
        if found.kind == "OutOfFuel" or "ran out of fuel" in problem:
            problem = "the template takes too many steps"
        return Place(self._file_of(template), int(line)).error(problem)


def _placed(function: Callable[..., Any], name: str, places: Places) -> Callable[..., Any]:
    """Return a filter as the engine calls it: with the number of its place behind the value."""

    @wraps(function)
    def call(value: Any, place: int, *arguments: Any, **named: Any) -> Any:
        try:
            return function(CURRENT.get(), value, *arguments, **named)
        except Problem as problem:
            raise places[place].error(str(problem)) from problem
        except TypeError as error:
            raise places[place].error(f"takes other arguments: |{name}{_arguments(function)}") from error

    return call


def _arguments(function: Callable[..., Any]) -> str:
    given = list(inspect.signature(function).parameters.values())[2:]
    return "(" + ", ".join(str(each.replace(annotation=inspect.Parameter.empty)) for each in given) + ")"


def _at(place: int) -> str:
    CURRENT.get().place = place
    return ""


def _piece(value: str) -> str:
    CURRENT.get().make(PIECE)
    return value


def _write(value: Any) -> Any:
    return filters.write(CURRENT.get(), value)
