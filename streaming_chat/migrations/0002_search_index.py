from django.db import migrations

from streaming_chat.search import backends


def create(apps, schema_editor):
    """A GIN index on PostgreSQL, an FTS5 table on SQLite."""
    backends.create(schema_editor.connection)


def drop(apps, schema_editor):
    backends.drop(schema_editor.connection)


class Migration(migrations.Migration):

    dependencies = [
        ('streaming_chat', '0001_initial'),
    ]

    operations = [
        migrations.RunPython(create, drop, hints={'model_name': 'searchentry'}),
    ]
