from typing import Any

from django.db import migrations, models

from django_durable.models.sparse import SparseIndex, SparseUnique


class WherePartial(migrations.operations.base.Operation):
    """MySQL and MariaDB keep the full indexes that they have."""

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        if schema_editor.connection.features.supports_partial_indexes:
            super().database_forwards(app_label, schema_editor, from_state, to_state)

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        if schema_editor.connection.features.supports_partial_indexes:
            super().database_backwards(app_label, schema_editor, from_state, to_state)


class RemoveIndex(WherePartial, migrations.RemoveIndex):
    pass


class AddIndex(WherePartial, migrations.AddIndex):
    pass


class RemoveConstraint(WherePartial, migrations.RemoveConstraint):
    pass


class AddConstraint(WherePartial, migrations.AddConstraint):
    pass


class Migration(migrations.Migration):
    dependencies = [("django_durable", "0003_leaner_steps")]

    operations = [
        migrations.AlterField("execution", "input_hash", models.CharField(blank=True, max_length=64)),
        RemoveConstraint("execution", "durable_execution_key"),
        AddConstraint("execution", SparseUnique(fields=["workflow", "key"], name="durable_execution_key")),
        RemoveConstraint("signal", "durable_signal_once"),
        AddConstraint("signal", SparseUnique(fields=["execution", "signal_id"], name="durable_signal_once")),
        RemoveIndex("execution", "durable_execution_by_subject"),
        AddIndex(
            "execution",
            SparseIndex(
                fields=["subject_type", "subject_id"],
                name="durable_execution_by_subject",
                kept=models.Q(subject_type__gt=""),
            ),
        ),
        RemoveIndex("execution", "durable_execution_by_parent"),
        AddIndex(
            "execution",
            SparseIndex(fields=["parent"], name="durable_execution_by_parent", kept=models.Q(parent__isnull=False)),
        ),
        RemoveIndex("timer", "durable_timer_leased"),
        AddIndex(
            "timer", SparseIndex(fields=["token"], name="durable_timer_leased", kept=models.Q(token__isnull=False))
        ),
    ]
