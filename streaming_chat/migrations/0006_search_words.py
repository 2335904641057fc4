from django.db import migrations

from streaming_chat.staff import indexes


def create(apps, schema_editor):
    indexes.create_gin(schema_editor.connection)


def drop(apps, schema_editor):
    indexes.drop_gin(schema_editor.connection)


class Migration(migrations.Migration):
    """On PostgreSQL, beside whoever writes, which no transaction can do."""

    atomic = False

    dependencies = [
        ('streaming_chat', '0005_search_entries'),
    ]

    operations = [
        migrations.RunPython(create, drop, hints={'model_name': 'searchentry'}),
    ]
