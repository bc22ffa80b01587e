"""The client: what views, commands, the admin and the API call from outside a workflow.

Framework-free. Everything that writes joins the caller's transaction on our alias, so it happens with the caller's
own rows or not at all; workers are told after the commit.
"""

from django_durable.client.bulk import BulkReport, bulk
from django_durable.client.capacity import LimitState, limits
from django_durable.client.endpoints import (
    add_webhook,
    remove_webhook,
    retry_webhook,
    rotate_webhook_secret,
    test_webhook,
    update_webhook,
    webhooks,
)
from django_durable.client.erasing import erase
from django_durable.client.feeding import feed, feed_position, follow
from django_durable.client.finding import count, executions_for, family, find, page
from django_durable.client.history_edits import fork, patch_step, restart, retry, skip_step
from django_durable.client.messages import (
    send_update,
    signal,
    signal_by_token,
    signal_with_start,
    update,
    update_result,
)
from django_durable.client.operating import (
    change_deadline,
    delete,
    edit_input,
    force_complete,
    force_fail,
    pause,
    reassign,
    resume,
    verbs,
    wake_now,
)
from django_durable.client.orders import (
    cancel,
    resolve_compensation,
    retry_compensation,
    retry_delivery,
    skip_compensation,
    terminate,
)
from django_durable.client.reading import (
    get,
    get_by_token,
    inspect,
    latest,
    logs,
    prune_logs,
    query,
    refuse_transaction,
    result,
)
from django_durable.client.scheduling import (
    ScheduleTarget,
    backfill_schedule,
    ensure_schedule,
    get_schedule,
    pause_schedule,
    preview_schedule,
    remove_schedule,
    resume_schedule,
    schedule_ticks,
    schedules,
    sync_schedules,
    trigger_schedule,
    update_schedule,
)
from django_durable.client.selfcheck import CanaryReport, canary
from django_durable.client.starting import get_workflow, schedule, start, start_and_wait, start_many
from django_durable.client.targets import Target
from django_durable.engine.batches import StartOutcome
from django_durable.engine.family import Family
from django_durable.engine.feed import FeedEntry, FeedPage
from django_durable.engine.filters import Filter
from django_durable.engine.pages import Page
from django_durable.engine.schedules.by_hand import Backfilled
from django_durable.engine.schedules.declaring import SyncReport
from django_durable.engine.schedules.editing import Ensured
from django_durable.engine.schedules.listing import SchedulePage, TickPage

__all__ = [
    "Backfilled",
    "BulkReport",
    "CanaryReport",
    "Ensured",
    "Family",
    "FeedEntry",
    "FeedPage",
    "Filter",
    "LimitState",
    "Page",
    "SchedulePage",
    "ScheduleTarget",
    "StartOutcome",
    "SyncReport",
    "Target",
    "TickPage",
    "add_webhook",
    "backfill_schedule",
    "bulk",
    "canary",
    "cancel",
    "change_deadline",
    "count",
    "delete",
    "edit_input",
    "ensure_schedule",
    "erase",
    "executions_for",
    "family",
    "feed",
    "feed_position",
    "find",
    "follow",
    "force_complete",
    "force_fail",
    "fork",
    "get",
    "get_by_token",
    "get_schedule",
    "get_workflow",
    "inspect",
    "latest",
    "limits",
    "logs",
    "page",
    "patch_step",
    "pause",
    "pause_schedule",
    "preview_schedule",
    "prune_logs",
    "query",
    "reassign",
    "refuse_transaction",
    "remove_schedule",
    "remove_webhook",
    "resolve_compensation",
    "restart",
    "result",
    "resume",
    "resume_schedule",
    "retry",
    "retry_compensation",
    "retry_delivery",
    "retry_webhook",
    "rotate_webhook_secret",
    "schedule",
    "schedule_ticks",
    "schedules",
    "send_update",
    "signal",
    "signal_by_token",
    "signal_with_start",
    "skip_compensation",
    "skip_step",
    "start",
    "start_and_wait",
    "start_many",
    "sync_schedules",
    "terminate",
    "test_webhook",
    "trigger_schedule",
    "update",
    "update_result",
    "update_schedule",
    "update_webhook",
    "verbs",
    "wake_now",
    "webhooks",
]
