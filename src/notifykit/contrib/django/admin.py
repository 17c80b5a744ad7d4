"""Pages of Django's admin: endpoints, deliveries and recipients of a tenant, and sending deliveries again.

They show what the default kit's store has (:func:`notifykit.configure`), one tenant at a time.  What is encrypted or a
secret is not shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.http import urlencode

from notifykit.contrib.django.models import Delivery, Endpoint, Recipient
from notifykit.default import default_kit
from notifykit.errors import NotFoundError, NotifykitError
from notifykit.models.delivery import DeliveryState
from notifykit.ports import DeliveryFilter

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from notifykit.blocking import Blocking

#: Rows of a page.
_PAGE = 50
_STATES = tuple(state.value for state in DeliveryState)


class _Pages(admin.ModelAdmin):  # type: ignore[type-arg]
    """A list of a tenant's objects, and a page of each.

    Attributes:
        columns: What the list shows of each.
        states: What the list can be filtered by.
    """

    columns: tuple[str, ...] = ()
    states: tuple[str, ...] = ()

    def get_urls(self) -> list[URLPattern]:
        """Return the two pages; those of Django's that edit, delete or read a table are not there."""
        name = f"{self.opts.app_label}_{self.opts.model_name}"
        view = self.admin_site.admin_view
        return [
            path("", view(self.changelist_view), name=f"{name}_changelist"),
            path("<path:object_id>/change/", view(self.changeform_view), name=f"{name}_change"),
        ]

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Return that nothing is made here."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return that nothing is edited here."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return that nothing is deleted here."""
        return False

    def page(self, kit: Blocking, tenant: str, state: str, start: str | None) -> Sequence[Any]:
        """Return the objects of a page, and one more if there is another page."""
        raise NotImplementedError

    def one(self, kit: Blocking, tenant: str, id_: str) -> Mapping[str, Any]:
        """Return what the page of an object shows: ``fields``, and more for its template."""
        raise NotImplementedError

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Show the list."""
        self._require(request)
        tenant = request.GET.get("tenant", "").strip()
        state = request.GET.get("state", "")
        found: Sequence[Any] = ()
        try:
            if tenant:
                start = request.GET.get("start") or None
                found = self.page(default_kit().blocking, tenant, state if state in self.states else "", start)
        except NotifykitError as error:
            messages.error(request, str(error))
        rows = [(each, [getattr(each, name, None) for name in self.columns]) for each in found[:_PAGE]]
        following = {"tenant": tenant, "state": state, "start": found[_PAGE - 1].id} if len(found) > _PAGE else None
        context = {
            "title": self.opts.verbose_name_plural,
            "columns": [name.replace("_", " ") for name in self.columns],
            "rows": rows,
            "tenant": tenant,
            "state": state,
            "states": self.states,
            "following": following and urlencode(following),
        }
        return self._shown(request, "admin/notifykit/list.html", {**context, **(extra_context or {})})

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show one object; a POST acts on it."""
        self._require(request)
        object_id = unquote(object_id or "")
        tenant = request.GET.get("tenant", "")
        try:
            if request.method == "POST":
                self.act(request, default_kit().blocking, tenant, object_id)
                return HttpResponseRedirect(request.get_full_path())
            found = self.one(default_kit().blocking, tenant, object_id)
        except NotFoundError:
            messages.error(request, f"{tenant or 'No tenant'} has no {object_id}")
            return HttpResponseRedirect(self._list_of(tenant))
        except NotifykitError as error:
            messages.error(request, str(error))
            return HttpResponseRedirect(self._list_of(tenant))
        context = {"title": object_id, "tenant": tenant, "object_id": object_id, **found, **(extra_context or {})}
        return self._shown(request, "admin/notifykit/one.html", context)

    def act(self, request: HttpRequest, kit: Blocking, tenant: str, id_: str) -> None:
        """Do what a form of the page asks for."""
        raise PermissionDenied

    def _list_of(self, tenant: str) -> str:
        listed = reverse(f"{self.admin_site.name}:{self.opts.app_label}_{self.opts.model_name}_changelist")
        return f"{listed}?{urlencode({'tenant': tenant})}"

    def _require(self, request: HttpRequest) -> None:
        if not self.has_view_permission(request):
            raise PermissionDenied

    def _shown(self, request: HttpRequest, template: str, context: Mapping[str, Any]) -> HttpResponse:
        return TemplateResponse(
            request, template, {**self.admin_site.each_context(request), "opts": self.opts, **context}
        )


@admin.register(Endpoint)
class EndpointPages(_Pages):
    """The endpoints of a tenant."""

    columns = ("id", "url", "state", "state_reason", "description")

    def page(self, kit: Blocking, tenant: str, state: str, start: str | None) -> Sequence[Any]:
        return kit.endpoints.list(tenant=tenant, limit=_PAGE + 1, after=start)

    def one(self, kit: Blocking, tenant: str, id_: str) -> Mapping[str, Any]:
        found = kit.endpoints.get(id_, tenant=tenant)
        names = (*self.columns, "created_at", "timeout", "rate_limit", "version")
        headers = ", ".join(found.headers)  # their values are credentials
        return {"fields": [*_fields(found, names), ("headers", headers)]}


@admin.register(Delivery)
class DeliveryPages(_Pages):
    """The deliveries of a tenant: their attempts, and sending them again."""

    columns = ("id", "event_type", "subscriber_id", "channel", "state", "reason", "attempts", "created_at")
    states = _STATES
    actions = ()

    def page(self, kit: Blocking, tenant: str, state: str, start: str | None) -> Sequence[Any]:
        wanted = DeliveryFilter(states={DeliveryState(state)}) if state else None
        return kit.deliveries.list(wanted, tenant=tenant, limit=_PAGE + 1, before=start)

    def one(self, kit: Blocking, tenant: str, id_: str) -> Mapping[str, Any]:
        found = kit.deliveries.get(id_, tenant=tenant)
        names = (*self.columns, "event_id", "priority", "generation", "due_at", "expires_at", "finished_at", "receipt")
        return {
            "fields": _fields(found, names),
            "attempts": kit.deliveries.attempts(id_, tenant=tenant),
            "may_resend": found.state.is_final,
        }

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Show the list; a POST sends what is ticked again."""
        if request.method != "POST":
            return super().changelist_view(request, {"can_resend": self._can_resend(request)})
        self._require(request)
        for id_ in request.POST.getlist("ids")[:_PAGE]:
            self.act(request, default_kit().blocking, request.GET.get("tenant", ""), id_)
        return HttpResponseRedirect(request.get_full_path())

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show a delivery; a POST sends it again."""
        return super().changeform_view(request, object_id, form_url, {"can_resend": self._can_resend(request)})

    def act(self, request: HttpRequest, kit: Blocking, tenant: str, id_: str) -> None:
        """Send a delivery again, and keep who did it in the admin's log."""
        if not self._can_resend(request):
            raise PermissionDenied
        try:
            kit.deliveries.redrive(id_, tenant=tenant)
        except NotifykitError as error:
            messages.error(request, str(error))
            return
        self.log_change(request, Delivery(id=id_), f"sent again, for the tenant {tenant}")
        messages.success(request, f"{id_} is sent again")

    @staticmethod
    def _can_resend(request: HttpRequest) -> bool:
        return cast("User", request.user).has_perm("notifykit.resend_delivery")


@admin.register(Recipient)
class RecipientPages(_Pages):
    """The recipients of a tenant."""

    columns = ("id", "name", "locale", "zone")

    def page(self, kit: Blocking, tenant: str, state: str, start: str | None) -> Sequence[Any]:
        return kit.recipients.list(tenant=tenant, limit=_PAGE + 1, after=start)

    def one(self, kit: Blocking, tenant: str, id_: str) -> Mapping[str, Any]:
        found = kit.recipients.get(id_, tenant=tenant)
        return {"fields": _fields(found, self.columns), "addresses": found.addresses}


def _fields(found: Any, names: Sequence[str]) -> list[tuple[str, Any]]:
    return [(name.replace("_", " "), getattr(found, name, None)) for name in names]
