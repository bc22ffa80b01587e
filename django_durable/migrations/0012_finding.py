from django.db import migrations, models

from django_durable.models.labels import LabelIndex
from django_durable.models.sparse import SparseIndex


class Migration(migrations.Migration):
    dependencies = [("django_durable", "0011_starts")]

    operations = [
        migrations.AddIndex(
            "execution",
            SparseIndex(
                fields=["key"],
                name="durable_execution_by_key",
                opclasses=["varchar_pattern_ops"],
                kept=models.Q(key__isnull=False),
            ),
        ),
        migrations.AddIndex(
            "execution",
            SparseIndex(
                fields=["error_type", "-created_at"],
                name="durable_execution_by_error",
                kept=models.Q(error_type__gt=""),
            ),
        ),
        migrations.AddIndex("execution", LabelIndex(name="durable_execution_by_label")),
    ]
