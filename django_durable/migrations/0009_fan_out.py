from functools import partial

from django.db import migrations, models

from django_durable.models.collation import compare_bytes


class Migration(migrations.Migration):
    atomic = False  # MySQL and MariaDB cannot undo a table's change
    dependencies = [("django_durable", "0008_continue_as_new")]

    operations = [
        migrations.CreateModel(
            "FanOut",
            [
                ("id", models.UUIDField(editable=False, primary_key=True, serialize=False)),
                ("remaining", models.PositiveIntegerField()),
                ("fails_fast", models.BooleanField()),
                ("failed", models.UUIDField(null=True)),
                ("last", models.UUIDField(null=True)),
            ],
            {"verbose_name": "fan-out"},
        ),
        migrations.RunPython(partial(compare_bytes, tables=("fanout",)), migrations.RunPython.noop, elidable=False),
        migrations.AddField("execution", "fan_out", models.UUIDField(blank=True, null=True)),
    ]
