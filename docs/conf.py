"""How Sphinx builds the documentation; warnings are errors (``python3 dev.py docs``)."""

from __future__ import annotations

import os
from typing import Any

import django
from django.conf import settings

# Django's models can be imported only in a project.
settings.configure(
    INSTALLED_APPS=[
        "django.contrib.admin",
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "notifykit.contrib.django",
    ]
)
django.setup()

# A name is described where it is defined: a package that exports it again would describe it twice.
MEMBERS = ("members", "show-inheritance", "ignore-module-all")
os.environ["SPHINX_APIDOC_OPTIONS"] = ",".join(MEMBERS)  # for packages, where Sphinx does not heed the setting below

project = "notifykit"
author = "The notifykit authors"
copyright = author

extensions = [
    "myst_parser",
    "sphinx.ext.apidoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
]
exclude_patterns = ["_build", "conftest.py"]
html_theme = "furo"
html_title = project

myst_enable_extensions = ["colon_fence", "deflist", "fieldlist"]
myst_heading_anchors = 3

suppress_warnings = [
    "ref.python",  # a name that its package exports again has two homes; either is a fine target
]

#: A page per module, so that no module can be forgotten; the table of contents is ``reference/index.md``.
apidoc_modules = [
    {
        "path": "../src/notifykit",
        "destination": "reference/api",
        "exclude_patterns": ["**/migrations/**", "**/__main__.py"],
        "separate_modules": True,
        "module_first": True,
        "automodule_options": MEMBERS,
    },
]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
# "Attributes:" becomes fields of the class's own entry; a second entry for each would be a duplicate.
napoleon_use_ivar = True


def _navigate_near(_app: object, _page: str, _template: str, context: dict[str, Any], _doctree: object) -> None:
    """Let a page's navigation open the branch of the page only: all modules on each of their pages take minutes."""
    toctree = context["toctree"]
    context["toctree"] = lambda **options: toctree(**{**options, "collapse": True})


def setup(app: Any) -> None:
    """Come before the theme, which asks for the whole tree."""
    app.connect("html-page-context", _navigate_near, priority=400)
