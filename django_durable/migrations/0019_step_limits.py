from functools import partial

from django.db import migrations, models

from django_durable.models.collation import compare_bytes
from django_durable.models.sparse import SparseIndex


class Migration(migrations.Migration):
    atomic = False  # MySQL and MariaDB cannot undo a table's change
    dependencies = [("django_durable", "0018_set_aside_steps_and_lineage")]

    operations = [
        migrations.AddField(
            "slot", "step", models.CharField(blank=True, default="", max_length=255), preserve_default=False
        ),
        migrations.AddField("slot", "token", models.UUIDField(blank=True, null=True)),
        migrations.RunPython(partial(compare_bytes, tables=("slot",)), migrations.RunPython.noop, elidable=False),
        # The new one first: there is always one that says what an execution may hold.
        migrations.AddConstraint(
            "slot",
            models.UniqueConstraint(fields=("execution", "limit", "step"), name="durable_slot_once_each"),
        ),
        migrations.RemoveConstraint("slot", "durable_slot_once"),
        migrations.AddIndex(
            "slot",
            SparseIndex(fields=["token"], name="durable_slot_of_body", kept=models.Q(token__isnull=False)),
        ),
    ]
