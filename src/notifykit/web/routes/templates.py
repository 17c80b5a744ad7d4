"""Templates that a tenant has stored in place of the host's files.

Names have slashes, so that they are in the query or in the body, not in the path.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import attrs

from ...errors import InvalidInputError, NotFoundError, TemplateError
from ...models.access import AccessScope
from ...models.checks import MAX_DESCRIPTION, MAX_ID, prose, text, whole
from ...models.template import MAX_TEXT, StoredTemplate, TemplateRevision
from ..route import Call, PageOf, PageQuery, Routes, described, page_of

ROUTES = Routes("Templates")
_name = text(most=MAX_ID)
_NAME = {"minLength": 1, "maxLength": MAX_ID}
_who = text(most=MAX_ID, empty=True)
_NUMBER = 2**31 - 1


@attrs.frozen(kw_only=True)
class TemplateView:
    """A template of a tenant, without its text.

    Attributes:
        name: As in the host's folder: ``order.shipped/email.de.html``.
        revision: The number of the revision that is used.
        at: When it was saved.
        by: Who saved it.
        note: Why.
    """

    name: str
    revision: int
    at: datetime
    by: str
    note: str

    @classmethod
    def of(cls, template: StoredTemplate) -> TemplateView:
        """Return what is shown of a template."""
        its = template.current
        return cls(name=template.name, revision=its.number, at=its.at, by=its.by, note=its.note)


@attrs.frozen(kw_only=True)
class RevisionView:
    """One text of a template.

    Attributes:
        revision: Its number, from 1.
        at: When it was saved.
        by: Who saved it.
        note: Why.
    """

    revision: int
    text: str
    at: datetime
    by: str
    note: str

    @classmethod
    def of(cls, its: TemplateRevision) -> RevisionView:
        """Return what is shown of a revision."""
        return cls(revision=its.number, text=its.text, at=its.at, by=its.by, note=its.note)


@attrs.frozen(kw_only=True)
class TemplateQuery:
    """Which template.

    Attributes:
        name: As in the host's folder: ``order.shipped/email.de.html``.
    """

    name: str = described(_name, **_NAME)


@ROUTES.add("GET", "/v1/templates", AccessScope.TEMPLATES_READ, query=PageQuery, answer=PageOf(TemplateView))
async def list_templates(call: Call) -> Any:
    """List what the tenant has stored in place of the host's files, by names."""
    query: PageQuery = call.query
    found = await call.kit.templates.list(tenant=call.tenant, limit=query.limit + 1, after=query.cursor)
    page = page_of(found, query.limit, lambda each: each)
    return page._replace(items=[TemplateView.of(each) for each in page.items if each.revisions])


@ROUTES.add(
    "GET", "/v1/templates/history", AccessScope.TEMPLATES_READ, query=TemplateQuery, answer=tuple[RevisionView, ...]
)
async def list_template_revisions(call: Call) -> Any:
    """List the revisions of a template that are kept, newest first: the first one is used."""
    return [*map(RevisionView.of, await call.kit.templates.history(call.query.name, tenant=call.tenant))]


@attrs.frozen(kw_only=True)
class NewRevision:
    """The text of a template.

    Attributes:
        name: As in the host's folder: ``order.shipped/email.de.html``.
        by: Who saves it; by default the caller.
        note: Why.
    """

    name: str = described(_name, **_NAME)
    text: str = described(text(most=MAX_TEXT, empty=True, lines=True), maxLength=MAX_TEXT)
    by: str = described(_who, default="", maxLength=MAX_ID)
    note: str = described(prose, default="", maxLength=MAX_DESCRIPTION)


@ROUTES.add("PUT", "/v1/templates", AccessScope.TEMPLATES_WRITE, body=NewRevision, answer=TemplateView)
async def set_template(call: Call) -> Any:
    """Store a template, or its next revision: it is used from the next message on.

    One that could not be rendered is refused. The last 20 revisions are kept.
    """
    new: NewRevision = call.body
    call.about(new.name)
    with _wrong_templates("text"):
        saved = await call.kit.templates.save(
            new.name, new.text, tenant=call.tenant, by=new.by or _caller(call), note=new.note
        )
    return TemplateView.of(saved)


@attrs.frozen(kw_only=True)
class Rollback:
    """Which revision is used again.

    Attributes:
        name: As in the host's folder: ``order.shipped/email.de.html``.
        to: The number of the revision.
        by: Who says so; by default the caller.
        note: Why.
    """

    name: str = described(_name, **_NAME)
    to: int = described(whole(1, _NUMBER), minimum=1, maximum=_NUMBER)
    by: str = described(_who, default="", maxLength=MAX_ID)
    note: str = described(prose, default="", maxLength=MAX_DESCRIPTION)


@ROUTES.add("POST", "/v1/templates/rollback", AccessScope.TEMPLATES_WRITE, body=Rollback, answer=TemplateView)
async def rollback_template(call: Call) -> Any:
    """Use the text of an earlier revision again, as a new revision."""
    asked: Rollback = call.body
    call.about(asked.name)
    with _wrong_templates("to"):
        saved = await call.kit.templates.rollback(
            asked.name, asked.to, tenant=call.tenant, by=asked.by or _caller(call), note=asked.note
        )
    return TemplateView.of(saved)


@ROUTES.add("DELETE", "/v1/templates", AccessScope.TEMPLATES_WRITE, query=TemplateQuery)
async def remove_template(call: Call) -> None:
    """Remove a template with its revisions: the host's file is used again."""
    name = call.query.name
    call.about(name)
    with _wrong_templates("query.name"):
        if not await call.kit.templates.remove(name, tenant=call.tenant):
            raise NotFoundError("template", name)


def _caller(call: Call) -> str:
    return call.caller.subject[:MAX_ID]


@contextmanager
def _wrong_templates(path: str) -> Iterator[None]:
    """Tell what is wrong with templates as a problem of the input."""
    try:
        yield
    except TemplateError as error:
        raise InvalidInputError([f"{path}: {error}"]) from error
