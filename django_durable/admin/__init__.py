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
    OutboxEvent,
    Schedule,
    ScheduleTick,
    Signal,
    Step,
    Timer,
)

if TYPE_CHECKING:  # generic for type checkers only
    ModelAdmin = admin.ModelAdmin[Any]
    TabularInline = admin.TabularInline[Any, Any]
else:
    ModelAdmin, TabularInline = admin.ModelAdmin, admin.TabularInline

PAYLOAD_FIELDS = frozenset({"input", "result", "error", "payload"})


class PayloadFreeList(ChangeList):
    """A list leaves payloads, a megabyte each at worst, in the table."""

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Any]:
        found = super().get_queryset(request, exclude_parameters)
        return found.defer(*(field.name for field in self.lookup_opts.fields if field.name in PAYLOAD_FIELDS))


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
        if lookup.partition("__")[0] in PAYLOAD_FIELDS:
            return False
        return super().lookup_allowed(lookup, value, request)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        may_see = request.user.has_perm("django_durable.view_payload")
        return [field.name for field in self.opts.fields if may_see or field.name not in PAYLOAD_FIELDS]


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


@admin.register(Schedule)
class ScheduleAdmin(ReadOnlyAdmin):
    list_display = [
        "name",
        "workflow",
        "cron",
        "interval_seconds",
        "timezone",
        "next_at",
        "paused_at",
    ]


@admin.register(ScheduleTick)
class ScheduleTickAdmin(ReadOnlyAdmin):
    list_display = ["schedule_id", "nominal_at", "outcome", "reason", "execution_id"]


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    list_display = ["created_at", "kind", "execution_id", "actor", "reason"]
    list_filter = ["kind"]
    search_fields = ["=execution_id"]
