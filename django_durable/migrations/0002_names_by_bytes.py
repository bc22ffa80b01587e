from django.db import migrations

from django_durable.models.collation import compare_bytes


class Migration(migrations.Migration):
    atomic = False  # MySQL and MariaDB cannot undo a table's change
    dependencies = [("django_durable", "0001_initial")]
    operations = [migrations.RunPython(compare_bytes, migrations.RunPython.noop, elidable=False)]
