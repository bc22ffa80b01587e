from functools import partial
from typing import Any

import django.db.models.deletion
from django.db import migrations, models

import django_durable.clock
import django_durable.models.identity
from django_durable.models.collation import OUTBOX, compare_bytes
from django_durable.models.sparse import SparseIndex


def id_field() -> Any:
    new_id = django_durable.models.identity.new_id
    return models.UUIDField(default=new_id, editable=False, primary_key=True, serialize=False)


def part_of(model: str, name: str, **options: Any) -> Any:
    on_delete = django.db.models.deletion.CASCADE
    to = f"django_durable.{model}"
    return models.ForeignKey(db_index=False, on_delete=on_delete, related_name=name, to=to, **options)


class Migration(migrations.Migration):
    dependencies = [("django_durable", "0006_children")]

    operations = [
        migrations.CreateModel(
            name="OutboxEvent",
            fields=[
                ("id", id_field()),
                ("name", models.CharField(max_length=200)),
                ("payload", models.TextField()),
                ("created_at", models.DateTimeField(default=django_durable.clock.now, editable=False)),
                ("execution", part_of("execution", "events", db_constraint=False)),
            ],
            options={"indexes": [models.Index(fields=["execution"], name="durable_event_by_execution")]},
        ),
        migrations.CreateModel(
            name="Delivery",
            fields=[
                ("id", id_field()),
                ("receiver", models.CharField(max_length=200)),
                ("queue", models.CharField(max_length=100)),
                ("status", models.CharField(default="pending", max_length=20)),
                ("attempts", models.PositiveIntegerField(default=0)),
                ("error", models.TextField(blank=True, null=True)),
                ("due_at", models.DateTimeField(blank=True, null=True)),
                ("token", models.UUIDField(blank=True, null=True)),
                ("delivered_at", models.DateTimeField(blank=True, null=True)),
                ("event", part_of("outboxevent", "deliveries")),
            ],
            options={
                "verbose_name_plural": "deliveries",
                "indexes": [
                    SparseIndex(
                        fields=["queue", "due_at"], name="durable_delivery_due", kept=models.Q(due_at__isnull=False)
                    ),
                    SparseIndex(
                        fields=["status", "id"], name="durable_delivery_failed", kept=models.Q(status="failed")
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(fields=["event", "receiver"], name="durable_delivery_once"),
                    models.CheckConstraint(
                        condition=models.Q(status="pending", due_at__isnull=False, delivered_at__isnull=True)
                        | models.Q(
                            status="delivered", due_at__isnull=True, delivered_at__isnull=False, token__isnull=True
                        )
                        | models.Q(status="failed", due_at__isnull=True, delivered_at__isnull=True, token__isnull=True),
                        name="durable_delivery_whole",
                    ),
                ],
            },
        ),
        # Before the foreign keys, which are made at the end: both ends of one have to agree where UUIDs are text.
        migrations.RunPython(
            partial(compare_bytes, tables=OUTBOX), migrations.RunPython.noop, atomic=False, elidable=False
        ),
    ]
