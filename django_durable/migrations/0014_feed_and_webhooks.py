from functools import partial
from typing import Any

import django.db.models.deletion
from django.db import migrations, models

import django_durable.clock
import django_durable.models.identity
from django_durable.models.collation import WEBHOOKS, compare_bytes
from django_durable.models.sparse import SparseIndex, SparseUnique


def id_field() -> Any:
    new_id = django_durable.models.identity.new_id
    return models.UUIDField(default=new_id, editable=False, primary_key=True, serialize=False)


def created_at() -> Any:
    return models.DateTimeField(default=django_durable.clock.now, editable=False)


def fed(model: str) -> list[Any]:
    """What makes a table part of the feed."""
    unfed = SparseIndex(
        fields=["position", "created_at", "id"], name=f"durable_{model}_unfed", kept=models.Q(position__isnull=True)
    )
    return [
        migrations.AddField(model, "position", models.BigIntegerField(blank=True, editable=False, null=True)),
        migrations.AddIndex(model, unfed),
        migrations.AddConstraint(model, SparseUnique(fields=["position"], name=f"durable_{model}_position")),
    ]


FAILING = models.Q(failures=0, failing_since__isnull=True, paused_until__isnull=True) | models.Q(
    failures__gt=0, failing_since__isnull=False, paused_until__isnull=False
)
WHOLE = (
    models.Q(status="pending", due_at__isnull=False, delivered_at__isnull=True)
    | models.Q(status="delivered", due_at__isnull=True, delivered_at__isnull=False, token__isnull=True)
    | models.Q(status="failed", due_at__isnull=True, delivered_at__isnull=True, token__isnull=True)
)

ENDPOINT = migrations.CreateModel(
    name="WebhookEndpoint",
    fields=[
        ("id", id_field()),
        ("url", models.TextField()),
        ("kinds", models.JSONField(blank=True, default=list)),
        ("workflows", models.JSONField(blank=True, default=list)),
        ("include_payload", models.BooleanField(default=False)),
        ("position", models.BigIntegerField()),
        ("secret", models.TextField()),
        ("previous_secret", models.TextField(blank=True, null=True)),
        ("previous_until", models.DateTimeField(blank=True, null=True)),
        ("active", models.BooleanField(default=True)),
        ("disabled_reason", models.TextField(blank=True)),
        ("failures", models.PositiveIntegerField(default=0)),
        ("failing_since", models.DateTimeField(blank=True, null=True)),
        ("paused_until", models.DateTimeField(blank=True, null=True)),
        ("created_at", created_at()),
    ],
    options={"constraints": [models.CheckConstraint(condition=FAILING, name="durable_webhook_failing_whole")]},
)
DELIVERY = migrations.CreateModel(
    name="WebhookDelivery",
    fields=[
        ("id", id_field()),
        ("status", models.CharField(default="pending", max_length=20)),
        ("attempts", models.PositiveIntegerField(default=0)),
        ("error", models.TextField(blank=True, null=True)),
        ("due_at", models.DateTimeField(blank=True, null=True)),
        ("token", models.UUIDField(blank=True, null=True)),
        ("delivered_at", models.DateTimeField(blank=True, null=True)),
        (
            "endpoint",
            models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="deliveries",
                to="django_durable.webhookendpoint",
            ),
        ),
        ("entry_id", models.UUIDField()),
        ("kind", models.CharField(max_length=210)),
        ("execution_id", models.UUIDField(blank=True, null=True)),
        ("body", models.TextField()),
        ("created_at", created_at()),
    ],
    options={
        "verbose_name_plural": "webhook deliveries",
        "indexes": [
            SparseIndex(fields=["endpoint", "due_at"], name="durable_webhook_due", kept=models.Q(due_at__isnull=False)),
            SparseIndex(fields=["status", "id"], name="durable_webhook_failed", kept=models.Q(status="failed")),
        ],
        "constraints": [
            models.UniqueConstraint(fields=["endpoint", "entry_id"], name="durable_webhook_once"),
            models.CheckConstraint(condition=WHOLE, name="durable_webhookdelivery_whole"),
        ],
    },
)


class Migration(migrations.Migration):
    atomic = False  # MySQL and MariaDB cannot undo a table's change
    dependencies = [("django_durable", "0013_log_lines")]

    operations = [
        migrations.CreateModel(
            name="FeedHead",
            fields=[
                ("id", models.PositiveSmallIntegerField(default=1, primary_key=True, serialize=False)),
                ("position", models.BigIntegerField(default=0)),
            ],
        ),
        *fed("auditentry"),
        *fed("outboxevent"),
        ENDPOINT,
        DELIVERY,
        # Before the foreign keys, which are made at the end: both ends of one have to agree where UUIDs are text.
        migrations.RunPython(partial(compare_bytes, tables=WEBHOOKS), migrations.RunPython.noop, elidable=False),
    ]
