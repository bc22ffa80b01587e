from functools import partial

from django.db import migrations, models

import django_durable.models.identity
from django_durable.models.collation import compare_bytes


class Migration(migrations.Migration):
    atomic = False  # MySQL and MariaDB cannot undo a table's change
    dependencies = [("django_durable", "0015_retention")]

    operations = [
        migrations.CreateModel(
            "Node",
            [
                (
                    "id",
                    models.UUIDField(
                        default=django_durable.models.identity.new_id, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("kind", models.CharField(max_length=10)),
                ("name", models.CharField(max_length=200)),
                ("host", models.CharField(max_length=200)),
                ("pid", models.PositiveBigIntegerField()),
                ("source", models.CharField(max_length=40)),
                ("queues", models.JSONField(default=list)),
                ("workflows", models.JSONField(default=dict)),
                ("version", models.CharField(max_length=40)),
                ("started_at", models.DateTimeField()),
                ("seen_at", models.DateTimeField()),
            ],
        ),
        migrations.AddConstraint("Node", models.UniqueConstraint(fields=["kind", "name"], name="durable_node_once")),
        migrations.AddConstraint(
            "Node",
            models.CheckConstraint(condition=models.Q(kind__in=["tick", "worker"]), name="durable_node_kind"),
        ),
        migrations.RunPython(partial(compare_bytes, tables=("node",)), migrations.RunPython.noop, elidable=False),
    ]
