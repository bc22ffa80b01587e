from django.db import migrations, models

SETTLED = ["cancelled", "completed", "failed", "skipped", "timed_out"]


class Migration(migrations.Migration):
    dependencies = [("django_durable", "0004_sparse_indexes")]

    operations = [
        migrations.AddField("execution", "compensated", models.BooleanField(default=False)),
        migrations.RemoveConstraint("step", "durable_step_finished_iff_settled"),
        migrations.RemoveConstraint("step", "durable_step_status"),
        migrations.AddConstraint(
            "step",
            models.CheckConstraint(
                condition=models.Q(status__in=SETTLED, finished_at__isnull=False)
                | (~models.Q(status__in=SETTLED) & models.Q(finished_at__isnull=True)),
                name="durable_step_finished_iff_settled",
            ),
        ),
        migrations.AddConstraint(
            "step",
            models.CheckConstraint(
                condition=models.Q(status__in=sorted([*SETTLED, "retrying", "started", "waiting"])),
                name="durable_step_status",
            ),
        ),
    ]
