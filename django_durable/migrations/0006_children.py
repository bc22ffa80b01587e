from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("django_durable", "0005_sagas")]

    operations = [
        migrations.AddField(
            "execution",
            "on_parent_close",
            models.CharField(
                blank=True,
                choices=[("cancel", "Cancel"), ("abandon", "Abandon"), ("wait", "Wait")],
                default="",
                max_length=10,
            ),
            preserve_default=False,
        ),
        migrations.AddField("execution", "depth", models.PositiveSmallIntegerField(default=0)),
    ]
