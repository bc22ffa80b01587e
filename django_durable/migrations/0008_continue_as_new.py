from django.db import migrations, models

from django_durable.models.sparse import SparseIndex


class Migration(migrations.Migration):
    dependencies = [("django_durable", "0007_outbox")]

    operations = [
        migrations.AddField("execution", "chain", models.UUIDField(blank=True, null=True)),
        migrations.AddIndex(
            "execution",
            SparseIndex(
                fields=["chain", "status"], name="durable_execution_by_chain", kept=models.Q(chain__isnull=False)
            ),
        ),
    ]
