import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("django_durable", "0002_names_by_bytes"),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name="step",
            name="durable_step_name",
        ),
        migrations.AlterField(
            model_name="step",
            name="execution",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="steps",
                to="django_durable.execution",
            ),
        ),
    ]
