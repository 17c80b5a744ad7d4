"""The compiled form of the inner loop (see ADR 18): whether it is installed, and options for its compiler."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_extensions import mypyc_attr as mypyc_attr  # noqa: PLC0414 - others import it from here
else:

    def mypyc_attr(**_: object):  # noqa: ANN201 - the compiler goes by the other one
        """Decorate a class, and change nothing."""
        return lambda cls: cls


def is_compiled() -> bool:
    """Return whether this installation has the inner loop compiled."""
    spec = find_spec("notifykit.dispatch.sending.sender")
    return spec is not None and not (spec.origin or "").endswith(".py")
