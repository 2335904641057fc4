"""Empties the tables after a `TransactionTestCase`, in a tenth of the time that Django's `flush` takes.

`flush` truncates each table, for which PostgreSQL makes new files for the table and its indexes, and then creates all
content types and permissions again. Here these stay, and the few rows that a test has made are deleted.
"""

from functools import cache

from django.db import connections, transaction
from django.test import TransactionTestCase


def empty_tables(case: TransactionTestCase) -> None:
    """Delete all rows except the migrations' own. Takes the place of `TransactionTestCase._fixture_teardown`."""
    # Models can be imported only once Django is set up.
    from django.contrib.contenttypes.models import ContentType

    for alias in case._databases_names(include_mirrors=False):
        connection = connections[alias]
        with transaction.atomic(using=alias), connection.cursor() as cursor:
            if connection.vendor == "postgresql":
                # As TRUNCATE does: wait for the transactions of a test's threads, whose rows a DELETE would not see.
                cursor.execute(f"LOCK TABLE {', '.join(_tables(alias))}")
            for table in _tables(alias):
                cursor.execute(f"DELETE FROM {table}")  # noqa: S608
    # The next class may have another database: see faulty_postgres.py.
    ContentType.objects.clear_cache()


@cache
def _tables(alias: str) -> list[str]:
    """Return the quoted names of the tables that tests fill."""
    from django.contrib.auth.models import Permission
    from django.contrib.contenttypes.models import ContentType

    connection = connections[alias]
    made = {model._meta.db_table for model in (ContentType, Permission)}
    names = set(connection.introspection.django_table_names(only_existing=True, include_views=False))
    return [connection.ops.quote_name(name) for name in sorted(names - made)]
