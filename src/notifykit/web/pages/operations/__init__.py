"""The operators' pages: how the system is doing, for all tenants."""

from __future__ import annotations

from . import audit, dead_letters, explain, overview

#: Every page of the operators.
OPERATIONS_PAGES = tuple(page for module in (overview, dead_letters, explain, audit) for page in module.PAGES.table)
