from functools import partial

import django.db.models.deletion
from django.db import migrations, models

from django_durable.clock import now
from django_durable.models.collation import compare_bytes
from django_durable.models.identity import new_id
from django_durable.models.sparse import SparseIndex


class Migration(migrations.Migration):
    dependencies = [
        ("django_durable", "0019_step_limits"),
    ]

    operations = [
        # No release has written to them.
        migrations.DeleteModel(
            name="ScheduleTick",
        ),
        migrations.DeleteModel(
            name="Schedule",
        ),
        migrations.CreateModel(
            name="Schedule",
            fields=[
                ("id", models.UUIDField(default=new_id, editable=False, primary_key=True, serialize=False)),
                ("name", models.CharField(max_length=200, unique=True)),
                ("workflow", models.CharField(max_length=200)),
                ("input", models.TextField()),
                ("cadence", models.TextField()),
                ("cadence_hash", models.CharField(max_length=64)),
                ("timezone", models.CharField(default="UTC", max_length=64)),
                (
                    "status",
                    models.CharField(
                        choices=[("active", "Active"), ("paused", "Paused"), ("ended", "Ended")],
                        default="active",
                        max_length=10,
                    ),
                ),
                ("paused_reason", models.TextField(blank=True)),
                ("paused_by", models.CharField(blank=True, max_length=200)),
                (
                    "overlap",
                    models.CharField(
                        choices=[
                            ("skip", "Skip"),
                            ("buffer_one", "Buffer One"),
                            ("buffer_all", "Buffer All"),
                            ("cancel_other", "Cancel Other"),
                            ("terminate_other", "Terminate Other"),
                            ("allow", "Allow"),
                        ],
                        default="skip",
                        max_length=20,
                    ),
                ),
                (
                    "catch_up",
                    models.CharField(
                        choices=[("none", "None"), ("latest", "Latest"), ("all", "All")],
                        default="latest",
                        max_length=10,
                    ),
                ),
                ("catch_up_seconds", models.FloatField(default=86400.0)),
                ("jitter_seconds", models.FloatField(default=0.0)),
                ("max_runs", models.PositiveIntegerField(blank=True, null=True)),
                ("pause_after_failures", models.PositiveIntegerField(blank=True, null=True)),
                ("excluded", models.JSONField(blank=True, default=dict)),
                ("labels", models.JSONField(blank=True, default=dict)),
                ("queue", models.CharField(blank=True, max_length=100)),
                (
                    "priority",
                    models.PositiveSmallIntegerField(
                        blank=True, choices=[(1, "High"), (2, "Normal"), (3, "Low")], null=True
                    ),
                ),
                ("key", models.CharField(blank=True, max_length=200)),
                ("is_declared", models.BooleanField(default=False)),
                ("runs", models.PositiveIntegerField(default=0)),
                ("failures", models.PositiveIntegerField(default=0)),
                ("buffered", models.PositiveIntegerField(default=0)),
                ("version", models.PositiveBigIntegerField(default=1)),
                ("starts_at", models.DateTimeField(blank=True, null=True)),
                ("ends_at", models.DateTimeField(blank=True, null=True)),
                ("next_at", models.DateTimeField(blank=True, null=True)),
                ("due_at", models.DateTimeField(blank=True, null=True)),
                ("last_at", models.DateTimeField(blank=True, null=True)),
                ("refused_since", models.DateTimeField(blank=True, null=True)),
                ("paused_at", models.DateTimeField(blank=True, null=True)),
                ("created_at", models.DateTimeField(default=now, editable=False)),
                ("updated_at", models.DateTimeField(default=now, editable=False)),
            ],
            options={
                "indexes": [
                    SparseIndex(
                        fields=["due_at"], kept=models.Q(("due_at__isnull", False)), name="durable_schedule_due"
                    ),
                    SparseIndex(
                        fields=["buffered"], kept=models.Q(("buffered__gt", 0)), name="durable_schedule_buffering"
                    ),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            (
                                "overlap__in",
                                ["allow", "buffer_all", "buffer_one", "cancel_other", "skip", "terminate_other"],
                            )
                        ),
                        name="durable_schedule_overlap",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("catch_up__in", ["all", "latest", "none"])),
                        name="durable_schedule_catch_up",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("due_at__isnull", False), ("next_at__isnull", False), ("status", "active")),
                            models.Q(("due_at__isnull", True), ("status", "paused")),
                            models.Q(("due_at__isnull", True), ("next_at__isnull", True), ("status", "ended")),
                            _connector="OR",
                        ),
                        name="durable_schedule_due_iff_active",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("paused_at__isnull", False), ("status", "paused")),
                            models.Q(models.Q(("status", "paused"), _negated=True), ("paused_at__isnull", True)),
                            _connector="OR",
                        ),
                        name="durable_schedule_paused_whole",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("due_at__gte", models.F("next_at"))), name="durable_schedule_not_early"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="ScheduleTick",
            fields=[
                ("id", models.UUIDField(default=new_id, editable=False, primary_key=True, serialize=False)),
                (
                    "schedule",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="ticks",
                        to="django_durable.schedule",
                    ),
                ),
                ("nominal_at", models.DateTimeField()),
                ("until_at", models.DateTimeField(blank=True, null=True)),
                ("count", models.PositiveIntegerField(default=1)),
                (
                    "kind",
                    models.CharField(
                        choices=[("regular", "Regular"), ("triggered", "Triggered"), ("backfilled", "Backfilled")],
                        default="regular",
                        max_length=10,
                    ),
                ),
                (
                    "outcome",
                    models.CharField(
                        choices=[
                            ("started", "Started"),
                            ("skipped", "Skipped"),
                            ("missed", "Missed"),
                            ("buffered", "Buffered"),
                            ("failed", "Failed"),
                        ],
                        max_length=10,
                    ),
                ),
                ("reason", models.TextField(blank=True)),
                ("live", models.BooleanField(editable=False, null=True)),
                (
                    "execution",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="ticks",
                        to="django_durable.execution",
                    ),
                ),
                ("created_at", models.DateTimeField(default=now, editable=False)),
            ],
            options={
                "indexes": [
                    SparseIndex(
                        fields=["schedule", "live", "nominal_at"],
                        kept=models.Q(("live__isnull", False)),
                        name="durable_tick_live",
                    ),
                    models.Index(fields=["created_at"], name="durable_tick_by_age"),
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("schedule", "nominal_at"), name="durable_tick_once"),
                    models.CheckConstraint(
                        condition=models.Q(("outcome__in", ["buffered", "failed", "missed", "skipped", "started"])),
                        name="durable_tick_outcome",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("kind__in", ["backfilled", "regular", "triggered"])),
                        name="durable_tick_kind",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("outcome", "started"), ("execution__isnull", True), _connector="OR"),
                        name="durable_tick_execution_iff_started",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("live__isnull", False), ("outcome", "buffered")),
                            models.Q(("live__isnull", True), ("outcome__in", ["failed", "missed", "skipped"])),
                            models.Q(("outcome__in", ["buffered", "failed", "missed", "skipped"]), _negated=True),
                            _connector="OR",
                        ),
                        name="durable_tick_live_iff_open",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("count", 1), ("until_at__isnull", True)),
                            models.Q(("count__gt", 1), ("until_at__isnull", False)),
                            _connector="OR",
                        ),
                        name="durable_tick_many_whole",
                    ),
                ],
            },
        ),
        # Before the foreign keys, which are made at the end: both ends of one have to agree where UUIDs are text.
        migrations.RunPython(
            partial(compare_bytes, tables=["schedule", "scheduletick"]),
            migrations.RunPython.noop,
            atomic=False,
            elidable=False,
        ),
    ]
