"""What templates see of an event's data: JSON values that have no methods, and that count how often they are walked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NoReturn

from ..errors import TemplateError
from .limits import MAX_TEXT, MAX_VALUES

#: Attributes that the engine itself reads.
_READ: Final = frozenset({"__class__"})


class LongText:
    """Stands for a text that is too long for templates: it may be in the data as long as none uses it."""

    def __init__(self, length: int) -> None:
        self.length = length


class Fields(dict[str, Any]):
    """An object of JSON.  Templates read its keys, and none of a dictionary's methods."""

    __slots__ = ()

    def __getattribute__(self, name: str) -> Any:
        if name in _READ:
            return dict.__getattribute__(self, name)
        raise AttributeError(name)

    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = None


class Items(list[Any]):
    """An array of JSON, as :class:`Fields`: to ask for its length, which precedes every walk over it, is counted."""

    __slots__ = ("step",)

    #: Set by the one that makes it.
    step: Callable[[int], None]

    def __getattribute__(self, name: str) -> Any:
        if name in _READ:
            return list.__getattribute__(self, name)
        raise AttributeError(name)

    def __len__(self) -> int:
        length = list.__len__(self)
        list.__getattribute__(self, "step")(length + 1)
        return length

    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = None


def length_of(value: Any) -> int:
    """Return a length without counting that it was asked for."""
    return list.__len__(value) if isinstance(value, list) else len(value)


class Wrapper:
    """Wraps the data of one rendering.

    Args:
        count: Counts steps; raises if there are too many.
    """

    def __init__(self, count: Callable[[int], None]) -> None:
        self._count = count
        self._left = MAX_VALUES

    def wrap(self, value: Any) -> Any:
        """Return JSON as templates see it.

        Raises:
            TemplateError: There are more values than templates take.
        """
        if isinstance(value, str):
            return value if len(value) <= MAX_TEXT else LongText(len(value))
        if isinstance(value, Mapping):
            self._take(len(value))
            return Fields((str(key), self.wrap(item)) for key, item in value.items())
        if isinstance(value, (list, tuple)):
            self._take(len(value))
            items = Items(map(self.wrap, value))
            items.step = self._count
            return items
        return value

    def _take(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            _refuse()


def _refuse() -> NoReturn:
    raise TemplateError(f"the event has more than {MAX_VALUES:,} values, which is more than templates take")
