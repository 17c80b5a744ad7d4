"""The portal: what a tenant sees of their endpoints and deliveries."""

from __future__ import annotations

from . import home

#: Every page of the portal.
PORTAL_PAGES = tuple(page for module in (home,) for page in module.PAGES.table)
