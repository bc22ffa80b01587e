from functools import partial

import django.db.models.deletion
from django.db import migrations, models

import django_durable.models.identity
from django_durable.models.collation import compare_bytes


class Migration(migrations.Migration):
    atomic = False  # MySQL and MariaDB cannot undo a table's change
    dependencies = [("django_durable", "0009_fan_out")]

    operations = [
        migrations.CreateModel(
            "LimitKey",
            [
                (
                    "id",
                    models.UUIDField(
                        default=django_durable.models.identity.new_id,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("name", models.CharField(max_length=250)),
                ("key", models.CharField(blank=True, max_length=200)),
                ("capacity", models.PositiveIntegerField()),
                ("turn", models.BigIntegerField(default=0)),
                ("next_at", models.DateTimeField(blank=True, null=True)),
            ],
            {"constraints": [models.UniqueConstraint(fields=["name", "key"], name="durable_limit_once")]},
        ),
        migrations.CreateModel(
            "Slot",
            [
                (
                    "id",
                    models.UUIDField(
                        default=django_durable.models.identity.new_id,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("granted", models.BooleanField()),
                ("priority", models.PositiveSmallIntegerField(default=2)),
                ("fair", models.CharField(blank=True, max_length=200)),
                ("turn", models.BigIntegerField(default=0)),
                ("ready_at", models.DateTimeField(blank=True, null=True)),
                (
                    "execution",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="slots",
                        to="django_durable.execution",
                    ),
                ),
                (
                    "limit",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="slots",
                        to="django_durable.limitkey",
                    ),
                ),
            ],
            {
                "constraints": [models.UniqueConstraint(fields=["execution", "limit"], name="durable_slot_once")],
                "indexes": [
                    models.Index(fields=["limit", "granted", "priority", "turn", "id"], name="durable_slot_next"),
                    models.Index(fields=["limit", "fair", "-turn"], name="durable_slot_fair"),
                ],
            },
        ),
        migrations.RunPython(
            partial(compare_bytes, tables=("limitkey", "slot")), migrations.RunPython.noop, elidable=False
        ),
        migrations.AddField("execution", "limited", models.BooleanField(null=True)),
    ]
