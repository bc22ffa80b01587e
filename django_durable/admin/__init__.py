"""Read-only lists and detail pages of every table, so that things can be seen in the project's own admin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db.models import QuerySet
from django.http import HttpRequest

from django_durable import clock
from django_durable.models import (
    AuditEntry,
    Delivery,
    Execution,
    FanOut,
    FeedHead,
    LimitKey,
    LogLine,
    Node,
    OutboxEvent,
    Schedule,
    ScheduleTick,
    SetAsideStep,
    Signal,
    Slot,
    Step,
    Timer,
    Turn,
    WebhookDelivery,
    WebhookEndpoint,
)

if TYPE_CHECKING:  # generic for type checkers only
    ModelAdmin = admin.ModelAdmin[Any]
    TabularInline = admin.TabularInline[Any, Any]
else:
    ModelAdmin, TabularInline = admin.ModelAdmin, admin.TabularInline

PAYLOAD_FIELDS = frozenset({"input", "result", "error", "payload"})
SECRET_FIELDS = frozenset({"secret", "previous_secret"})  # shown to nobody


class PayloadFreeList(ChangeList):
    """A list leaves payloads, a megabyte each at worst, in the table."""

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Any]:
        found = super().get_queryset(request, exclude_parameters)
        heavy = PAYLOAD_FIELDS | SECRET_FIELDS
        return found.defer(*(field.name for field in self.lookup_opts.fields if field.name in heavy))


class ReadOnlyAdmin(ModelAdmin):
    """Nothing is added, changed or deleted here: rows belong to the engine.

    Payloads need ``view_payload`` beside the model's own view permission, and are escaped text.
    """

    show_full_result_count = False
    list_per_page = 50
    actions = None

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return PayloadFreeList

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        # Else ?input__contains= would answer questions about what is not shown.
        if not (PAYLOAD_FIELDS | SECRET_FIELDS).isdisjoint(lookup.split("__")):
            return False
        return super().lookup_allowed(lookup, value, request)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        may_see = request.user.has_perm("django_durable.view_payload")
        hidden = SECRET_FIELDS if may_see else SECRET_FIELDS | PAYLOAD_FIELDS
        return [field.name for field in self.opts.fields if field.name not in hidden]


class HistoryInline(TabularInline):
    extra = 0
    can_delete = False
    show_change_link = True
    ordering = ["position"]
    fields = ("position", "name", "kind", "status", "attempts", "started_at", "finished_at", "due_at")
    readonly_fields = fields
    model = Step

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Execution)
class ExecutionAdmin(ReadOnlyAdmin):
    list_display = [
        "id",
        "workflow",
        "version",
        "key",
        "status_now",
        "waiting_for",
        "waiting_until",
        "created_at",
    ]
    list_filter = ["status", "workflow", "stuck_reason"]
    search_fields = ["=id", "key__startswith"]
    inlines = [HistoryInline]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Execution]:
        return super().get_queryset(request).select_related("timer")

    @admin.display(description="status", ordering="status")
    def status_now(self, execution: Execution) -> str:
        return execution.live_status(clock.now())


@admin.register(Timer)
class TimerAdmin(ReadOnlyAdmin):
    list_display = ["execution_id", "queue", "priority", "due_at", "holder", "claims", "held"]
    list_filter = ["queue", "held"]


@admin.register(Step)
class StepAdmin(ReadOnlyAdmin):
    list_display = [
        "id",
        "execution_id",
        "position",
        "name",
        "kind",
        "status",
        "attempts",
        "started_at",
    ]
    search_fields = ["=execution__id"]


@admin.register(SetAsideStep)
class SetAsideStepAdmin(ReadOnlyAdmin):
    list_display = ["id", "execution_id", "position", "name", "kind", "status", "set_aside_at", "set_aside_by"]
    search_fields = ["=execution__id"]


@admin.register(Signal)
class SignalAdmin(ReadOnlyAdmin):
    list_display = ["id", "execution_id", "seq", "name", "accepted_at", "consumed_by"]
    search_fields = ["=execution__id"]


@admin.register(OutboxEvent)
class OutboxEventAdmin(ReadOnlyAdmin):
    list_display = ["id", "execution_id", "name", "created_at"]
    search_fields = ["=execution__id"]


@admin.register(Delivery)
class DeliveryAdmin(ReadOnlyAdmin):
    list_display = ["id", "event_id", "receiver", "status", "attempts", "due_at", "delivered_at"]
    list_filter = ["status"]
    search_fields = ["=event__id"]


@admin.register(FanOut)
class FanOutAdmin(ReadOnlyAdmin):
    list_display = ["id", "remaining", "fails_fast", "failed"]
    search_fields = ["=id"]


@admin.register(FeedHead)
class FeedHeadAdmin(ReadOnlyAdmin):
    list_display = ["id", "position"]


@admin.register(WebhookEndpoint)
class WebhookEndpointAdmin(ReadOnlyAdmin):
    list_display = ["id", "url", "active", "failures", "failing_since", "disabled_reason", "position"]
    list_filter = ["active"]
    search_fields = ["=id"]


@admin.register(WebhookDelivery)
class WebhookDeliveryAdmin(ReadOnlyAdmin):
    list_display = ["id", "endpoint_id", "kind", "execution_id", "status", "attempts", "due_at", "delivered_at"]
    list_filter = ["status"]
    search_fields = ["=id", "=endpoint__id", "=execution_id"]


@admin.register(Node)
class NodeAdmin(ReadOnlyAdmin):
    list_display = ["kind", "name", "host", "pid", "source", "version", "started_at", "seen_at"]
    list_filter = ["kind"]


@admin.register(LimitKey)
class LimitKeyAdmin(ReadOnlyAdmin):
    list_display = ["name", "key", "capacity", "next_at"]
    search_fields = ["name__startswith", "=key"]


@admin.register(Slot)
class SlotAdmin(ReadOnlyAdmin):
    list_display = ["id", "limit", "execution_id", "granted", "priority", "fair", "ready_at"]
    list_filter = ["granted"]
    list_select_related = ["limit"]
    search_fields = ["=execution__id", "limit__name__startswith"]


@admin.register(Schedule)
class ScheduleAdmin(ReadOnlyAdmin):
    list_display = ["name", "workflow", "status", "timezone", "next_at", "last_at", "overlap", "runs", "buffered"]
    list_filter = ["status", "is_declared"]
    search_fields = ["name__startswith", "workflow__startswith"]


@admin.register(ScheduleTick)
class ScheduleTickAdmin(ReadOnlyAdmin):
    list_display = ["schedule", "nominal_at", "kind", "outcome", "count", "reason", "execution_id"]
    list_filter = ["outcome", "kind"]
    list_select_related = ["schedule"]
    search_fields = ["schedule__name__startswith", "=execution__id"]


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    list_display = ["created_at", "kind", "execution_id", "actor", "reason"]
    list_filter = ["kind"]
    search_fields = ["=execution_id"]


@admin.register(LogLine)
class LogLineAdmin(ReadOnlyAdmin):
    list_display = ["said_at", "level_name", "message", "execution_id", "attempt"]
    list_filter = ["level"]
    search_fields = ["=execution__id"]


@admin.register(Turn)
class TurnAdmin(ReadOnlyAdmin):
    list_display = ["name", "next_at"]
