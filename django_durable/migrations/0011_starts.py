from typing import Any

from django.apps.registry import Apps
from django.db import migrations, models

from django_durable.models.sparse import SparseUnique


def hold_keys(apps: Apps, schema_editor: Any) -> None:
    """So far each key was held in the scope of its workflow, for ever."""
    keyed = apps.get_model("django_durable", "Execution").objects.using(schema_editor.connection.alias)
    keyed.filter(key__isnull=False).update(key_scope=models.F("workflow"))


def drop_given_up_keys(apps: Apps, schema_editor: Any) -> None:
    """The constraint of before holds all keys: those in another scope than their workflow's cannot stay either."""
    keyed = apps.get_model("django_durable", "Execution").objects.using(schema_editor.connection.alias)
    keyed.filter(key__isnull=False).exclude(key_scope=models.F("workflow")).update(key=None, key_scope=None)
    keyed.filter(key__isnull=False, key_scope__isnull=True).update(key=None)


class Migration(migrations.Migration):
    atomic = False  # MySQL and MariaDB cannot undo a table's change
    dependencies = [("django_durable", "0010_limits")]

    operations = [
        migrations.AddField("execution", "key_scope", models.CharField(blank=True, max_length=200, null=True)),
        migrations.RunPython(hold_keys, migrations.RunPython.noop),
        migrations.RemoveConstraint("execution", "durable_execution_key"),
        migrations.AddConstraint(
            "execution",
            SparseUnique(fields=["key", "key_scope"], kept="key", name="durable_execution_key"),
        ),
        migrations.AddConstraint(
            "execution",
            models.CheckConstraint(
                condition=models.Q(key_scope__isnull=True) | models.Q(key__isnull=False),
                name="durable_execution_scope_of_key",
            ),
        ),
        migrations.RunPython(migrations.RunPython.noop, drop_given_up_keys),
        migrations.AddField("execution", "coalesce_key", models.CharField(blank=True, max_length=200, null=True)),
        migrations.AddField("execution", "next_start_at", models.DateTimeField(blank=True, null=True)),
        migrations.AddConstraint(
            "execution", SparseUnique(fields=["workflow", "coalesce_key"], name="durable_execution_coalesce")
        ),
    ]
