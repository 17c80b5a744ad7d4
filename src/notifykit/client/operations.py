"""A method for each operation of the API.

Generated: python -m docs.generate_client
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Unpack, cast

from . import shapes


class Operations(ABC):
    """The operations, for sync code.

    Each raises what :meth:`Client.request` raises.  An operator's key needs ``tenant``, unless the client has one.
    """

    @abstractmethod
    def operate(
        self,
        method: str,
        path: str,
        values: Mapping[str, str],
        *,
        body: Any = None,
        query: Mapping[str, Any] | None = None,
        tenant: str | None = None,
        if_match: str | None = None,
        idempotency_key: str | None = None,
    ) -> Any:
        """Send a request.

        Args:
            path: With the names of ``values`` in braces.
        """

    def publish_events(
        self,
        body: shapes.NewEvent | Sequence[shapes.NewEvent],
        *,
        idempotency_key: str | None = None,
        tenant: str | None = None,
    ) -> shapes.PublishedEvent | Sequence[shapes.PublishedEvent]:
        """Publish one event, or a list of up to 1,000."""
        return cast(
            "shapes.PublishedEvent | Sequence[shapes.PublishedEvent]",
            self.operate("POST", "/v1/events", {}, body=body, idempotency_key=idempotency_key, tenant=tenant),
        )

    def list_events(self, *, tenant: str | None = None, **query: Unpack[shapes.ListEventsQuery]) -> shapes.EventPage:
        """List events, newest first."""
        return cast(
            "shapes.EventPage",
            self.operate("GET", "/v1/events", {}, query=cast("Mapping[str, Any]", query), tenant=tenant),
        )

    def notify_person(
        self, *, idempotency_key: str | None = None, tenant: str | None = None, **body: Unpack[shapes.NewNotification]
    ) -> shapes.QueuedNotification:
        """Tell a person something, over the channels that they want."""
        return cast(
            "shapes.QueuedNotification",
            self.operate("POST", "/v1/notifications", {}, body=body, idempotency_key=idempotency_key, tenant=tenant),
        )

    def send_message(
        self, *, idempotency_key: str | None = None, tenant: str | None = None, **body: Unpack[shapes.NewMessage]
    ) -> shapes.QueuedNotification:
        """Send a message made of a template to one or several persons."""
        return cast(
            "shapes.QueuedNotification",
            self.operate("POST", "/v1/send", {}, body=body, idempotency_key=idempotency_key, tenant=tenant),
        )

    def notify(
        self,
        *,
        idempotency_key: str | None = None,
        tenant: str | None = None,
        **body: Unpack[shapes.SimpleNotification],
    ) -> shapes.QueuedNotification:
        """Tell a person something: a simple shape, for programs that have it already."""
        return cast(
            "shapes.QueuedNotification",
            self.operate("POST", "/notify", {}, body=body, idempotency_key=idempotency_key, tenant=tenant),
        )

    def send_notification(
        self, *, idempotency_key: str | None = None, tenant: str | None = None, **body: Unpack[shapes.SendNotification]
    ) -> shapes.QueuedNotification:
        """Tell a person something: another simple shape."""
        return cast(
            "shapes.QueuedNotification",
            self.operate("POST", "/send_notification", {}, body=body, idempotency_key=idempotency_key, tenant=tenant),
        )

    def list_notifications(
        self, *, tenant: str | None = None, **query: Unpack[shapes.ListNotificationsQuery]
    ) -> Sequence[shapes.Notification]:
        """List a person's notifications, newest first: the simple shape of an inbox."""
        return cast(
            "Sequence[shapes.Notification]",
            self.operate("GET", "/notifications", {}, query=cast("Mapping[str, Any]", query), tenant=tenant),
        )

    def update_notification_preferences(
        self, *, tenant: str | None = None, **body: Unpack[shapes.PreferenceUpdate]
    ) -> shapes.PreferencesUpdated:
        """Turn channels on or off for a person: the simple shape of preferences."""
        return cast(
            "shapes.PreferencesUpdated",
            self.operate("POST", "/update_notification_preferences", {}, body=body, tenant=tenant),
        )

    def get_health(self) -> shapes.Health:
        """Return that the process answers; it asks nothing else."""
        return cast("shapes.Health", self.operate("GET", "/healthz", {}))

    def get_readiness(self) -> shapes.Health:
        """Return that the store answers as well."""
        return cast("shapes.Health", self.operate("GET", "/readyz", {}))

    def get_stats(self) -> shapes.Stats:
        """Return how much work of all tenants waits."""
        return cast("shapes.Stats", self.operate("GET", "/v1/stats", {}))

    def list_workers(self, **query: Unpack[shapes.ListWorkersQuery]) -> shapes.WorkerPage:
        """List the workers: those that deliver, and for a day those that died."""
        return cast("shapes.WorkerPage", self.operate("GET", "/v1/workers", {}, query=cast("Mapping[str, Any]", query)))

    def list_tenants(self, **query: Unpack[shapes.ListTenantsQuery]) -> shapes.TenantPage:
        """List tenants in the order of their names."""
        return cast("shapes.TenantPage", self.operate("GET", "/v1/tenants", {}, query=cast("Mapping[str, Any]", query)))

    def list_inbox(
        self, user_id: str, *, tenant: str | None = None, **query: Unpack[shapes.ListInboxQuery]
    ) -> shapes.InboxPage:
        """List a person's inbox, newest first."""
        return cast(
            "shapes.InboxPage",
            self.operate(
                "GET",
                "/v1/inbox/{user_id}",
                {"user_id": user_id},
                query=cast("Mapping[str, Any]", query),
                tenant=tenant,
            ),
        )

    def count_inbox(self, user_id: str, *, tenant: str | None = None) -> shapes.Counts:
        """Return how many items are unseen and unread."""
        return cast(
            "shapes.Counts", self.operate("GET", "/v1/inbox/{user_id}/counts", {"user_id": user_id}, tenant=tenant)
        )

    def mark_inbox(self, user_id: str, *, tenant: str | None = None, **body: Unpack[shapes.MarkBody]) -> shapes.Marked:
        """Mark items as seen, read, unread, archived, unarchived, snoozed or unsnoozed."""
        return cast(
            "shapes.Marked",
            self.operate("POST", "/v1/inbox/{user_id}/marks", {"user_id": user_id}, body=body, tenant=tenant),
        )

    def list_inbox_changes(
        self, user_id: str, *, tenant: str | None = None, **query: Unpack[shapes.ListInboxChangesQuery]
    ) -> shapes.Changes:
        """Return what is new and what has changed since a cursor: with one call a client has caught up."""
        return cast(
            "shapes.Changes",
            self.operate(
                "GET",
                "/v1/inbox/{user_id}/changes",
                {"user_id": user_id},
                query=cast("Mapping[str, Any]", query),
                tenant=tenant,
            ),
        )

    def get_preferences(self, user_id: str, *, tenant: str | None = None) -> shapes.Preferences:
        """Return what a person wants, and what that comes to for each type of event and channel."""
        return cast(
            "shapes.Preferences", self.operate("GET", "/v1/preferences/{user_id}", {"user_id": user_id}, tenant=tenant)
        )

    def put_preferences(
        self,
        user_id: str,
        *,
        if_match: str | None = None,
        tenant: str | None = None,
        **body: Unpack[shapes.PreferencesBody],
    ) -> shapes.Preferences:
        """Save what a person wants, in one step; with ``If-Match`` only if it has not changed since."""
        return cast(
            "shapes.Preferences",
            self.operate(
                "PUT", "/v1/preferences/{user_id}", {"user_id": user_id}, body=body, if_match=if_match, tenant=tenant
            ),
        )

    def mute(self, user_id: str, *, tenant: str | None = None, **body: Unpack[shapes.MuteBody]) -> shapes.Preferences:
        """Send a person nothing to which everything given applies."""
        return cast(
            "shapes.Preferences",
            self.operate("POST", "/v1/preferences/{user_id}/mute", {"user_id": user_id}, body=body, tenant=tenant),
        )

    def unmute(self, user_id: str, *, tenant: str | None = None, **body: Unpack[shapes.MuteBody]) -> shapes.Preferences:
        """End the mute that was made with the same names; ``until`` does not count."""
        return cast(
            "shapes.Preferences",
            self.operate("POST", "/v1/preferences/{user_id}/unmute", {"user_id": user_id}, body=body, tenant=tenant),
        )

    def record_consent(
        self, user_id: str, *, tenant: str | None = None, **body: Unpack[shapes.ConsentBody]
    ) -> shapes.Preferences:
        """Record that a person agrees to a purpose, or withdraws their consent."""
        return cast(
            "shapes.Preferences",
            self.operate("POST", "/v1/preferences/{user_id}/consents", {"user_id": user_id}, body=body, tenant=tenant),
        )

    def explain_person(
        self, recipient_id: str, *, tenant: str | None = None, **query: Unpack[shapes.ExplainPersonQuery]
    ) -> shapes.PersonExplanation:
        """Explain why a person was told of an event or was not, or whether they would be."""
        return cast(
            "shapes.PersonExplanation",
            self.operate(
                "GET",
                "/v1/recipients/{recipient_id}/explain",
                {"recipient_id": recipient_id},
                query=cast("Mapping[str, Any]", query),
                tenant=tenant,
            ),
        )

    def get_event(self, event_id: str, *, tenant: str | None = None) -> shapes.Event:
        """Return an event."""
        return cast("shapes.Event", self.operate("GET", "/v1/events/{event_id}", {"event_id": event_id}, tenant=tenant))

    def explain_event(
        self, event_id: str, *, tenant: str | None = None, **query: Unpack[shapes.ExplainEventQuery]
    ) -> shapes.EventExplanation:
        """Explain which endpoints got an event, which did not, and why."""
        return cast(
            "shapes.EventExplanation",
            self.operate(
                "GET",
                "/v1/events/{event_id}/explain",
                {"event_id": event_id},
                query=cast("Mapping[str, Any]", query),
                tenant=tenant,
            ),
        )

    def list_event_types(
        self, *, tenant: str | None = None, **query: Unpack[shapes.ListEventTypesQuery]
    ) -> shapes.EventTypePage:
        """List the types of events that programs have declared, by name."""
        return cast(
            "shapes.EventTypePage",
            self.operate("GET", "/v1/event-types", {}, query=cast("Mapping[str, Any]", query), tenant=tenant),
        )

    def get_event_type(self, name: str, *, tenant: str | None = None) -> shapes.EventType:
        """Return a type of event."""
        return cast("shapes.EventType", self.operate("GET", "/v1/event-types/{name}", {"name": name}, tenant=tenant))

    def put_event_type(self, name: str, **body: Unpack[shapes.EventTypeBody]) -> shapes.EventType:
        """Save a type of event, for all tenants; other processes know it within five seconds."""
        return cast("shapes.EventType", self.operate("PUT", "/v1/event-types/{name}", {"name": name}, body=body))

    def delete_event_type(self, name: str) -> None:
        """Remove a type of event; events of it can be published as before, without its schema and its steps."""
        self.operate("DELETE", "/v1/event-types/{name}", {"name": name})

    def create_endpoint(
        self, *, tenant: str | None = None, **body: Unpack[shapes.NewEndpoint]
    ) -> shapes.EndpointWithSecret:
        """Create an endpoint; the answer has its signing secret."""
        return cast("shapes.EndpointWithSecret", self.operate("POST", "/v1/endpoints", {}, body=body, tenant=tenant))

    def list_endpoints(
        self, *, tenant: str | None = None, **query: Unpack[shapes.ListEndpointsQuery]
    ) -> shapes.EndpointPage:
        """List endpoints in the order of their creation."""
        return cast(
            "shapes.EndpointPage",
            self.operate("GET", "/v1/endpoints", {}, query=cast("Mapping[str, Any]", query), tenant=tenant),
        )

    def get_endpoint(self, endpoint_id: str, *, tenant: str | None = None) -> shapes.Endpoint:
        """Return an endpoint."""
        return cast(
            "shapes.Endpoint",
            self.operate("GET", "/v1/endpoints/{endpoint_id}", {"endpoint_id": endpoint_id}, tenant=tenant),
        )

    def update_endpoint(
        self, endpoint_id: str, *, tenant: str | None = None, **body: Unpack[shapes.EndpointChanges]
    ) -> shapes.Endpoint:
        """Change an endpoint; deliveries that wait use the new settings."""
        return cast(
            "shapes.Endpoint",
            self.operate(
                "PATCH", "/v1/endpoints/{endpoint_id}", {"endpoint_id": endpoint_id}, body=body, tenant=tenant
            ),
        )

    def delete_endpoint(self, endpoint_id: str, *, tenant: str | None = None) -> None:
        """Remove an endpoint with its subscriptions; what waits for it is cancelled."""
        self.operate("DELETE", "/v1/endpoints/{endpoint_id}", {"endpoint_id": endpoint_id}, tenant=tenant)

    def pause_endpoint(
        self, endpoint_id: str, *, tenant: str | None = None, **body: Unpack[shapes.Reason]
    ) -> shapes.Endpoint:
        """Keep deliveries waiting; none is lost."""
        return cast(
            "shapes.Endpoint",
            self.operate(
                "POST", "/v1/endpoints/{endpoint_id}/pause", {"endpoint_id": endpoint_id}, body=body, tenant=tenant
            ),
        )

    def disable_endpoint(
        self, endpoint_id: str, *, tenant: str | None = None, **body: Unpack[shapes.Reason]
    ) -> shapes.Endpoint:
        """Stop deliveries: new ones are suppressed, waiting ones cancelled."""
        return cast(
            "shapes.Endpoint",
            self.operate(
                "POST", "/v1/endpoints/{endpoint_id}/disable", {"endpoint_id": endpoint_id}, body=body, tenant=tenant
            ),
        )

    def resume_endpoint(self, endpoint_id: str, *, tenant: str | None = None) -> shapes.Endpoint:
        """Deliver again; what was held is due at once."""
        return cast(
            "shapes.Endpoint",
            self.operate("POST", "/v1/endpoints/{endpoint_id}/resume", {"endpoint_id": endpoint_id}, tenant=tenant),
        )

    def rotate_secret(
        self, endpoint_id: str, *, tenant: str | None = None, **body: Unpack[shapes.SecretRotation]
    ) -> shapes.EndpointWithSecret:
        """Add a new signing secret; the answer has it."""
        return cast(
            "shapes.EndpointWithSecret",
            self.operate(
                "POST", "/v1/endpoints/{endpoint_id}/rotate", {"endpoint_id": endpoint_id}, body=body, tenant=tenant
            ),
        )

    def test_endpoint(self, endpoint_id: str, *, tenant: str | None = None) -> shapes.PublishedEvent:
        """Send a test event to this endpoint alone."""
        return cast(
            "shapes.PublishedEvent",
            self.operate("POST", "/v1/endpoints/{endpoint_id}/test", {"endpoint_id": endpoint_id}, tenant=tenant),
        )

    def get_endpoint_health(self, endpoint_id: str, *, tenant: str | None = None) -> shapes.EndpointHealth:
        """Return how an endpoint is doing: its circuit, and its newest deliveries."""
        return cast(
            "shapes.EndpointHealth",
            self.operate("GET", "/v1/endpoints/{endpoint_id}/health", {"endpoint_id": endpoint_id}, tenant=tenant),
        )

    def recover_endpoint(
        self, endpoint_id: str, *, tenant: str | None = None, **body: Unpack[shapes.Recovery]
    ) -> shapes.Moved:
        """Send everything again that did not arrive at an endpoint since a time."""
        return cast(
            "shapes.Moved",
            self.operate(
                "POST", "/v1/endpoints/{endpoint_id}/recover", {"endpoint_id": endpoint_id}, body=body, tenant=tenant
            ),
        )

    def create_subscription(
        self, *, tenant: str | None = None, **body: Unpack[shapes.NewSubscription]
    ) -> shapes.Subscription:
        """Subscribe an endpoint, a recipient, or an address."""
        return cast("shapes.Subscription", self.operate("POST", "/v1/subscriptions", {}, body=body, tenant=tenant))

    def list_subscriptions(
        self, *, tenant: str | None = None, **query: Unpack[shapes.ListSubscriptionsQuery]
    ) -> shapes.SubscriptionPage:
        """List subscriptions in the order of their ids."""
        return cast(
            "shapes.SubscriptionPage",
            self.operate("GET", "/v1/subscriptions", {}, query=cast("Mapping[str, Any]", query), tenant=tenant),
        )

    def get_subscription(self, subscription_id: str, *, tenant: str | None = None) -> shapes.Subscription:
        """Return a subscription."""
        return cast(
            "shapes.Subscription",
            self.operate(
                "GET", "/v1/subscriptions/{subscription_id}", {"subscription_id": subscription_id}, tenant=tenant
            ),
        )

    def update_subscription(
        self, subscription_id: str, *, tenant: str | None = None, **body: Unpack[shapes.SubscriptionUpdate]
    ) -> shapes.Subscription:
        """Change a subscription."""
        return cast(
            "shapes.Subscription",
            self.operate(
                "PATCH",
                "/v1/subscriptions/{subscription_id}",
                {"subscription_id": subscription_id},
                body=body,
                tenant=tenant,
            ),
        )

    def delete_subscription(self, subscription_id: str, *, tenant: str | None = None) -> None:
        """Remove a subscription; deliveries that exist stay."""
        self.operate(
            "DELETE", "/v1/subscriptions/{subscription_id}", {"subscription_id": subscription_id}, tenant=tenant
        )

    def get_subscription_warnings(self, subscription_id: str, *, tenant: str | None = None) -> Sequence[shapes.Warning]:
        """Return why no event is to be expected for a subscription; usually nothing."""
        return cast(
            "Sequence[shapes.Warning]",
            self.operate(
                "GET",
                "/v1/subscriptions/{subscription_id}/warnings",
                {"subscription_id": subscription_id},
                tenant=tenant,
            ),
        )

    def try_subscription(self, *, tenant: str | None = None, **body: Unpack[shapes.Trial]) -> shapes.TrialResult:
        """Try conditions on an event, without storing either."""
        return cast("shapes.TrialResult", self.operate("POST", "/v1/subscriptions/try", {}, body=body, tenant=tenant))

    def list_deliveries(
        self, *, tenant: str | None = None, **query: Unpack[shapes.ListDeliveriesQuery]
    ) -> shapes.DeliveryPage:
        """List deliveries, newest first."""
        return cast(
            "shapes.DeliveryPage",
            self.operate("GET", "/v1/deliveries", {}, query=cast("Mapping[str, Any]", query), tenant=tenant),
        )

    def get_delivery(self, delivery_id: str, *, tenant: str | None = None) -> shapes.Delivery:
        """Return a delivery."""
        return cast(
            "shapes.Delivery",
            self.operate("GET", "/v1/deliveries/{delivery_id}", {"delivery_id": delivery_id}, tenant=tenant),
        )

    def list_attempts(self, delivery_id: str, *, tenant: str | None = None) -> Sequence[shapes.Attempt]:
        """List the attempts of a delivery, in order."""
        return cast(
            "Sequence[shapes.Attempt]",
            self.operate("GET", "/v1/deliveries/{delivery_id}/attempts", {"delivery_id": delivery_id}, tenant=tenant),
        )

    def resend_delivery(self, delivery_id: str, *, tenant: str | None = None) -> shapes.Delivery:
        """Send an ended delivery again: the same id and the same bytes."""
        return cast(
            "shapes.Delivery",
            self.operate("POST", "/v1/deliveries/{delivery_id}/resend", {"delivery_id": delivery_id}, tenant=tenant),
        )

    def cancel_delivery(self, delivery_id: str, *, tenant: str | None = None) -> shapes.Delivery:
        """Cancel a delivery that waits."""
        return cast(
            "shapes.Delivery",
            self.operate("POST", "/v1/deliveries/{delivery_id}/cancel", {"delivery_id": delivery_id}, tenant=tenant),
        )

    def list_dead_letters(
        self, *, tenant: str | None = None, **query: Unpack[shapes.ListDeadLettersQuery]
    ) -> shapes.DeliveryPage:
        """List deliveries that were given up, newest first."""
        return cast(
            "shapes.DeliveryPage",
            self.operate("GET", "/v1/dead-letters", {}, query=cast("Mapping[str, Any]", query), tenant=tenant),
        )

    def redrive_dead_letters(self, *, tenant: str | None = None, **body: Unpack[shapes.Redrive]) -> shapes.Moved:
        """Send dead letters again."""
        return cast("shapes.Moved", self.operate("POST", "/v1/dead-letters/redrive", {}, body=body, tenant=tenant))

    def list_recipients(
        self, *, tenant: str | None = None, **query: Unpack[shapes.ListRecipientsQuery]
    ) -> shapes.RecipientPage:
        """List persons in the order of their ids."""
        return cast(
            "shapes.RecipientPage",
            self.operate("GET", "/v1/recipients", {}, query=cast("Mapping[str, Any]", query), tenant=tenant),
        )

    def get_recipient(self, recipient_id: str, *, tenant: str | None = None) -> shapes.Recipient:
        """Return a person."""
        return cast(
            "shapes.Recipient",
            self.operate("GET", "/v1/recipients/{recipient_id}", {"recipient_id": recipient_id}, tenant=tenant),
        )

    def put_recipient(
        self,
        recipient_id: str,
        *,
        if_match: str | None = None,
        tenant: str | None = None,
        **body: Unpack[shapes.RecipientFields],
    ) -> shapes.Recipient:
        """Save a person: a new one, or in place of what was said before."""
        return cast(
            "shapes.Recipient",
            self.operate(
                "PUT",
                "/v1/recipients/{recipient_id}",
                {"recipient_id": recipient_id},
                body=body,
                if_match=if_match,
                tenant=tenant,
            ),
        )

    def patch_recipient(
        self,
        recipient_id: str,
        *,
        if_match: str | None = None,
        tenant: str | None = None,
        **body: Unpack[shapes.RecipientFields],
    ) -> shapes.Recipient:
        """Change what is given of a person, and keep the rest; ``null`` removes."""
        return cast(
            "shapes.Recipient",
            self.operate(
                "PATCH",
                "/v1/recipients/{recipient_id}",
                {"recipient_id": recipient_id},
                body=body,
                if_match=if_match,
                tenant=tenant,
            ),
        )

    def delete_recipient(self, recipient_id: str, *, tenant: str | None = None) -> None:
        """Remove a person with their subscriptions; what waits for them is cancelled, and history stays."""
        self.operate("DELETE", "/v1/recipients/{recipient_id}", {"recipient_id": recipient_id}, tenant=tenant)

    def export_recipient(self, recipient_id: str, *, tenant: str | None = None) -> Mapping[str, Any]:
        """Return everything that is known of a person (GDPR, article 15)."""
        return cast(
            "Mapping[str, Any]",
            self.operate("GET", "/v1/recipients/{recipient_id}/export", {"recipient_id": recipient_id}, tenant=tenant),
        )

    def erase_recipient(self, recipient_id: str, *, tenant: str | None = None) -> shapes.Erased:
        """Delete everything that is known of a person, with the history (GDPR, article 17)."""
        return cast(
            "shapes.Erased",
            self.operate("POST", "/v1/recipients/{recipient_id}/erase", {"recipient_id": recipient_id}, tenant=tenant),
        )

    def add_address(
        self, recipient_id: str, *, tenant: str | None = None, **body: Unpack[shapes.NewAddress]
    ) -> shapes.Recipient:
        """Add an address of a person; one that is there already keeps its state."""
        return cast(
            "shapes.Recipient",
            self.operate(
                "POST",
                "/v1/recipients/{recipient_id}/addresses",
                {"recipient_id": recipient_id},
                body=body,
                tenant=tenant,
            ),
        )

    def act_on_address(
        self, recipient_id: str, *, tenant: str | None = None, **body: Unpack[shapes.AddressAction]
    ) -> shapes.Recipient:
        """Remove, suppress, unsuppress or verify an address of a person."""
        return cast(
            "shapes.Recipient",
            self.operate(
                "POST",
                "/v1/recipients/{recipient_id}/addresses/actions",
                {"recipient_id": recipient_id},
                body=body,
                tenant=tenant,
            ),
        )

    def list_suppressions(
        self, *, tenant: str | None = None, **query: Unpack[shapes.ListSuppressionsQuery]
    ) -> shapes.SuppressionPage:
        """List the addresses that must not be used, in the order of their ids."""
        return cast(
            "shapes.SuppressionPage",
            self.operate("GET", "/v1/suppressions", {}, query=cast("Mapping[str, Any]", query), tenant=tenant),
        )

    def add_suppression(
        self, *, tenant: str | None = None, **body: Unpack[shapes.NewSuppression]
    ) -> shapes.Suppression:
        """Stop using an address, whoever it belongs to; what is there for the same reason is replaced."""
        return cast("shapes.Suppression", self.operate("POST", "/v1/suppressions", {}, body=body, tenant=tenant))

    def check_suppression(
        self, *, tenant: str | None = None, **body: Unpack[shapes.CheckedAddress]
    ) -> shapes.SuppressionCheck:
        """Return what the list says of an address."""
        return cast(
            "shapes.SuppressionCheck", self.operate("POST", "/v1/suppressions/check", {}, body=body, tenant=tenant)
        )

    def remove_suppression(
        self, *, tenant: str | None = None, **body: Unpack[shapes.AllowedAddress]
    ) -> shapes.SuppressionRemoved:
        """Use an address again."""
        return cast(
            "shapes.SuppressionRemoved", self.operate("POST", "/v1/suppressions/remove", {}, body=body, tenant=tenant)
        )

    def list_templates(
        self, *, tenant: str | None = None, **query: Unpack[shapes.ListTemplatesQuery]
    ) -> shapes.TemplatePage:
        """List what the tenant has stored in place of the host's files, by names."""
        return cast(
            "shapes.TemplatePage",
            self.operate("GET", "/v1/templates", {}, query=cast("Mapping[str, Any]", query), tenant=tenant),
        )

    def set_template(self, *, tenant: str | None = None, **body: Unpack[shapes.NewRevision]) -> shapes.Template:
        """Store a template, or its next revision: it is used from the next message on."""
        return cast("shapes.Template", self.operate("PUT", "/v1/templates", {}, body=body, tenant=tenant))

    def remove_template(self, *, tenant: str | None = None, **query: Unpack[shapes.RemoveTemplateQuery]) -> None:
        """Remove a template with its revisions: the host's file is used again."""
        self.operate("DELETE", "/v1/templates", {}, query=cast("Mapping[str, Any]", query), tenant=tenant)

    def list_template_revisions(
        self, *, tenant: str | None = None, **query: Unpack[shapes.ListTemplateRevisionsQuery]
    ) -> Sequence[shapes.Revision]:
        """List the revisions of a template that are kept, newest first: the first one is used."""
        return cast(
            "Sequence[shapes.Revision]",
            self.operate("GET", "/v1/templates/history", {}, query=cast("Mapping[str, Any]", query), tenant=tenant),
        )

    def rollback_template(self, *, tenant: str | None = None, **body: Unpack[shapes.Rollback]) -> shapes.Template:
        """Use the text of an earlier revision again, as a new revision."""
        return cast("shapes.Template", self.operate("POST", "/v1/templates/rollback", {}, body=body, tenant=tenant))

    def create_key(self, *, tenant: str | None = None, **body: Unpack[shapes.NewKey]) -> shapes.KeyWithSecret:
        """Create a key of this tenant; the answer has its secret."""
        return cast("shapes.KeyWithSecret", self.operate("POST", "/v1/keys", {}, body=body, tenant=tenant))

    def list_keys(self, *, tenant: str | None = None, **query: Unpack[shapes.ListKeysQuery]) -> shapes.KeyPage:
        """List the keys of this tenant in the order of their creation."""
        return cast(
            "shapes.KeyPage", self.operate("GET", "/v1/keys", {}, query=cast("Mapping[str, Any]", query), tenant=tenant)
        )

    def get_key(self, key_id: str, *, tenant: str | None = None) -> shapes.Key:
        """Return a key."""
        return cast("shapes.Key", self.operate("GET", "/v1/keys/{key_id}", {"key_id": key_id}, tenant=tenant))

    def revoke_key(self, key_id: str, *, tenant: str | None = None) -> None:
        """Remove a key; a process that used it may accept it for a few more seconds."""
        self.operate("DELETE", "/v1/keys/{key_id}", {"key_id": key_id}, tenant=tenant)

    def rotate_key(
        self, key_id: str, *, tenant: str | None = None, **body: Unpack[shapes.KeyRotation]
    ) -> shapes.KeyWithSecret:
        """Give a key a new secret; the answer has it."""
        return cast(
            "shapes.KeyWithSecret",
            self.operate("POST", "/v1/keys/{key_id}/rotate", {"key_id": key_id}, body=body, tenant=tenant),
        )

    def create_portal_link(
        self, *, tenant: str | None = None, **body: Unpack[shapes.NewPortalLink]
    ) -> shapes.PortalLink:
        """Create a link that opens this tenant's portal; the session ends with the key that asks for it."""
        return cast("shapes.PortalLink", self.operate("POST", "/v1/portal-links", {}, body=body, tenant=tenant))

    def list_audit_log(self, **query: Unpack[shapes.ListAuditLogQuery]) -> shapes.AuditEntryPage:
        """List what callers did, newest first."""
        return cast(
            "shapes.AuditEntryPage", self.operate("GET", "/v1/audit", {}, query=cast("Mapping[str, Any]", query))
        )


class AsyncOperations(ABC):
    """The operations, for async code.

    Each raises what :meth:`AsyncClient.request` raises.  An operator's key needs ``tenant``, unless the client has one.
    """

    @abstractmethod
    async def operate(
        self,
        method: str,
        path: str,
        values: Mapping[str, str],
        *,
        body: Any = None,
        query: Mapping[str, Any] | None = None,
        tenant: str | None = None,
        if_match: str | None = None,
        idempotency_key: str | None = None,
    ) -> Any:
        """Send a request.

        Args:
            path: With the names of ``values`` in braces.
        """

    async def publish_events(
        self,
        body: shapes.NewEvent | Sequence[shapes.NewEvent],
        *,
        idempotency_key: str | None = None,
        tenant: str | None = None,
    ) -> shapes.PublishedEvent | Sequence[shapes.PublishedEvent]:
        """Publish one event, or a list of up to 1,000."""
        return cast(
            "shapes.PublishedEvent | Sequence[shapes.PublishedEvent]",
            await self.operate("POST", "/v1/events", {}, body=body, idempotency_key=idempotency_key, tenant=tenant),
        )

    async def list_events(
        self, *, tenant: str | None = None, **query: Unpack[shapes.ListEventsQuery]
    ) -> shapes.EventPage:
        """List events, newest first."""
        return cast(
            "shapes.EventPage",
            await self.operate("GET", "/v1/events", {}, query=cast("Mapping[str, Any]", query), tenant=tenant),
        )

    async def notify_person(
        self, *, idempotency_key: str | None = None, tenant: str | None = None, **body: Unpack[shapes.NewNotification]
    ) -> shapes.QueuedNotification:
        """Tell a person something, over the channels that they want."""
        return cast(
            "shapes.QueuedNotification",
            await self.operate(
                "POST", "/v1/notifications", {}, body=body, idempotency_key=idempotency_key, tenant=tenant
            ),
        )

    async def send_message(
        self, *, idempotency_key: str | None = None, tenant: str | None = None, **body: Unpack[shapes.NewMessage]
    ) -> shapes.QueuedNotification:
        """Send a message made of a template to one or several persons."""
        return cast(
            "shapes.QueuedNotification",
            await self.operate("POST", "/v1/send", {}, body=body, idempotency_key=idempotency_key, tenant=tenant),
        )

    async def notify(
        self,
        *,
        idempotency_key: str | None = None,
        tenant: str | None = None,
        **body: Unpack[shapes.SimpleNotification],
    ) -> shapes.QueuedNotification:
        """Tell a person something: a simple shape, for programs that have it already."""
        return cast(
            "shapes.QueuedNotification",
            await self.operate("POST", "/notify", {}, body=body, idempotency_key=idempotency_key, tenant=tenant),
        )

    async def send_notification(
        self, *, idempotency_key: str | None = None, tenant: str | None = None, **body: Unpack[shapes.SendNotification]
    ) -> shapes.QueuedNotification:
        """Tell a person something: another simple shape."""
        return cast(
            "shapes.QueuedNotification",
            await self.operate(
                "POST", "/send_notification", {}, body=body, idempotency_key=idempotency_key, tenant=tenant
            ),
        )

    async def list_notifications(
        self, *, tenant: str | None = None, **query: Unpack[shapes.ListNotificationsQuery]
    ) -> Sequence[shapes.Notification]:
        """List a person's notifications, newest first: the simple shape of an inbox."""
        return cast(
            "Sequence[shapes.Notification]",
            await self.operate("GET", "/notifications", {}, query=cast("Mapping[str, Any]", query), tenant=tenant),
        )

    async def update_notification_preferences(
        self, *, tenant: str | None = None, **body: Unpack[shapes.PreferenceUpdate]
    ) -> shapes.PreferencesUpdated:
        """Turn channels on or off for a person: the simple shape of preferences."""
        return cast(
            "shapes.PreferencesUpdated",
            await self.operate("POST", "/update_notification_preferences", {}, body=body, tenant=tenant),
        )

    async def get_health(self) -> shapes.Health:
        """Return that the process answers; it asks nothing else."""
        return cast("shapes.Health", await self.operate("GET", "/healthz", {}))

    async def get_readiness(self) -> shapes.Health:
        """Return that the store answers as well."""
        return cast("shapes.Health", await self.operate("GET", "/readyz", {}))

    async def get_stats(self) -> shapes.Stats:
        """Return how much work of all tenants waits."""
        return cast("shapes.Stats", await self.operate("GET", "/v1/stats", {}))

    async def list_workers(self, **query: Unpack[shapes.ListWorkersQuery]) -> shapes.WorkerPage:
        """List the workers: those that deliver, and for a day those that died."""
        return cast(
            "shapes.WorkerPage", await self.operate("GET", "/v1/workers", {}, query=cast("Mapping[str, Any]", query))
        )

    async def list_tenants(self, **query: Unpack[shapes.ListTenantsQuery]) -> shapes.TenantPage:
        """List tenants in the order of their names."""
        return cast(
            "shapes.TenantPage", await self.operate("GET", "/v1/tenants", {}, query=cast("Mapping[str, Any]", query))
        )

    async def list_inbox(
        self, user_id: str, *, tenant: str | None = None, **query: Unpack[shapes.ListInboxQuery]
    ) -> shapes.InboxPage:
        """List a person's inbox, newest first."""
        return cast(
            "shapes.InboxPage",
            await self.operate(
                "GET",
                "/v1/inbox/{user_id}",
                {"user_id": user_id},
                query=cast("Mapping[str, Any]", query),
                tenant=tenant,
            ),
        )

    async def count_inbox(self, user_id: str, *, tenant: str | None = None) -> shapes.Counts:
        """Return how many items are unseen and unread."""
        return cast(
            "shapes.Counts",
            await self.operate("GET", "/v1/inbox/{user_id}/counts", {"user_id": user_id}, tenant=tenant),
        )

    async def mark_inbox(
        self, user_id: str, *, tenant: str | None = None, **body: Unpack[shapes.MarkBody]
    ) -> shapes.Marked:
        """Mark items as seen, read, unread, archived, unarchived, snoozed or unsnoozed."""
        return cast(
            "shapes.Marked",
            await self.operate("POST", "/v1/inbox/{user_id}/marks", {"user_id": user_id}, body=body, tenant=tenant),
        )

    async def list_inbox_changes(
        self, user_id: str, *, tenant: str | None = None, **query: Unpack[shapes.ListInboxChangesQuery]
    ) -> shapes.Changes:
        """Return what is new and what has changed since a cursor: with one call a client has caught up."""
        return cast(
            "shapes.Changes",
            await self.operate(
                "GET",
                "/v1/inbox/{user_id}/changes",
                {"user_id": user_id},
                query=cast("Mapping[str, Any]", query),
                tenant=tenant,
            ),
        )

    async def get_preferences(self, user_id: str, *, tenant: str | None = None) -> shapes.Preferences:
        """Return what a person wants, and what that comes to for each type of event and channel."""
        return cast(
            "shapes.Preferences",
            await self.operate("GET", "/v1/preferences/{user_id}", {"user_id": user_id}, tenant=tenant),
        )

    async def put_preferences(
        self,
        user_id: str,
        *,
        if_match: str | None = None,
        tenant: str | None = None,
        **body: Unpack[shapes.PreferencesBody],
    ) -> shapes.Preferences:
        """Save what a person wants, in one step; with ``If-Match`` only if it has not changed since."""
        return cast(
            "shapes.Preferences",
            await self.operate(
                "PUT", "/v1/preferences/{user_id}", {"user_id": user_id}, body=body, if_match=if_match, tenant=tenant
            ),
        )

    async def mute(
        self, user_id: str, *, tenant: str | None = None, **body: Unpack[shapes.MuteBody]
    ) -> shapes.Preferences:
        """Send a person nothing to which everything given applies."""
        return cast(
            "shapes.Preferences",
            await self.operate(
                "POST", "/v1/preferences/{user_id}/mute", {"user_id": user_id}, body=body, tenant=tenant
            ),
        )

    async def unmute(
        self, user_id: str, *, tenant: str | None = None, **body: Unpack[shapes.MuteBody]
    ) -> shapes.Preferences:
        """End the mute that was made with the same names; ``until`` does not count."""
        return cast(
            "shapes.Preferences",
            await self.operate(
                "POST", "/v1/preferences/{user_id}/unmute", {"user_id": user_id}, body=body, tenant=tenant
            ),
        )

    async def record_consent(
        self, user_id: str, *, tenant: str | None = None, **body: Unpack[shapes.ConsentBody]
    ) -> shapes.Preferences:
        """Record that a person agrees to a purpose, or withdraws their consent."""
        return cast(
            "shapes.Preferences",
            await self.operate(
                "POST", "/v1/preferences/{user_id}/consents", {"user_id": user_id}, body=body, tenant=tenant
            ),
        )

    async def explain_person(
        self, recipient_id: str, *, tenant: str | None = None, **query: Unpack[shapes.ExplainPersonQuery]
    ) -> shapes.PersonExplanation:
        """Explain why a person was told of an event or was not, or whether they would be."""
        return cast(
            "shapes.PersonExplanation",
            await self.operate(
                "GET",
                "/v1/recipients/{recipient_id}/explain",
                {"recipient_id": recipient_id},
                query=cast("Mapping[str, Any]", query),
                tenant=tenant,
            ),
        )

    async def get_event(self, event_id: str, *, tenant: str | None = None) -> shapes.Event:
        """Return an event."""
        return cast(
            "shapes.Event", await self.operate("GET", "/v1/events/{event_id}", {"event_id": event_id}, tenant=tenant)
        )

    async def explain_event(
        self, event_id: str, *, tenant: str | None = None, **query: Unpack[shapes.ExplainEventQuery]
    ) -> shapes.EventExplanation:
        """Explain which endpoints got an event, which did not, and why."""
        return cast(
            "shapes.EventExplanation",
            await self.operate(
                "GET",
                "/v1/events/{event_id}/explain",
                {"event_id": event_id},
                query=cast("Mapping[str, Any]", query),
                tenant=tenant,
            ),
        )

    async def list_event_types(
        self, *, tenant: str | None = None, **query: Unpack[shapes.ListEventTypesQuery]
    ) -> shapes.EventTypePage:
        """List the types of events that programs have declared, by name."""
        return cast(
            "shapes.EventTypePage",
            await self.operate("GET", "/v1/event-types", {}, query=cast("Mapping[str, Any]", query), tenant=tenant),
        )

    async def get_event_type(self, name: str, *, tenant: str | None = None) -> shapes.EventType:
        """Return a type of event."""
        return cast(
            "shapes.EventType", await self.operate("GET", "/v1/event-types/{name}", {"name": name}, tenant=tenant)
        )

    async def put_event_type(self, name: str, **body: Unpack[shapes.EventTypeBody]) -> shapes.EventType:
        """Save a type of event, for all tenants; other processes know it within five seconds."""
        return cast("shapes.EventType", await self.operate("PUT", "/v1/event-types/{name}", {"name": name}, body=body))

    async def delete_event_type(self, name: str) -> None:
        """Remove a type of event; events of it can be published as before, without its schema and its steps."""
        await self.operate("DELETE", "/v1/event-types/{name}", {"name": name})

    async def create_endpoint(
        self, *, tenant: str | None = None, **body: Unpack[shapes.NewEndpoint]
    ) -> shapes.EndpointWithSecret:
        """Create an endpoint; the answer has its signing secret."""
        return cast(
            "shapes.EndpointWithSecret", await self.operate("POST", "/v1/endpoints", {}, body=body, tenant=tenant)
        )

    async def list_endpoints(
        self, *, tenant: str | None = None, **query: Unpack[shapes.ListEndpointsQuery]
    ) -> shapes.EndpointPage:
        """List endpoints in the order of their creation."""
        return cast(
            "shapes.EndpointPage",
            await self.operate("GET", "/v1/endpoints", {}, query=cast("Mapping[str, Any]", query), tenant=tenant),
        )

    async def get_endpoint(self, endpoint_id: str, *, tenant: str | None = None) -> shapes.Endpoint:
        """Return an endpoint."""
        return cast(
            "shapes.Endpoint",
            await self.operate("GET", "/v1/endpoints/{endpoint_id}", {"endpoint_id": endpoint_id}, tenant=tenant),
        )

    async def update_endpoint(
        self, endpoint_id: str, *, tenant: str | None = None, **body: Unpack[shapes.EndpointChanges]
    ) -> shapes.Endpoint:
        """Change an endpoint; deliveries that wait use the new settings."""
        return cast(
            "shapes.Endpoint",
            await self.operate(
                "PATCH", "/v1/endpoints/{endpoint_id}", {"endpoint_id": endpoint_id}, body=body, tenant=tenant
            ),
        )

    async def delete_endpoint(self, endpoint_id: str, *, tenant: str | None = None) -> None:
        """Remove an endpoint with its subscriptions; what waits for it is cancelled."""
        await self.operate("DELETE", "/v1/endpoints/{endpoint_id}", {"endpoint_id": endpoint_id}, tenant=tenant)

    async def pause_endpoint(
        self, endpoint_id: str, *, tenant: str | None = None, **body: Unpack[shapes.Reason]
    ) -> shapes.Endpoint:
        """Keep deliveries waiting; none is lost."""
        return cast(
            "shapes.Endpoint",
            await self.operate(
                "POST", "/v1/endpoints/{endpoint_id}/pause", {"endpoint_id": endpoint_id}, body=body, tenant=tenant
            ),
        )

    async def disable_endpoint(
        self, endpoint_id: str, *, tenant: str | None = None, **body: Unpack[shapes.Reason]
    ) -> shapes.Endpoint:
        """Stop deliveries: new ones are suppressed, waiting ones cancelled."""
        return cast(
            "shapes.Endpoint",
            await self.operate(
                "POST", "/v1/endpoints/{endpoint_id}/disable", {"endpoint_id": endpoint_id}, body=body, tenant=tenant
            ),
        )

    async def resume_endpoint(self, endpoint_id: str, *, tenant: str | None = None) -> shapes.Endpoint:
        """Deliver again; what was held is due at once."""
        return cast(
            "shapes.Endpoint",
            await self.operate(
                "POST", "/v1/endpoints/{endpoint_id}/resume", {"endpoint_id": endpoint_id}, tenant=tenant
            ),
        )

    async def rotate_secret(
        self, endpoint_id: str, *, tenant: str | None = None, **body: Unpack[shapes.SecretRotation]
    ) -> shapes.EndpointWithSecret:
        """Add a new signing secret; the answer has it."""
        return cast(
            "shapes.EndpointWithSecret",
            await self.operate(
                "POST", "/v1/endpoints/{endpoint_id}/rotate", {"endpoint_id": endpoint_id}, body=body, tenant=tenant
            ),
        )

    async def test_endpoint(self, endpoint_id: str, *, tenant: str | None = None) -> shapes.PublishedEvent:
        """Send a test event to this endpoint alone."""
        return cast(
            "shapes.PublishedEvent",
            await self.operate("POST", "/v1/endpoints/{endpoint_id}/test", {"endpoint_id": endpoint_id}, tenant=tenant),
        )

    async def get_endpoint_health(self, endpoint_id: str, *, tenant: str | None = None) -> shapes.EndpointHealth:
        """Return how an endpoint is doing: its circuit, and its newest deliveries."""
        return cast(
            "shapes.EndpointHealth",
            await self.operate(
                "GET", "/v1/endpoints/{endpoint_id}/health", {"endpoint_id": endpoint_id}, tenant=tenant
            ),
        )

    async def recover_endpoint(
        self, endpoint_id: str, *, tenant: str | None = None, **body: Unpack[shapes.Recovery]
    ) -> shapes.Moved:
        """Send everything again that did not arrive at an endpoint since a time."""
        return cast(
            "shapes.Moved",
            await self.operate(
                "POST", "/v1/endpoints/{endpoint_id}/recover", {"endpoint_id": endpoint_id}, body=body, tenant=tenant
            ),
        )

    async def create_subscription(
        self, *, tenant: str | None = None, **body: Unpack[shapes.NewSubscription]
    ) -> shapes.Subscription:
        """Subscribe an endpoint, a recipient, or an address."""
        return cast(
            "shapes.Subscription", await self.operate("POST", "/v1/subscriptions", {}, body=body, tenant=tenant)
        )

    async def list_subscriptions(
        self, *, tenant: str | None = None, **query: Unpack[shapes.ListSubscriptionsQuery]
    ) -> shapes.SubscriptionPage:
        """List subscriptions in the order of their ids."""
        return cast(
            "shapes.SubscriptionPage",
            await self.operate("GET", "/v1/subscriptions", {}, query=cast("Mapping[str, Any]", query), tenant=tenant),
        )

    async def get_subscription(self, subscription_id: str, *, tenant: str | None = None) -> shapes.Subscription:
        """Return a subscription."""
        return cast(
            "shapes.Subscription",
            await self.operate(
                "GET", "/v1/subscriptions/{subscription_id}", {"subscription_id": subscription_id}, tenant=tenant
            ),
        )

    async def update_subscription(
        self, subscription_id: str, *, tenant: str | None = None, **body: Unpack[shapes.SubscriptionUpdate]
    ) -> shapes.Subscription:
        """Change a subscription."""
        return cast(
            "shapes.Subscription",
            await self.operate(
                "PATCH",
                "/v1/subscriptions/{subscription_id}",
                {"subscription_id": subscription_id},
                body=body,
                tenant=tenant,
            ),
        )

    async def delete_subscription(self, subscription_id: str, *, tenant: str | None = None) -> None:
        """Remove a subscription; deliveries that exist stay."""
        await self.operate(
            "DELETE", "/v1/subscriptions/{subscription_id}", {"subscription_id": subscription_id}, tenant=tenant
        )

    async def get_subscription_warnings(
        self, subscription_id: str, *, tenant: str | None = None
    ) -> Sequence[shapes.Warning]:
        """Return why no event is to be expected for a subscription; usually nothing."""
        return cast(
            "Sequence[shapes.Warning]",
            await self.operate(
                "GET",
                "/v1/subscriptions/{subscription_id}/warnings",
                {"subscription_id": subscription_id},
                tenant=tenant,
            ),
        )

    async def try_subscription(self, *, tenant: str | None = None, **body: Unpack[shapes.Trial]) -> shapes.TrialResult:
        """Try conditions on an event, without storing either."""
        return cast(
            "shapes.TrialResult", await self.operate("POST", "/v1/subscriptions/try", {}, body=body, tenant=tenant)
        )

    async def list_deliveries(
        self, *, tenant: str | None = None, **query: Unpack[shapes.ListDeliveriesQuery]
    ) -> shapes.DeliveryPage:
        """List deliveries, newest first."""
        return cast(
            "shapes.DeliveryPage",
            await self.operate("GET", "/v1/deliveries", {}, query=cast("Mapping[str, Any]", query), tenant=tenant),
        )

    async def get_delivery(self, delivery_id: str, *, tenant: str | None = None) -> shapes.Delivery:
        """Return a delivery."""
        return cast(
            "shapes.Delivery",
            await self.operate("GET", "/v1/deliveries/{delivery_id}", {"delivery_id": delivery_id}, tenant=tenant),
        )

    async def list_attempts(self, delivery_id: str, *, tenant: str | None = None) -> Sequence[shapes.Attempt]:
        """List the attempts of a delivery, in order."""
        return cast(
            "Sequence[shapes.Attempt]",
            await self.operate(
                "GET", "/v1/deliveries/{delivery_id}/attempts", {"delivery_id": delivery_id}, tenant=tenant
            ),
        )

    async def resend_delivery(self, delivery_id: str, *, tenant: str | None = None) -> shapes.Delivery:
        """Send an ended delivery again: the same id and the same bytes."""
        return cast(
            "shapes.Delivery",
            await self.operate(
                "POST", "/v1/deliveries/{delivery_id}/resend", {"delivery_id": delivery_id}, tenant=tenant
            ),
        )

    async def cancel_delivery(self, delivery_id: str, *, tenant: str | None = None) -> shapes.Delivery:
        """Cancel a delivery that waits."""
        return cast(
            "shapes.Delivery",
            await self.operate(
                "POST", "/v1/deliveries/{delivery_id}/cancel", {"delivery_id": delivery_id}, tenant=tenant
            ),
        )

    async def list_dead_letters(
        self, *, tenant: str | None = None, **query: Unpack[shapes.ListDeadLettersQuery]
    ) -> shapes.DeliveryPage:
        """List deliveries that were given up, newest first."""
        return cast(
            "shapes.DeliveryPage",
            await self.operate("GET", "/v1/dead-letters", {}, query=cast("Mapping[str, Any]", query), tenant=tenant),
        )

    async def redrive_dead_letters(self, *, tenant: str | None = None, **body: Unpack[shapes.Redrive]) -> shapes.Moved:
        """Send dead letters again."""
        return cast(
            "shapes.Moved", await self.operate("POST", "/v1/dead-letters/redrive", {}, body=body, tenant=tenant)
        )

    async def list_recipients(
        self, *, tenant: str | None = None, **query: Unpack[shapes.ListRecipientsQuery]
    ) -> shapes.RecipientPage:
        """List persons in the order of their ids."""
        return cast(
            "shapes.RecipientPage",
            await self.operate("GET", "/v1/recipients", {}, query=cast("Mapping[str, Any]", query), tenant=tenant),
        )

    async def get_recipient(self, recipient_id: str, *, tenant: str | None = None) -> shapes.Recipient:
        """Return a person."""
        return cast(
            "shapes.Recipient",
            await self.operate("GET", "/v1/recipients/{recipient_id}", {"recipient_id": recipient_id}, tenant=tenant),
        )

    async def put_recipient(
        self,
        recipient_id: str,
        *,
        if_match: str | None = None,
        tenant: str | None = None,
        **body: Unpack[shapes.RecipientFields],
    ) -> shapes.Recipient:
        """Save a person: a new one, or in place of what was said before."""
        return cast(
            "shapes.Recipient",
            await self.operate(
                "PUT",
                "/v1/recipients/{recipient_id}",
                {"recipient_id": recipient_id},
                body=body,
                if_match=if_match,
                tenant=tenant,
            ),
        )

    async def patch_recipient(
        self,
        recipient_id: str,
        *,
        if_match: str | None = None,
        tenant: str | None = None,
        **body: Unpack[shapes.RecipientFields],
    ) -> shapes.Recipient:
        """Change what is given of a person, and keep the rest; ``null`` removes."""
        return cast(
            "shapes.Recipient",
            await self.operate(
                "PATCH",
                "/v1/recipients/{recipient_id}",
                {"recipient_id": recipient_id},
                body=body,
                if_match=if_match,
                tenant=tenant,
            ),
        )

    async def delete_recipient(self, recipient_id: str, *, tenant: str | None = None) -> None:
        """Remove a person with their subscriptions; what waits for them is cancelled, and history stays."""
        await self.operate("DELETE", "/v1/recipients/{recipient_id}", {"recipient_id": recipient_id}, tenant=tenant)

    async def export_recipient(self, recipient_id: str, *, tenant: str | None = None) -> Mapping[str, Any]:
        """Return everything that is known of a person (GDPR, article 15)."""
        return cast(
            "Mapping[str, Any]",
            await self.operate(
                "GET", "/v1/recipients/{recipient_id}/export", {"recipient_id": recipient_id}, tenant=tenant
            ),
        )

    async def erase_recipient(self, recipient_id: str, *, tenant: str | None = None) -> shapes.Erased:
        """Delete everything that is known of a person, with the history (GDPR, article 17)."""
        return cast(
            "shapes.Erased",
            await self.operate(
                "POST", "/v1/recipients/{recipient_id}/erase", {"recipient_id": recipient_id}, tenant=tenant
            ),
        )

    async def add_address(
        self, recipient_id: str, *, tenant: str | None = None, **body: Unpack[shapes.NewAddress]
    ) -> shapes.Recipient:
        """Add an address of a person; one that is there already keeps its state."""
        return cast(
            "shapes.Recipient",
            await self.operate(
                "POST",
                "/v1/recipients/{recipient_id}/addresses",
                {"recipient_id": recipient_id},
                body=body,
                tenant=tenant,
            ),
        )

    async def act_on_address(
        self, recipient_id: str, *, tenant: str | None = None, **body: Unpack[shapes.AddressAction]
    ) -> shapes.Recipient:
        """Remove, suppress, unsuppress or verify an address of a person."""
        return cast(
            "shapes.Recipient",
            await self.operate(
                "POST",
                "/v1/recipients/{recipient_id}/addresses/actions",
                {"recipient_id": recipient_id},
                body=body,
                tenant=tenant,
            ),
        )

    async def list_suppressions(
        self, *, tenant: str | None = None, **query: Unpack[shapes.ListSuppressionsQuery]
    ) -> shapes.SuppressionPage:
        """List the addresses that must not be used, in the order of their ids."""
        return cast(
            "shapes.SuppressionPage",
            await self.operate("GET", "/v1/suppressions", {}, query=cast("Mapping[str, Any]", query), tenant=tenant),
        )

    async def add_suppression(
        self, *, tenant: str | None = None, **body: Unpack[shapes.NewSuppression]
    ) -> shapes.Suppression:
        """Stop using an address, whoever it belongs to; what is there for the same reason is replaced."""
        return cast("shapes.Suppression", await self.operate("POST", "/v1/suppressions", {}, body=body, tenant=tenant))

    async def check_suppression(
        self, *, tenant: str | None = None, **body: Unpack[shapes.CheckedAddress]
    ) -> shapes.SuppressionCheck:
        """Return what the list says of an address."""
        return cast(
            "shapes.SuppressionCheck",
            await self.operate("POST", "/v1/suppressions/check", {}, body=body, tenant=tenant),
        )

    async def remove_suppression(
        self, *, tenant: str | None = None, **body: Unpack[shapes.AllowedAddress]
    ) -> shapes.SuppressionRemoved:
        """Use an address again."""
        return cast(
            "shapes.SuppressionRemoved",
            await self.operate("POST", "/v1/suppressions/remove", {}, body=body, tenant=tenant),
        )

    async def list_templates(
        self, *, tenant: str | None = None, **query: Unpack[shapes.ListTemplatesQuery]
    ) -> shapes.TemplatePage:
        """List what the tenant has stored in place of the host's files, by names."""
        return cast(
            "shapes.TemplatePage",
            await self.operate("GET", "/v1/templates", {}, query=cast("Mapping[str, Any]", query), tenant=tenant),
        )

    async def set_template(self, *, tenant: str | None = None, **body: Unpack[shapes.NewRevision]) -> shapes.Template:
        """Store a template, or its next revision: it is used from the next message on."""
        return cast("shapes.Template", await self.operate("PUT", "/v1/templates", {}, body=body, tenant=tenant))

    async def remove_template(self, *, tenant: str | None = None, **query: Unpack[shapes.RemoveTemplateQuery]) -> None:
        """Remove a template with its revisions: the host's file is used again."""
        await self.operate("DELETE", "/v1/templates", {}, query=cast("Mapping[str, Any]", query), tenant=tenant)

    async def list_template_revisions(
        self, *, tenant: str | None = None, **query: Unpack[shapes.ListTemplateRevisionsQuery]
    ) -> Sequence[shapes.Revision]:
        """List the revisions of a template that are kept, newest first: the first one is used."""
        return cast(
            "Sequence[shapes.Revision]",
            await self.operate(
                "GET", "/v1/templates/history", {}, query=cast("Mapping[str, Any]", query), tenant=tenant
            ),
        )

    async def rollback_template(self, *, tenant: str | None = None, **body: Unpack[shapes.Rollback]) -> shapes.Template:
        """Use the text of an earlier revision again, as a new revision."""
        return cast(
            "shapes.Template", await self.operate("POST", "/v1/templates/rollback", {}, body=body, tenant=tenant)
        )

    async def create_key(self, *, tenant: str | None = None, **body: Unpack[shapes.NewKey]) -> shapes.KeyWithSecret:
        """Create a key of this tenant; the answer has its secret."""
        return cast("shapes.KeyWithSecret", await self.operate("POST", "/v1/keys", {}, body=body, tenant=tenant))

    async def list_keys(self, *, tenant: str | None = None, **query: Unpack[shapes.ListKeysQuery]) -> shapes.KeyPage:
        """List the keys of this tenant in the order of their creation."""
        return cast(
            "shapes.KeyPage",
            await self.operate("GET", "/v1/keys", {}, query=cast("Mapping[str, Any]", query), tenant=tenant),
        )

    async def get_key(self, key_id: str, *, tenant: str | None = None) -> shapes.Key:
        """Return a key."""
        return cast("shapes.Key", await self.operate("GET", "/v1/keys/{key_id}", {"key_id": key_id}, tenant=tenant))

    async def revoke_key(self, key_id: str, *, tenant: str | None = None) -> None:
        """Remove a key; a process that used it may accept it for a few more seconds."""
        await self.operate("DELETE", "/v1/keys/{key_id}", {"key_id": key_id}, tenant=tenant)

    async def rotate_key(
        self, key_id: str, *, tenant: str | None = None, **body: Unpack[shapes.KeyRotation]
    ) -> shapes.KeyWithSecret:
        """Give a key a new secret; the answer has it."""
        return cast(
            "shapes.KeyWithSecret",
            await self.operate("POST", "/v1/keys/{key_id}/rotate", {"key_id": key_id}, body=body, tenant=tenant),
        )

    async def create_portal_link(
        self, *, tenant: str | None = None, **body: Unpack[shapes.NewPortalLink]
    ) -> shapes.PortalLink:
        """Create a link that opens this tenant's portal; the session ends with the key that asks for it."""
        return cast("shapes.PortalLink", await self.operate("POST", "/v1/portal-links", {}, body=body, tenant=tenant))

    async def list_audit_log(self, **query: Unpack[shapes.ListAuditLogQuery]) -> shapes.AuditEntryPage:
        """List what callers did, newest first."""
        return cast(
            "shapes.AuditEntryPage", await self.operate("GET", "/v1/audit", {}, query=cast("Mapping[str, Any]", query))
        )
