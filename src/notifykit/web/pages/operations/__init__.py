"""The operators' pages: how the system is doing, for all tenants."""

from __future__ import annotations

from . import audit, dead_letters, explain, overview, tenants

#: Every page of the operators.
OPERATIONS_PAGES = tuple(
    page for module in (overview, tenants, dead_letters, explain, audit) for page in module.PAGES.table
)
