"""The preference centre: what a person is told, where and when; nobody sees it but the person."""

from __future__ import annotations

from . import home

#: Every page of the preference centre.
PREFERENCE_PAGES = home.PAGES.table
