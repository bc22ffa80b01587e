from functools import partial

from django.db import migrations, models
from django.db.models import CASCADE

from django_durable.models.collation import compare_bytes
from django_durable.models.identity import new_id
from django_durable.models.sparse import SparseIndex


class Migration(migrations.Migration):
    dependencies = [
        ("django_durable", "0017_pause"),
    ]

    operations = [
        migrations.AddField(
            model_name="execution",
            name="origin",
            field=models.UUIDField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="execution",
            name="retried_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="execution",
            name="random_seed",
            field=models.UUIDField(blank=True, null=True),
        ),
        migrations.AddIndex(
            model_name="execution",
            index=SparseIndex(
                fields=["origin"], name="durable_execution_by_origin", kept=models.Q(origin__isnull=False)
            ),
        ),
        migrations.CreateModel(
            name="SetAsideStep",
            fields=[
                ("id", models.UUIDField(default=new_id, editable=False, primary_key=True, serialize=False)),
                ("set_aside_at", models.DateTimeField()),
                ("set_aside_by", models.CharField(max_length=60)),
                ("checkpoint_id", models.UUIDField()),
                ("position", models.PositiveIntegerField()),
                ("name", models.CharField(max_length=255)),
                ("kind", models.CharField(max_length=20)),
                ("status", models.CharField(max_length=20)),
                ("target", models.CharField(blank=True, max_length=255)),
                ("result", models.TextField(blank=True, null=True)),
                ("error", models.TextField(blank=True, null=True)),
                ("attempts", models.PositiveIntegerField(default=0)),
                ("started_at", models.DateTimeField()),
                ("finished_at", models.DateTimeField(blank=True, null=True)),
                ("due_at", models.DateTimeField(blank=True, null=True)),
                (
                    "execution",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=CASCADE,
                        related_name="set_aside_steps",
                        to="django_durable.execution",
                    ),
                ),
            ],
            options={
                "verbose_name": "step set aside",
                "verbose_name_plural": "steps set aside",
                "indexes": [models.Index(fields=["execution", "set_aside_at"], name="durable_set_aside")],
            },
        ),
        # Before the foreign key, which is made at the end: both ends of one have to agree where UUIDs are text.
        migrations.RunPython(
            partial(compare_bytes, tables=["setasidestep"]), migrations.RunPython.noop, atomic=False, elidable=False
        ),
    ]
