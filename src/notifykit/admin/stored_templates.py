"""Templates that tenants store in place of the host's files: saved with every revision, and rolled back."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial

from ..changes import change
from ..errors import ConfigurationError, InvalidInputError, NotFoundError, TemplateError
from ..models import checks
from ..models.checks import MAX_ID
from ..models.template import MAX_STORED, MAX_TEXT, StoredTemplate, TemplateRevision, TenantTemplates, current_of
from ..policies.arguments import checked
from ..ports import Clock, Store

_ARGUMENTS: Mapping[str, checks.Check] = {
    "name": checks.text(most=MAX_ID),
    "text": checks.text(most=MAX_TEXT, empty=True, lines=True),
    "by": checks.text(most=MAX_ID, empty=True),
    "note": checks.prose,
    "to": checks.whole(1, 2**31 - 1),
}
_checked = partial(checked, refusal=InvalidInputError, **_ARGUMENTS)


class StoredTemplates:
    """The templates of tenants that are not in the host's folder.

    One takes the place of the host's file of the same name, from the next message on, in every process.  It is data
    that may come from the tenant: what could not be rendered is refused when it is saved.

    Args:
        folder: The host's templates; ``None`` if the kit has none.
    """

    def __init__(self, store: Store, clock: Clock, folder: str | None) -> None:
        self._store = store
        self._clock = clock
        self._folder = folder

    @_checked()
    async def save(self, name: str, text: str, *, tenant: str, by: str = "", note: str = "") -> StoredTemplate:
        """Store a template, or its next revision; one with the same text stays as it is.

        The last 20 revisions are kept, and at most 256 kB of them.

        Args:
            name: As in the host's folder: ``order.shipped/email.html``, ``_partials/footer.de.html``.
            by: Who saved it.
            note: Why.

        Raises:
            ConfigurationError: The kit has no templates.
            InvalidInputError: The tenant has too many.
            TemplateError: It is not the name of a template, or a message could not be made with it: it says which line
                is wrong.
        """
        text = text.replace("\r\n", "\n")
        others = await self._all(tenant)
        if len(others) >= MAX_STORED and name not in {each.id for each in others}:
            raise InvalidInputError([f"name: the tenant has {MAX_STORED} templates; remove one first"])
        await asyncio.to_thread(self._check, name, text, tenant, current_of(each for each in others if each.id != name))

        def revised(current: StoredTemplate) -> StoredTemplate:
            if current.revisions and current.current.text == text:
                return current
            return current.revised(text, at=self._clock.now(), by=by, note=note)

        return await change(lambda: self._read(name, tenant), revised, self._store.save)

    @_checked()
    async def get(self, name: str, *, tenant: str) -> StoredTemplate:
        """Return a template with its revisions.

        Raises:
            NotFoundError: The tenant has stored no such template.
        """
        found = await self._read(name, tenant)
        if found.version == 0:
            raise NotFoundError("template", name)
        return found

    @checked()
    async def list(self, *, tenant: str, limit: int = 50, after: str | None = None) -> Sequence[StoredTemplate]:
        """Return a page of the tenant's templates in the order of their names, from behind the name ``after``."""
        return await self._store.page(StoredTemplate, tenant, limit=limit, after=after)

    @_checked()
    async def history(self, name: str, *, tenant: str) -> tuple[TemplateRevision, ...]:
        """Return the revisions that are kept, the newest first.

        Raises:
            NotFoundError: The tenant has stored no such template.
        """
        return (await self.get(name, tenant=tenant)).revisions[::-1]

    @_checked()
    async def rollback(self, name: str, to: int, *, tenant: str, by: str = "", note: str = "") -> StoredTemplate:
        """Use the text of an earlier revision again, as a new revision.

        Args:
            to: The number of the revision.

        Raises:
            NotFoundError: The tenant has stored no such template, or the revision is not kept.
            TemplateError: It does not fit what has changed since, such as a file that it includes.
        """
        found = next((each for each in await self.history(name, tenant=tenant) if each.number == to), None)
        if found is None:
            raise NotFoundError(f"revision of template {name}", str(to))
        return await self.save(name, found.text, tenant=tenant, by=by, note=note or f"rolled back to {to}")

    @_checked()
    async def remove(self, name: str, *, tenant: str) -> bool:
        """Remove a template with its revisions, so that the host's file is used again; return whether there was one.

        Raises:
            TemplateError: Another one of the tenant's includes it.
        """
        others = [each for each in await self._all(tenant) if each.id != name]
        if (left := current_of(others)) is not None:
            await asyncio.to_thread(self._check, None, "", tenant, left)
        return await self._store.remove(StoredTemplate, tenant, name, now=self._clock.now())

    def _check(self, name: str | None, text: str, tenant: str, others: TenantTemplates | None) -> None:
        """Raise unless the messages of the tenant can be made with these templates, which takes a while for many.

        Args:
            name: The new one; ``None`` if there is none.
        """
        if self._folder is None:
            raise ConfigurationError("there are no templates: set templates= or NOTIFYKIT_TEMPLATES to a folder")
        if name is not None and name.startswith("_tenants/"):
            raise InvalidInputError(["name: is that of the host's file, without _tenants/"])
        from ..templates import Lint, Templates

        files = {} if others is None else dict(others.files)
        if name is not None:
            files[name] = text
        templates = Templates(self._folder).with_own(tenant, files)
        for finding in Lint(templates).of_tenant(tenant):
            if finding.code in ("template_failed", "empty"):
                place = finding.template + (f", line {finding.line}" if finding.line is not None else "")
                raise TemplateError(f"{place}: {finding.message}", template=finding.template, line=finding.line)

    async def _all(self, tenant: str) -> Sequence[StoredTemplate]:
        return await self._store.page(StoredTemplate, tenant, limit=MAX_STORED)

    async def _read(self, name: str, tenant: str) -> StoredTemplate:
        found = await self._store.get(StoredTemplate, tenant, [name])
        return found[0] if found else StoredTemplate(id=name, tenant=tenant, revisions=())
