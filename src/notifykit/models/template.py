"""Templates that a tenant has stored, with what they were before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import NamedTuple

import attrs

from .checks import MAX_ID, field_check, instance, instant, many, prose, tenant, text, whole

#: Templates that a tenant may have.
MAX_STORED = 1000
#: Revisions that are kept, and characters of all of them.
MAX_REVISIONS, MAX_KEPT = 20, 256 * 1024
#: Characters of a text.
MAX_TEXT = 64 * 1024
_TEXT, _WHO = text(most=MAX_TEXT, empty=True, lines=True), text(most=MAX_ID, empty=True)


@attrs.frozen(kw_only=True)
class TemplateRevision:
    """One text of a template.

    Attributes:
        number: From 1; it never comes back.
        by: Who saved it.
        note: Why.
    """

    number: int = attrs.field(validator=field_check(whole(1, 2**31 - 1)))
    text: str = attrs.field(validator=field_check(_TEXT), repr=False)
    at: datetime = attrs.field(validator=field_check(instant))
    by: str = attrs.field(default="", validator=field_check(_WHO))
    note: str = attrs.field(default="", validator=field_check(prose))


def _revisions(values: Iterable[TemplateRevision]) -> tuple[TemplateRevision, ...]:
    return tuple(values)


@attrs.frozen(kw_only=True)
class StoredTemplate:
    """A template of a tenant, which takes the place of the host's file of this name.

    Attributes:
        id: The name: ``order.shipped/email.html``.
        revisions: The oldest first; the last one is used.
        version: How often it has been saved; 0 until it is.
    """

    id: str = attrs.field(validator=field_check(text(most=MAX_ID)))
    tenant: str = attrs.field(validator=field_check(tenant))
    revisions: tuple[TemplateRevision, ...] = attrs.field(
        converter=_revisions,
        validator=field_check(many(instance(TemplateRevision), most=MAX_REVISIONS, what="revisions")),
    )
    version: int = 0

    @property
    def name(self) -> str:
        """The same as ``id``."""
        return self.id

    @property
    def current(self) -> TemplateRevision:
        """The revision that is used."""
        return self.revisions[-1]

    def revised(self, text: str, *, at: datetime, by: str, note: str) -> StoredTemplate:
        """Return the template with another text; the oldest revisions make room."""
        number = self.revisions[-1].number + 1 if self.revisions else 1
        revisions = [*self.revisions, TemplateRevision(number=number, text=text, at=at, by=by, note=note)]
        while len(revisions) > MAX_REVISIONS or sum(len(each.text) for each in revisions) > MAX_KEPT:
            del revisions[0]
        return attrs.evolve(self, revisions=revisions)


class TenantTemplates(NamedTuple):
    """The texts that a tenant has stored, as renderers get them.

    Attributes:
        version: Changes with any of the texts.
        files: By name.
        unreadable: The names of those whose rows are damaged.
    """

    version: str
    files: Mapping[str, str]
    unreadable: tuple[str, ...] = ()


def current_of(stored: Iterable[StoredTemplate]) -> TenantTemplates | None:
    """Return the texts that are used; ``None`` if there are none."""
    templates = list(stored)
    if not templates:
        return None
    return TenantTemplates(
        ",".join(f"{each.id}@{each.version}" for each in templates),
        {each.id: each.current.text for each in templates if each.revisions},
        tuple(each.id for each in templates if not each.revisions),
    )
