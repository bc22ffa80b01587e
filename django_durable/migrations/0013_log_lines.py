from functools import partial

import django.db.models.deletion
from django.db import migrations, models

from django_durable.models.collation import compare_bytes
from django_durable.models.identity import new_id


class Migration(migrations.Migration):
    atomic = False  # MySQL and MariaDB cannot undo a table's change
    dependencies = [("django_durable", "0012_finding")]

    operations = [
        migrations.CreateModel(
            "LogLine",
            [
                ("id", models.UUIDField(default=new_id, editable=False, primary_key=True, serialize=False)),
                ("number", models.PositiveIntegerField()),
                ("level", models.PositiveSmallIntegerField()),
                ("message", models.CharField(max_length=2000)),
                ("attempt", models.PositiveIntegerField(default=1)),
                ("said_at", models.DateTimeField()),
                (
                    "execution",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="log_lines",
                        to="django_durable.execution",
                    ),
                ),
            ],
            {
                "indexes": [models.Index(fields=["said_at"], name="durable_log_line_said")],
                "constraints": [
                    models.UniqueConstraint(fields=("execution", "number"), name="durable_log_line_number")
                ],
            },
        ),
        migrations.RunPython(partial(compare_bytes, tables=("logline",)), migrations.RunPython.noop, elidable=False),
    ]
