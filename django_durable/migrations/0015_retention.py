from functools import partial

from django.db import migrations, models

from django_durable.models.collation import compare_bytes
from django_durable.models.sparse import SparseIndex


class Migration(migrations.Migration):
    atomic = False  # MySQL and MariaDB cannot undo a table's change
    dependencies = [("django_durable", "0014_feed_and_webhooks")]

    operations = [
        migrations.CreateModel(
            "Turn",
            [
                ("name", models.CharField(max_length=40, primary_key=True, serialize=False)),
                ("next_at", models.DateTimeField()),
            ],
        ),
        migrations.RunPython(partial(compare_bytes, tables=("turn",)), migrations.RunPython.noop, elidable=False),
        migrations.AddIndex(
            "execution",
            SparseIndex(
                fields=["workflow", "status", "finished_at"],
                name="durable_execution_ended",
                kept=models.Q(finished_at__isnull=False),
            ),
        ),
    ]
